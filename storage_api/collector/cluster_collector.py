"""Collecting one cluster: its kinds' followers, one writer, and the beat that says how fresh the store is."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import DatabaseError

from clusters.client import CHUNKS
from clusters.kinds import KINDS, Kind
from core.errors import ClusterUnavailable, DomainError, Forbidden
from storage_api.collector import writer
from storage_api.collector.access_review import changed_namespaces
from storage_api.collector.discovery import ServedKinds, discover
from storage_api.collector.documents import DECODE_ERRORS, decode_head
from storage_api.collector.queue import (
    FlushMarker,
    Heartbeat,
    KindRemoved,
    NamespaceRemoved,
    QueueItem,
)
from storage_api.collector.reflector import CollectorContext, Phase, Reflector
from storage_api.collector.writer import LeaseHolder
from storage_api.services import sync
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope

log = logging.getLogger(__name__)
# A watch that has only just been opened may still be bringing what happened before.
SETTLE_SECONDS = 0.5
DATABASE_PAUSE = 1.0
# Batches of one cluster that are written at the same time.
PARALLEL_COMMITS = 3
REVIEWS_PER_SECOND = 2
BUILT_IN_KINDS = frozenset(KINDS.values())
CRD_RESOURCE = ("apiextensions.k8s.io", "customresourcedefinitions")


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between beats, between looks at what the cluster serves and (at least) at what the credentials may do in its accessible
    namespaces; items a batch; kinds to leave out; most watches of single namespaces."""

    beat: float = 2.0
    discovery: float = 60.0
    gather: float = 0.05
    batch: int = 250
    exclude: tuple[str, ...] = ()
    rights: float = 10.0
    namespace_watches: int = 500


class ClusterCollector:
    """Collects one cluster under one lease until cancelled, or until the lease is lost (Fenced)."""

    def __init__(self, owner: LeaseHolder, around: CollectorContext, rhythm: Intervals) -> None:
        self.owner = owner
        self.rhythm = rhythm
        self._around = around
        self._client, self._database, self._queue = around.client, around.database, around.queue
        self._kinds_changed = around.kinds_changed
        self._followers: dict[Kind, tuple[Reflector, asyncio.Task[None]]] = {}
        self._phases: dict[WatchScope, tuple[str, str]] = {}
        self._revision = self._identity = ""
        self._positions = around.positions
        self._crds_at = ""

    async def run(self) -> None:
        """Until cancelled or fenced."""
        self._revision, self._identity, known = await self._database(
            sync.start_collecting, self.owner.cluster, self.owner.token, self.owner.name
        )
        for row in known:
            kind = Kind(row.kind, row.plural, row.group, row.version, row.namespaced)
            scope = WatchScope(kind, row.namespace)
            if row.namespace and row.namespace not in self._around.namespaces:
                await self._queue.put(NamespaceRemoved(scope))
                continue
            self._positions[scope] = (row.resource_version, row.lost_after)
            self._phases[scope] = (row.phase, row.error)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                tasks.create_task(self._discover(tasks))
                tasks.create_task(self._beat())
                if self._around.namespaces:
                    tasks.create_task(self._watch_rights())
        finally:
            await self._client.close()

    # --- kinds ------------------------------------------------------------------------------------------------------
    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        delay = 0.5
        while True:
            self._kinds_changed.clear()
            try:
                await self._settle(await discover(self._client, self.rhythm.exclude), tasks)
                delay = 0.5
            except DomainError as error:
                await self._say(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, self.rhythm.discovery)
                continue
            try:
                async with asyncio.timeout(self.rhythm.discovery):
                    await self._kinds_changed.wait()
                # A new definition is served a little after it is written; many come together.
                await asyncio.sleep(delay)
            except TimeoutError:
                pass

    async def _say(self, error: DomainError) -> None:
        log.info("%s: %s", self.owner.name, error.message)
        try:
            await self._database(
                sync.mark_unreachable, self.owner.cluster, self.owner.token, error.message
            )
        except DatabaseError:
            log.warning("%s: the database does not answer", self.owner.name)

    async def _settle(self, found: ServedKinds, tasks: asyncio.TaskGroup) -> None:
        """Follow what is new, stop following what is gone, and take its rows out."""
        wanted = set(found.kinds)
        followed = {scope.kind for scope in self._positions} | set(self._followers)
        for kind in [
            kind for kind in followed if kind not in wanted and kind.group not in found.unknown
        ]:
            await self._stop(kind)
            if any((other.group, other.plural) == (kind.group, kind.plural) for other in wanted):
                continue
            for scope in [scope for scope in self._phases if scope.kind == kind]:
                del self._phases[scope]
            await self._queue.put(KindRemoved(kind))
        for kind in found.kinds:
            if kind not in self._followers:
                follower = Reflector(self._around, WatchScope(kind))
                self._followers[kind] = (follower, tasks.create_task(follower.run()))
        self._allot_namespaces()
        try:
            await self._database(sync.save_aliases, self.owner.cluster, found.kinds)
        except DatabaseError:
            log.warning("%s: the database does not answer", self.owner.name)

    def _allot_namespaces(self) -> None:
        """Say which kinds may be followed in each accessible namespace, as many as fit into the limit: well-known kinds first."""
        followers = [
            follower for follower, _ in self._followers.values() if follower.kind.namespaced
        ]
        followers.sort(key=lambda follower: follower.kind not in BUILT_IN_KINDS)
        room = self.rhythm.namespace_watches // max(1, len(self._around.namespaces))
        room -= sum(follower.may_split for follower in followers)
        for follower in followers:
            if not follower.may_split and room > 0:
                follower.may_split = True
                room -= 1
                if follower.phase == Phase.OVER_LIMIT:
                    follower.check_rights(())

    # --- rights -----------------------------------------------------------------------------------------------------
    async def _watch_rights(self) -> None:
        """Notice when the credentials' rights change: a watch that is open goes on without them, and what is refused is seldom tried."""
        known: dict[str, bytes] = {}
        pause = max(self.rhythm.rights, len(self._around.namespaces) / REVIEWS_PER_SECOND)
        while True:
            try:
                changed = await changed_namespaces(self._client, self._around.namespaces, known)
                if changed:
                    log.info("%s: the rights of its credentials have changed", self.owner.name)
                    for follower, _ in self._followers.values():
                        follower.check_rights(changed)
            except DomainError as error:
                log.info("%s: its rights cannot be asked for: %s", self.owner.name, error.message)
            await asyncio.sleep(pause)

    async def _stop(self, kind: Kind) -> None:
        for scope in [scope for scope in self._positions if scope.kind == kind]:
            del self._positions[scope]
        if kind in self._followers:
            _, task = self._followers.pop(kind)
            task.cancel()
            await asyncio.wait([task])

    # --- beat -------------------------------------------------------------------------------------------------------
    async def _beat(self) -> None:
        while True:
            try:
                await self._one_beat()
            except DatabaseError:
                log.warning("%s: the database does not answer", self.owner.name)
            except DomainError as error:
                await self._say(error)
            await asyncio.sleep(self.rhythm.beat)

    async def _one_beat(self) -> None:
        """One look at the cluster: how far it is by now, and which watches stood when it was asked."""
        loop = asyncio.get_running_loop()
        moment, asked = await self._database(sync.database_now), loop.time()
        revision, identity = await self._newest()
        backwards = (
            revision.isdigit() and self._revision.isdigit() and int(revision) < int(self._revision)
        )
        if backwards or (identity and self._identity and identity != self._identity):
            log.warning(
                "%s: its versions run backwards, or it is another cluster by now; listing everything again",
                self.owner.name,
            )
            await self._start_over()
        self._revision, self._identity = revision, identity or self._identity
        phases = {
            follower.scope: self._phase(follower, asked) for follower in self._all_followers()
        }
        # What was watched before and is not followed (yet, or any more) gets no younger by this beat.
        resting = {
            scope: (Phase.RECONNECTING, error)
            for scope, (phase, error) in self._phases.items()
            if scope not in phases and phase == Phase.WATCHING
        }
        changed = {
            scope: phase for scope, phase in phases.items() if self._phases.get(scope) != phase
        }
        await self._queue.put(Heartbeat(moment, revision, self._identity, {**resting, **changed}))
        await self._queue.flush()
        self._phases = phases
        self._notice_definitions()

    def _all_followers(self) -> list[Reflector]:
        """Of whole kinds, and of the namespaces in which some are followed."""
        whole = [follower for follower, _ in self._followers.values()]
        return [*whole, *(part for follower in whole for part in follower.parts.values())]

    @staticmethod
    def _phase(follower: Reflector, asked: float) -> tuple[str, str]:
        stands = follower.open_since is not None and follower.open_since <= asked - SETTLE_SECONDS
        if follower.phase == Phase.WATCHING and not stands:
            return Phase.RECONNECTING, follower.error
        return follower.phase, follower.error

    async def _newest(self) -> tuple[str, str]:
        """The cluster's newest resourceVersion and the uid of its kube-system; "" where namespaces may not be listed."""
        try:
            body = await self._client.read(
                "GET",
                KINDS["namespaces"].path(),
                query={"fieldSelector": "metadata.name=kube-system"},
            )
        except Forbidden:
            await self._client.read("GET", "/version")
            return "", ""
        try:
            chunk = CHUNKS.decode(body)
        except DECODE_ERRORS:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list", reason="bad_answer"
            ) from None
        return chunk.metadata.resource_version, decode_head(
            chunk.items[0]
        ).uid if chunk.items else ""

    async def _start_over(self) -> None:
        """Positions of a history that never happened are worth nothing."""
        for _, task in list(self._followers.values()):
            task.cancel()
            await asyncio.wait([task])
        self._positions.clear()
        # Those that are served no longer have to be taken out by the next look.
        self._positions.update({WatchScope(kind): ("", "") for kind in self._followers})
        self._followers.clear()
        self._kinds_changed.set()

    def _notice_definitions(self) -> None:
        """A definition that came or went changes what there is to follow."""
        for kind, (follower, _) in self._followers.items():
            if (kind.group, kind.plural) == CRD_RESOURCE:
                if self._crds_at not in ("", follower.version):
                    self._kinds_changed.set()
                self._crds_at = follower.version

    # --- writing ----------------------------------------------------------------------------------------------------
    async def _write(self) -> None:
        """Batches in order; those of a list that touch different objects may overtake each other."""
        async with asyncio.TaskGroup() as commits:
            under_way: dict[asyncio.Task[None], frozenset[Key]] = {}
            while True:
                items = await self._gathered()
                keys = writer.independent_keys(items)
                await self._make_room(under_way, keys)
                commit = commits.create_task(self._commit(items))
                under_way[commit] = keys

    async def _gathered(self) -> list[QueueItem]:
        items = await self._queue.take(1)
        if not isinstance(items[0], FlushMarker):
            if len(self._queue) < self.rhythm.batch:
                await asyncio.sleep(self.rhythm.gather)
            items += await self._queue.more(self.rhythm.batch - 1)
        return items

    @staticmethod
    async def _make_room(
        under_way: dict[asyncio.Task[None], frozenset[Key]], keys: frozenset[Key]
    ) -> None:
        """Wait until a batch of these keys may begin: beside few others, and none that it could get in the way of."""
        while under_way and not (
            len(under_way) < PARALLEL_COMMITS
            and all(keys and held and not keys & held for held in under_way.values())
        ):
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for commit in done:
                del under_way[commit]

    async def _commit(self, items: list[QueueItem]) -> None:
        await self._store([item for item in items if not isinstance(item, FlushMarker)])
        await self._queue.done(items)
        for item in items:
            if isinstance(item, FlushMarker) and not item.reached.done():
                item.reached.set_result(None)

    async def _store(self, items: Sequence[QueueItem]) -> None:
        """Written for certain, however often the database has to be asked; Fenced when the lease is lost."""
        while items:
            try:
                refused = await self._database(writer.write, self.owner, items)
            except DatabaseError as error:
                log.warning(
                    "%s: writing %d items failed, trying again: %s",
                    self.owner.name,
                    len(items),
                    str(error).splitlines()[:1],
                )
                await asyncio.sleep(DATABASE_PAUSE)
                continue
            if refused:
                log.warning("%s: the database refused %d documents", self.owner.name, refused)
            return
