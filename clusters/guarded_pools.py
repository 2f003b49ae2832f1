"""Connection pools that look at whom they are really connected to before anything is sent."""

import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from clusters.address_policy import allowed
from core.errors import ClusterUnavailable


def _check_peer(sock: socket.socket, policy: str) -> None:
    """Refuse the address that a name really led to, before anything is sent (no window for DNS rebinding)."""
    peer = str(sock.getpeername()[0])
    if not allowed(peer, policy):
        sock.close()
        raise ClusterUnavailable(
            "the address that the name leads to is not allowed", reason="address_refused"
        )


_whole: ContextVar[bool] = ContextVar("whole_answers", default=False)


@contextmanager
def whole_answers() -> Iterator[None]:
    """Answers that begin in here are read to their end: their bodies have a deadline as their heads have."""
    before = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(before)


class _Timed(io.RawIOBase):
    """A socket's bytes until a deadline. A socket's own time-out begins again with each byte, so a head that drips would have none."""

    def __init__(self, raw: io.RawIOBase, seconds: float | None) -> None:
        self._raw = raw
        self.extend(seconds)

    def extend(self, seconds: float | None) -> None:
        """Begin again, or go without a deadline."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError("the answer took too long")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer whose head has the connection's read time-out in all, and its body as much again when it is read whole."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._seconds = sock.gettimeout()
        self._timed = _Timed(self.fp.detach(), self._seconds)
        self.fp = io.BufferedReader(self._timed)

    def begin(self) -> None:
        super().begin()
        self._timed.extend(self._seconds if _whole.get() else None)


def pool_classes(policy: str) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Connection pools whose every new connection checks its peer."""

    class Plain(HTTPConnection):
        response_class = _Answer

        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            _check_peer(sock, policy)
            return sock

    class Secure(HTTPSConnection):
        response_class = _Answer

        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            _check_peer(sock, policy)
            return sock

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
