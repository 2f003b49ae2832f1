"""How many streams over HTTP this process serves, and the body of such an answer."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from threading import Lock

from django.conf import settings

from core.errors import TooManyRequests
from core.stream_limits import StreamPlace


class Places:
    """How many streams this process serves, in all and for each caller."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._taken: Counter[str] = Counter()

    def take(self, caller: str) -> None:
        """Take a place; TooManyRequests when there is none left for the caller or for anyone."""
        with self._lock:
            if self._taken.total() >= settings.STORAGE_WATCH_STREAMS:
                raise TooManyRequests(
                    f"this process serves {settings.STORAGE_WATCH_STREAMS} streams already",
                    retry_after=5,
                )
            if self._taken[caller] >= settings.STORAGE_WATCH_STREAMS_PER_CLIENT:
                raise TooManyRequests(
                    f"you follow {settings.STORAGE_WATCH_STREAMS_PER_CLIENT} streams here already",
                    retry_after=5,
                )
            self._taken[caller] += 1

    def give_back(self, caller: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


_places = Places()


class Seated:
    """An answer's body that holds a place, from the moment it is made: TooManyRequests when there is none. Closing it gives the place
    back, whether or not it was ever read."""

    def __init__(self, caller: str, parts: Callable[[], Generator[bytes, None, None]]) -> None:
        self._place = StreamPlace(caller)
        try:
            _places.take(caller)
        except TooManyRequests:
            self._place.give_back()
            raise
        self._parts = parts()
        self._caller = caller
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        """Stop following."""
        self._parts.close()
        if self._open:
            self._open = False
            _places.give_back(self._caller)
            self._place.give_back()
