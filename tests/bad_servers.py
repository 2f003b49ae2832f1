"""Servers that misbehave on purpose: silent, dripping, broken off, HTML, redirects."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]


def answering(status: str, body: bytes, *headers: str) -> Behaviour:
    """Answers everything alike."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)

    return behave


def closing_when_asked_again(connection: socket.socket) -> None:
    """Answers one request and closes on the next, as a proxy does whose connection has expired."""
    answering("200 OK", b"{}")(connection)
    connection.recv(65536)


def silent(connection: socket.socket) -> None:
    """Takes the request and never answers."""
    connection.recv(65536)
    with contextlib.suppress(OSError):
        connection.settimeout(20)
        connection.recv(1)


def dripping(connection: socket.socket) -> None:
    """One byte every tenth of a second, for ever."""
    connection.recv(65536)
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    )
    with contextlib.suppress(OSError):
        for _ in range(200):
            connection.sendall(b" ")
            time.sleep(0.1)


def broken_off(connection: socket.socket) -> None:
    """Promises more than it sends."""
    connection.recv(65536)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"gitVersion":')


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """An address that nobody listens at, and nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def serving(behave: Behaviour) -> Iterator[str]:
    """The address of a server that treats every connection so."""
    listener = socket.create_server(("127.0.0.1", 0))

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
