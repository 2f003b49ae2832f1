"""The threads of the web server: many idle clients, slow ones, and how a process stops."""

import http.client
import json
import os
import signal
import socket
import struct
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
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
    with running_store(str(connection.settings_dict["NAME"]), **changed) as running:
        yield running


def connect(store: Store, data: bytes = b"") -> socket.socket:
    """A client that has sent so much."""
    client = socket.create_connection((store.host, store.port), timeout=60)
    client.sendall(data)
    return client


def ask(store: Store, data: bytes) -> bytes:
    """Everything that comes back until the connection is closed."""
    with connect(store, data) as client:
        return rest(client)


def document(name: str, text: bytes) -> tuple[bytes, str]:
    """(the head of a PUT with that body, the path of the document)."""
    path = f"{PLACE}/{name}/namespaces/n/Pod/p"
    return head("PUT", path, b"Content-Length: %d\r\n" % len(text)), path


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


def test_a_host_that_nobody_serves_is_one_line(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/api/v1/auth/me", headers={"Host": "evil.example"})
    assert answer.json()["code"] == 1001
    (entry,) = [line for line in caplog.records if line.name.startswith("django.security")]
    assert "evil.example" in entry.getMessage()
    assert not entry.exc_info
