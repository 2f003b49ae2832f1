"""Logs as server-sent events: a few at a time, for each holds a thread of the web server."""

import threading
from collections.abc import Iterator

from django.conf import settings

from billing.models import Order
from billing.services import pods
from kubegale.errors import TooManyRequests
from workloads.podlogs import LogOptions
from workloads.streams.loglines import Piece, Splitter

MAX_EVENT = 1024 * 1024

_lock = threading.Lock()
_open: set["LogStream"] = set()


def _event(piece: Piece) -> bytes:
    """One event. A carriage return would end its line there, so what follows one gets a `data:` of its own."""
    text = piece.data.rstrip(b"\r") if piece.ends else piece.data
    return b"".join(b"data: " + part + b"\n" for part in text.split(b"\r")) + b"\n"


class LogStream:
    """An iterable of events; `close` gives its place back."""

    def __init__(self, order: Order, options: LogOptions) -> None:
        """TooManyRequests when too many are open; fails as reading the log does."""
        self._parts: Iterator[bytes] = iter(())
        with _lock:
            if len(_open) >= settings.VKUBE_LOG_STREAMS:
                raise TooManyRequests(
                    "too many logs are being followed; try again later", retry_after=10
                )
            _open.add(self)
        try:
            self._parts = pods.follow_log(order, options)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """One event for each line."""
        splitter = Splitter(MAX_EVENT)
        for part in self._parts:
            if events := b"".join(map(_event, splitter.feed(part))):
                yield events
        for piece in splitter.end():
            yield _event(piece)

    def close(self) -> None:
        """Called by the web server when the reader is gone, and at the end."""
        with _lock:
            _open.discard(self)
        if (close := getattr(self._parts, "close", None)) is not None:
            close()
