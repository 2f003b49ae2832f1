"""Answers that last: each followed log or feed over HTTP holds a thread of the web server, so that they may not take them all."""

from collections import Counter
from threading import Event, Lock
from typing import ClassVar

from django.conf import settings

from core.errors import TooManyRequests

# Set when this process is asked to end: what would last ends at once, in the words of its kind, and
# its clients come back elsewhere.
stopping = Event()


class StreamPlace:
    """One place among the lasting answers of this process, taken by making it.

    `caller` names whose share it comes out of: a user, an order, an address. TooManyRequests when
    WEB_STREAMS are taken, or WEB_STREAMS_PER_CALLER by this caller.
    """

    _lock: ClassVar[Lock] = Lock()
    _taken: ClassVar[Counter[str]] = Counter()

    def __init__(self, caller: str) -> None:
        with StreamPlace._lock:
            if StreamPlace._taken.total() >= settings.WEB_STREAMS:
                raise TooManyRequests(
                    f"this process serves {settings.WEB_STREAMS} streams already: try again later",
                    retry_after=5,
                )
            if StreamPlace._taken[caller] >= settings.WEB_STREAMS_PER_CALLER:
                raise TooManyRequests(
                    f"this process serves {settings.WEB_STREAMS_PER_CALLER} streams of yours already: "
                    "use sockets, or try again later",
                    retry_after=5,
                )
            StreamPlace._taken[caller] += 1
        self._caller = caller
        self._held = True

    def give_back(self) -> None:
        """Give the place back; once is enough, more does no harm."""
        with StreamPlace._lock:
            if self._held:
                self._held = False
                StreamPlace._taken[self._caller] -= 1
                if not StreamPlace._taken[self._caller]:
                    del StreamPlace._taken[self._caller]
