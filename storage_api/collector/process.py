"""The collector process: takes its share of the clusters and collects each on one event loop."""

import asyncio
import functools
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from clusters import kubeconfig
from clusters.registry import limits
from clusters.streams import StreamClient
from core.errors import DomainError
from storage_api.collector import leases
from storage_api.collector.cluster_collector import ClusterCollector, Intervals
from storage_api.collector.leases import Lease
from storage_api.collector.queue import WriteQueue
from storage_api.collector.reflector import CollectorContext, WatchConfig
from storage_api.collector.writer import LeaseHolder
from storage_api.services import sync
from storage_api.services.sync import Fenced

log = logging.getLogger(__name__)
T = TypeVar("T")
RESTART_PAUSE = 2.0
# One cluster alone would gain nothing from a longer queue.
MIN_QUEUE_SHARES = 8


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """How a collector works; `writers` is how many connections to the database it keeps, `lists` how many kinds of
    a cluster it lists at once, `queue_bytes` what may wait to be written, of which no cluster gets more than an eighth."""

    lease: float = 8.0
    writers: int = 4
    lists: int = 2
    queue_bytes: int = 64 * 1024 * 1024
    rhythm: Intervals = field(default_factory=Intervals)
    pace: WatchConfig = field(default_factory=WatchConfig)


def options_from_settings() -> CollectorOptions:
    """What the settings say."""
    return CollectorOptions(
        lease=settings.COLLECTOR_LEASE_SECONDS,
        writers=settings.COLLECTOR_WRITERS,
        lists=settings.COLLECTOR_LISTS,
        queue_bytes=settings.COLLECTOR_QUEUE_BYTES,
        rhythm=Intervals(
            beat=settings.COLLECTOR_BEAT_SECONDS,
            discovery=settings.COLLECTOR_DISCOVERY_SECONDS,
            batch=settings.COLLECTOR_BATCH,
            exclude=tuple(settings.COLLECTOR_EXCLUDE),
            namespace_watches=settings.COLLECTOR_NAMESPACE_WATCHES,
        ),
        pace=WatchConfig(
            page=settings.COLLECTOR_PAGE,
            page_bytes=settings.COLLECTOR_PAGE_BYTES,
            silence=settings.COLLECTOR_SILENCE_SECONDS,
            watch=settings.COLLECTOR_WATCH_SECONDS,
            relist=settings.COLLECTOR_RELIST_SECONDS,
            longest_delay=settings.COLLECTOR_MAX_DELAY,
        ),
    )


class Collector:
    """Collects its share of the registered clusters until stopped."""

    def __init__(self, chosen: CollectorOptions) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.options = chosen
        self._threads = ThreadPoolExecutor(chosen.writers + 1, thread_name_prefix="database")
        self._sessions: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """End soon, giving the clusters back."""
        self._stopping.set()

    def stop_from_elsewhere(self) -> None:
        """The same, from another thread."""
        self._loop.call_soon_threadsafe(self.stop)

    async def database(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that talks to the database on one of the few threads that do. Cancelled, it still waits for the function:
        whoever goes on with the cluster must find what was written."""
        call = self._loop.run_in_executor(
            self._threads, functools.partial(_usable, function, *args)
        )
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            if not call.cancelled() and (error := call.exception()):
                log.info("what was no longer waited for failed: %s", str(error).splitlines()[:1])
            raise

    async def run(self) -> None:
        """Until stopped."""
        tidying = asyncio.create_task(self._tidy())
        try:
            while not self._stopping.is_set():
                await self._turn()
                try:
                    async with asyncio.timeout(self.options.lease / 4):
                        await self._stopping.wait()
                except TimeoutError:
                    pass
        finally:
            tidying.cancel()
            await asyncio.wait([tidying])
            await self._end()

    async def _tidy(self) -> None:
        """Take out what is stored of clusters that are registered no longer."""
        while True:
            try:
                while name := await self.database(sync.delete_removed_cluster):
                    log.info("%s: registered no longer, its rows are deleted", name)
            except DatabaseError as error:
                log.warning("the database does not answer: %s", str(error).splitlines()[:1])
            await asyncio.sleep(self.options.lease)

    async def _turn(self) -> None:
        try:
            held = await self.database(
                functools.partial(leases.renew_leases, self.name, seconds=self.options.lease)
            )
        except DatabaseError as error:
            log.warning("the database does not answer: %s", str(error).splitlines()[:1])
            return
        wanted = {lease.cluster: (_fingerprint(lease), lease) for lease in held}
        for cluster, (fingerprint, task) in list(self._sessions.items()):
            if task.done() or wanted.get(cluster, ("", None))[0] != fingerprint:
                await self._drop(cluster)
        for cluster, (fingerprint, lease) in wanted.items():
            if cluster not in self._sessions:
                self._sessions[cluster] = (
                    fingerprint,
                    asyncio.create_task(self._collect(lease), name=lease.name),
                )

    async def _drop(self, cluster: int) -> None:
        _, task = self._sessions.pop(cluster)
        task.cancel()
        await asyncio.wait([task])

    async def _collect(self, lease: Lease) -> None:
        """Collect one cluster; a fault of ours costs a pause, never another cluster."""
        fenced = False
        while not fenced:
            try:
                access = kubeconfig.access(
                    lease.kubeconfig,
                    policy=settings.CLUSTER_ADDRESS_POLICY,
                    allow_insecure=settings.CLUSTER_ALLOW_INSECURE_TLS,
                )
                owner = LeaseHolder(lease.cluster, lease.name, lease.token)
                client, listing = (
                    StreamClient(access, limits()),
                    asyncio.Semaphore(self.options.lists),
                )
                around = CollectorContext(
                    client,
                    lease.name,
                    WriteQueue(self._share),
                    self.database,
                    listing,
                    self.options.pace,
                    lease.namespaces,
                )
                await ClusterCollector(owner, around, self.options.rhythm).run()
            except* Fenced:
                log.info("%s: another collector has it by now", lease.name)
                fenced = True
            except* DomainError as group:
                log.warning("%s cannot be collected: %s", lease.name, group.exceptions[0])
            except* Exception:
                log.exception("collecting %s broke; starting over", lease.name)
            await asyncio.sleep(RESTART_PAUSE)

    def _share(self) -> int:
        """How many bytes may wait for one cluster by now."""
        return self.options.queue_bytes // max(MIN_QUEUE_SHARES, len(self._sessions))

    async def _end(self) -> None:
        for cluster in list(self._sessions):
            await self._drop(cluster)
        try:
            await self.database(leases.release_all, self.name)
        except DatabaseError:
            log.warning("the clusters could not be given back; their leases run out by themselves")
        await self._disconnect()
        self._threads.shutdown()

    async def _disconnect(self) -> None:
        """Each thread closes its own connection; they meet first, so that none does it twice."""
        threads = self.options.writers + 1
        meeting = threading.Barrier(threads)

        def close() -> None:
            meeting.wait()
            connection.close()

        await asyncio.gather(
            *(self._loop.run_in_executor(self._threads, close) for _ in range(threads))
        )


def _usable(function: Callable[..., T], *args: Any) -> T:
    """Call it on a connection that works: one that broke is closed, so that the next call opens another."""
    connection.close_if_unusable_or_obsolete()
    try:
        return function(*args)
    except DatabaseError:
        connection.close()
        raise


def _fingerprint(lease: Lease) -> str:
    parts = (str(lease.token), lease.name, *lease.namespaces, lease.kubeconfig)
    return sha256("\n".join(parts).encode()).hexdigest()


async def collect(chosen: CollectorOptions) -> None:
    """Collect until SIGTERM or SIGINT."""
    # Writers wait for the database far more than they compute: the loop gives way to them sooner than Python's 5 ms.
    sys.setswitchinterval(0.0005)
    collector = Collector(chosen)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, collector.stop)
    await collector.run()
