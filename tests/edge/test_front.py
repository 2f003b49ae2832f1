"""The front before a real web server: who sends badly, slowly or too much harms nobody else."""

import base64
import hashlib
import json
import re
import select
import signal
import socket
import struct
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from launcher import processes, programs
from tests.edge.running import Running, Stack, body, head, memory, rest, seconds, status, until
from tests.launcher.watching import eventually
from tests.storeserver import database
from tests.tuning import tuned

LOGIN = "/api/v1/auth/login"
BCS = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters"
# MiB; four threads would keep 160 of their own otherwise.
LEFT = 100
MIB = 1024 * 1024


PROXY = "127.0.0.2"
OTHER = "127.0.0.3"


@pytest.fixture(scope="module")
def stack(django_db_setup: None) -> Iterator[Stack]:
    """The servers behind; a process of four threads serves two streams."""
    with (
        tempfile.TemporaryDirectory(prefix="kubegale-test-sockets-") as folder,
        ExitStack() as cleanup,
    ):
        yield Stack(
            str(connection.settings_dict["NAME"]),
            Path(folder),
            cleanup,
            OPEN_DIALECTS="bcs,walm@cert:CN=payments",
            TRUSTED_PROXIES=PROXY,
            CLIENT_CERT_HEADER="X-SSL-Client-S-DN",
            CLIENT_CERT_VERIFIED_HEADER="X-SSL-Client-Verify",
            STORAGE_WATCH_STREAMS="100",
            STORAGE_WATCH_STREAMS_PER_CLIENT="100",
            STORAGE_WATCH_HEARTBEAT="0.2",
            STORAGE_WATCH_POLL="0.05",
        )


@pytest.fixture(scope="module")
def patient(stack: Stack) -> Iterator[Running]:
    """A front that waits long, so that what is half-sent stays so during a test."""
    with stack.front(
        EDGE_HEAD_SECONDS="120",
        EDGE_BODY_IDLE_SECONDS="120",
        EDGE_BODY_GRACE_SECONDS="120",
        EDGE_CONNECTIONS_PER_ADDRESS="2000",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def strict(stack: Stack) -> Iterator[Running]:
    """A front that waits a second: for tests of time limits alone, as a busy machine is slower."""
    with stack.front(
        EDGE_HEAD_SECONDS="1",
        EDGE_BODY_IDLE_SECONDS="1",
        EDGE_BODY_GRACE_SECONDS="2",
        EDGE_IDLE_SECONDS="1",
        EDGE_STALL_SECONDS="2",
    ) as running:
        yield running


def answers_others(front: Running) -> bool:
    """Whether somebody else is answered while the rest goes on: quickly, but a busy machine may take its time."""
    began = time.monotonic()
    assert status(front.get("/healthz")) == 200
    wrong = b'{"username":"x","password":"y"}'
    told = head("POST", LOGIN, b"Content-Length: %d\r\nConnection: close\r\n" % len(wrong)) + wrong
    assert status(front.ask(told)) == 401
    return seconds(began) < 10


def put(front: Running, path: str, document: dict[str, Any]) -> bytes:
    """Store a document."""
    text = json.dumps({"data": document}).encode()
    return front.ask(
        head("PUT", path, b"Connection: close\r\nContent-Length: %d\r\n" % len(text)) + text
    )


def test_half_sent_requests_hold_nobody_up(patient: Running) -> None:
    with ExitStack() as held:
        for _ in range(500):
            held.enter_context(patient.connect(b"GET /healthz HTTP/1.1\r\nHost: local"))
        for number in range(200):
            sent = head("POST", LOGIN, b"Content-Length: 1000\r\n") + b"{" * (number % 9)
            held.enter_context(patient.connect(sent))
        for _ in range(100):
            sent = head("POST", LOGIN, b"Transfer-Encoding: chunked\r\n") + b"5\r\nhel"
            held.enter_context(patient.connect(sent))
        assert answers_others(patient)


def test_who_reads_slowly_holds_nobody_up(patient: Running) -> None:
    cluster = f"BCS-{uuid.uuid4().hex[:12]}"
    for number in range(12):
        path = f"{BCS}/{cluster}/namespaces/n/Pod/p{number}"
        assert status(put(patient, path, {"metadata": {"name": "p"}, "text": "x" * MIB})) == 200
    listed = f"{BCS}/{cluster}/namespaces/n/Pod"
    assert len(patient.get(listed)) > 12 * MIB
    with ExitStack() as held:
        slow = [held.enter_context(patient.connect(head("GET", listed))) for _ in range(8)]
        for reader in slow:
            assert reader.recv(100).startswith(b"HTTP/1.1 200")
        assert answers_others(patient)
        assert len(body(patient.get(listed))) > 12 * MIB


def reset(client: socket.socket) -> None:
    """Leave without a farewell."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def count_answered(clients: list[socket.socket]) -> int:
    """How many have the beginning of their answer, read or not."""
    ready = select.poll()
    for client in clients:
        ready.register(client, select.POLLIN)
    return len(ready.poll(0))


def test_who_reads_nothing_is_not_served_before_all_others(stack: Stack) -> None:
    """Few answers of the crowd come between the question of another address and its answer."""
    asked = head("GET", "/api/schema")
    with stack.front(EDGE_REQUESTS_PER_ADDRESS="2") as front, ExitStack() as held:
        assert status(front.get("/api/schema")) == 200
        crowd = [held.enter_context(front.connect()) for _ in range(300)]
        with front.connect(source=OTHER) as other:
            # It reads nothing before all have asked.
            front.front.process.send_signal(signal.SIGSTOP)
            for client in crowd:
                client.sendall(asked + asked)
            other.sendall(head("GET", "/healthz", b"Connection: close\r\n"))
            front.front.process.send_signal(signal.SIGCONT)
            assert status(rest(other)) == 200
            assert count_answered(crowd) < 100
        assert eventually(lambda: count_answered(crowd) == 300, seconds=120)
        with front.connect(
            head("GET", "/healthz", b"Connection: close\r\n"), source=OTHER
        ) as other:
            assert status(rest(other)) == 200


def test_one_address_fills_its_share_of_what_waits_and_no_more(stack: Stack) -> None:
    cluster = f"BCS-{uuid.uuid4().hex[:12]}"
    listed = f"{BCS}/{cluster}/namespaces/n/Pod"
    with stack.front(EDGE_SPOOL_BYTES_PER_ADDRESS=str(20 * MIB)) as front, ExitStack() as held:
        for number in range(12):
            document = {"metadata": {"name": "p"}, "text": "x" * MIB}
            assert status(put(front, f"{listed}/p{number}", document)) == 200
        deaf = [held.enter_context(front.connect(head("GET", listed))) for _ in range(8)]
        for client in deaf:
            # All of them are answered, or left already.
            with suppress(ConnectionResetError):
                client.recv(100)
        # Two or three find room, and wait; who goes beyond it is left at once.
        assert eventually(lambda: 0 < front.connections() < 5, seconds=60)
        assert front.spooled() <= 20 * MIB
        with front.connect(head("GET", listed, b"Connection: close\r\n"), source=OTHER) as other:
            assert len(rest(other)) > 12 * MIB


def test_an_address_that_has_no_room_left_is_refused(stack: Stack) -> None:
    posted = head("POST", LOGIN, b"Authorization: Bearer x\r\nContent-Length: 99000\r\n")
    healthz = head("GET", "/healthz", b"Connection: close\r\n")
    with stack.front(EDGE_SPOOL_BYTES_PER_ADDRESS="100000") as front:
        with front.connect(posted + b" " * 98_000):
            assert eventually(lambda: status(front.get("/healthz")) == 503, seconds=60)
            answer = front.get("/healthz")
            assert b"too much that waits for your address" in answer
            assert b"Retry-After: 1\r\n" in answer
            with front.connect(healthz, source=OTHER) as other:
                assert status(rest(other)) == 200
        assert eventually(lambda: status(front.get("/healthz")) == 200, seconds=60)


def test_a_request_that_waits_for_its_turn_goes_with_its_client(stack: Stack) -> None:
    text = b'{"timeout": 1000000000}'
    with stack.front(EDGE_REQUESTS_PER_ADDRESS="1") as front, ExitStack() as held:
        watch = f"/bcsapi/v4/storage/dynamic/watch/{uuid.uuid4().hex}/Pod"
        asked = head("POST", watch, b"Content-Length: %d\r\n" % len(text)) + text
        feeds = [held.enter_context(front.connect(asked)) for _ in range(2)]
        for _ in range(20):
            reset(front.connect(head("GET", "/healthz")))
        # A feed gives its turn to the next one before its end.
        for feed in feeds:
            assert feed.recv(1000).startswith(b"HTTP/1.1 200")
        assert status(front.get("/healthz")) == 200
        assert eventually(lambda: front.connections() == 2)


def test_the_end_of_a_client_ends_no_request_of_another(stack: Stack) -> None:
    """Which is served over the connection that the first one's request has used."""
    text = b'{"timeout": 1000000000}'
    watch = f"/bcsapi/v4/storage/dynamic/watch/{uuid.uuid4().hex}/Pod"
    asked = head("POST", watch, b"Content-Length: %d\r\n" % len(text)) + text
    with stack.front() as front:
        first = front.connect(head("GET", "/healthz"))
        until(first, b'{"status": "ok"}')
        with front.connect(asked) as feed:
            until(feed, b"1\r\n\n\r\n")
            reset(first)
            assert eventually(lambda: front.connections() == 1)
            until(feed, b"1\r\n\n\r\n")


def test_who_does_not_read_at_all_is_left(stack: Stack) -> None:
    cluster = f"BCS-{uuid.uuid4().hex[:12]}"
    listed = f"{BCS}/{cluster}/namespaces/n/Pod"
    with stack.front(EDGE_STALL_SECONDS="1") as front:
        for number in range(12):
            document = {"metadata": {"name": "p"}, "text": "x" * MIB}
            assert status(put(front, f"{listed}/p{number}", document)) == 200
        with front.connect(head("GET", listed)) as deaf:
            assert eventually(lambda: front.connections() == 1)
            assert eventually(lambda: front.connections() == 0, seconds=30)
            received = 0
            try:
                while data := deaf.recv(1 << 20):
                    received += len(data)
            except ConnectionResetError:
                pass
        assert received < 12 * MIB


def test_a_head_that_does_not_come_in_time_is_refused(strict: Running) -> None:
    with strict.connect(b"GET /healthz HTTP/1.1\r\nHost:") as half, strict.connect() as silent:
        assert status(rest(half)) == 408
        assert rest(silent) == b""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (LOGIN, b'{"code":1001,"data":{},"msg":"The request\'s body came too slowly."}'),
        (f"{BCS}/a/namespaces/b/Pod/c", b'{"result":false,'),
        ("/signin", b"The request's body came too slowly."),
    ],
)
def test_a_dripping_body_is_refused_in_the_words_of_its_api(
    strict: Running, path: str, words: bytes
) -> None:
    with strict.connect(head("POST", path, b"Content-Length: 1000\r\n")) as dripping:
        dripping.settimeout(0.2)
        answer, began = b"", time.monotonic()
        while not answer:
            assert seconds(began) < 60
            try:
                dripping.sendall(b" ")
                answer = dripping.recv(1 << 16)
            except TimeoutError:
                continue
        dripping.settimeout(30)
        answer += rest(dripping)
    assert status(answer) == 408
    assert words in answer


@pytest.mark.parametrize(
    ("path", "lines", "expected", "words"),
    [
        (LOGIN, b"Content-Length: 1\r\nContent-Length: 1\r\n", 400, b'"code":1001'),
        (LOGIN, b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400, b'"code":1001'),
        (f"{BCS}/a/namespaces/b/Pod/c", b"A: b\r\n c\r\n", 400, b'"result":false'),
        ("/v1/k8sservice/x", b"A: b\r\n" * 101, 431, b'"code":500'),
        ("/k8s/x", b"A: " + b"b" * 40_000 + b"\r\n", 431, b'{"error":{"code":400,'),
        ("/api/" + "a" * 9000, b"", 414, b'"code":1001'),
        ("/k8s/\N{SNOWMAN}", b"", 400, b'{"error":{"code":400,"message":"The request\'s address'),
        ("/api/v1/auth/me?name=\N{SNOWMAN}", b"", 400, b'"code":1001'),
    ],
)
def test_a_bad_head_is_refused_in_the_words_of_its_api_and_the_connection_ends(
    patient: Running, path: str, lines: bytes, expected: int, words: bytes
) -> None:
    smuggled = head("GET", "/healthz")
    answer = patient.ask(head("POST", path, lines) + smuggled)
    assert status(answer) == expected
    assert words in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_few_empty_lines_before_a_request_are_passed_over(patient: Running) -> None:
    asked = head("GET", "/healthz", b"Connection: close\r\n")
    assert status(patient.ask(b"\r\n" * 100 + asked)) == 200
    # Endless ones cost the front more than their sender.
    assert status(patient.ask(b"\r\n" * 101 + asked)) == 400


def test_a_header_of_the_longest_length_reaches_the_application(patient: Running) -> None:
    for size, expected in ((8190, 200), (8191, 431)):
        line = b"X:" + b"a" * (size - 2)
        assert status(patient.get("/healthz", more=line + b"\r\n")) == expected


def test_answers_come_in_the_order_of_requests_and_the_last_one_ends(patient: Running) -> None:
    answer = patient.ask(
        head("GET", "/healthz")
        + head("HEAD", "/healthz")
        + b"GET http://localhost/no HTTP/1.1\r\nHost: x\r\n\r\n"
        + head("POST", LOGIN, b"Content-Length: 2\r\n")
        + b"{}"
        + head("GET", "/healthz", b"Connection: close\r\n")
    )
    found = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]
    assert found == [200, 200, 404, 200, 200]
    assert answer.count(b'{"status": "ok"}') == 2
    assert answer.count(b"Connection: close") == 1


def test_a_client_that_waits_for_leave_to_send_gets_it(patient: Running) -> None:
    asked = head("POST", LOGIN, b"Content-Length: 2\r\nExpect: 100-continue\r\n")
    with patient.connect(asked) as waiting:
        assert until(waiting, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        waiting.sendall(b"{}")
        until(waiting, b"username and password are required")
    large = head("POST", LOGIN, b"Content-Length: 9000000\r\nExpect: 100-continue\r\n")
    with patient.connect(large) as waiting:
        assert until(waiting, b"the body is larger than 65536 bytes").startswith(b"HTTP/1.1 200")


def test_an_old_client_without_a_host_is_answered(patient: Running) -> None:
    assert status(patient.ask(b"GET /healthz HTTP/1.0\r\n\r\n")) == 200
    assert status(patient.ask(b"GET /healthz HTTP/1.0\r\nHost:\r\n\r\n")) == 200


@pytest.mark.parametrize(
    "line", [b"get /k8s/x HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /k8s/x HTTP/1.1\r\nHost:\r\n\r\n"]
)
def test_what_the_web_server_would_not_read_is_refused_in_the_words_of_its_api(
    patient: Running, line: bytes
) -> None:
    answer = patient.ask(line)
    assert status(answer) == 400
    assert b'{"error":{"code":400,' in answer
    assert b"X-Request-Id: " in answer


def test_a_chunked_body_is_read(patient: Running) -> None:
    path = f"{BCS}/BCS-{uuid.uuid4().hex[:12]}/namespaces/n/Pod/a%2Fb"
    text = json.dumps({"data": {"metadata": {"name": "x" * 300_000}}}).encode()
    chunks = [text[start : start + 7000] for start in range(0, len(text), 7000)]
    wire = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    lines = b"Transfer-Encoding: chunked\r\nConnection: close\r\n"
    assert b'"result":true' in patient.ask(head("PUT", path, lines) + wire)
    found = json.loads(body(patient.get(path)))["data"]
    assert [(row["resourceName"], len(row["data"]["metadata"]["name"])) for row in found] == [
        ("a/b", 300_000)
    ]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    ("path", "expected", "words"),
    [
        (LOGIN, 200, b"the body is larger than 65536 bytes"),
        ("/signin", 413, b"the body is too large"),
        ("/admin/login/", 413, b"the body is too large"),
        ("/api/v1/kubernetes/clusters", 401, b'"code":2001'),
        ("/k8s/deploy", 401, b'"code":401'),
    ],
)
def test_a_large_body_of_somebody_unknown_is_refused_and_costs_no_memory(
    patient: Running, path: str, expected: int, words: bytes, framing: str
) -> None:
    pids = [*patient.workers(), patient.front.process.pid]
    before = [memory(pid) for pid in pids]
    part = b"a" * 65_536
    answers: list[bytes] = []

    def send() -> None:
        if framing == "length":
            data = head("POST", path, b"Content-Length: %d\r\n" % (16 * MIB - 1)) + part * 255
        else:
            chunks = b"10000\r\n%s\r\n" % part * 255
            data = head("POST", path, b"Transfer-Encoding: chunked\r\n") + chunks
        with patient.connect() as sending:
            try:
                sending.sendall(data)
            except OSError:
                pass  # the answer was there before all of it was sent
            answers.append(rest(sending))

    senders = [threading.Thread(target=send) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [status(answer) for answer in answers] == [expected] * 6
    assert all(words in answer for answer in answers)
    after = [memory(pid) for pid in pids]
    assert all(grown - held < 16 for grown, held in zip(after, before, strict=True)), (
        before,
        after,
    )


def test_large_documents_do_not_stay_in_memory(patient: Running) -> None:
    (web,) = patient.workers()
    path = f"{BCS}/BCS-{uuid.uuid4().hex[:12]}/namespaces/n/Pod/p"
    document = {f"k{number}": {} for number in range(240_000)}
    answers: list[bytes] = []

    def send() -> None:
        answers.append(put(patient, path, document))

    assert status(put(patient, path, {})) == 200
    before = memory(web, "VmRSS")
    for _ in range(2):
        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert [status(answer) for answer in answers] == [200] * 8, answers
    assert eventually(lambda: memory(web, "VmRSS") - before < LEFT), memory(web, "VmRSS") - before


def test_a_body_that_is_not_read_spoils_no_request_after_it(patient: Running) -> None:
    """The web server ends such a connection after it has answered, just when it might be used again."""
    cluster = f"BCS-{uuid.uuid4().hex[:12]}"
    unread = b"a" * 130_000
    refused = head(
        "POST",
        "/api/v1/kubernetes/clusters",
        b"Authorization: Bearer none\r\nConnection: close\r\nContent-Length: %d\r\n" % len(unread),
    )
    for number in range(40):
        assert b'"code":2001' in patient.ask(refused + unread)
        path = f"{BCS}/{cluster}/namespaces/n/Pod/p{number}"
        answer = put(patient, path, {"metadata": {"name": f"p{number}"}})
        assert status(answer) == 200, (number, answer)


def test_one_address_makes_room_for_its_own_new_connections(stack: Stack) -> None:
    few = {"EDGE_HEAD_SECONDS": "120", "EDGE_CONNECTIONS_PER_ADDRESS": "40"}
    with stack.front(**few) as crowded, ExitStack() as held:
        first = held.enter_context(crowded.connect(b"GET /"))
        for _ in range(60):
            held.enter_context(crowded.connect(b"GET /"))
        assert status(crowded.get("/healthz")) == 200
        assert first.recv(1000) == b""


def test_streams_leave_threads_for_others_and_give_their_places_back(patient: Running) -> None:
    watch = head("POST", f"/bcsapi/v4/storage/dynamic/watch/{uuid.uuid4().hex}/Pod", b"")
    with ExitStack() as held:
        for _ in range(2):
            stream = held.enter_context(patient.connect(watch))
            assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        with patient.connect(watch) as third:
            assert status(third.recv(1000)) == 429
        assert answers_others(patient)

    def has_room() -> bool:
        with patient.connect(watch) as again:
            return status(again.recv(1000)) == 200

    assert eventually(has_room, seconds=30)


def test_told_to_stop_the_front_finishes_what_it_answers(stack: Stack) -> None:
    cluster = uuid.uuid4().hex
    text = b'{"timeout": 1000000000}'
    watch = head(
        "POST",
        f"/bcsapi/v4/storage/dynamic/watch/{cluster}/Pod",
        b"Content-Length: %d\r\n" % len(text),
    )
    with stack.front() as front, front.connect(watch + text) as stream, front.connect() as idle:
        begun = stream.recv(1000)
        front.front.process.send_signal(signal.SIGTERM)
        assert rest(idle) == b""
        assert b'{"type":-1,"value":null}' in begun + rest(stream)
        assert front.front.process.wait(30) == 0


def test_a_feed_ends_whole_when_the_web_server_is_told_to_stop(stack: Stack) -> None:
    """Long before its next heartbeat; the front's own farewell cuts it off later."""
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="kubegale-test-stop-"))
        changed = {"KUBEGALE_WEB_SOCKET": f"{folder}/web", "STORAGE_WATCH_HEARTBEAT": "120"}
        web = processes.start(programs.web(tuned({**stack.environ, **changed})))
        cleanup.callback(processes.stop, [web])
        front = cleanup.enter_context(stack.front(KUBEGALE_WEB_SOCKET=f"{folder}/web"))
        assert eventually(lambda: status(front.get("/healthz")) == 200, seconds=60)
        path = f"/bcsapi/v4/storage/dynamic/watch/{uuid.uuid4().hex}/Pod"
        feed = cleanup.enter_context(front.connect(head("POST", path)))
        until(feed, b"1\r\n\n\r\n")
        web.process.terminate()
        assert until(feed, b"0\r\n\r\n").endswith(b'{"type":-1,"value":null}\n\r\n0\r\n\r\n')
        assert eventually(lambda: not web.alive, seconds=15)


def test_sockets_are_served_on_both_ports(patient: Running) -> None:
    asked = head(
        "GET",
        "/ws/nothing",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )
    for port in (patient.port, patient.ws_port):
        with patient.connect(asked, port=port) as opened:
            answer = until(opened, b"no such socket")
        assert status(answer) == 101
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert b"WebSocket connections only" in patient.get("/signin", port=patient.ws_port)


def test_a_client_cannot_say_who_it_is(patient: Running) -> None:
    name = uuid.uuid4().hex
    text = json.dumps({"username": name, "password": "wrong"}).encode()
    lines = (
        b"X-Kubegale-Peer: 192.0.2.1\r\nX-Kubegale-Refused: 400 no\r\nX-Forwarded-For: 192.0.2.2\r\n"
        b"X_Kubegale_Peer: 192.0.2.3\r\nConnection: close\r\nContent-Length: %d\r\n" % len(text)
    )
    assert status(patient.ask(head("POST", LOGIN, lines) + text)) == 401
    with database() as cursor:
        cursor.execute("SELECT host(address) FROM access_auditentry ORDER BY id DESC LIMIT 1")
        assert cursor.fetchall() == [("127.0.0.1",)]


def test_a_front_without_servers_says_so(stack: Stack) -> None:
    nowhere = str(Path(tempfile.gettempdir()) / f"kubegale-{uuid.uuid4().hex}")
    with stack.front(KUBEGALE_WEB_SOCKET=nowhere) as front:
        answer = front.get("/api/v1/kubernetes/pods")
        assert status(answer) == 503
        assert b"application/json" in answer
        assert json.loads(body(answer))["code"] == 5001
        assert b"Retry-After: 1\r\n" in answer
        as_page = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
        page = front.get("/clusters/1/pods", more=as_page)
        assert status(page) == 503
        assert b"Retry-After: 3\r\nRefresh: 3\r\n" in page
        assert "starting or stopping" in body(page).decode()
        style = body(page).partition(b"<style>")[2].partition(b"</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style).digest())
        assert b"style-src 'sha256-%s'" % digest in page
        for spoken in (
            b"Accept-Language: fr, zh-CN;q=0.8, en;q=0.5\r\n",
            b"Accept-Language: en\r\nCookie: theme=dark; language=zh-hans\r\n",
        ):
            chinese = front.get("/", more=as_page + spoken)
            assert '<html lang="zh-Hans"' in body(chinese).decode()
            assert "服务器正在启动或停止" in body(chinese).decode()
        assert b'data-theme="dark"' in chinese
        post = head("POST", "/signin", as_page + b"Content-Length: 1\r\nConnection: close\r\n")
        sent = front.ask(post + b"a")
        assert b"was not done" in sent
        assert b"Refresh:" not in sent
        lines = as_page + b"Connection: close\r\n"
        assert body(front.ask(head("HEAD", "/", lines))) == b""


def test_descriptors_are_lifted(patient: Running) -> None:
    limits = Path(f"/proc/{patient.front.process.pid}/limits").read_text()
    soft, hard = re.search(r"Max open files +(\d+) +(\d+)", limits).groups()  # type: ignore[union-attr]
    assert int(soft) == min(int(hard), 1 << 20)


def test_a_certificate_is_believed_of_a_proxy_alone(patient: Running) -> None:
    """On the way through the front: who says it, twice, or in spellings that pass for it."""
    verified = b"X-SSL-Client-Verify: SUCCESS\r\n"
    subject = b"X-SSL-Client-S-DN: CN=payments\r\n"

    def answer(headers: bytes, source: str = PROXY) -> int:
        asked = head("GET", "/api/v1/tenant", b"Connection: close\r\n" + headers)
        with patient.connect(asked, source=source) as made:
            return status(rest(made))

    assert answer(verified + subject) not in (400, 401, 403)
    assert answer(verified + subject, "127.0.0.1") == 401
    assert answer(b"X-Forwarded-For: 127.0.0.2\r\n" + verified + subject, "127.0.0.1") == 401
    for twice in (subject, b"x-ssl-client-s-dn: CN=else\r\n", verified):
        assert answer(verified + subject + twice) == 400
        assert answer(verified + subject + twice, "127.0.0.1") == 401
    for spelt in (
        b"X_SSL_Client_S_DN: CN=payments\r\n",
        b"X-SSL-Client_S-DN: CN=payments\r\n",
        subject + b"Connection: X-SSL-Client-S-DN\r\n",
    ):
        assert answer(verified + spelt) == 401
    assert answer(subject) == 401
    assert answer(b"X-SSL-Client-Verify: FAILED:expired\r\n" + subject) == 401
    assert answer(verified + b"X-SSL-Client-S-DN: CN=else\r\n") == 401
