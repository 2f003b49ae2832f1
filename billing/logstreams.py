"""Logs as server-sent events: only a few at a time, since each occupies a web server thread."""

import threading
from collections.abc import Iterator

from django.conf import settings

from billing.models import Order
from billing.services import pods
from core.errors import TooManyRequests
from workloads.objects.log_lines import LinePiece
from workloads.objects.logs import FollowedLog, LogOptions, split_pieces

# Seconds without a line before a comment; a reader who left is noticed at the second one.
PAUSE = 5.0
_lock = threading.Lock()
_open: set["OrderLogStream"] = set()


def _event(piece: LinePiece) -> bytes:
    """One event.

    A carriage return ends a line of an event stream, so the text after it gets its own `data:`.
    """
    text = piece.data.rstrip(b"\r") if piece.ends else piece.data
    return b"".join(b"data: " + part + b"\n" for part in text.split(b"\r")) + b"\n"


class OrderLogStream:
    """An iterable of events; `close` frees its place among VKUBE_LOG_STREAMS."""

    def __init__(self, order: Order, options: LogOptions) -> None:
        """TooManyRequests when too many are open; fails as reading the log does."""
        self._log: FollowedLog | None = None
        with _lock:
            if len(_open) >= settings.VKUBE_LOG_STREAMS:
                raise TooManyRequests(
                    "too many logs are being followed; try again later", retry_after=10
                )
            _open.add(self)
        pause = min(PAUSE, settings.STREAM_REAUTHORISE_SECONDS)
        try:
            self._log = pods.follow_log(order, options, pause=pause)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """One event for each line; comments in silent times show whether the reader is there."""
        for pieces in split_pieces(self._log or ()):
            yield b":\n\n" if pieces is None else b"".join(map(_event, pieces))

    def close(self) -> None:
        """Called by the web server when the reader is gone, and at the end."""
        with _lock:
            _open.discard(self)
        if self._log is not None:
            self._log.close()
