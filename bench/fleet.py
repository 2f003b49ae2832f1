"""Many clusters and many objects.

Memory of one collector, a page out of 100,000 pods, a chain of owners among 1,000,000 rows.
"""

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

import psycopg2
import urllib3

from bench.processes import (
    administrator,
    manage,
    migrated,
    peak,
    peak_memory,
    running,
    simulated,
    until,
    web,
)
from bench.storage import fill

CLUSTERS = 20
PODS_PER_CLUSTER = 2_000
PODS = 100_000
ROWS = 1_000_000
ROWS_PER_CLUSTER = 10_000
ROUNDS = 5
COLLECT = [sys.executable, "manage.py", "collect"]
# Below a Deployment five ReplicaSets, whose uids own pods of the filled table.
CHAIN = """
INSERT INTO storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data,
   create_time, update_time, change_time)
SELECT substr(md5(c || '/' || k || '/' || n), 1, 24), 'scale-' || c, k, 'ns-1',
  lower(k) || '-' || n,
  jsonb_build_object('metadata', jsonb_build_object(
    'name', lower(k) || '-' || n,
    'namespace', 'ns-1',
    'uid', CASE k WHEN 'Deployment' THEN 'top-' || c || '-' || n ELSE md5('rs' || n) END,
    'ownerReferences', CASE k
      WHEN 'ReplicaSet' THEN jsonb_build_array(jsonb_build_object(
        'kind', 'Deployment', 'name', 'deployment-1', 'uid', 'top-' || c || '-1'))
      ELSE '[]'::jsonb END)),
  now(), now(), now()
FROM generate_series(1, 100) c,
  (VALUES ('Deployment', 1, 1), ('ReplicaSet', 1, 5)) kinds (k, low, high),
  generate_series(low, high) n
"""


def _count_pods(cursor: Any) -> int:
    cursor.execute("SELECT count(*) FROM storage_resource WHERE resource_type = 'Pod'")
    return int(cursor.fetchone()[0])


def _is_watching(cursor: Any) -> bool:
    """Whether every kind is watched."""
    cursor.execute("SELECT count(*) > 20 AND bool_and(phase = 'watching') FROM storage_kind_sync")
    return bool(cursor.fetchone()[0])


def _measure_memory(environ: dict[str, str], cursor: Any, folder: str) -> None:
    """One simulated cluster, registered twenty times: to the collector these are twenty."""
    pods = CLUSTERS * PODS_PER_CLUSTER
    with simulated(environ, folder, PODS_PER_CLUSTER) as kubeconfig:
        for number in range(CLUSTERS):
            manage(
                environ,
                "register_cluster",
                f"fleet-{number}",
                "--kubeconfig",
                str(kubeconfig),
            )
        started = time.monotonic()
        with running(COLLECT, environ) as child:
            until(lambda: _count_pods(cursor) == pods and _is_watching(cursor))
            seconds = time.monotonic() - started
            megabytes = peak(child.pid)
        print(
            f"{CLUSTERS} clusters of {PODS_PER_CLUSTER} pods in one collector:"
            f" {megabytes:.0f} MB (bound: 500), in {seconds:.0f} s",
            flush=True,
        )
    cursor.execute("UPDATE clusters_cluster SET deleted_at = now(), is_default = false")
    cursor.execute("TRUNCATE storage_resource, storage_change")
    cursor.execute("DELETE FROM storage_kind_sync")


def _time_in_database(environ: dict[str, str], *words: str) -> float:
    """Milliseconds of a read, measured by a process of its own."""
    command = [sys.executable, "-m", "bench.asking", *words]
    process = subprocess.run(
        command,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(process.stdout)


def _measure_page(environ: dict[str, str], cursor: Any, folder: str) -> None:
    """The store's page and the cluster's, through the same address in turn."""
    with simulated(environ, folder, PODS) as kubeconfig:
        registered = manage(
            environ,
            "register_cluster",
            "large",
            "--kubeconfig",
            str(kubeconfig),
        )
        cluster = json.loads(registered)["id"]
        token = administrator(environ)
        with (
            running(COLLECT, environ),
            web(environ) as (address, master),
        ):
            until(lambda: _count_pods(cursor) == PODS and _is_watching(cursor))
            # As autovacuum does within a minute.
            cursor.execute("VACUUM ANALYZE storage_resource")
            _compare_with_live(
                f"{address}/api/v1/kubernetes/pods?cluster_id={cluster}",
                token,
            )
            page = _time_in_database(environ, "page", "large")
            search = _time_in_database(environ, "search", "large")
            print(
                f"  in the database: {page:.1f} ms (bound: 20),"
                f" {search:.1f} ms when searched by name",
                flush=True,
            )
            print(
                f"  web process peak {peak_memory(master.pid):.0f} MB",
                flush=True,
            )


def _compare_with_live(url: str, token: str) -> None:
    pool = urllib3.PoolManager(timeout=300)
    headers = {"Authorization": f"Bearer {token}"}

    def measure(query: str, *, live: bool) -> float:
        address = f"{url}&page=3&pageSize=20{query}" + ("&fresh=true" if live else "")
        started = time.perf_counter()
        answer = pool.request("GET", address, headers=headers)
        assert answer.json()["data"]["total"] == PODS, answer.data[:200]
        assert ("X-Data-Age" in answer.headers) is not live
        return time.perf_counter() - started

    for query, title in (
        ("&keyword=load", "searched by name"),
        ("", "as it stands"),
    ):
        ratios = sorted(
            measure(query, live=False) / measure(query, live=True) for _ in range(ROUNDS)
        )
        print(
            f"page of 20 out of {PODS} pods, {title}:"
            f" {ratios[ROUNDS // 2]:.3f} of the live path's time (bound: 0.1)"
        )


def _measure_owners(environ: dict[str, str], cursor: Any) -> None:
    clusters = ROWS // ROWS_PER_CLUSTER
    cursor.execute("TRUNCATE storage_resource, storage_change")
    fill(cursor, 1, clusters)
    cursor.execute(CHAIN)
    cursor.execute("ANALYZE storage_resource")
    names = [f"scale-{number}" for number in range(1, clusters + 1)]
    single = _time_in_database(environ, "chain", names[0])
    every = _time_in_database(environ, "chain", *names)
    print(
        f"owner chain of depth 3 among {ROWS} rows: {single:.1f} ms in one cluster,"
        f" {every:.1f} ms over 100 clusters (bound: 50)",
        flush=True,
    )


def run() -> None:
    """About ten minutes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        migrated() as environ,
    ):
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        with database.cursor() as cursor:
            _measure_memory(environ, cursor, folder)
            _measure_page(environ, cursor, folder)
            _measure_owners(environ, cursor)
        database.close()
