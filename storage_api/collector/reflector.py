"""Following one kind of one cluster: a complete list, then a watch from where the list ended.

As a reflector of client-go, but into the store's queue. Where the whole cluster may not be read,
the kind is followed in each accessible namespace instead, until the whole cluster may be read.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
)
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
import orjson

from clusters.api_errors import status_error
from clusters.resource_types import EVENTS, resource_type
from clusters.streams import StreamClient
from clusters.wire import CHUNK_DECODER, Chunk, ContinueTokens
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
from storage_api.collector.documents import (
    DECODE_ERRORS,
    ObjectMetadata,
    decode_head,
    stored_document,
)
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
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope

log = logging.getLogger(__name__)
T = TypeVar("T")
MAX_FRAME_BYTES = 32 * 1024 * 1024
FIRST_DELAY = 0.2
LAST_DELAY = 30.0
# Seconds until a namespace that refuses a kind is asked again; changed rights are noticed sooner.
REFUSED_DELAY = 600.0
# A watch that ends sooner is a fault of the cluster or of what stands before it.
SHORT_WATCH_SECONDS = 1.0
QUEUED_TOGETHER_BYTES = 64 * 1024
# The first page is smaller by this: the size of the kind's objects is not known yet.
FIRST_PAGE_DIVISOR = 5
Phase = KindSync.Phase
OVER_LIMIT_MESSAGE = (
    "{plural} would need more watches than COLLECTOR_NAMESPACE_WATCHES allows: they are read live"
)


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """How a kind is listed and watched.

    `page`: most items of a page; `page_bytes`: the size that pages aim at. In seconds:
    `silence` after which a watch is restarted, `watch` that one watch lasts, `relist` until
    everything is listed again, `longest_delay` between attempts.
    """

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
    """What all reflectors of one cluster share.

    `listing` limits how many kinds are listed at once. `namespaces`: those to go on with where
    the whole cluster may not be read. `positions`: scope -> (resourceVersion, the last one before
    the watch was lost) of watches that the collector before had. `kinds_changed` is set when the
    cluster should be asked again which kinds it serves.
    """

    client: StreamClient
    cluster_name: str
    queue: WriteQueue
    database: DatabaseRunner
    listing: asyncio.Semaphore
    watch: WatchConfig
    namespaces: tuple[str, ...] = ()
    positions: dict[WatchScope, tuple[str, str]] = field(default_factory=dict)
    kinds_changed: asyncio.Event = field(default_factory=asyncio.Event)


class OutOfOrder(ClusterUnavailable):
    """A watch went backwards: what it left out cannot be known, and only a list can tell."""

    code = "disorder"


class WatchFrame(msgspec.Struct):
    """One event of a watch."""

    type: str
    object: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


FRAMES = msgspec.json.Decoder(WatchFrame)
# (namespace, name) -> (uid, resourceVersion)
Versions = dict[tuple[str, str], tuple[str, str]]


class Reflector:
    """Follows one kind, in the whole cluster or in one namespace.

    `phase` and `error` say how that goes; `open_since` is the loop time at which its watch was
    opened, None without one. `parts` are the reflectors of single namespaces, by namespace, while
    the kind is followed in these.
    """

    def __init__(self, context: CollectorContext, scope: WatchScope) -> None:
        self.context = context
        self.scope = scope
        self.kind = scope.kind
        self.stored_as = resource_type(scope.kind)
        # "" when the kind has to be listed first.
        self.version, self._lost_after = context.positions.pop(scope, ("", ""))
        self.may_split = False
        self.parts: dict[str, Reflector] = {}
        self.open_since: float | None = None
        self.phase: str = Phase.LISTING
        self.error = ""
        self._rights_changed = asyncio.Event()
        self._response: aiohttp.ClientResponse | None = None
        # Whether a request that fails was the list, or the watch.
        self._is_listing = False
        self._may_only_list = False
        self._delay = FIRST_DELAY
        self._relist_at = self._next_relist()
        # Whether a list has queued anything. Lists that broke off count: that is written already.
        self._differs = False

    def _next_relist(self) -> float:
        return asyncio.get_running_loop().time() + _spread(self.context.watch.relist)

    async def run(self) -> None:
        """Follow the kind until cancelled. What fails is tried again, after a growing pause."""
        while True:
            try:
                await self._list_and_watch()
            except asyncio.CancelledError:
                raise
            except (Expired, OutOfOrder) as error:
                self._note_failure(error, Phase.LISTING)
                await self._lose_position(error)
                await self._pause(error)
            except (NotFound, MethodNotAllowed) as error:
                # The kind itself is not there. A namespace refuses a kind by 403 alone.
                phase = Phase.RECONNECTING if self.scope.namespace else Phase.REFUSED
                self._note_failure(error, phase)
                self.context.kinds_changed.set()
                await self._pause(error)
            except Forbidden as error:
                await self._handle_forbidden(error)
            except DomainError as error:
                if _is_too_new(error):
                    await self._lose_position(error)
                self._note_failure(error, Phase.RECONNECTING)
                await self._pause(error)

    async def _handle_forbidden(self, error: Forbidden) -> None:
        """Wait for the right, or go on by namespace."""
        if not self.scope.namespace:
            self._note_failure(error, Phase.REFUSED)
            if self.kind.namespaced and self.context.namespaces:
                await self._follow_by_namespace(error)
            else:
                await self._pause(error)
        elif self._is_listing:
            self._note_failure(error, Phase.REFUSED)
            await self._wait_for_rights(REFUSED_DELAY)
        else:
            # Either the kind may no longer be read, or only not watched: the next list will tell.
            self._note_failure(error, Phase.RECONNECTING)
            await self._lose_position(error)
            if not self._may_only_list:
                self._may_only_list = True
                return
            await self._wait_for_rights(self.context.watch.longest_delay)

    async def _follow_by_namespace(self, error: Forbidden) -> None:
        """Follow the kind in each accessible namespace until the whole cluster may be read."""
        if not self.may_split:
            self.phase = Phase.OVER_LIMIT
            self.error = OVER_LIMIT_MESSAGE.format(plural=self.kind.plural)
            await self._wait_for_rights(REFUSED_DELAY)
            return
        if self.version:
            await self._lose_position(error)
        self.parts = {
            namespace: Reflector(self.context, WatchScope(self.kind, namespace))
            for namespace in self.context.namespaces
        }
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part.run()) for part in self.parts.values()]
            await self._wait_until_allowed()
            for task in running:
                task.cancel()
        await self.context.queue.put(ClusterWideWatch(self.kind))
        self.parts = {}

    async def _wait_until_allowed(self) -> None:
        """Wait until the kind may be listed in the whole cluster.

        Asks now and then, and whenever rights have changed.
        """
        while True:
            await self._wait_for_rights(self.context.watch.longest_delay)
            try:
                await self._fetch_page("", 1)
            except Forbidden:
                continue
            except DomainError as error:
                log.info(
                    "%s %s: %s",
                    self.context.cluster_name,
                    self.stored_as,
                    error.message,
                )
                continue
            return

    async def _wait_for_rights(self, seconds: float) -> None:
        """Wait until rights have changed, at most about so many seconds."""
        try:
            async with asyncio.timeout(_spread(seconds)):
                await self._rights_changed.wait()
        except TimeoutError:
            pass
        # Cleared after the wait: a change while something else was under way is not missed.
        self._rights_changed.clear()

    def check_rights(self, namespaces: Collection[str]) -> None:
        """The credentials' rights have changed in these namespaces: ask the cluster again.

        What was refused is tried again, and open watches are reopened, which checks their right.
        """
        self._rights_changed.set()
        if self._response is not None:
            self._response.close()
        for namespace, part in self.parts.items():
            if namespace in namespaces:
                part.check_rights(namespaces)

    async def _lose_position(self, error: DomainError) -> None:
        """Have the kind listed next: the watch cannot go on, and has missed changes."""
        after = error.details.get("after") or self.version or self._lost_after
        self._lost_after = str(after)
        self.version = ""
        await self.context.queue.put(WatchLost(self.scope, self._lost_after))

    def _note_failure(self, error: DomainError, phase: str) -> None:
        self.phase = phase
        self.error = error.message
        what = self.stored_as
        if self.scope.namespace:
            what = f"{self.stored_as} in {self.scope.namespace}"
        log.info(
            "%s %s: %s",
            self.context.cluster_name,
            what,
            error.message,
        )

    async def _pause(self, error: DomainError) -> None:
        """Wait before the next attempt, at least as long as a 429 asks for."""
        delay = self._delay
        if isinstance(error, TooManyRequests):
            delay = max(delay, float(error.details.get("retry_after") or 0))
        self._delay = min(self._delay * 2, self.context.watch.longest_delay)
        await asyncio.sleep(_spread(delay))

    async def _list_and_watch(self) -> None:
        loop = asyncio.get_running_loop()
        if not self.version or loop.time() > self._relist_at:
            await self._list()
            self._relist_at = self._next_relist()
        started = loop.time()
        await self._watch()
        if loop.time() - started < SHORT_WATCH_SECONDS:
            # Without the pause, a cluster that ends watches at once would be asked without end.
            await asyncio.sleep(self._delay)

    # --- list -----------------------------------------------------------------------------------
    async def _list(self) -> None:
        """List everything that the scope covers.

        What differs from the store is queued; what the complete list does not hold is deleted.
        """
        async with self.context.listing:
            self._is_listing = True
            # Changes still in the queue would be missing in what the store is compared by.
            await self.context.queue.flush()
            self.phase = Phase.LISTING
            stored = await self._stored_versions()
            version = ""
            exact = True
            # Closed explicitly, so that the request for the next page ends with an error here.
            async with contextlib.aclosing(self._pages()) as chunks:
                async for chunk in chunks:
                    version = version or chunk.metadata.resource_version
                    exact = await self._queue_page(chunk, stored) and exact
            # What no page mentioned is in the store only.
            for namespace, name in stored:
                await self.context.queue.put(WriteRecord(self._key(namespace, name), None))
            skipped_after = None
            if self.version and not self._differs and not stored:
                # Nothing differs, so the watch goes on from its own version: what was created and
                # deleted since then is in the watch, and not in the list.
                version = self.version
            else:
                skipped_after = self.version or self._lost_after
            await self.context.queue.put(
                Position(
                    self.scope,
                    version,
                    listed=True,
                    exact=exact,
                    skipped_after=skipped_after,
                )
            )
            await self._drop_namespace_positions()
            self.version = version
            self._lost_after = ""
            self._differs = False
            self._delay = FIRST_DELAY

    async def _drop_namespace_positions(self) -> None:
        """Forget the positions in single namespaces of the collector before.

        The whole cluster is listed now.
        """
        if self.scope.namespace:
            return
        positions = self.context.positions
        parts = [scope for scope in positions if scope.namespace and scope.kind == self.kind]
        for scope in parts:
            del positions[scope]
        if parts:
            await self.context.queue.put(ClusterWideWatch(self.kind))

    async def _stored_versions(self) -> Versions:
        if self._are_events:
            return {}
        return await self.context.database(
            sync.stored_versions,
            self.context.cluster_name,
            self.stored_as,
            self.scope.namespace,
        )

    @property
    def _path(self) -> str:
        return self.kind.path(namespace=self.scope.namespace or None)

    @property
    def _are_events(self) -> bool:
        return (self.kind.group, self.kind.plural) == EVENTS

    async def _pages(self) -> AsyncGenerator[Chunk]:
        """The list page by page; the next page is requested while this one is processed."""
        walk = ContinueTokens()
        limit = self._page_limit(0, 0)
        request: asyncio.Task[tuple[Chunk, int]] | None
        request = asyncio.create_task(self._fetch_page("", limit))
        try:
            while request:
                chunk, size = await request
                request = None
                if token := walk.next_token(chunk):
                    limit = self._page_limit(len(chunk.items or ()), size)
                    request = asyncio.create_task(self._fetch_page(token, limit))
                yield chunk
        finally:
            if request:
                request.cancel()
                # Waited for, or its error would be reported as never retrieved.
                await asyncio.gather(request, return_exceptions=True)

    def _page_limit(self, items: int, size: int) -> int:
        """How many items to ask for, when the page before had `items` in `size` bytes.

        Before the first page both are 0.
        """
        config = self.context.watch
        limit = config.page // FIRST_PAGE_DIVISOR
        if size:
            limit = max(items, 1) * config.page_bytes // size
        return max(min(limit, config.page), 1)

    async def _fetch_page(self, token: str, limit: int) -> tuple[Chunk, int]:
        """(a page, its size in bytes)."""
        query = {"limit": limit, "continue": token}
        body = await self.context.client.read("GET", self._path, query=query)
        try:
            chunk = CHUNK_DECODER.decode(body)
        except DECODE_ERRORS:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list",
                reason="bad_answer",
            ) from None
        if chunk.items is None or not chunk.metadata.resource_version:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list",
                reason="bad_answer",
            )
        return chunk, len(body)

    async def _queue_page(self, chunk: Chunk, stored: Versions) -> bool:
        """Queue what the page has and the store has not; whether all of it could be stored exactly.

        Objects of the page are removed from `stored`.
        """
        if self._are_events:
            await self._queue_events(chunk)
            return True
        exact = True
        items = list[QueueItem]()
        size = 0
        for raw in chunk.items or []:
            head = decode_head(raw)
            before = stored.pop((head.namespace, head.name), None)
            if before == (head.uid, head.resource_version):
                continue
            self._differs = True
            document = stored_document(raw, self.kind, self.context.cluster_name)
            exact = exact and document.exact
            key = self._key(head.namespace, head.name)
            if before and before[0] != head.uid:
                # Deleted and created again under the same name: the log says both.
                items.append(WriteRecord(key, None))
            items.append(
                WriteRecord(
                    key,
                    document.text,
                    head.resource_version,
                    document.written_by,
                    document.omitted,
                )
            )
            size += len(document.text) + len(document.omitted or b"")
            if size > QUEUED_TOGETHER_BYTES:
                await self.context.queue.put(*items)
                items = []
                size = 0
        await self.context.queue.put(*items)
        return exact

    async def _queue_events(self, chunk: Chunk) -> None:
        """Queue the Events that are not stored yet; a report is never changed."""
        cluster_name = self.context.cluster_name
        event_reports = [
            reports.event_report(bytes(raw), cluster_name) for raw in chunk.items or []
        ]
        ids = [event_report.event_id for event_report in event_reports]
        existing = await self.context.database(sync.existing_event_ids, cluster_name, ids)
        for event_report in event_reports:
            if event_report.event_id not in existing:
                await self.context.queue.put(event_report)

    def _key(self, namespace: str, name: str) -> Key:
        return Key(
            self.context.cluster_name,
            self.stored_as,
            namespace,
            name,
        )

    # --- watch ----------------------------------------------------------------------------------
    async def _watch(self) -> None:
        """One watch from `version` until it ends."""
        config = self.context.watch
        self._is_listing = False
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            # Spread, so that not all watches of a cluster end together.
            "timeoutSeconds": int(_spread(config.watch)) or 1,
        }
        async with self.context.client.open(
            "GET", self._path, query=query, read=config.silence
        ) as response:
            self._response = response
            self._may_only_list = False
            self.open_since = asyncio.get_running_loop().time()
            self.phase = Phase.WATCHING
            self.error = ""
            try:
                async for line in _read_lines(response):
                    await self._process_line(line)
                    self._delay = FIRST_DELAY
            finally:
                self.open_since = None
                self._response = None

    async def _process_line(self, line: bytes) -> None:
        try:
            frame = FRAMES.decode(line)
        except DECODE_ERRORS:
            raise ClusterUnavailable(
                "the cluster sent something that is not a watch event",
                reason="bad_answer",
            ) from None
        if frame.type == "ERROR":
            raise _error_of_status(bytes(frame.object))
        if frame.type == "BOOKMARK":
            await self._queue_bookmark(bytes(frame.object))
            return
        if frame.type not in ("ADDED", "MODIFIED", "DELETED"):
            raise ClusterUnavailable(
                "the cluster sent an unknown watch event",
                reason="bad_answer",
            )
        raw = bytes(frame.object)
        head = decode_head(raw)
        if self._check_order(head.resource_version):
            await self._queue_change(frame.type, raw, head)
            self.version = head.resource_version

    async def _queue_change(self, change_type: str, raw: bytes, head: ObjectMetadata) -> None:
        position = Position(self.scope, head.resource_version)
        queue = self.context.queue
        if self._are_events:
            if change_type == "DELETED":
                # An Event that expires in the cluster stays in the store.
                await queue.put(position)
            else:
                await queue.put(
                    reports.event_report(raw, self.context.cluster_name),
                    position,
                )
            return
        key = self._key(head.namespace, head.name)
        if change_type == "DELETED":
            await queue.put(WriteRecord(key, None), position)
            return
        document = stored_document(raw, self.kind, self.context.cluster_name)
        record = WriteRecord(
            key,
            document.text,
            head.resource_version,
            document.written_by,
            document.omitted,
        )
        if document.exact:
            await queue.put(record, position)
        else:
            await queue.put(record, KindLossy(self.scope), position)

    async def _queue_bookmark(self, raw: bytes) -> None:
        try:
            version = str(orjson.loads(raw)["metadata"]["resourceVersion"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ClusterUnavailable(
                "the cluster sent a bookmark without a resourceVersion",
                reason="bad_answer",
            ) from None
        if self._check_order(version):
            await self.context.queue.put(Position(self.scope, version))
            self.version = version

    def _check_order(self, version: str) -> bool:
        """Whether the watch may go on from a version; OutOfOrder when it goes backwards.

        An event of the version that was reached already is processed once more: a bookmark may
        have overtaken it, and twice does no harm.
        """
        if not (version.isdigit() and self.version.isdigit()):
            return bool(version)
        if int(version) < int(self.version):
            raise OutOfOrder(
                "the watch went backwards",
                reason="disorder",
                after=int(version) - 1,
            )
        return True


def _spread(seconds: float) -> float:
    """A time within 20 % of that, at random: kinds and clusters do not all act at once."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311  # no secret


def _is_too_new(error: DomainError) -> bool:
    """Whether the cluster has not reached the position: it was restored from a copy."""
    return error.details.get("status") == 504 and "large resource version" in error.message.lower()


def _error_of_status(raw: bytes) -> DomainError:
    """The domain's error for the Status that ends a watch."""
    try:
        code = int(orjson.loads(raw).get("code") or 500)
    except (
        orjson.JSONDecodeError,
        AttributeError,
        TypeError,
        ValueError,
    ):
        code = 500
    error = status_error(max(code, 400), raw)
    if isinstance(error, Invalid):
        # The request was ours, and was accepted: what is wrong is on the cluster's side.
        return ClusterUnavailable(error.message, **error.details)
    return error


async def _read_lines(
    response: aiohttp.ClientResponse,
) -> AsyncIterator[bytes]:
    """The complete lines of an answer as they come; a line that is cut off is dropped."""
    rest = bytearray()
    async for part in response.content.iter_any():
        rest += part
        if b"\n" not in part:
            if len(rest) > MAX_FRAME_BYTES:
                raise ClusterUnavailable(
                    "a watch event is too large",
                    reason="bad_answer",
                )
            continue
        *lines, tail = bytes(rest).split(b"\n")
        rest = bytearray(tail)
        for line in lines:
            if line.strip():
                yield line
