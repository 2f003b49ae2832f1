"""Following one kind of one cluster: a complete list, then the watch from where it ended, for as long as it takes.

Where the whole cluster may not be read, the same in each of its accessible namespaces, until it may.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
import orjson

from clusters.client import CHUNKS, Chunk, Walk, status_error
from clusters.resource_types import EVENTS, resource_type
from clusters.streams import StreamClient
from core.errors import (
    ClusterUnavailable,
    DomainError,
    Expired,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
)
from storage_api.collector import reports
from storage_api.collector.documents import DECODE_ERRORS, ObjectHead, decode_head, stored_document
from storage_api.collector.queue import (
    ClusterWideWatch,
    KindLossy,
    Position,
    QueueItem,
    WatchLost,
    WriteQueue,
)
from storage_api.models import KindSync
from storage_api.services import sync
from storage_api.services.bulk import Record
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_FRAME_BYTES = 32 * 1024 * 1024
FIRST_DELAY, LAST_DELAY = 0.2, 30.0
# Seconds until a namespace that refuses a kind is asked again by itself; a change of rights is noticed sooner.
REFUSED_DELAY = 600.0
SHORT_WATCH_SECONDS = 1.0
QUEUED_TOGETHER_BYTES = 64 * 1024
# The first page is smaller by so much: the size of the kind's objects is not known yet.
FIRST_PAGE_DIVISOR = 5
Phase = KindSync.Phase
OVER_LIMIT_MESSAGE = (
    "{plural} would need more watches than COLLECTOR_NAMESPACE_WATCHES allows: they are read live"
)


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """How a kind is followed: most items and aimed-at bytes of a page, seconds of silence and of a whole watch, seconds until everything
    is listed again."""

    page: int = 500
    page_bytes: int = 1024 * 1024
    silence: float = 150.0
    watch: int = 300
    relist: float = 6 * 3600.0
    longest_delay: float = LAST_DELAY


class DatabaseRunner(Protocol):
    """Runs a function that talks to the database, away from the event loop."""

    def __call__(self, function: Callable[..., T], *args: Any) -> Awaitable[T]: ...


@dataclass(frozen=True)
class CollectorContext:
    """What all followers of one cluster share; `namespaces` are those to go on with where the whole cluster may not be read, `positions`
    (version, the last one before it was lost) of watches that were there before."""

    client: StreamClient
    cluster_name: str
    queue: WriteQueue
    database: DatabaseRunner
    listing: asyncio.Semaphore
    pace: WatchConfig
    namespaces: tuple[str, ...] = ()
    positions: dict[WatchScope, tuple[str, str]] = field(default_factory=dict)
    kinds_changed: asyncio.Event = field(default_factory=asyncio.Event)


class OutOfOrder(ClusterUnavailable):
    """A watch went backwards: what it said, and what it left out, cannot be known. Only a list can tell."""

    code = "disorder"


class WatchFrame(msgspec.Struct):
    """One event of a watch."""

    type: str
    object: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


FRAMES = msgspec.json.Decoder(WatchFrame)


class Reflector:
    """Follows one kind, in the whole cluster or in one namespace; `phase` and `error` say how that goes, `open_since` since when its
    watch stands (loop time). `parts` are the followers of the namespaces, while it is followed in these."""

    def __init__(self, around: CollectorContext, scope: WatchScope) -> None:
        self.around = around
        self.scope = scope
        self.kind = kind = scope.kind
        self.version, self._lost_after = around.positions.pop(scope, ("", ""))
        self.may_split = False
        self.parts: dict[str, Reflector] = {}
        self._rights_changed = asyncio.Event()
        self._response: aiohttp.ClientResponse | None = None
        self._is_listing = False
        self._may_only_list = False
        self.stored_as = resource_type(kind)
        self.open_since: float | None = None
        self.phase: str = Phase.LISTING
        self.error = ""
        self._delay = FIRST_DELAY
        self._relist_at = self._next_relist()
        # Lists that broke off count too: what they found is written already.
        self._differs = False

    def _next_relist(self) -> float:
        spread = random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        return asyncio.get_running_loop().time() + self.around.pace.relist * spread

    async def run(self) -> None:
        """Until cancelled. Whatever goes wrong is tried again, after a while that grows."""
        while True:
            try:
                await self._round()
            except asyncio.CancelledError:
                raise
            except (Expired, OutOfOrder) as error:
                self._failed(error, Phase.LISTING)
                await self._lose_place(error)
                await self._wait(error)
            except (NotFound, MethodNotAllowed) as error:
                # That a namespace refuses a kind is said by 403 alone.
                self._failed(error, Phase.RECONNECTING if self.scope.namespace else Phase.REFUSED)
                self.around.kinds_changed.set()
                await self._wait(error)
            except Forbidden as error:
                await self._refused(error)
            except DomainError as error:
                if _is_too_new(error):
                    await self._lose_place(error)
                self._failed(error, Phase.RECONNECTING)
                await self._wait(error)

    async def _refused(self, error: Forbidden) -> None:
        """Wait for the right, or go on by namespace."""
        if not self.scope.namespace:
            self._failed(error, Phase.REFUSED)
            if self.kind.namespaced and self.around.namespaces:
                await self._follow_by_namespace(error)
            else:
                await self._wait(error)
        elif self._is_listing:
            self._failed(error, Phase.REFUSED)
            await self._wait_for_rights(REFUSED_DELAY)
        else:
            # Whether the kind may be read no longer, or only not watched, is what a list tells.
            self._failed(error, Phase.RECONNECTING)
            await self._lose_place(error)
            if not self._may_only_list:
                self._may_only_list = True
                return
            await self._wait_for_rights(self.around.pace.longest_delay)

    async def _follow_by_namespace(self, error: Forbidden) -> None:
        """Follow the kind in each accessible namespace until the whole cluster may be read."""
        if not self.may_split:
            self.phase = Phase.OVER_LIMIT
            self.error = OVER_LIMIT_MESSAGE.format(plural=self.kind.plural)
            await self._wait_for_rights(REFUSED_DELAY)
            return
        if self.version:
            await self._lose_place(error)
        self.parts = {
            namespace: Reflector(self.around, WatchScope(self.kind, namespace))
            for namespace in self.around.namespaces
        }
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part.run()) for part in self.parts.values()]
            await self._until_allowed()
            for task in running:
                task.cancel()
        await self.around.queue.put(ClusterWideWatch(self.kind))
        self.parts = {}

    async def _until_allowed(self) -> None:
        """Ask now and then, and when rights have changed, whether the kind may be listed in the whole cluster."""
        while True:
            await self._wait_for_rights(self.around.pace.longest_delay)
            try:
                await self._page("", 1)
            except Forbidden:
                continue
            except DomainError as error:
                log.info("%s %s: %s", self.around.cluster_name, self.stored_as, error.message)
                continue
            return

    async def _wait_for_rights(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.2)):  # noqa: S311  # no secret
                await self._rights_changed.wait()
        except TimeoutError:
            pass
        # Cleared after the wait: a change while something else was under way is not missed.
        self._rights_changed.clear()

    def check_rights(self, namespaces: Collection[str]) -> None:
        """The credentials' rights have changed in these namespaces: ask again for what was refused, and open the watches anew, which asks
        too."""
        self._rights_changed.set()
        if self._response is not None:
            self._response.close()
        for namespace, part in self.parts.items():
            if namespace in namespaces:
                part.check_rights(namespaces)

    async def _lose_place(self, error: DomainError) -> None:
        """The watch cannot go on: only a list can tell how things stand, and what was between is not known."""
        self._lost_after = str(error.details.get("after") or self.version or self._lost_after)
        self.version = ""
        await self.around.queue.put(WatchLost(self.scope, self._lost_after))

    def _failed(self, error: DomainError, phase: str) -> None:
        self.phase, self.error = phase, error.message
        place = (
            f"{self.stored_as} in {self.scope.namespace}"
            if self.scope.namespace
            else self.stored_as
        )
        log.info("%s %s: %s", self.around.cluster_name, place, error.message)

    async def _wait(self, error: DomainError) -> None:
        asked = error.details.get("retry_after") if isinstance(error, TooManyRequests) else None
        pause = max(self._delay, float(asked or 0)) * random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        self._delay = min(self._delay * 2, self.around.pace.longest_delay)
        await asyncio.sleep(pause)

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        if not self.version or loop.time() > self._relist_at:
            await self._list()
            self._relist_at = self._next_relist()
        began = loop.time()
        await self._watch()
        if loop.time() - began < SHORT_WATCH_SECONDS:
            await asyncio.sleep(self._delay)

    # --- list -------------------------------------------------------------------------------------------------------
    async def _list(self) -> None:
        """All that the scope covers: what differs from the store is queued, and what the complete list does not hold is deleted."""
        async with self.around.listing:
            self._is_listing = True
            # What still waits would be missing in what the database says is known.
            await self.around.queue.flush()
            self.phase = Phase.LISTING
            known = await self._known()
            version, exact = "", True
            async with contextlib.aclosing(self._pages()) as chunks:
                async for chunk in chunks:
                    version = version or chunk.metadata.resource_version
                    exact = await self._take_page(chunk, known) and exact
            for namespace, name in known:
                await self.around.queue.put(Record(self._key(namespace, name), None))
            skipped = None
            if self.version and not self._differs and not known:
                # The watch may go on from where it is: what came and went meanwhile is in it, but not in the list.
                version = self.version
            else:
                skipped = self.version or self._lost_after
            await self.around.queue.put(
                Position(self.scope, version, listed=True, exact=exact, skipped_after=skipped)
            )
            await self._join_parts()
            self.version, self._lost_after, self._differs, self._delay = (
                version,
                "",
                False,
                FIRST_DELAY,
            )

    async def _join_parts(self) -> None:
        """The whole cluster is listed: where a former collector stood in single namespaces is worth nothing any more."""
        if self.scope.namespace:
            return
        parts = [s for s in self.around.positions if s.namespace and s.kind == self.kind]
        for scope in parts:
            del self.around.positions[scope]
        if parts:
            await self.around.queue.put(ClusterWideWatch(self.kind))

    async def _known(self) -> dict[tuple[str, str], tuple[str, str]]:
        if self._are_events:
            return {}
        return await self.around.database(
            sync.stored_versions, self.around.cluster_name, self.stored_as, self.scope.namespace
        )

    @property
    def _path(self) -> str:
        return self.kind.path(namespace=self.scope.namespace or None)

    @property
    def _are_events(self) -> bool:
        return (self.kind.group, self.kind.plural) == EVENTS

    async def _pages(self) -> AsyncGenerator[Chunk]:
        """The list page by page; the cluster makes the next one while this one is taken in."""
        walk = Walk()
        coming: asyncio.Task[tuple[Chunk, int]] | None = asyncio.create_task(
            self._page("", self._fitting(0, 0))
        )
        try:
            while coming:
                chunk, size = await coming
                token = walk.next_token(chunk)
                coming = (
                    asyncio.create_task(
                        self._page(token, self._fitting(len(chunk.items or ()), size))
                    )
                    if token
                    else None
                )
                yield chunk
        finally:
            if coming:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    def _fitting(self, items: int, size: int) -> int:
        """How many items to ask for when so many took so many bytes; of a first page nothing is known."""
        pace = self.around.pace
        fitting = (
            max(items, 1) * pace.page_bytes // size if size else pace.page // FIRST_PAGE_DIVISOR
        )
        return max(min(fitting, pace.page), 1)

    async def _page(self, token: str, limit: int) -> tuple[Chunk, int]:
        """A page, and its size in bytes."""
        body = await self.around.client.read(
            "GET", self._path, query={"limit": limit, "continue": token}
        )
        try:
            chunk = CHUNKS.decode(body)
        except DECODE_ERRORS:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list", reason="bad_answer"
            ) from None
        if chunk.items is None or not chunk.metadata.resource_version:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list", reason="bad_answer"
            )
        return chunk, len(body)

    async def _take_page(self, chunk: Chunk, known: dict[tuple[str, str], tuple[str, str]]) -> bool:
        """Queue what the page has that the store has not; whether all of it could be taken as it is."""
        if self._are_events:
            await self._take_events(chunk)
            return True
        exact, items, size = True, list[QueueItem](), 0
        for raw in chunk.items or []:
            meta = decode_head(raw)
            before = known.pop((meta.namespace, meta.name), None)
            if before == (meta.uid, meta.resource_version):
                continue
            kept = stored_document(raw, self.kind, self.around.cluster_name)
            exact, self._differs = exact and kept.exact, True
            key = self._key(meta.namespace, meta.name)
            if before and before[0] != meta.uid:
                items.append(Record(key, None))
            items.append(Record(key, kept.text, meta.resource_version, kept.written_by))
            size += len(kept.text)
            if size > QUEUED_TOGETHER_BYTES:
                await self.around.queue.put(*items)
                items, size = [], 0
        await self.around.queue.put(*items)
        return exact

    async def _take_events(self, chunk: Chunk) -> None:
        reported = [
            reports.report(bytes(raw), self.around.cluster_name) for raw in chunk.items or []
        ]
        known = await self.around.database(
            sync.existing_event_ids,
            self.around.cluster_name,
            [report.event_id for report in reported],
        )
        for report in reported:
            if report.event_id not in known:
                await self.around.queue.put(report)

    def _key(self, namespace: str, name: str) -> Key:
        return Key(self.around.cluster_name, self.stored_as, namespace, name)

    # --- watch ------------------------------------------------------------------------------------------------------
    async def _watch(self) -> None:
        """One watch from `version` until it ends."""
        pace = self.around.pace
        self._is_listing = False
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            "timeoutSeconds": int(pace.watch * random.uniform(0.8, 1.2)) or 1,  # noqa: S311  # no secret
        }
        async with self.around.client.open(
            "GET", self._path, query=query, read=pace.silence
        ) as response:
            self._response = response
            self._may_only_list = False
            self.open_since, self.phase, self.error = (
                asyncio.get_running_loop().time(),
                Phase.WATCHING,
                "",
            )
            try:
                async for line in _lines(response):
                    await self._take(line)
                    self._delay = FIRST_DELAY
            finally:
                self.open_since = None
                self._response = None

    async def _take(self, line: bytes) -> None:
        try:
            frame = FRAMES.decode(line)
        except DECODE_ERRORS:
            raise ClusterUnavailable(
                "the cluster sent something that is no watch event", reason="bad_answer"
            ) from None
        if frame.type == "ERROR":
            raise _status(bytes(frame.object))
        if frame.type == "BOOKMARK":
            await self._bookmark(bytes(frame.object))
            return
        if frame.type not in ("ADDED", "MODIFIED", "DELETED"):
            raise ClusterUnavailable("the cluster sent an unknown watch event", reason="bad_answer")
        raw = bytes(frame.object)
        meta = decode_head(raw)
        if self._is_next(meta.resource_version):
            await self._queue(frame.type, raw, meta)
            self.version = meta.resource_version

    async def _queue(self, change: str, raw: bytes, meta: ObjectHead) -> None:
        position = Position(self.scope, meta.resource_version)
        if self._are_events:
            found = [] if change == "DELETED" else [reports.report(raw, self.around.cluster_name)]
            await self.around.queue.put(*found, position)
            return
        key = self._key(meta.namespace, meta.name)
        if change == "DELETED":
            await self.around.queue.put(Record(key, None), position)
            return
        kept = stored_document(raw, self.kind, self.around.cluster_name)
        record = Record(key, kept.text, meta.resource_version, kept.written_by)
        await self.around.queue.put(
            record, *([] if kept.exact else [KindLossy(self.scope)]), position
        )

    async def _bookmark(self, raw: bytes) -> None:
        try:
            version = str(orjson.loads(raw)["metadata"]["resourceVersion"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ClusterUnavailable(
                "the cluster sent a bookmark without a place", reason="bad_answer"
            ) from None
        if self._is_next(version):
            await self.around.queue.put(Position(self.scope, version))
            self.version = version

    def _is_next(self, version: str) -> bool:
        """Whether a version is one to go on from; Disorder when the watch goes backwards.

        An event of the very version that was reached is taken once more: a bookmark may have overtaken it, and twice does no harm.
        """
        if not (version.isdigit() and self.version.isdigit()):
            return bool(version)
        if int(version) < int(self.version):
            raise OutOfOrder("the watch went backwards", reason="disorder", after=int(version) - 1)
        return True


def _is_too_new(error: DomainError) -> bool:
    """The position is one that the cluster has not reached: its database was restored from a copy."""
    return error.details.get("status") == 504 and "large resource version" in error.message.lower()


def _status(raw: bytes) -> DomainError:
    """The domain's error for the Status that ends a watch."""
    try:
        code = int(orjson.loads(raw).get("code") or 500)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        code = 500
    error = status_error(max(code, 400), raw)
    return (
        ClusterUnavailable(error.message, **error.details) if isinstance(error, Invalid) else error
    )


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of an answer as they are complete; what is cut off at the end is not given out."""
    rest = bytearray()
    async for part in response.content.iter_any():
        rest += part
        if b"\n" not in part:
            if len(rest) > MAX_FRAME_BYTES:
                raise ClusterUnavailable("a watch event is too large", reason="bad_answer")
            continue
        *lines, tail = bytes(rest).split(b"\n")
        rest = bytearray(tail)
        for line in lines:
            if line.strip():
                yield line
