"""Controllers: functions over the store, called when an object that they watch changes."""

import asyncio
import heapq
import logging
from collections.abc import Iterable

from simcluster.cluster import Cluster
from simcluster.controllers.table import CONTROLLERS, Controller
from simcluster.errors import ApiError
from simcluster.store import Change

_log = logging.getLogger(__name__)
# Simulated seconds until a refused key is tried again; doubled each time, as client-go does.
_RETRY = 0.2
_LONGEST_RETRY = 300.0
_BATCH = 10

Work = tuple[str, str]


class Manager:
    """Queues the keys that changes concern and reconciles them one by one."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        settings = cluster.settings
        self._controllers = {
            controller.name: controller
            for controller in CONTROLLERS
            if controller.enabled(kubelet=settings.kubelet, controllers=settings.controllers)
        }
        self._by_trigger: dict[str, list[Controller]] = {}
        for controller in self._controllers.values():
            for storage in controller.triggers:
                self._by_trigger.setdefault(storage, []).append(controller)
        self._queue: dict[Work, None] = {}
        self._timers: list[tuple[float, Work]] = []
        self._due: dict[Work, float] = {}
        # How often in a row each key was refused.
        self._refusals: dict[Work, int] = {}
        self._wake = asyncio.Event()

    def changed(self, change: Change) -> None:
        """Queue what a change concerns."""
        for storage in (change.storage, "*"):
            for controller in self._by_trigger.get(storage, ()):
                for key in controller.triggers[storage](self.cluster.store, change):
                    self._queue[controller.name, key] = None
        if self._queue:
            self._wake.set()

    def enqueue(self, name: str, keys: Iterable[str]) -> None:
        """Queue keys for a controller."""
        for key in keys:
            self._queue[name, key] = None
        self._wake.set()

    def later(self, work: Work, seconds: float) -> None:
        """Queue a key after a simulated span."""
        loop = asyncio.get_running_loop()
        due = self._due[work] = loop.time() + self.cluster.clock.real(seconds)
        heapq.heappush(self._timers, (due, work))
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued (timers may be pending)."""
        return not self._queue

    async def run(self) -> None:
        """Reconcile for ever."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._timers and self._timers[0][0] <= now:
                due, work = heapq.heappop(self._timers)
                # A later call has moved the timer: this entry of the heap is out of date.
                if self._due.get(work) == due:
                    del self._due[work]
                    self._queue[work] = None
            if not self._queue:
                await self._sleep(loop)
                continue
            # Few at a time, then requests have their turn.
            for work in list(self._queue)[:_BATCH]:
                del self._queue[work]
                self._reconcile(work)
            await asyncio.sleep(0)

    async def _sleep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake.clear()
        timeout = max(self._timers[0][0] - loop.time(), 0.0) if self._timers else None
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            pass

    def _reconcile(self, work: Work) -> None:
        controller = self._controllers[work[0]]
        record = (
            self.cluster.store.collection(controller.storage).records.get(work[1])
            if controller.storage
            else None
        )
        self._due.pop(work, None)
        # The object is gone; what has to happen then is the garbage collector's work.
        if controller.storage and record is None:
            self._refusals.pop(work, None)
            return
        try:
            again = controller.reconcile(
                self.cluster,
                record.obj if record is not None else {"key": work[1]},
            )
            self._refusals.pop(work, None)
        # Refusals are expected: quotas, conflicts, terminating namespaces.
        except ApiError as error:
            _log.debug("%s of %s is refused: %s", work[0], work[1], error)
            times = self._refusals[work] = self._refusals.get(work, 0) + 1
            again = min(_RETRY * 2.0 ** min(times - 1, 20), _LONGEST_RETRY)
        except Exception:
            _log.exception("%s of %s failed", work[0], work[1])
            again = 1.0
        if again is not None:
            self.later(work, again)
