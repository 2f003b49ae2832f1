"""What waits to be written for one cluster.

The queue is bounded in bytes: a slow database stops the reading, and nothing is dropped.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from clusters.kinds import Kind
from storage_api.services.bulk import WriteRecord
from storage_api.services.events import EventReport
from storage_api.services.sync import WatchScope

# The overhead of an item in addition to its document, roughly.
ITEM_OVERHEAD_BYTES = 500


@dataclass(frozen=True, slots=True)
class Position:
    """How far a kind has been followed once everything before this item is written.

    `listed`: a complete list ended here; `exact` says whether all of it could be stored as the
    cluster sent it. `skipped_after`: of what happened between that version ("" when unknown) and
    the list only the outcome is known; None when nothing was skipped.
    """

    scope: WatchScope
    resource_version: str
    listed: bool = False
    exact: bool = True
    skipped_after: str | None = None


@dataclass(frozen=True, slots=True)
class KindLossy:
    """A document of the kind could not be stored as the cluster sent it."""

    scope: WatchScope


@dataclass(frozen=True, slots=True)
class WatchLost:
    """The kind's watch cannot go on after version `after`; only a list can tell what happened."""

    scope: WatchScope
    after: str


@dataclass(frozen=True, slots=True)
class KindRemoved:
    """The cluster no longer serves the kind."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class NamespaceRemoved:
    """The namespace is no longer an accessible one of the cluster; the kind's rows there go."""

    scope: WatchScope


@dataclass(frozen=True, slots=True)
class ClusterWideWatch:
    """The kind is followed in the whole cluster from now on, not namespace by namespace."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """At `moment` (the database's clock) the cluster answered.

    `revision`: its newest resourceVersion. `identity`: the uid of its kube-system.
    `phases`: scope -> (phase, error) of the watches whose phase has changed.
    """

    moment: datetime
    revision: str
    identity: str
    phases: dict[WatchScope, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FlushMarker:
    """Its future is done when everything before it is committed."""

    reached: "asyncio.Future[None]"


QueueItem = (
    WriteRecord
    | EventReport
    | Position
    | KindLossy
    | WatchLost
    | KindRemoved
    | NamespaceRemoved
    | ClusterWideWatch
    | Heartbeat
    | FlushMarker
)


def is_news(item: QueueItem) -> bool:
    """Whether somebody waits for the item to be committed.

    Where a watch goes on after a restart may be committed later, together with something else.
    """
    return not isinstance(item, Position) or item.listed


def _size_bytes(item: QueueItem) -> int:
    match item:
        case WriteRecord(data=bytes(data)):
            return len(data) + len(item.omitted or b"") + ITEM_OVERHEAD_BYTES
        case EventReport():
            return len(item.data) + ITEM_OVERHEAD_BYTES
    return ITEM_OVERHEAD_BYTES


class WriteQueue:
    """First in, first out; holds at most `limit()` bytes, or one larger item alone."""

    def __init__(self, limit: Callable[[], int]) -> None:
        # A function: the share of one cluster shrinks when the process takes over more clusters.
        self._limit = limit
        self._items: deque[QueueItem] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()

    async def put(self, *items: QueueItem) -> None:
        """Append the items together, as soon as they fit."""
        size = sum(map(_size_bytes, items))
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._bytes or self._bytes + size <= self._limit()
            )
            self._items.extend(items)
            self._bytes += size
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    async def take(self, limit: int) -> list[QueueItem]:
        """1 to `limit` items; waits for the first. They take up room until `done`."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            return self._pop(limit)

    async def wait_for_news(self, seconds: float) -> None:
        """Return once an item waits that is more than a position, at the latest after that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: any(map(is_news, self._items)))

    async def take_waiting(self, limit: int) -> list[QueueItem]:
        """0 to `limit` items; waits for none."""
        async with self._changed:
            return self._pop(limit)

    def _pop(self, limit: int) -> list[QueueItem]:
        return [self._items.popleft() for _ in range(min(limit, len(self._items)))]

    async def done(self, items: list[QueueItem]) -> None:
        """The items are written: others may take their room."""
        async with self._changed:
            self._bytes -= sum(map(_size_bytes, items))
            self._changed.notify_all()

    async def flush(self) -> None:
        """Wait until everything that is in the queue now is committed."""
        marker = FlushMarker(asyncio.get_running_loop().create_future())
        await self.put(marker)
        await marker.reached
