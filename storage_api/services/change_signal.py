"""Wakes the streams of this process as soon as the log has something for them.

One thread asks for all: a stream that slept would learn of a change half a second late, and many
that looked often would keep the database busy. A trigger with NOTIFY is no choice: its commits
come one after the other.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db import DatabaseError, connection

from storage_api.services import change_log

log = logging.getLogger(__name__)
# How often the thread looks, and for how long it stays when nobody waits.
LOOK_SECONDS = 0.02
LINGER_SECONDS = 2.0
# After an error of the database; waiting streams look for themselves meanwhile.
PAUSE_SECONDS = 1.0
# Looks that are remembered: a stream that was busy for longer looks for itself.
REMEMBERED = 256
_LAST_NUMBER = "SELECT last_value FROM storage_change_seq"
# Metrics and gaps have numbers of the same sequence.
_CHANGED = """
SELECT cluster_id, resource_type FROM storage_change WHERE seq > %(after)s AND seq <= %(upto)s
UNION SELECT cluster_id, type FROM storage_metric_change WHERE seq > %(after)s AND seq <= %(upto)s
UNION SELECT cluster_id, resource_type FROM storage_gap WHERE seq > %(after)s AND seq <= %(upto)s
"""
# A cluster's name and a resource type.
ChangedType = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Interest:
    """Whose changes a stream gives out: of these types in these clusters."""

    clusters: Collection[str]
    types: Collection[str]

    def includes(self, changed: Collection[ChangedType]) -> bool:
        """Whether any of the changes is one of them."""
        return any(
            cluster in self.clusters and stored_as in self.types for cluster, stored_as in changed
        )


@dataclass(eq=False, slots=True)
class _Waiter:
    interest: Interest
    wake: Callable[[], object]


class ChangeSignal:
    """The streams of one process, and the thread that looks at the log for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_running = False
        self._thread: threading.Thread | None = None
        self._waiters: set[_Waiter] = set()
        self._used_at = 0.0
        # How far the log was looked at, and what each of the last looks brought.
        self._place = 0
        self._count = 0
        self._looks: deque[frozenset[ChangedType]] = deque(maxlen=REMEMBERED)

    @property
    def place(self) -> int:
        """The sequence number up to which streams have been told of changes."""
        return self._place

    def mark(self) -> int:
        """A moment to wait from: to be asked for before the log is read."""
        with self._lock:
            self._used_at = time.monotonic()
            if not self._is_running:
                self._place = change_log.horizon()
                self._is_running = True
                self._thread = threading.Thread(target=self._run, name="change-signal", daemon=True)
                self._thread.start()
            return self._count

    def close(self) -> None:
        """End the thread, and its connection with it, unless a stream waits."""
        thread = self._thread
        with self._lock:
            self._used_at = 0.0
        if thread is not None and not self._waiters:
            thread.join()

    def wait(self, since: int, interest: Interest, seconds: float) -> None:
        """Return when something of interest has happened since the mark, or after the seconds."""
        is_woken = threading.Event()
        waiter = _Waiter(interest, is_woken.set)
        if self._add(waiter, since):
            is_woken.wait(seconds)
            self._remove(waiter)

    async def wait_async(self, since: int, interest: Interest, seconds: float) -> None:
        """As `wait`, in an event loop."""
        is_woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiter = _Waiter(interest, lambda: loop.call_soon_threadsafe(is_woken.set))
        if not self._add(waiter, since):
            return
        try:
            async with asyncio.timeout(seconds):
                await is_woken.wait()
        except TimeoutError:
            pass
        finally:
            self._remove(waiter)

    def _add(self, waiter: _Waiter, since: int) -> bool:
        """False when there is nothing to wait for: it has happened already, or nobody looks."""
        with self._lock:
            self._used_at = time.monotonic()
            missed = self._count - since
            if missed > len(self._looks):
                return False
            recent = list(self._looks)[len(self._looks) - missed :]
            if any(waiter.interest.includes(look) for look in recent):
                return False
            self._waiters.add(waiter)
            return True

    def _remove(self, waiter: _Waiter) -> None:
        with self._lock:
            self._waiters.discard(waiter)

    def _run(self) -> None:
        """Look at the log until nobody has waited for a while."""
        try:
            while self._is_needed():
                try:
                    self._look()
                    time.sleep(LOOK_SECONDS)
                except DatabaseError as error:
                    log.warning("the log cannot be followed: %s", str(error).splitlines()[:1])
                    connection.close()
                    time.sleep(PAUSE_SECONDS)
        except Exception:
            # Streams look for themselves, and the next of them starts another thread.
            log.exception("the log is not followed any more")
        finally:
            connection.close()
            with self._lock:
                if self._thread is threading.current_thread():
                    self._is_running = False

    def _is_needed(self) -> bool:
        with self._lock:
            is_used = bool(self._waiters) or time.monotonic() - self._used_at < LINGER_SECONDS
            self._is_running = is_used
            return is_used

    def _look(self) -> None:
        """Wake those for whom there is something new."""
        connection.close_if_unusable_or_obsolete()
        with connection.cursor() as cursor:
            cursor.execute(_LAST_NUMBER)
            if int(cursor.fetchone()[0]) <= self._place:
                return
            # What is drawn and not settled yet is left for the next look.
            settled = change_log.horizon()
            if settled <= self._place:
                return
            cursor.execute(_CHANGED, {"after": self._place, "upto": settled})
            changed = frozenset((str(cluster), str(name)) for cluster, name in cursor.fetchall())
        with self._lock:
            self._place = settled
            self._count += 1
            self._looks.append(changed)
            woken = [waiter for waiter in self._waiters if waiter.interest.includes(changed)]
            self._waiters.difference_update(woken)
        for waiter in woken:
            waiter.wake()


signal = ChangeSignal()
