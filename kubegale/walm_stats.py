"""Counts of the web server's answers for Walm's /stats: status, time and size."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from mmap import mmap

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

# As many processes can count at a time. What one has counted stays when it ends.
SLOTS = 16
STATUSES = 600
# The numbers of a slot: totals of time and size, the second of the current counts, then the answers
# by status in all, and in that second.
NANOSECONDS = 0
SIZE = 1
SECOND = 2
TOTALS = 3
CURRENT = TOTALS + STATUSES
SLOT_SIZE = CURRENT + STATUSES
NOTHING = memoryview(bytes(8 * STATUSES)).cast("q")


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
    """Totals since the server began, and the counts of the current second, of all web processes.

    Each process counts in a slot of its own, in memory that they share by fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.time()
        self._slots = memoryview(mmap(-1, SLOTS * SLOT_SIZE * 8)).cast("q")
        self.choose_slot(0)

    def choose_slot(self, number: int) -> None:
        """Count in this slot from now on, behind what others have counted there."""
        begin = number % SLOTS * SLOT_SIZE
        self._slot = self._slots[begin : begin + SLOT_SIZE]

    def record(self, status: int, seconds: float, size: int) -> None:
        """Count one answer; `size` in bytes."""
        code = status if 0 <= status < STATUSES else 0
        second = int(time.time())
        slot = self._slot
        with self._lock:
            if slot[SECOND] != second:
                slot[CURRENT:SLOT_SIZE] = NOTHING
                slot[SECOND] = second
            slot[TOTALS + code] += 1
            slot[CURRENT + code] += 1
            slot[NANOSECONDS] += int(seconds * 1e9)
            slot[SIZE] += size

    def report(self) -> dict[str, object]:
        """Everything, under the names of the original's statistics."""
        now = time.time()
        totals: Counter[str] = Counter()
        current: Counter[str] = Counter()
        seconds = 0.0
        size = 0
        for begin in range(0, SLOTS * SLOT_SIZE, SLOT_SIZE):
            slot = self._slots[begin : begin + SLOT_SIZE].tolist()
            totals.update(_by_status(slot[TOTALS:CURRENT]))
            if slot[SECOND] == int(now):
                current.update(_by_status(slot[CURRENT:]))
            seconds += slot[NANOSECONDS] / 1e9
            size += slot[SIZE]
        total = totals.total()
        moment = datetime.fromtimestamp(now, UTC)
        average = seconds / total if total else 0.0
        return {
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "uptime": go_duration(now - self._started),
            "uptime_sec": now - self._started,
            "time": f"{moment:%Y-%m-%d %H:%M:%S.%f} +0000 UTC",
            "unixtime": int(now),
            "status_code_count": dict(current),
            "total_status_code_count": dict(totals),
            "count": current.total(),
            "total_count": total,
            "total_response_time": go_duration(seconds),
            "total_response_time_sec": seconds,
            "total_response_size": size,
            "average_response_size": size // total if total else 0,
            "average_response_time": go_duration(average),
            "average_response_time_sec": average,
            "total_metrics_counts": {},
            "average_metrics_timers": {},
        }


def _by_status(counts: list[int]) -> dict[str, int]:
    return {str(status): count for status, count in enumerate(counts) if count}


STATISTICS = RequestStatistics()


class CountAnswers:
    """Middleware: counts every answer in STATISTICS.

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
