"""What one cluster may take of a process: calls at a time, and patience once it has stopped answering."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ClusterUnavailable, TooManyRequests

# Seconds that a caller waits for its turn while none of the calls before it comes back.
PATIENCE = 1.5
# Seconds that a caller waits for its turn in all, however quickly the others come back.
LONGEST_WAIT = 10.0
# API groups whose silence is remembered for each cluster.
GROUPS = 64
# Bytes of a cluster's answers that are read at once: a page of the largest objects, or many of ordinary ones.
MAX_BYTES = 256 * 1024 * 1024


class Share:
    """At most `size` calls at a time; whoever comes later waits while calls come back, and is refused once they do not.

    Their answers have at most `most_bytes` together while they are read.
    """

    def __init__(self, size: int, most_bytes: int = MAX_BYTES) -> None:
        self.size = size
        self.most_bytes = most_bytes
        self._bytes = 0
        self._changed = threading.Condition()
        self._running = 0
        self._moved = time.monotonic()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One call's turn; TooManyRequests when the cluster's calls do not come back."""
        self._begin()
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
            self._end(answered)

    def count(self, size: int) -> None:
        """Count bytes that came, or (less than nothing) of an answer that is read; ClusterUnavailable beyond the most."""
        with self._changed:
            self._bytes += size
            if size > 0 and self._bytes > self.most_bytes:
                raise ClusterUnavailable("the cluster's answer is too large", reason="bad_answer")

    def _begin(self) -> None:
        last = time.monotonic() + LONGEST_WAIT
        with self._changed:
            while self._running >= self.size:
                left = min(self._moved + PATIENCE, last) - time.monotonic()
                if left <= 0:
                    raise TooManyRequests(
                        "too many requests are waiting for this cluster", retry_after=2
                    )
                self._changed.wait(left)
            if self._running == 0 or self._running == self.size - 1:
                self._moved = time.monotonic()
            self._running += 1

    def _end(self, answered: bool) -> None:
        with self._changed:
            self._running -= 1
            if answered:
                self._moved = time.monotonic()
            self._changed.notify()


class Circuit:
    """Opens after three failures in a row, so that a dead cluster answers at once; one caller then probes.

    A call without an answer in time makes it doubtful, unless another call was answered meanwhile: see `doubtful`.
    """

    THRESHOLD = 3

    def __init__(self, seconds: float, name: str = "the cluster") -> None:
        self.seconds = seconds
        self._doubtful = False
        self._name = name
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._reason = ""
        self._answered = 0.0

    def check(self) -> None:
        """ClusterUnavailable while open; when the time is over, one caller passes."""
        with self._lock:
            if self._failures < self.THRESHOLD:
                return
            if time.monotonic() < self._until:
                raise ClusterUnavailable(
                    f"{self._name} did not answer lately ({self._reason}); waiting before the next try",
                    reason=self._reason,
                )
            self._until = time.monotonic() + self.seconds

    def failed(self, reason: str) -> None:
        """Count a failure to connect."""
        with self._lock:
            self._failures += 1
            self._reason = reason
            self._until = time.monotonic() + self.seconds

    def timed_out(self, started: float) -> bool:
        """Whether nothing else was answered since the silent call began (monotonic seconds): then the circuit is doubtful."""
        with self._lock:
            if self._answered > started:
                return False
            self._doubtful = True
            return True

    def doubtful(self) -> bool:
        """Whether the last that is known is a call without an answer."""
        return self._doubtful

    def trip(self, reason: str) -> None:
        """Open at once."""
        with self._lock:
            self._failures = max(self._failures, self.THRESHOLD)
            self._reason = reason
            self._until = time.monotonic() + self.seconds

    def succeeded(self) -> None:
        """Close again."""
        with self._lock:
            self._failures = 0
            self._doubtful = False
            self._answered = time.monotonic()


def api_group(path: str) -> str:
    """Whose answer a path is: its API group, "core" for the oldest; "" for what the server only passes on (logs, proxies, commands)."""
    parts = path.split("?", 1)[0].strip("/").split("/")
    if {"proxy", "log", "exec", "attach", "portforward"} & set(parts[3:]):
        return ""
    if parts[0] == "apis" and len(parts) > 1:
        return parts[1]
    return "core" if parts[0] == "api" else ""


class Groups:
    """A circuit for each API group that was silent: an aggregated API that hangs does not speak for the whole cluster."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._silent: OrderedDict[str, Circuit] = OrderedDict()

    def _circuit(self, group: str) -> Circuit | None:
        with self._lock:
            return self._silent.get(group)

    def check(self, group: str) -> None:
        """ClusterUnavailable while the group's last three calls had no answer."""
        if circuit := self._circuit(group):
            circuit.check()

    def timed_out(self, group: str, started: float) -> None:
        """Count a call without an answer, unless another one of the group was answered since it began."""
        if not group:
            return
        with self._lock:
            circuit = self._silent.setdefault(
                group, Circuit(self.seconds, f"the cluster's API group {group}")
            )
            self._silent.move_to_end(group)
            if len(self._silent) > GROUPS:
                self._silent.popitem(last=False)
        if circuit.timed_out(started):
            circuit.failed("timeout")

    def succeeded(self, group: str) -> None:
        """The group answers."""
        if circuit := self._circuit(group):
            circuit.succeeded()
