"""How many streams over HTTP this process serves, and the body of such an answer."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from threading import Lock

from django.conf import settings

from core.errors import TooManyRequests
from core.stream_limits import StreamSlot


class StreamLimiter:
    """Counts the streams of this process, in all and for each caller."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    def acquire(self, caller: str) -> None:
        """Count one more stream; TooManyRequests when the caller or the process has enough."""
        with self._lock:
            if self._counts.total() >= settings.STORAGE_WATCH_STREAMS:
                raise TooManyRequests(
                    f"this process serves {settings.STORAGE_WATCH_STREAMS} streams already",
                    retry_after=5,
                )
            if self._counts[caller] >= settings.STORAGE_WATCH_STREAMS_PER_CLIENT:
                raise TooManyRequests(
                    f"you follow {settings.STORAGE_WATCH_STREAMS_PER_CLIENT} streams here already",
                    retry_after=5,
                )
            self._counts[caller] += 1

    def release(self, caller: str) -> None:
        """Count one stream less."""
        with self._lock:
            self._counts[caller] -= 1
            if not self._counts[caller]:
                # Callers come and go: the counter must not grow with each of them.
                del self._counts[caller]


_limiter = StreamLimiter()


class LimitedStream:
    """The body of a streamed answer, counted from its creation until it is closed.

    TooManyRequests when the limits are reached. Closing it ends the count, whether or not the
    body was ever read.
    """

    def __init__(
        self,
        caller: str,
        parts: Callable[[], Generator[bytes, None, None]],
    ) -> None:
        self._place = StreamSlot(caller)
        try:
            _limiter.acquire(caller)
        except TooManyRequests:
            self._place.give_back()
            raise
        self._parts = parts()
        self._caller = caller
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        """End the stream."""
        self._parts.close()
        # Servers may close a body more than once.
        if self._open:
            self._open = False
            _limiter.release(self._caller)
            self._place.give_back()
