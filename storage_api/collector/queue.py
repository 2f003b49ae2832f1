"""What waits to be written for one cluster: bounded in bytes, so that a slow database stops the reading instead of dropping."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from clusters.kinds import Kind
from storage_api.services.bulk import Record
from storage_api.services.events import EventReport
from storage_api.services.sync import WatchScope

ITEM_OVERHEAD_BYTES = 500


@dataclass(frozen=True, slots=True)
class Position:
    """How far a kind has been followed once everything before this item is written.

    `listed`: a complete list ended here; `exact` says whether all of it could be stored as the cluster sent it. `skipped_after`: what
    happened between that version ("" is unknown) and the list is only known by its outcome; None when nothing was skipped.
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
    """The kind's watch broke for good; what happened after that version has to be found by a list, whoever makes it."""

    scope: WatchScope
    after: str


@dataclass(frozen=True, slots=True)
class KindRemoved:
    """The cluster no longer serves the kind."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class NamespaceRemoved:
    """The namespace is none of the cluster's accessible ones any more: nothing will be known of the kind there."""

    scope: WatchScope


@dataclass(frozen=True, slots=True)
class ClusterWideWatch:
    """The kind is followed in the whole cluster from now on, no longer namespace by namespace."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """At `moment` (the database's clock) the cluster answered, and the watches stood in these phases: scope -> (phase, error)."""

    moment: datetime
    revision: str
    identity: str
    phases: dict[WatchScope, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FlushMarker:
    """Tells when everything before it is committed."""

    reached: "asyncio.Future[None]"


QueueItem = (
    Record
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


def _size(item: QueueItem) -> int:
    match item:
        case Record(data=bytes(data)):
            return len(data) + ITEM_OVERHEAD_BYTES
        case EventReport():
            return len(item.data) + ITEM_OVERHEAD_BYTES
    return ITEM_OVERHEAD_BYTES


class WriteQueue:
    """First in, first out, of at most so many bytes as `limit` says by now; one larger item is let through alone."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._items: deque[QueueItem] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()

    async def put(self, *items: QueueItem) -> None:
        """Append the items together, as soon as there is room."""
        size = sum(map(_size, items))
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._bytes or self._bytes + size <= self._limit()
            )
            self._items.extend(items)
            self._bytes += size
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    async def take(self, most: int) -> list[QueueItem]:
        """At least one item, at most so many. They count as waiting until `done`."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    async def more(self, most: int) -> list[QueueItem]:
        """What else waits, at most so many."""
        async with self._changed:
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    async def done(self, items: list[QueueItem]) -> None:
        """The items are written: their room is free."""
        async with self._changed:
            self._bytes -= sum(map(_size, items))
            self._changed.notify_all()

    async def flush(self) -> None:
        """Until everything that waits now is committed."""
        mark = FlushMarker(asyncio.get_running_loop().create_future())
        await self.put(mark)
        await mark.reached
