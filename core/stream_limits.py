"""A limit for streamed answers, so that they cannot take every thread of the web server.

Each followed log or feed over HTTP holds one of them.
"""

from collections import Counter
from threading import Event, Lock
from typing import ClassVar

from django.conf import settings

from core.errors import TooManyRequests

# When a refused caller had better try again.
RETRY_SECONDS = 5
# Set when this process is asked to end: what would last ends at once, in the words of its kind, and
# its clients come back elsewhere.
stopping = Event()


class StreamSlot:
    """One of the streams that this process may serve at the same time, taken by making it.

    `caller` names whose share it counts in: a user, an order, an address. TooManyRequests beyond
    WEB_STREAMS in all, or WEB_STREAMS_PER_CALLER of this caller.
    """

    # Sentences of its refusals, with the limit that is reached.
    process_full: ClassVar[str] = "this process serves {limit} streams already: try again later"
    caller_full: ClassVar[str] = (
        "this process serves {limit} streams of yours already: use sockets, or try again later"
    )
    _lock: ClassVar[Lock] = Lock()
    _streams_by_caller: ClassVar[Counter[str]] = Counter()

    def __init__(self, caller: str) -> None:
        total = settings.WEB_STREAMS
        per_caller = settings.WEB_STREAMS_PER_CALLER
        streams = StreamSlot._streams_by_caller
        with StreamSlot._lock:
            if streams.total() >= total:
                raise _refusal(self.process_full, total)
            if streams[caller] >= per_caller:
                raise _refusal(self.caller_full, per_caller)
            streams[caller] += 1
        self._caller = caller
        self._is_open = True

    def give_back(self) -> None:
        """Release the place; calling it again does nothing."""
        streams = StreamSlot._streams_by_caller
        with StreamSlot._lock:
            if self._is_open:
                self._is_open = False
                streams[self._caller] -= 1
                # Callers come and go: without this the counter would grow for ever.
                if not streams[self._caller]:
                    del streams[self._caller]


def _refusal(sentence: str, limit: int) -> TooManyRequests:
    return TooManyRequests(sentence.format(limit=limit), retry_after=RETRY_SECONDS)
