"""The collector against the bare fetching of the same objects: first sync, re-sync, restart, steady changes, memory."""

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

from bench.processes import environment, manage, peak, running, until
from simcluster.testing import RunningCluster, running_cluster

PODS = 10_000
ROUNDS = 3
RATE, SECONDS = 1000, 5
QUIET = 2.0
OTHERS = "leases.coordination.k8s.io,events"


def _bare(kubeconfig: Path) -> float:
    """Seconds in which a process of its own fetches every pod in pages of 500 over one kept connection and decodes them."""
    command = [sys.executable, "-m", "bench.fetching", str(kubeconfig), str(PODS)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _query(database: Any, statement: str, *params: object) -> Any:
    with database.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()[0]


def _listed(server: RunningCluster) -> float | None:
    """When the pods were first asked for as a list."""
    return next(
        (
            request.at
            for request in server.requests
            if request.path == "/api/v1/pods" and "watch" not in request.query
        ),
        None,
    )


@contextlib.contextmanager
def _collecting(environ: dict[str, str]) -> Iterator[int]:
    with running(
        [sys.executable, "manage.py", "collect"], {**environ, "COLLECTOR_EXCLUDE": OTHERS}
    ) as child:
        yield child.pid


def _sync(
    server: RunningCluster, database: Any, environ: dict[str, str], done: str
) -> tuple[float, float]:
    """(seconds from the first list of pods until `done` is true in the database, the collector's peak in MB)."""
    server.requests.clear()
    with _collecting(environ) as pid:
        began = until(lambda: _listed(server))
        until(lambda: _query(database, done))
        taken = time.monotonic() - began
        # Every kind must have its place, or the next collector has to list it.
        until(
            lambda: _query(
                database,
                "SELECT count(*) > 20 AND bool_and(listed_at IS NOT NULL) FROM storage_kind_sync",
            )
        )
        until(lambda: _is_quiet(server))
        return taken, peak(pid)


def _is_quiet(server: RunningCluster) -> bool:
    """Whether nothing was asked for in the last two seconds but watches and the beat: every watch that had to be given up was."""
    return (
        time.monotonic()
        - max(request.at for request in server.requests if "limit" in request.query)
        > QUIET
    )


def _steady(server: RunningCluster, database: Any) -> tuple[float, list[float]]:
    """(changes a second that were made, seconds until each was committed, sorted)."""
    made: dict[str, float] = {}

    def put(number: int) -> None:
        name = f"steady-{number}"
        metadata = {"name": name, "namespace": "default", "uid": str(uuid4())}
        made[name] = time.time()
        server.store.put(
            "configmaps",
            {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": metadata,
                "data": {"n": str(number)},
            },
        )

    started, number = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        wanted = int((time.monotonic() - started) * RATE)
        server.call(lambda first=number, last=wanted: [put(each) for each in range(first, last)])
        number = wanted
        time.sleep(0.01)
    rate = number / (time.monotonic() - started)
    counting = "SELECT count(*) = %s FROM storage_resource WHERE resource_type = 'ConfigMap' AND resource_name LIKE 'steady-%%'"
    until(lambda: _query(database, counting, number))
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT resource_name, extract(epoch FROM at)::float8 FROM storage_change WHERE resource_name LIKE 'steady-%'"
        )
        return rate, sorted(at - made[name] for name, at in cursor.fetchall())


def run() -> None:
    """10,000 pods of about 4 KB in one simulated cluster; prints ratios against fetching them alone."""
    with (
        tempfile.TemporaryDirectory() as folder,
        environment() as environ,
        running_cluster(controllers=False, kubelet=False) as server,
    ):
        server.load_pods(PODS)
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig_yaml)
        manage(environ, "migrate", "--verbosity", "0")
        json.loads(manage(environ, "register_cluster", "bench", "--kubeconfig", str(kubeconfig)))
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        _measure(server, database, environ, kubeconfig)
        database.close()


def _measure(
    server: RunningCluster, database: Any, environ: dict[str, str], kubeconfig: Path
) -> None:
    listed = (
        "SELECT count(*) > 0 FROM storage_kind_sync WHERE plural = 'pods' AND listed_at IS NOT NULL"
    )
    rounds = []
    for _ in range(ROUNDS):
        _empty(database)
        alone = _bare(kubeconfig)
        first, peak = _sync(server, database, environ, listed)
        alone = (alone + _bare(kubeconfig)) / 2
        rounds.append((first / alone, first, alone, peak))
        assert (
            _query(database, "SELECT count(*) FROM storage_resource WHERE resource_type = 'Pod'")
            == PODS
        )
    ratio, first, alone, peak = sorted(rounds)[ROUNDS // 2]
    print(
        f"first sync of {PODS} pods: {first:.2f} s, fetching them alone {alone:.2f} s, ratio {ratio:.1f} (bound: 4)"
    )
    print(
        f"  ratios of all rounds: {', '.join(f'{each[0]:.1f}' for each in rounds)}; collector's peak {peak:.0f} MB"
    )
    # History is lost only for watches that are behind it.
    server.load("configmaps", [{"metadata": {"name": "later", "namespace": "default"}}])
    server.compact()
    before = _query(database, "SELECT listed_at FROM storage_kind_sync WHERE plural = 'pods'")
    alone = _bare(kubeconfig)
    again, _ = _sync(
        server,
        database,
        environ,
        f"SELECT listed_at > '{before}' FROM storage_kind_sync WHERE plural = 'pods'",  # noqa: S608
    )
    print(f"re-sync of unchanged pods: {again:.2f} s, ratio {again / alone:.1f} (bound: 1.5)")
    _restarted(server, database, environ)


def _empty(database: Any) -> None:
    with database.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")
        cursor.execute("DELETE FROM storage_kind_sync")


def _restarted(server: RunningCluster, database: Any, environ: dict[str, str]) -> None:
    server.requests.clear()
    written = _query(database, "SELECT max(seq) FROM storage_change")
    with _collecting(environ):
        watched = "SELECT count(*) = 0 FROM storage_kind_sync WHERE phase <> 'watching'"
        until(
            lambda: any(
                request.path == "/api/v1/pods" and "watch" in request.query
                for request in server.requests
            )
        )
        until(lambda: _query(database, watched))
        lists = [
            request
            for request in server.requests
            if "limit" in request.query and request.path != "/api/v1/namespaces"
        ]
        again = _query(database, "SELECT max(seq) FROM storage_change") - written
        print(f"restart: {len(lists)} lists, {again} rows written (bound: 0)")
        rate, lags = _steady(server, database)
        middle, worst = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
        print(
            f"{rate:.0f} changes a second: committed after p50 {middle:.3f} s, p99 {worst:.3f} s (bound: 1)"
        )
