"""What the front passes on to the gateway: bytes, in both directions, without a limit."""

import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher import processes, programs
from launcher.ports import free_port
from tests.edge.running import Running, body, listens, rest, status, until
from tests.launcher.watching import eventually

PART = 1 << 20
PARTS = 24
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Upstream(socketserver.ThreadingUnixStreamServer):
    """In the gateway's place: keeps the heads that come, and counts bytes."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.heads: list[bytes] = []
        self.received = 0


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    server: Upstream

    def handle(self) -> None:
        """Answer requests until the front closes the connection."""
        while head := self._head():
            self.server.heads.append(head)
            if b"upgrade: SPDY/3.1" in head:
                self.wfile.write(UPGRADED)
                while data := self.connection.recv(65536):
                    self.connection.sendall(data)
                return
            if b"transfer-encoding: chunked" in head:
                self._chunks()
            if b"GET /kube/c/large" in head:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(PARTS):
                    self.wfile.write(b"%x\r\n%b\r\n" % (PART, b"y" * PART))
                self.wfile.write(b"0\r\n\r\n")
                continue
            answer = b"%d" % self.server.received
            self.wfile.write(OK % (len(answer), answer))

    def _head(self) -> bytes:
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                return head
        return b""

    def _chunks(self) -> None:
        while size := int(self.rfile.readline(), 16):
            self.server.received += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()


@contextmanager
def _running(folder: Path) -> Iterator[tuple[Running, Upstream]]:
    upstream = Upstream(str(folder / "gateway"))
    thread = threading.Thread(target=upstream.serve_forever, daemon=True)
    thread.start()
    port = free_port()
    environ = {
        "KUBEGALE_BIND": "127.0.0.1",
        "KUBEGALE_PORT": str(port),
        "KUBEGALE_WS_PORT": str(free_port()),
        "KUBEGALE_WEB_SOCKET": str(folder / "web"),
        "KUBEGALE_WS_SOCKET": str(folder / "ws"),
        "KUBEGALE_GATEWAY_SOCKET": str(folder / "gateway"),
    }
    child = processes.start(programs.front(environ))
    try:
        assert eventually(lambda: listens(port), seconds=30)
        yield Running(port, 0, front=child, web=child), upstream
    finally:
        child.process.kill()
        child.process.wait()
        upstream.shutdown()
        upstream.server_close()


@pytest.fixture(scope="module")
def fronted() -> Iterator[tuple[Running, Upstream]]:
    """A front, and what it passes on to."""
    with (
        tempfile.TemporaryDirectory(prefix="kubegale-test-sockets-") as folder,
        _running(Path(folder)) as pair,
    ):
        yield pair


def test_an_upgrade_of_any_protocol_becomes_a_tunnel(fronted: tuple[Running, Upstream]) -> None:
    front, upstream = fronted
    head = (
        b"POST /kube/c/api/v1/namespaces/d/pods/p/portforward HTTP/1.1\r\nHost: h\r\n"
        b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4\r\n"
        b"Content-Length: 0\r\nX-Kubegale-Peer: 9.9.9.9\r\n\r\n"
    )
    with front.connect(head) as connection:
        until(connection, b"\r\n\r\n")
        for _ in range(32):
            connection.sendall(b"\x80\x03" + b"z" * 65534)
            received = 0
            while received < 65536:
                received += len(connection.recv(65536))
    sent = upstream.heads[-1].lower()
    assert b"x-stream-protocol-version: v4" in sent
    # Who the client is the front says, not the client.
    assert sent.count(b"x-kubegale-peer") == 1
    assert b"x-kubegale-peer: 127.0.0.1" in sent


def test_bodies_pass_unspooled_and_the_connection_serves_on(
    fronted: tuple[Running, Upstream],
) -> None:
    front, upstream = fronted
    chunk = b"%x\r\n%b\r\n" % (PART, b"x" * PART)
    with front.connect(
        b"POST /kube/c/upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        b"Authorization: Bearer t\r\n\r\n"
    ) as connection:
        # More than any other body of the front may have.
        for _ in range(PARTS):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        answer = until(connection, b"%d" % (PART * PARTS))
        assert status(answer) == 200
        connection.sendall(b"GET /kube/c/version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert status(rest(connection)) == 200
    assert upstream.heads[-1].startswith(b"GET /kube/c/version")


def test_answers_wait_for_a_slow_client(fronted: tuple[Running, Upstream]) -> None:
    front, _ = fronted
    request = b"GET /kube/c/large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with front.connect(request) as connection:
        assert body(rest(connection)).count(b"y") == PART * PARTS


def test_a_refusal_of_the_front_is_a_status(fronted: tuple[Running, Upstream]) -> None:
    front, upstream = fronted
    before = len(upstream.heads)
    answer = front.ask(
        b"POST /kube/c/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nabc"
    )
    assert status(answer) == 400
    assert b'"kind":"Status"' in answer
    assert len(upstream.heads) == before
