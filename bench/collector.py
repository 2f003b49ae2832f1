"""The collector against the bare fetching of the same objects.

First sync, re-sync, restart, steady changes, memory.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2

from bench.processes import (
    manage,
    migrated,
    peak,
    running,
    until,
)
from simcluster.testing import RunningCluster, running_cluster

PODS = 10_000
ROUNDS = 3
CHANGES_PER_SECOND = 1000
STEADY_SECONDS = 5
QUIET_SECONDS = 2.0
EXCLUDED = "leases.coordination.k8s.io,events"
POD_COUNT = "SELECT count(*) FROM storage_resource WHERE resource_type = 'Pod'"
PODS_LISTED = """
SELECT count(*) > 0 FROM storage_kind_sync WHERE plural = 'pods' AND listed_at IS NOT NULL
"""
ALL_LISTED = "SELECT count(*) > 20 AND bool_and(listed_at IS NOT NULL) FROM storage_kind_sync"
ALL_WATCHED = "SELECT count(*) = 0 FROM storage_kind_sync WHERE phase <> 'watching'"
LAST_CHANGE = "SELECT max(seq) FROM storage_change"
ARE_STORED = """
SELECT count(*) = %s FROM storage_resource
WHERE resource_type = 'ConfigMap' AND resource_name LIKE 'steady-%%'
"""
COMMIT_TIMES = """
SELECT resource_name, extract(epoch FROM at)::float8 FROM storage_change
WHERE resource_name LIKE 'steady-%'
"""


def _fetch_bare(kubeconfig: Path) -> float:
    """Seconds in which a process of its own fetches every pod and decodes it.

    In pages of 500 over one kept connection.
    """
    command = [
        sys.executable,
        "-m",
        "bench.fetching",
        str(kubeconfig),
        str(PODS),
    ]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(process.stdout)


def _query(database: Any, statement: str, *params: object) -> Any:
    with database.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()[0]


def _first_list(server: RunningCluster) -> float | None:
    """When the pods were first asked for as a list."""
    for request in server.requests:
        if request.path == "/api/v1/pods" and "watch" not in request.query:
            return float(request.at)
    return None


@contextlib.contextmanager
def _collecting(environ: dict[str, str]) -> Iterator[int]:
    """The process id of a collector that runs within the block."""
    command = [sys.executable, "manage.py", "collect"]
    with running(command, {**environ, "COLLECTOR_EXCLUDE": EXCLUDED}) as child:
        yield child.pid


def _sync(
    server: RunningCluster,
    database: Any,
    environ: dict[str, str],
    done: str,
) -> tuple[float, float]:
    """(seconds from the first list of pods until the query `done` is true, peak memory in MB)."""
    server.requests.clear()
    with _collecting(environ) as pid:
        started = until(lambda: _first_list(server))
        until(lambda: _query(database, done))
        seconds = time.monotonic() - started
        # Every kind must have its position, or the next collector has to list it.
        until(lambda: _query(database, ALL_LISTED))
        until(lambda: _is_quiet(server))
        return seconds, peak(pid)


def _is_quiet(server: RunningCluster) -> bool:
    """Whether only watches and heartbeats were asked for in the last two seconds.

    Then every watch that had to be given up was.
    """
    last_list = max(request.at for request in server.requests if "limit" in request.query)
    return time.monotonic() - last_list > QUIET_SECONDS


def _measure_changes(server: RunningCluster, database: Any) -> tuple[float, list[float]]:
    """(changes a second that were written, seconds until each was committed, sorted)."""
    written_at: dict[str, float] = {}

    def put(number: int) -> None:
        name = f"steady-{number}"
        written_at[name] = time.time()
        config_map = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": str(uuid4()),
            },
            "data": {"n": str(number)},
        }
        server.store.put("configmaps", config_map)

    def put_all(first: int, last: int) -> None:
        for number in range(first, last):
            put(number)

    written = 0
    started = time.monotonic()
    while time.monotonic() - started < STEADY_SECONDS:
        due = int((time.monotonic() - started) * CHANGES_PER_SECOND)
        server.call(lambda first=written, last=due: put_all(first, last))
        written = due
        time.sleep(0.01)
    rate = written / (time.monotonic() - started)
    until(lambda: _query(database, ARE_STORED, written))
    with database.cursor() as cursor:
        cursor.execute(COMMIT_TIMES)
        lags = [committed_at - written_at[name] for name, committed_at in cursor.fetchall()]
    return rate, sorted(lags)


def run() -> None:
    """10,000 pods of about 4 KB in one simulated cluster; ratios against fetching them alone."""
    with (
        tempfile.TemporaryDirectory() as folder,
        migrated() as environ,
        running_cluster(controllers=False, kubelet=False) as server,
    ):
        server.load_pods(PODS)
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig_yaml)
        json.loads(
            manage(
                environ,
                "register_cluster",
                "bench",
                "--kubeconfig",
                str(kubeconfig),
            )
        )
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        _measure_first_sync(server, database, environ, kubeconfig)
        _measure_resync(server, database, environ, kubeconfig)
        _measure_restart(server, database, environ)
        database.close()


def _measure_first_sync(
    server: RunningCluster,
    database: Any,
    environ: dict[str, str],
    kubeconfig: Path,
) -> None:
    rounds = []
    for _ in range(ROUNDS):
        _empty(database)
        before = _fetch_bare(kubeconfig)
        seconds, memory = _sync(server, database, environ, PODS_LISTED)
        bare = (before + _fetch_bare(kubeconfig)) / 2
        rounds.append((seconds / bare, seconds, bare, memory))
        assert _query(database, POD_COUNT) == PODS
    ratio, seconds, bare, memory = sorted(rounds)[ROUNDS // 2]
    print(
        f"first sync of {PODS} pods: {seconds:.2f} s, fetching them alone {bare:.2f} s,"
        f" ratio {ratio:.1f} (bound: 4)"
    )
    ratios = ", ".join(f"{measured[0]:.1f}" for measured in rounds)
    print(f"  ratios of all rounds: {ratios}; collector's peak {memory:.0f} MB")


def _measure_resync(
    server: RunningCluster,
    database: Any,
    environ: dict[str, str],
    kubeconfig: Path,
) -> None:
    # History is lost only for watches that are behind it.
    server.load(
        "configmaps",
        [{"metadata": {"name": "later", "namespace": "default"}}],
    )
    server.compact()
    before = _query(
        database,
        "SELECT listed_at FROM storage_kind_sync WHERE plural = 'pods'",
    )
    bare = _fetch_bare(kubeconfig)
    relisted = f"""
        SELECT listed_at > '{before}' FROM storage_kind_sync WHERE plural = 'pods'
    """  # noqa: S608  # a time that the database gave
    seconds, _ = _sync(server, database, environ, relisted)
    print(f"re-sync of unchanged pods: {seconds:.2f} s, ratio {seconds / bare:.1f} (bound: 1.5)")


def _empty(database: Any) -> None:
    with database.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")
        cursor.execute("DELETE FROM storage_kind_sync")


def _watches_pods(server: RunningCluster) -> bool:
    return any(
        request.path == "/api/v1/pods" and "watch" in request.query for request in server.requests
    )


def _measure_restart(server: RunningCluster, database: Any, environ: dict[str, str]) -> None:
    server.requests.clear()
    before = _query(database, LAST_CHANGE)
    with _collecting(environ):
        until(lambda: _watches_pods(server))
        until(lambda: _query(database, ALL_WATCHED))
        lists = [
            request
            for request in server.requests
            if "limit" in request.query and request.path != "/api/v1/namespaces"
        ]
        rows = _query(database, LAST_CHANGE) - before
        print(f"restart: {len(lists)} lists, {rows} rows written (bound: 0)")
        rate, lags = _measure_changes(server, database)
        p50 = lags[len(lags) // 2]
        p99 = lags[len(lags) * 99 // 100]
        print(
            f"{rate:.0f} changes a second: committed after p50 {p50:.3f} s,"
            f" p99 {p99:.3f} s (bound: 1)"
        )
