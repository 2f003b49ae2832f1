"""The collector against the bare fetching of the same objects: first sync, re-sync, restart, steady changes, memory."""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psycopg2
import urllib3

from bench.processes import environment, manage, running
from simcluster.testing import RunningCluster, running_cluster

PODS = 10_000
RATE, SECONDS = 1000, 5
OTHERS = "leases.coordination.k8s.io,events"


def _wait(condition: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.01)
    return found


def _bare(server: RunningCluster) -> float:
    """Seconds to fetch every pod in pages of 500 and decode it."""
    authority = Path(tempfile.gettempdir()) / f"bench-collector-{uuid4().hex}.pem"
    authority.write_text(server.authority)
    pool = urllib3.PoolManager(ca_certs=str(authority))
    try:
        return _fetch(server, pool)
    finally:
        authority.unlink()


def _fetch(server: RunningCluster, pool: urllib3.PoolManager) -> float:
    started, token, count = time.monotonic(), "", 0
    while True:
        query = {"limit": "500", **({"continue": token} if token else {})}
        headers = {"Authorization": f"Bearer {server.token}"}
        page = orjson.loads(pool.request("GET", f"{server.url}/api/v1/pods", fields=query, headers=headers).data)
        count += len(page["items"])
        token = page["metadata"].get("continue", "")
        if not token:
            assert count == PODS, count
            return time.monotonic() - started


def _query(database: Any, statement: str, *params: object) -> Any:
    with database.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()[0]


def _listed(server: RunningCluster) -> float | None:
    """When the pods were first asked for as a list."""
    return next((request.at for request in server.requests if request.path == "/api/v1/pods" and "watch" not in request.query), None)


@contextlib.contextmanager
def _collecting(environ: dict[str, str]) -> Iterator[int]:
    with running([sys.executable, "manage.py", "collect"], {**environ, "COLLECTOR_EXCLUDE": OTHERS}) as child:
        yield child.pid


def _peak(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _sync(server: RunningCluster, database: Any, environ: dict[str, str], done: str) -> tuple[float, float]:
    """(seconds from the first list of pods until `done` is true in the database, the collector's peak in MB)."""
    server.requests.clear()
    with _collecting(environ) as pid:
        began = _wait(lambda: _listed(server))
        _wait(lambda: _query(database, done))
        return time.monotonic() - began, _peak(pid)


def _steady(server: RunningCluster, database: Any) -> tuple[float, list[float]]:
    """(changes a second that were made, seconds until each was committed, sorted)."""
    made: dict[str, float] = {}

    def put(number: int) -> None:
        name = f"steady-{number}"
        metadata = {"name": name, "namespace": "default", "uid": str(uuid4())}
        made[name] = time.time()
        server.store.put("configmaps", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"n": str(number)}})

    started, number = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        wanted = int((time.monotonic() - started) * RATE)
        server.call(lambda first=number, last=wanted: [put(each) for each in range(first, last)])
        number = wanted
        time.sleep(0.01)
    rate = number / (time.monotonic() - started)
    counting = "SELECT count(*) = %s FROM storage_resource WHERE resource_type = 'ConfigMap' AND resource_name LIKE 'steady-%%'"
    _wait(lambda: _query(database, counting, number))
    with database.cursor() as cursor:
        cursor.execute("SELECT resource_name, extract(epoch FROM at)::float8 FROM storage_change WHERE resource_name LIKE 'steady-%'")
        return rate, sorted(at - made[name] for name, at in cursor.fetchall())


def run() -> None:
    """10,000 pods of about 4 KB in one simulated cluster; prints ratios against fetching them alone."""
    with tempfile.TemporaryDirectory() as folder, environment() as environ, running_cluster(controllers=False, kubelet=False) as server:
        server.load_pods(PODS)
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig_yaml)
        manage(environ, "migrate", "--verbosity", "0")
        json.loads(manage(environ, "register_cluster", "bench", "--kubeconfig", str(kubeconfig)))
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        _measure(server, database, environ)
        database.close()


def _measure(server: RunningCluster, database: Any, environ: dict[str, str]) -> None:
    bare = min(_bare(server) for _ in range(3))
    print(f"fetching {PODS} pods alone: {bare:.2f} s")
    done = f"SELECT count(*) = {PODS} FROM storage_resource WHERE resource_type = 'Pod'"  # noqa: S608  # a constant
    first, peak = _sync(server, database, environ, done)
    print(f"first sync: {first:.2f} s, ratio {first / bare:.1f} (bound: 4); collector's peak {peak:.0f} MB")
    # History is lost only for watches that are behind it.
    server.load("configmaps", [{"metadata": {"name": "later", "namespace": "default"}}])
    server.compact()
    before = _query(database, "SELECT listed_at FROM storage_kind_sync WHERE plural = 'pods'")
    again, _ = _sync(server, database, environ, f"SELECT listed_at > '{before}' FROM storage_kind_sync WHERE plural = 'pods'")  # noqa: S608
    print(f"re-sync of unchanged pods: {again:.2f} s, ratio {again / bare:.1f} (bound: 1.5)")
    server.requests.clear()
    with _collecting(environ):
        watched = "SELECT count(*) = 0 FROM storage_kind_sync WHERE phase <> 'watching'"
        _wait(lambda: any(request.path == "/api/v1/pods" and "watch" in request.query for request in server.requests))
        _wait(lambda: _query(database, watched))
        lists = [request for request in server.requests if "limit" in request.query and request.path != "/api/v1/namespaces"]
        print(f"restart: {len(lists)} lists (bound: 0)")
        rate, lags = _steady(server, database)
        middle, worst = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
        print(f"{rate:.0f} changes a second: committed after p50 {middle:.3f} s, p99 {worst:.3f} s (bound: 1)")
