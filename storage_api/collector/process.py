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
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from clusters import kubeconfig
from clusters.registry import client_limits
from clusters.streams import StreamClient
from core import heartbeat
from core.errors import DomainError
from storage_api.collector import leases
from storage_api.collector.cluster_collector import (
    ClusterCollector,
    Intervals,
)
from storage_api.collector.leases import Lease
from storage_api.collector.queue import WriteQueue
from storage_api.collector.reflector import (
    CollectorContext,
    WatchConfig,
)
from storage_api.collector.writer import LeaseHolder
from storage_api.services import sync
from storage_api.services.sync import Fenced

log = logging.getLogger(__name__)
T = TypeVar("T")
RESTART_PAUSE = 2.0
# The queue's bytes are shared by at least so many: one cluster gains nothing from a longer queue.
MIN_QUEUE_SHARES = 8
# Writers wait for the database far more than they compute: the event loop gets its turn sooner
# than after Python's 5 ms.
THREAD_SWITCH_SECONDS = 0.0005
# How long a collector that was told to stop may finish its writes.
STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """How a collector works.

    `lease`: seconds that a lease lasts. `writers`: connections to the database. `lists`: kinds of
    a cluster that are listed at once. `queue_bytes`: what may wait to be written in all; no
    cluster gets more than an eighth.
    """

    lease: float = 8.0
    writers: int = 4
    lists: int = 2
    queue_bytes: int = 64 * 1024 * 1024
    intervals: Intervals = field(default_factory=Intervals)
    watch: WatchConfig = field(default_factory=WatchConfig)


def options_from_settings() -> CollectorOptions:
    """The options that the settings COLLECTOR_* describe."""
    return CollectorOptions(
        lease=settings.COLLECTOR_LEASE_SECONDS,
        writers=settings.COLLECTOR_WRITERS,
        lists=settings.COLLECTOR_LISTS,
        queue_bytes=settings.COLLECTOR_QUEUE_BYTES,
        intervals=Intervals(
            beat=settings.COLLECTOR_BEAT_SECONDS,
            discovery=settings.COLLECTOR_DISCOVERY_SECONDS,
            batch=settings.COLLECTOR_BATCH,
            exclude=tuple(settings.COLLECTOR_EXCLUDE),
            namespace_watches=settings.COLLECTOR_NAMESPACE_WATCHES,
        ),
        watch=WatchConfig(
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

    def __init__(self, options: CollectorOptions) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.options = options
        self._threads = ThreadPoolExecutor(options.writers, thread_name_prefix="database")
        # Leases wait for no writer: behind those of many clusters they would run out.
        self._lease_thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        # By cluster: (fingerprint of its lease, the task that collects it).
        self._tasks: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """End soon, releasing the clusters."""
        self._stopping.set()

    def stop_from_elsewhere(self) -> None:
        """As `stop`, from another thread."""
        self._loop.call_soon_threadsafe(self.stop)

    async def database(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that talks to the database, on one of the few threads that do.

        As `_in_thread`.
        """
        return await self._in_thread(self._threads, function, *args)

    async def _in_thread(
        self, threads: ThreadPoolExecutor, function: Callable[..., T], *args: Any
    ) -> T:
        """What the function returns, called in one of the threads.

        When cancelled it still waits for the function: who collects the cluster next must find
        what was written.
        """
        call = self._loop.run_in_executor(
            threads,
            functools.partial(_call_on_usable_connection, function, *args),
        )
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            if not call.cancelled() and (error := call.exception()):
                log.info(
                    "a cancelled call failed: %s",
                    str(error).splitlines()[:1],
                )
            raise

    async def run(self) -> None:
        """Collect until stopped."""
        cleanup = asyncio.create_task(self._delete_removed_clusters())
        try:
            while not self._stopping.is_set():
                await self._renew_leases()
                heartbeat.beat()
                try:
                    # Several tries fit into one lease: one failure does not lose it.
                    async with asyncio.timeout(self.options.lease / 4):
                        await self._stopping.wait()
                except TimeoutError:
                    pass
        finally:
            cleanup.cancel()
            await asyncio.wait([cleanup])
            await self._shut_down()

    async def _delete_removed_clusters(self) -> None:
        """Delete what is stored of clusters that are no longer registered, from time to time."""
        while True:
            try:
                while name := await self.database(sync.delete_removed_cluster):
                    log.info(
                        "%s: no longer registered, its rows are deleted",
                        name,
                    )
            except DatabaseError as error:
                log.warning(
                    "the database does not answer: %s",
                    str(error).splitlines()[:1],
                )
            await asyncio.sleep(self.options.lease)

    async def _renew_leases(self) -> None:
        """Renew the leases; start and stop collecting as they say."""
        try:
            current = await self._in_thread(
                self._lease_thread,
                functools.partial(
                    leases.renew_leases,
                    self.name,
                    seconds=self.options.lease,
                ),
            )
        except DatabaseError as error:
            log.warning(
                "the database does not answer: %s",
                str(error).splitlines()[:1],
            )
            return
        fingerprints = {lease.cluster: _fingerprint(lease) for lease in current}
        for cluster, (fingerprint, task) in list(self._tasks.items()):
            # A changed kubeconfig, name or token: collect it again from the start.
            if task.done() or fingerprints.get(cluster, "") != fingerprint:
                await self._stop_collecting(cluster)
        for lease in current:
            if lease.cluster not in self._tasks:
                task = asyncio.create_task(
                    collect_cluster(lease.name, functools.partial(self._run_once, lease)),
                    name=lease.name,
                )
                self._tasks[lease.cluster] = (
                    fingerprints[lease.cluster],
                    task,
                )

    async def _stop_collecting(self, cluster: int) -> None:
        _, task = self._tasks.pop(cluster)
        task.cancel()
        await asyncio.wait([task])

    async def _run_once(self, lease: Lease) -> None:
        await self._cluster_collector(lease).run()

    def _cluster_collector(self, lease: Lease) -> ClusterCollector:
        """A collector of the lease's cluster; Invalid when its kubeconfig cannot be used."""
        access = kubeconfig.access(
            lease.kubeconfig,
            policy=settings.CLUSTER_ADDRESS_POLICY,
            allow_insecure=settings.CLUSTER_ALLOW_INSECURE_TLS,
        )
        context = CollectorContext(
            client=StreamClient(access, client_limits()),
            cluster_name=lease.name,
            queue=WriteQueue(self._queue_share),
            database=self.database,
            listing=asyncio.Semaphore(self.options.lists),
            watch=self.options.watch,
            namespaces=lease.namespaces,
        )
        holder = LeaseHolder(lease.cluster, lease.name, lease.token)
        return ClusterCollector(holder, context, self.options.intervals)

    def _queue_share(self) -> int:
        """How many bytes may wait for one cluster, with as many clusters as there are now."""
        return self.options.queue_bytes // max(MIN_QUEUE_SHARES, len(self._tasks))

    async def _shut_down(self) -> None:
        for cluster in list(self._tasks):
            await self._stop_collecting(cluster)
        try:
            await self._in_thread(self._lease_thread, leases.release_all, self.name)
        except DatabaseError:
            log.warning("the clusters could not be released; their leases run out by themselves")
        await self._disconnect()
        self._threads.shutdown()
        self._lease_thread.shutdown()

    async def _disconnect(self) -> None:
        """Close the connection of each thread."""
        threads = self.options.writers
        # All threads wait here for each other, so that none takes two of the calls.
        barrier = threading.Barrier(threads)

        def close() -> None:
            barrier.wait()
            connection.close()

        def close_alone() -> None:
            connection.close()

        calls = [self._loop.run_in_executor(self._threads, close) for _ in range(threads)]
        calls.append(self._loop.run_in_executor(self._lease_thread, close_alone))
        await asyncio.gather(*calls)


async def collect_cluster(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Collect one cluster until cancelled or fenced; `run` is one attempt.

    A fault of ours costs a pause, and no other cluster.
    """
    is_fenced = False
    # A group of tasks that fails while it is cancelled raises its errors and forgets the
    # cancellation (before Python 3.13), so that it has to be asked for.
    while not is_fenced and not _is_cancelled():
        try:
            await run()
        except* Fenced:
            log.info("%s: another collector has taken it over", name)
            is_fenced = True
        except* DomainError as group:
            log.warning("%s cannot be collected: %s", name, group.exceptions[0])
        except* Exception:
            log.exception("collecting %s broke; starting over", name)
        if not _is_cancelled():
            await asyncio.sleep(RESTART_PAUSE)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _call_on_usable_connection(function: Callable[..., T], *args: Any) -> T:
    """Call a function on a connection that works.

    After an error of the database the connection is closed, so that the next call opens another.
    """
    connection.close_if_unusable_or_obsolete()
    try:
        return function(*args)
    except DatabaseError:
        connection.close()
        raise


def _fingerprint(lease: Lease) -> str:
    """Changes with everything that collecting the cluster depends on."""
    parts = (
        str(lease.token),
        lease.name,
        *lease.namespaces,
        lease.kubeconfig,
    )
    return sha256("\n".join(parts).encode()).hexdigest()


async def collect(options: CollectorOptions) -> None:
    """Collect until SIGTERM or SIGINT."""
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    collector = Collector(options)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop() -> None:
        collector.stop()
        stopped.set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop)
    work = asyncio.create_task(collector.run())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    done, _pending = await asyncio.wait({work}, timeout=STOP_SECONDS)
    if not done:
        # The database or a cluster does not let it end; leases run out by themselves.
        log.error("the collector did not stop within %d seconds", STOP_SECONDS)
        os._exit(1)
    work.result()
