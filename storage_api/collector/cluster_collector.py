"""Collecting one cluster: a reflector for each kind, one writer, and a heartbeat.

The heartbeat says how fresh the store's copy is.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import DatabaseError

from clusters.kinds import KINDS, Kind
from clusters.wire import CHUNK_DECODER
from core.errors import ClusterUnavailable, DomainError, Forbidden
from storage_api.collector import writer
from storage_api.collector.access_review import changed_namespaces
from storage_api.collector.discovery import ServedKinds, discover
from storage_api.collector.documents import (
    DECODE_ERRORS,
    decode_head,
)
from storage_api.collector.queue import (
    FlushMarker,
    Heartbeat,
    KindRemoved,
    NamespaceRemoved,
    QueueItem,
    is_news,
)
from storage_api.collector.reflector import (
    CollectorContext,
    Phase,
    Reflector,
)
from storage_api.collector.writer import LeaseHolder
from storage_api.models import KindSync
from storage_api.services import sync
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope

log = logging.getLogger(__name__)
# A watch that has only just been opened may still be delivering what happened before.
SETTLE_SECONDS = 0.5
DATABASE_PAUSE = 1.0
# Batches of one cluster that are written at the same time.
PARALLEL_COMMITS = 3
# Commits of one cluster that may follow each other without waiting for company.
COMMITS_AT_ONCE = 20
FIRST_DISCOVERY_DELAY = 0.5
REVIEWS_PER_SECOND = 2
BUILT_IN_KINDS = frozenset(KINDS.values())
CRD_RESOURCE = ("apiextensions.k8s.io", "customresourcedefinitions")


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a cluster is looked at, and how much is written at once.

    Seconds: `beat` between heartbeats, `discovery` (at most) between questions for the kinds,
    `rights` (at least) between reviews of the credentials' rights, `gather` that a batch waits to
    fill once changes come faster than `CommitPace` lets them be committed singly. `batch`: most
    items of a batch. `exclude`: kinds to leave out, as `plural` or `plural.group`.
    `namespace_watches`: most watches of single namespaces.
    """

    beat: float = 2.0
    discovery: float = 60.0
    gather: float = 0.05
    batch: int = 250
    exclude: tuple[str, ...] = ()
    rights: float = 10.0
    namespace_watches: int = 500


class CommitPace:
    """How long a batch waits for company.

    A single change is committed at once, and so are as many as are usual when a person or a
    controller changes something. Where changes go on coming, batches wait `gather` seconds to fill:
    each commit costs the database the same, however much is in it.
    """

    def __init__(self, gather: float, now: float) -> None:
        self._gather = gather
        self._allowance = float(COMMITS_AT_ONCE)
        self._counted_at = now

    def wait_seconds(self, now: float) -> float:
        """How long the batch that begins now waits; it is counted."""
        if not self._gather:
            return 0.0
        # One commit is earned in each span that a full batch would have waited.
        earned = (now - self._counted_at) / self._gather
        self._allowance = min(COMMITS_AT_ONCE, self._allowance + earned)
        self._counted_at = now
        # A commit that waits is counted, too: batches wait for as long as changes keep coming.
        self._allowance -= 1
        return 0.0 if self._allowance >= 0 else self._gather


class ClusterCollector:
    """Collects one cluster under one lease until cancelled, or Fenced when the lease is lost."""

    def __init__(
        self,
        holder: LeaseHolder,
        context: CollectorContext,
        intervals: Intervals,
    ) -> None:
        self.holder = holder
        self.intervals = intervals
        self._context = context
        self._client = context.client
        self._database = context.database
        self._queue = context.queue
        self._kinds_changed = context.kinds_changed
        self._reflectors: dict[Kind, tuple[Reflector, asyncio.Task[None]]] = {}
        # What the last heartbeat reported: scope -> (phase, error).
        self._phases: dict[WatchScope, tuple[str, str]] = {}
        self._revision = ""
        self._identity = ""
        self._positions = context.positions
        # The resourceVersion up to which changes of CustomResourceDefinitions were noticed.
        self._crd_version = ""

    async def run(self) -> None:
        """Collect until cancelled or fenced."""
        self._revision, self._identity, rows = await self._database(
            sync.start_collecting,
            self.holder.cluster,
            self.holder.token,
            self.holder.name,
        )
        for row in rows:
            await self._resume(row)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                tasks.create_task(self._discover(tasks))
                tasks.create_task(self._beat())
                if self._context.namespaces:
                    tasks.create_task(self._watch_rights())
        finally:
            await self._client.close()

    async def _resume(self, row: KindSync) -> None:
        """Take over the position of a watch of the collector before, unless nothing needs it."""
        kind = Kind(
            row.kind,
            row.plural,
            row.group,
            row.version,
            row.namespaced,
        )
        scope = WatchScope(kind, row.namespace)
        if row.namespace and row.namespace not in self._context.namespaces:
            await self._queue.put(NamespaceRemoved(scope))
            return
        self._positions[scope] = (
            row.resource_version,
            row.lost_after,
        )
        self._phases[scope] = (row.phase, row.error)

    # --- kinds ----------------------------------------------------------------------------------
    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        delay = FIRST_DISCOVERY_DELAY
        while True:
            # Cleared before the cluster is asked: a change meanwhile leads to another look.
            self._kinds_changed.clear()
            try:
                served = await discover(self._client, self.intervals.exclude)
                await self._follow_kinds(served, tasks)
                delay = FIRST_DISCOVERY_DELAY
            except DomainError as error:
                await self._report_unreachable(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, self.intervals.discovery)
                continue
            try:
                async with asyncio.timeout(self.intervals.discovery):
                    await self._kinds_changed.wait()
                # A new definition is served a little after it is written; many come together.
                await asyncio.sleep(delay)
            except TimeoutError:
                pass

    async def _report_unreachable(self, error: DomainError) -> None:
        log.info("%s: %s", self.holder.name, error.message)
        try:
            await self._database(
                sync.mark_unreachable,
                self.holder.cluster,
                self.holder.token,
                error.message,
            )
        except DatabaseError:
            log.warning("%s: the database does not answer", self.holder.name)

    async def _follow_kinds(self, served: ServedKinds, tasks: asyncio.TaskGroup) -> None:
        """Follow new kinds; stop following removed ones and have their rows deleted."""
        await self._remove_kinds(served)
        for kind in served.kinds:
            if kind not in self._reflectors:
                reflector = Reflector(self._context, WatchScope(kind))
                self._reflectors[kind] = (
                    reflector,
                    tasks.create_task(reflector.run()),
                )
        self._allot_namespace_watches()
        try:
            await self._database(sync.save_aliases, self.holder.cluster, served.kinds)
        except DatabaseError:
            log.warning("%s: the database does not answer", self.holder.name)

    async def _remove_kinds(self, served: ServedKinds) -> None:
        kinds = set(served.kinds)
        served_resources = {(kind.group, kind.plural) for kind in kinds}
        followed = {scope.kind for scope in self._positions} | set(self._reflectors)
        # A group that did not answer may still serve its kinds.
        removed = [
            kind for kind in followed if kind not in kinds and kind.group not in served.unknown
        ]
        for kind in removed:
            await self._stop(kind)
            if (kind.group, kind.plural) in served_resources:
                # Served in another version: the new reflector's list takes the rows over.
                continue
            for scope in list(self._phases):
                if scope.kind == kind:
                    del self._phases[scope]
            await self._queue.put(KindRemoved(kind))

    async def _stop(self, kind: Kind) -> None:
        for scope in list(self._positions):
            if scope.kind == kind:
                del self._positions[scope]
        if kind in self._reflectors:
            _, task = self._reflectors.pop(kind)
            task.cancel()
            await asyncio.wait([task])

    def _allot_namespace_watches(self) -> None:
        """Allow kinds to be followed namespace by namespace, as many as fit into the limit.

        Kinds of Kubernetes itself come first.
        """
        namespaced = []
        for reflector, _ in self._reflectors.values():
            if reflector.kind.namespaced:
                namespaced.append(reflector)
        namespaced.sort(key=lambda reflector: reflector.kind not in BUILT_IN_KINDS)
        remaining = self.intervals.namespace_watches // max(1, len(self._context.namespaces))
        remaining -= sum(reflector.may_split for reflector in namespaced)
        for reflector in namespaced:
            if not reflector.may_split and remaining > 0:
                reflector.may_split = True
                remaining -= 1
                if reflector.phase == Phase.OVER_LIMIT:
                    # It waits for rights; with the permission to split it can go on now.
                    reflector.check_rights(())

    # --- rights ---------------------------------------------------------------------------------
    async def _watch_rights(self) -> None:
        """Notice when the credentials' rights change.

        An open watch goes on after its right was taken away, and what was refused is tried again
        only seldom: neither would show the change soon.
        """
        rules_by_namespace: dict[str, bytes] = {}
        namespaces = self._context.namespaces
        pause = max(
            self.intervals.rights,
            len(namespaces) / REVIEWS_PER_SECOND,
        )
        while True:
            try:
                changed = await changed_namespaces(self._client, namespaces, rules_by_namespace)
                if changed:
                    log.info(
                        "%s: the rights of its credentials have changed",
                        self.holder.name,
                    )
                    for reflector, _ in self._reflectors.values():
                        reflector.check_rights(changed)
            except DomainError as error:
                log.info(
                    "%s: cannot review its rights: %s",
                    self.holder.name,
                    error.message,
                )
            await asyncio.sleep(pause)

    # --- heartbeat ------------------------------------------------------------------------------
    async def _beat(self) -> None:
        while True:
            try:
                await self._send_heartbeat()
            except DatabaseError:
                log.warning(
                    "%s: the database does not answer",
                    self.holder.name,
                )
            except DomainError as error:
                await self._report_unreachable(error)
            await asyncio.sleep(self.intervals.beat)

    async def _send_heartbeat(self) -> None:
        """Ask the cluster how far it is, and queue which watches were open at that time."""
        loop = asyncio.get_running_loop()
        # Both clocks are read before the cluster answers: the copy is never reported too new.
        moment = await self._database(sync.database_now)
        request_time = loop.time()
        revision, identity = await self._read_revision()
        if self._is_other_history(revision, identity):
            log.warning(
                "%s: its versions run backwards, or it is another cluster now;"
                " listing everything again",
                self.holder.name,
            )
            await self._start_over()
        self._revision = revision
        self._identity = identity or self._identity
        phases = {
            reflector.scope: self._phase_at(reflector, request_time)
            for reflector in self._all_reflectors()
        }
        changes = self._phase_changes(phases)
        await self._queue.put(Heartbeat(moment, revision, self._identity, changes))
        # The next heartbeat waits until this one is committed.
        await self._queue.flush()
        self._phases = phases
        self._notice_definitions()

    def _phase_changes(
        self, phases: dict[WatchScope, tuple[str, str]]
    ) -> dict[WatchScope, tuple[str, str]]:
        """What differs from the last heartbeat: scope -> (phase, error)."""
        changes = {
            scope: phase for scope, phase in phases.items() if self._phases.get(scope) != phase
        }
        for scope, (phase, error) in self._phases.items():
            # Watched before, and not followed now: this heartbeat makes its copy no fresher.
            if scope not in phases and phase == Phase.WATCHING:
                changes[scope] = (Phase.RECONNECTING, error)
        return changes

    def _is_other_history(self, revision: str, identity: str) -> bool:
        """Whether the cluster was restored from a copy, or another one answers at the address."""
        are_numbers = revision.isdigit() and self._revision.isdigit()
        if are_numbers and int(revision) < int(self._revision):
            return True
        return bool(identity and self._identity) and identity != self._identity

    def _all_reflectors(self) -> list[Reflector]:
        """The reflectors of whole kinds, then those of single namespaces."""
        reflectors = [reflector for reflector, _ in self._reflectors.values()]
        parts = [part for reflector in reflectors for part in reflector.parts.values()]
        return reflectors + parts

    @staticmethod
    def _phase_at(reflector: Reflector, request_time: float) -> tuple[str, str]:
        """(phase, error) of a reflector when the cluster was asked, at that loop time."""
        open_since = reflector.open_since
        was_open = open_since is not None and open_since <= request_time - SETTLE_SECONDS
        if reflector.phase == Phase.WATCHING and not was_open:
            return Phase.RECONNECTING, reflector.error
        return reflector.phase, reflector.error

    async def _read_revision(self) -> tuple[str, str]:
        """(the cluster's newest resourceVersion, the uid of its kube-system namespace).

        Both are "" where namespaces may not be listed.
        """
        namespaces_path = KINDS["namespaces"].path()
        query = {"fieldSelector": "metadata.name=kube-system"}
        try:
            body = await self._client.read("GET", namespaces_path, query=query)
        except Forbidden:
            # Whether the cluster answers at all, everybody may ask.
            await self._client.read("GET", "/version")
            return "", ""
        try:
            chunk = CHUNK_DECODER.decode(body)
        except DECODE_ERRORS:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list",
                reason="bad_answer",
            ) from None
        uid = decode_head(chunk.items[0]).uid if chunk.items else ""
        return chunk.metadata.resource_version, uid

    async def _start_over(self) -> None:
        """List every kind again: positions belong to a history that this cluster does not have."""
        for _, task in list(self._reflectors.values()):
            task.cancel()
            await asyncio.wait([task])
        self._positions.clear()
        # Left for the next discovery, which removes the rows of kinds that are no longer served.
        self._positions.update({WatchScope(kind): ("", "") for kind in self._reflectors})
        self._reflectors.clear()
        self._kinds_changed.set()

    def _notice_definitions(self) -> None:
        """Discover again when a CustomResourceDefinition was added, changed or deleted."""
        for kind, (reflector, _) in self._reflectors.items():
            if (kind.group, kind.plural) == CRD_RESOURCE:
                if self._crd_version not in ("", reflector.version):
                    self._kinds_changed.set()
                self._crd_version = reflector.version

    # --- writing --------------------------------------------------------------------------------
    async def _write(self) -> None:
        """Commit batches in order; those of a list that share no object may overtake others."""
        async with asyncio.TaskGroup() as tasks:
            commits: dict[asyncio.Task[None], frozenset[Key]] = {}
            pace = CommitPace(self.intervals.gather, asyncio.get_running_loop().time())
            while True:
                items = await self._next_batch(pace)
                keys = writer.independent_keys(items)
                await self._wait_for_turn(commits, keys)
                commit = tasks.create_task(self._commit(items))
                commits[commit] = keys

    async def _next_batch(self, pace: CommitPace) -> list[QueueItem]:
        items = await self._queue.take(1)
        if not is_news(items[0]):
            # Many watches bring bookmarks at the same time. A commit for each would use up what
            # changes may have, and the next heartbeat takes them along.
            await self._queue.wait_for_news(self.intervals.beat)
        # A caller waits for a marker; other items are written in larger batches.
        if not isinstance(items[0], FlushMarker):
            if len(self._queue) < self.intervals.batch:
                await asyncio.sleep(pace.wait_seconds(asyncio.get_running_loop().time()))
            items += await self._queue.take_waiting(self.intervals.batch - 1)
        return items

    @staticmethod
    async def _wait_for_turn(
        commits: dict[asyncio.Task[None], frozenset[Key]],
        keys: frozenset[Key],
    ) -> None:
        """Wait until a batch of these keys may be committed; finished commits are removed.

        It may when few others are running, and none of them depends on the order.
        """

        def may_start() -> bool:
            if len(commits) >= PARALLEL_COMMITS:
                return False
            # A batch without independent keys has to be alone.
            return all(keys and other and not keys & other for other in commits.values())

        while commits and not may_start():
            done, _ = await asyncio.wait(commits, return_when=asyncio.FIRST_COMPLETED)
            for commit in done:
                del commits[commit]

    async def _commit(self, items: list[QueueItem]) -> None:
        await self._store([item for item in items if not isinstance(item, FlushMarker)])
        await self._queue.done(items)
        for item in items:
            # Who waits for the marker may have been cancelled.
            if isinstance(item, FlushMarker) and not item.reached.done():
                item.reached.set_result(None)

    async def _store(self, items: Sequence[QueueItem]) -> None:
        """Write the items, however often the database has to be asked.

        Fenced when the lease is lost.
        """
        while items:
            try:
                refused = await self._database(writer.write, self.holder, items)
            except DatabaseError as error:
                log.warning(
                    "%s: writing %d items failed, trying again: %s",
                    self.holder.name,
                    len(items),
                    str(error).splitlines()[:1],
                )
                await asyncio.sleep(DATABASE_PAUSE)
                continue
            if refused:
                log.warning(
                    "%s: the database refused %d documents",
                    self.holder.name,
                    refused,
                )
            return
