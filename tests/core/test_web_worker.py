"""The threads of the web server: many idle clients, slow ones, and how a process stops."""

import http.client
import json
import os
import select
import signal
import socket
import struct
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from tests.edge.running import body, head, rest, status, until
from tests.launcher.watching import eventually
from tests.storeserver import Store, running_store

# The process commits what it is sent.
pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 2
HEALTH = head("GET", "/healthz")
LAST = head("GET", "/healthz", b"Connection: close\r\n")
PLACE = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters"


@pytest.fixture(scope="module")
def store(django_db_setup: None) -> Iterator[Store]:
    """One web process of two threads."""
    changed = {"WEB_THREADS": str(THREADS), "EDGE_HEAD_SECONDS": "2"}
    changed |= {"EDGE_STALL_SECONDS": "2", "EDGE_BODY_GRACE_SECONDS": "4"}
    with running_store(str(connection.settings_dict["NAME"]), **changed) as running:
        yield running


def connect(store: Store, data: bytes = b"") -> socket.socket:
    """A client that has sent so much."""
    client = socket.create_connection((store.host, store.port), timeout=60)
    client.sendall(data)
    return client


def has_data(client: socket.socket) -> bool:
    """Whether something can be read, be it the end; select() takes no descriptor above 1,023."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    return bool(poll.poll(0))


def ask(store: Store, data: bytes) -> bytes:
    """Everything that comes back until the connection is closed."""
    with connect(store, data) as client:
        return rest(client)


def document(name: str, text: bytes) -> tuple[bytes, str]:
    """(the head of a PUT with that body, the path of the document)."""
    path = f"{PLACE}/{name}/namespaces/n/Pod/p"
    return head("PUT", path, b"Content-Length: %d\r\n" % len(text)), path


def is_refused(answer: bytes) -> bool:
    """Whether the store did not take it: this dialect answers 200 nevertheless."""
    return json.loads(body(answer))["result"] is False


def test_idle_connections_hold_no_thread(store: Store) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(store)) for _ in range(200)]
        for _ in range(2):
            for client in clients:
                client.sendall(HEALTH)
                assert status(until(client, b"}")) == 200
        assert status(ask(store, LAST)) == 200


def test_requests_in_one_packet_are_answered_in_order(store: Store) -> None:
    missing = head("GET", "/none")
    answer = ask(store, HEALTH + missing + LAST)
    assert [status(b"HTTP/1." + part) for part in answer.split(b"HTTP/1.")[1:]] == [200, 404, 200]


def test_ordinary_and_other_requests_may_share_a_packet(store: Store) -> None:
    """Each is read by another parser: none may take a byte of the next."""
    unread = head("POST", "/none", b"Content-Length: 5\r\n") + b"GET /"
    pieces = head("POST", "/none", b"Transfer-Encoding: chunked\r\n") + b"1\r\nG\r\n0\r\n\r\n"
    answer = ask(store, HEALTH + unread + b"\r\n" + HEALTH + pieces + unread + HEALTH + LAST)
    codes = [status(b"HTTP/1." + part) for part in answer.split(b"HTTP/1.")[1:]]
    assert codes == [200, 404, 200, 404, 404, 200, 200]


def test_half_a_head_holds_no_thread_and_ends_in_time(store: Store) -> None:
    with ExitStack() as stack:
        slow = [
            stack.enter_context(connect(store, b"GET /healthz HTTP/1.1\r\nHost: lo"))
            for _ in range(4 * THREADS)
        ]
        assert status(ask(store, LAST)) == 200
        # Each byte of it counts as little as the others.
        slow[0].sendall(b"c")
        for client in slow:
            assert status(rest(client)) == 408


def test_a_head_may_come_byte_by_byte(store: Store) -> None:
    with connect(store) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(LAST)):
            client.sendall(LAST[number : number + 1])
        assert status(rest(client)) == 200


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 30_000, 431),
        (head("GET", "/healthz", b"Expect: the moon\r\n"), 417),
        (head("POST", "/healthz", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400),
    ],
)
def test_what_is_no_request_is_refused(store: Store, data: bytes, code: int) -> None:
    assert status(ask(store, data)) == code


def test_a_body_is_asked_for_when_its_client_waits(store: Store) -> None:
    text = b'{"data": {"a": 1}}'
    _, path = document(uuid.uuid4().hex, text)
    lines = b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n" % len(text)
    with connect(store, head("PUT", path, lines)) as client:
        until(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(text)
        answer = rest(client)
    assert status(answer) == 200
    assert json.loads(body(answer))["result"] is True


def test_a_body_that_nobody_reads_ends_its_connection(store: Store) -> None:
    """What follows it must not be read as a request."""
    lines = b"Content-Length: 1000000\r\n"
    answer = ask(store, head("POST", "/none", lines) + b"x" * 999_999 + b"\n" + HEALTH)
    assert answer.count(b"HTTP/1.1") == 1


def test_half_a_body_is_refused_even_when_it_could_be_read(store: Store) -> None:
    """A client that breaks off in the middle has not said what it wanted."""
    text = b'{"data": {"a": 1}}'
    begun, path = document(uuid.uuid4().hex, text + b" ")
    with connect(store, begun + text) as client:
        client.shutdown(socket.SHUT_WR)
        assert is_refused(rest(client))
    answer = store.raw("GET", path.removeprefix("/bcsapi/v4/storage"))
    assert answer.json["data"] in ([], None)


def test_what_follows_a_body_in_chunks_is_the_next_request(store: Store) -> None:
    text = b'{"data": {"a": 1}}'
    _, path = document(uuid.uuid4().hex, text)
    begun = head("PUT", path, b"Transfer-Encoding: chunked\r\n")
    chunks = b"%x;a=b\r\n%b\r\n0\r\nX-Trailer: GET\r\n\r\n" % (len(text), text)
    answer = ask(store, begun + chunks + LAST)
    assert [status(b"HTTP/1." + part) for part in answer.split(b"HTTP/1.")[1:]] == [200, 200]
    broken = begun + b"5\r\nabcdeGET / HTTP/1.1\r\n\r\n" + LAST
    answer = ask(store, broken)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert is_refused(answer)


def test_a_broken_body_that_nobody_reads_gets_no_second_answer(store: Store) -> None:
    begun = head("POST", "/none", b"Transfer-Encoding: chunked\r\n")
    answer = ask(store, begun + b"5\r\nabcdeGET / HTTP/1.1\r\n\r\n" + LAST)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 404


def test_a_body_of_drops_gives_its_thread_back(store: Store) -> None:
    begun, _ = document(uuid.uuid4().hex, b"x" * 1000)
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(store, begun)) for _ in range(THREADS)]

        def is_over() -> bool:
            answered = [client for client in slow if has_data(client)]
            for client in slow:
                if client not in answered:
                    # The other end may have closed meanwhile.
                    with suppress(ConnectionError):
                        client.sendall(b"x")
            return answered == slow

        assert eventually(is_over, seconds=60)
        for client in slow:
            # A drop that comes after the close resets the connection, and its answer with it.
            with suppress(ConnectionError):
                assert is_refused(until(client, b"}"))
    assert status(ask(store, LAST)) == 200


def test_clients_that_take_no_answer_give_their_threads_back(store: Store) -> None:
    """Each asks for more than the buffers of both ends hold."""
    text = json.dumps({"data": {"a": "b" * 60_000}}).encode()
    begun, path = document(uuid.uuid4().hex, text)
    with connect(store, begun + text) as client:
        assert status(until(client, b"}")) == 200
    asked = head("GET", path)
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            client = socket.socket()
            stack.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((store.host, store.port))
            client.sendall(asked * 200)
        assert status(ask(store, LAST)) == 200


def test_clients_that_vanish_leave_the_threads_free(store: Store) -> None:
    text = b'{"data": {"a": 1}}'
    name = uuid.uuid4().hex
    begun, path = document(name, text)
    for _ in range(4 * THREADS):
        client = connect(store, begun + text[:-1])
        # A reset instead of an orderly end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert status(ask(store, LAST)) == 200
    prefix = "/bcsapi/v4/storage"
    assert store.raw("GET", path.removeprefix(prefix)).json["data"] in ([], None)


def workers(master: int) -> list[int]:
    """The processes that answer."""
    text = Path(f"/proc/{master}/task/{master}/children").read_text()
    return [int(word) for word in text.split()]


def replace_process(store: Store) -> None:
    """Stop the process that answers, and wait until its successor does."""
    (old,) = workers(store.pid)
    os.kill(old, signal.SIGTERM)
    assert eventually(lambda: old not in workers(store.pid), seconds=25)
    assert status(ask(store, LAST)) == 200


def test_a_process_that_stops_finishes_what_it_answers(store: Store) -> None:
    """An idle connection is closed meanwhile."""
    text = b'{"data": {"a": 1}}'
    begun, _ = document(uuid.uuid4().hex, text)
    (old,) = workers(store.pid)
    running = connect(store, begun + text[:-1])
    idle = http.client.HTTPConnection(store.host, store.port, timeout=60)
    idle.request("GET", "/healthz")
    assert idle.getresponse().read()
    os.kill(old, signal.SIGTERM)
    # The connection of a client that has to say nothing more ends by itself.
    assert idle.sock.recv(1) == b""
    assert old in workers(store.pid)
    running.sendall(text[-1:])
    answer = rest(running)
    assert status(answer) == 200
    assert b"Connection: close" in answer
    assert eventually(lambda: old not in workers(store.pid), seconds=25)
    # Its successor takes over.
    assert status(ask(store, LAST)) == 200


def test_no_client_that_comes_as_a_process_stops_is_lost(store: Store) -> None:
    """It is served by the process that stops, or waits for its successor."""
    clients = 8
    is_over = threading.Event()

    def ask_on() -> set[int]:
        codes = set()
        while not is_over.is_set():
            codes.add(status(ask(store, LAST)))
        return codes

    with ThreadPoolExecutor(clients) as threads:
        running = [threads.submit(ask_on) for _ in range(clients)]
        try:
            for _ in range(8):
                replace_process(store)
        finally:
            is_over.set()
        assert [each.result() for each in running] == [{200}] * clients


def test_a_host_that_nobody_serves_is_one_line(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/api/v1/auth/me", headers={"Host": "evil.example"})
    assert answer.json()["code"] == 1001
    (entry,) = [line for line in caplog.records if line.name.startswith("django.security")]
    assert "evil.example" in entry.getMessage()
    assert not entry.exc_info
