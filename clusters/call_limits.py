"""What one cluster may take of a process: calls at a time, and bytes of its answers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ClusterUnavailable, TooManyRequests

# Seconds that a caller waits for a slot while none of the calls before it returns.
STALL_SECONDS = 1.5
# Seconds that a caller waits for a slot in all, however quickly the other calls return.
MAX_WAIT_SECONDS = 10.0
# Bytes of a cluster's answers that are read at once: a page of the largest objects, or many of
# ordinary ones.
MAX_BYTES = 256 * 1024 * 1024


class CallLimiter:
    """At most `size` calls to a cluster at a time, whose answers have `max_bytes` together.

    A caller without a slot waits while other calls return, and is refused once they do not.
    """

    def __init__(self, size: int, max_bytes: int = MAX_BYTES) -> None:
        self.size = size
        self.max_bytes = max_bytes
        self._bytes = 0
        self._changed = threading.Condition()
        self._running = 0
        # When a call was answered last (monotonic seconds): how a waiting caller sees a stall.
        self._last_progress = time.monotonic()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot for one call; TooManyRequests when the cluster's calls do not return."""
        self._acquire()
        answered = False
        try:
            yield
            answered = True
        except ClusterUnavailable:
            raise
        except Exception:
            # Any other error is an answer too: the cluster refused, in time.
            answered = True
            raise
        finally:
            self._release(answered)

    def count_bytes(self, size: int) -> None:
        """Count bytes of an answer that were received, or with a negative size were let go.

        ClusterUnavailable when the answers that are being read have more than `max_bytes`.
        """
        with self._changed:
            self._bytes += size
            if size > 0 and self._bytes > self.max_bytes:
                raise ClusterUnavailable("the cluster's answer is too large", reason="bad_answer")

    def _acquire(self) -> None:
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        with self._changed:
            while self._running >= self.size:
                patience = min(self._last_progress + STALL_SECONDS, deadline) - time.monotonic()
                if patience <= 0:
                    raise TooManyRequests(
                        "too many requests are waiting for this cluster", retry_after=2
                    )
                self._changed.wait(patience)
            # A stall is counted from when all slots came into use, not from an answer of long ago.
            if self._running == 0 or self._running == self.size - 1:
                self._last_progress = time.monotonic()
            self._running += 1

    def _release(self, answered: bool) -> None:
        with self._changed:
            self._running -= 1
            if answered:
                self._last_progress = time.monotonic()
            self._changed.notify()
