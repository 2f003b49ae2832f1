"""The bodies of requests: whole and fast enough, or an OSError."""

import os
import socket
import time
from errno import ECONNRESET, EPROTO

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ParseException
from gunicorn.http.unreader import SocketUnreader

# What a body may take in all: so long, and a second for so many bytes.
BODY_GRACE_SECONDS = float(os.environ.get("EDGE_BODY_GRACE_SECONDS") or 20)
BODY_RATE = int(os.environ.get("EDGE_BODY_RATE") or 4096)


class BodyUnreader(SocketUnreader):  # type: ignore[misc]  # the library has no types
    """What a client sends behind a head: all of it, and fast enough, or an OSError.

    gunicorn's own takes the end of a connection for the end of a body: half a manifest would be
    applied. A byte now and then would hold a thread for as long as its client likes.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        """Count anew, for the next request."""
        # Seconds that a thread has waited: what the application does meanwhile is no fault of
        # the client's.
        self.waited = 0.0
        self.patience = BODY_GRACE_SECONDS

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Some bytes more; ConnectionResetError at the end, TimeoutError when they come slowly."""
        began = time.monotonic()
        data: bytes = super().chunk(size_hint)
        if not data:
            raise ConnectionResetError(ECONNRESET, "a body ended too soon")
        self.waited += time.monotonic() - began
        self.patience += len(data) / BODY_RATE
        if self.waited > self.patience:
            raise TimeoutError("a body comes too slowly")
        return data


class CheckedChunks(ChunkedReader):  # type: ignore[misc]  # the library has no types
    """A body in chunks, whose faults are an OSError: Django takes nothing else for the client's.

    Found after the answer was sent, such a fault must not lead to another answer.
    """

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        try:
            return bytes(super().read(size))
        except ParseException as error:
            raise OSError(EPROTO, f"a body in chunks is malformed: {error}") from error
