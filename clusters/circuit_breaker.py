"""Circuit breakers: a cluster that does not answer is refused at once instead of waited for."""

import threading
import time
from collections import OrderedDict

from core.errors import ClusterUnavailable

# API groups whose time-outs are remembered for each cluster.
MAX_GROUPS = 64
# Subresources that the API server passes on to a kubelet, a pod or a service.
_PASSED_ON = frozenset({"proxy", "log", "exec", "attach", "portforward"})


class CircuitBreaker:
    """Opens after three failures in a row, so that a dead cluster answers at once.

    When its time is over, one caller passes as a probe. A call without an answer in time makes it
    doubtful, unless another call was answered meanwhile: see `is_doubtful`.
    """

    THRESHOLD = 3

    def __init__(self, seconds: float, name: str = "the cluster") -> None:
        self.seconds = seconds
        self._name = name
        self._lock = threading.Lock()
        self._failures = 0
        self._reason = ""
        self._is_doubtful = False
        # Both on the clock of time.monotonic().
        self._open_until = 0.0
        self._last_answer = 0.0

    @property
    def failures(self) -> int:
        """How many calls have failed since the last one that was answered."""
        return self._failures

    def check(self) -> None:
        """ClusterUnavailable while open; when the time is over, one caller passes."""
        with self._lock:
            if self._failures < self.THRESHOLD:
                return
            if time.monotonic() < self._open_until:
                raise ClusterUnavailable(
                    f"{self._name} did not answer lately ({self._reason});"
                    " waiting before the next try",
                    reason=self._reason,
                )
            # This caller is the probe: everybody else goes on being refused until it returns.
            self._open_until = time.monotonic() + self.seconds

    def record_failure(self, reason: str) -> None:
        """Count a failure to connect; `reason` is one word, e.g. `refused`."""
        with self._lock:
            self._failures += 1
            self._reason = reason
            self._open_until = time.monotonic() + self.seconds

    def record_timeout(self, started: float) -> bool:
        """Count a call without an answer in time; `started` is when it began, in monotonic seconds.

        True when no other call was answered since then: only that makes the circuit doubtful.
        """
        with self._lock:
            if self._last_answer > started:
                return False
            self._is_doubtful = True
            return True

    def is_doubtful(self) -> bool:
        """Whether the last call of all had no answer in time."""
        return self._is_doubtful

    def trip(self, reason: str) -> None:
        """Open at once."""
        with self._lock:
            self._failures = max(self._failures, self.THRESHOLD)
            self._reason = reason
            self._open_until = time.monotonic() + self.seconds

    def record_success(self) -> None:
        """Close again: the cluster answered, even if with an error."""
        with self._lock:
            self._failures = 0
            self._is_doubtful = False
            self._last_answer = time.monotonic()


class GroupBreakers:
    """A circuit breaker for each API group that timed out.

    An aggregated API that hangs says nothing about the rest of the cluster.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        # The group that timed out last stands at the end.
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def check(self, group: str) -> None:
        """ClusterUnavailable while the group's last three calls had no answer."""
        breaker = self._breaker(group)
        if breaker:
            breaker.check()

    def record_timeout(self, group: str, started: float) -> None:
        """Count a call without an answer, unless another call of the group was answered since."""
        if not group:
            return
        with self._lock:
            name = f"the cluster's API group {group}"
            breaker = self._breakers.setdefault(group, CircuitBreaker(self.seconds, name))
            self._breakers.move_to_end(group)
            if len(self._breakers) > MAX_GROUPS:
                self._breakers.popitem(last=False)
        if breaker.record_timeout(started):
            breaker.record_failure("timeout")

    def record_success(self, group: str) -> None:
        """The group answers."""
        breaker = self._breaker(group)
        if breaker:
            breaker.record_success()

    def _breaker(self, group: str) -> CircuitBreaker | None:
        with self._lock:
            return self._breakers.get(group)


def api_group(path: str) -> str:
    """The API group that answers a path, "core" for `/api/v1`.

    "" for what the API server only passes on (logs, proxies, commands) and for paths of no group.
    """
    parts = path.split("?", 1)[0].strip("/").split("/")
    if _PASSED_ON & set(parts[3:]):
        return ""
    if parts[0] == "apis" and len(parts) > 1:
        return parts[1]
    return "core" if parts[0] == "api" else ""
