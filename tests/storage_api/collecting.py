"""Running collectors in the tests' own process, and comparing the store with the cluster."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

import orjson
from django.db import connection

from clusters.kinds import Kind
from clusters.resource_types import resource_type
from simcluster.testing import RunningCluster
from storage_api.collector.cluster_collector import Intervals
from storage_api.collector.documents import stored_document
from storage_api.collector.process import Collector, CollectorOptions
from storage_api.collector.reflector import WatchConfig
from storage_api.protection import unseal_all

# The same, at the speed of tests.
INTERVALS = Intervals(
    beat=0.15, discovery=5.0, gather=0.01, exclude=("leases.coordination.k8s.io",)
)
WATCH = WatchConfig(page=50, silence=5.0, watch=20, longest_delay=0.4)
QUICK = CollectorOptions(lease=2.0, writers=2, intervals=INTERVALS, watch=WATCH)
NOT_STORED = {("", "events"), ("coordination.k8s.io", "leases"), ("events.k8s.io", "events")}


def quick(
    *, watch: dict[str, Any] | None = None, intervals: dict[str, Any] | None = None, **changes: Any
) -> CollectorOptions:
    """Options of tests with some changed."""
    return replace(
        QUICK,
        watch=replace(WATCH, **(watch or {})),
        intervals=replace(INTERVALS, **(intervals or {})),
        **changes,
    )


@contextlib.contextmanager
def collecting(options: CollectorOptions = QUICK) -> Iterator[Collector]:
    """A collector for the length of the block."""
    started: list[Collector] = []
    ready = threading.Event()

    async def main() -> None:
        started.append(Collector(options))
        ready.set()
        await started[0].run()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="collector", daemon=True)
    loops_before = threading.active_count()
    thread.start()
    ready.wait(10)
    try:
        yield started[0]
    finally:
        started[0].stop_from_elsewhere()
        thread.join(30)
        assert not thread.is_alive(), f"the collector did not stop ({loops_before} threads before)"


def eventually(condition: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """What the condition returns once it holds; AssertionError with its last answer if never."""
    deadline = time.monotonic() + seconds
    while not (outcome := condition()):
        assert time.monotonic() < deadline, f"did not come about within {seconds} s: {outcome!r}"
        time.sleep(0.03)
    return outcome


def in_cluster(
    server: RunningCluster, only: Collection[str] = (), *, name: str = "watched"
) -> dict[tuple[str, str, str], Any]:
    """(type, namespace, name) -> document, as the store should have it.

    `name`: under which the cluster is registered.
    """

    def read() -> dict[tuple[str, str, str], Any]:
        documents = {}
        for resource in server.cluster.table:
            if (resource.group, resource.plural) in NOT_STORED or "watch" not in resource.verbs:
                continue
            if only and resource.plural not in only:
                continue
            kind = Kind(
                resource.kind,
                resource.plural,
                resource.group,
                resource.version,
                resource.namespaced,
            )
            for record in server.store.list(resource.storage):
                documents[resource_type(kind), record.namespace, record.name] = orjson.loads(
                    stored_document(record.raw, kind, name).text
                )
        return documents

    return server.call(read)


def in_store(name: str, database: Any = connection) -> dict[tuple[str, str, str], Any]:
    """(type, namespace, name) -> document of a cluster's rows."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT resource_type, namespace, resource_name, data::text"
            " FROM storage_resource WHERE cluster_id = %s",
            [name],
        )
        return {
            (row[0], row[1], row[2]): orjson.loads(unseal_all(row[3].encode()))
            for row in cursor.fetchall()
        }


def replayed(name: str, database: Any = connection) -> dict[tuple[str, str, str], Any]:
    """The state that the log of changes leads to; each step must fit what was before."""
    state: dict[tuple[str, str, str], Any] = {}
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT op, resource_type, namespace, resource_name, data::text"
            " FROM storage_change WHERE cluster_id = %s ORDER BY seq",
            [name],
        )
        for op, *key, data in cursor.fetchall():
            place = (key[0], key[1], key[2])
            assert (place in state) == (op != "add"), (op, place)
            if op == "delete":
                del state[place]
            else:
                state[place] = orjson.loads(unseal_all(data.encode()))
    return state


def is_true(server: RunningCluster, name: str, only: Collection[str] = ()) -> bool:
    """Whether the store holds what the cluster holds; of all kinds or of some plurals."""
    return in_cluster(server, only, name=name) == in_store(name)


def wait_true(
    server: RunningCluster, name: str, *, seconds: float = 30.0, only: Collection[str] = ()
) -> None:
    """Until the store holds what the cluster holds."""
    deadline = time.monotonic() + seconds
    while not is_true(server, name, only):
        if time.monotonic() > deadline:
            expected = in_cluster(server, only, name=name)
            stored = in_store(name)
            keys = expected.keys() | stored.keys()
            different = {key for key in keys if expected.get(key) != stored.get(key)}
            raise AssertionError(f"{len(different)} objects differ: {sorted(different)[:5]}")
        time.sleep(0.05)
