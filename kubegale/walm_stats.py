"""Counts of this process's answers for Walm's /stats: status, time and size."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase


def go_duration(seconds: float) -> str:
    """Seconds as Go prints a duration: `1h2m3.4s`, `15.2ms`, `0s`."""
    if seconds <= 0:
        return "0s"
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if seconds < size * 1000:
            return f"{seconds / size:.6f}".rstrip("0").rstrip(".") + unit
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    text = f"{left:.9f}".rstrip("0").rstrip(".") + "s"
    if hours or minutes:
        text = f"{int(minutes)}m{text}"
    return f"{int(hours)}h{text}" if hours else text


class RequestStatistics:
    """Totals since the process began, and the counts of the current second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.time()
        self._total: Counter[str] = Counter()
        self._second = 0
        self._current: Counter[str] = Counter()
        self._seconds = 0.0
        self._size = 0

    def record(self, status: int, seconds: float, size: int) -> None:
        """Count one answer; `size` in bytes."""
        with self._lock:
            self._start_second()
            self._total[str(status)] += 1
            self._current[str(status)] += 1
            self._seconds += seconds
            self._size += size

    def _start_second(self) -> None:
        """Begin to count the current second, unless that is done."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._current = Counter()

    def report(self) -> dict[str, object]:
        """Everything, under the names of the original's statistics."""
        with self._lock:
            self._start_second()
            total = self._total.total()
            now = time.time()
            moment = datetime.fromtimestamp(now, UTC)
            average = self._seconds / total if total else 0.0
            return {
                "pid": os.getpid(),
                "hostname": socket.gethostname(),
                "uptime": go_duration(now - self._started),
                "uptime_sec": now - self._started,
                "time": f"{moment:%Y-%m-%d %H:%M:%S.%f} +0000 UTC",
                "unixtime": int(now),
                "status_code_count": dict(self._current),
                "total_status_code_count": dict(self._total),
                "count": self._current.total(),
                "total_count": total,
                "total_response_time": go_duration(self._seconds),
                "total_response_time_sec": self._seconds,
                "total_response_size": self._size,
                "average_response_size": self._size // total if total else 0,
                "average_response_time": go_duration(average),
                "average_response_time_sec": average,
                "total_metrics_counts": {},
                "average_metrics_timers": {},
            }


STATISTICS = RequestStatistics()


class CountAnswers:
    """Middleware: counts every answer of this process in STATISTICS.

    The size of a streamed answer is not known, and counts as 0.
    """

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponseBase],
    ) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Count one answer."""
        started = time.perf_counter()
        response = self.get_response(request)
        size = len(response.content) if isinstance(response, HttpResponse) else 0
        STATISTICS.record(
            response.status_code,
            time.perf_counter() - started,
            size,
        )
        return response
