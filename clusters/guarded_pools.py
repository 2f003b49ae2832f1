"""Connection pools that check the peer's address before anything is sent."""

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

from clusters.address_policy import is_allowed
from core.errors import ClusterUnavailable


def _check_peer(sock: socket.socket, policy: str) -> None:
    """Raise ClusterUnavailable when a name led to an address that the policy refuses.

    The connected socket is checked, so that DNS rebinding has no window.
    """
    peer = str(sock.getpeername()[0])
    if not is_allowed(peer, policy):
        sock.close()
        raise ClusterUnavailable(
            "the address that the host name resolves to is not allowed",
            reason="address_refused",
        )


_whole: ContextVar[bool] = ContextVar("whole_answers", default=False)


@contextmanager
def whole_answers() -> Iterator[None]:
    """Give the bodies of answers that begin within the block a deadline, as their heads have."""
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


class _DeadlineReader(io.RawIOBase):
    """A socket's bytes until a deadline.

    A socket's own time-out begins again with each byte, so a head that drips would have none.
    """

    def __init__(self, raw: io.RawIOBase, seconds: float | None) -> None:
        self._raw = raw
        self.extend(seconds)

    def extend(self, seconds: float | None) -> None:
        """Set the deadline to so many seconds from now, or remove it."""
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


class _DeadlineResponse(HTTPResponse):
    """A response whose head has the connection's read time-out as its deadline.

    Its body has as much again within `whole_answers`, else none: a followed log has no end.
    """

    def __init__(
        self,
        sock: socket.socket,
        *arguments: Any,
        **options: Any,
    ) -> None:
        super().__init__(sock, *arguments, **options)
        self._seconds = sock.gettimeout()
        self._reader = _DeadlineReader(self.fp.detach(), self._seconds)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        self._reader.extend(self._seconds if _whole.get() else None)


def pool_classes(policy: str) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Connection pools whose every new connection checks its peer."""

    class Plain(HTTPConnection):
        response_class = _DeadlineResponse

        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            _check_peer(sock, policy)
            return sock

    class Secure(HTTPSConnection):
        response_class = _DeadlineResponse

        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            _check_peer(sock, policy)
            return sock

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
