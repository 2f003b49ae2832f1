"""Many clusters and many objects: memory of one collector, a page out of 100,000 pods, a chain of owners among 1,000,000 rows."""

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
    environment,
    manage,
    peak,
    peak_memory,
    running,
    simulated,
    until,
    web,
)
from bench.storage import fill

CLUSTERS, EACH = 20, 2_000
PODS = 100_000
ROWS, PER_CLUSTER = 1_000_000, 10_000
ROUNDS = 5
# Below a Deployment five ReplicaSets, whose uids own pods of the filled table.
CHAIN = """
INSERT INTO storage_resource (object_id, cluster_id, resource_type, namespace, resource_name, data, create_time, update_time, change_time)
SELECT substr(md5(c || '/' || k || '/' || n), 1, 24), 'scale-' || c, k, 'ns-1', lower(k) || '-' || n,
  jsonb_build_object('metadata', jsonb_build_object('name', lower(k) || '-' || n, 'namespace', 'ns-1',
    'uid', CASE k WHEN 'Deployment' THEN 'top-' || c || '-' || n ELSE md5('rs' || n) END, 'ownerReferences',
    CASE k WHEN 'ReplicaSet' THEN jsonb_build_array(jsonb_build_object('kind', 'Deployment', 'name', 'deployment-1',
      'uid', 'top-' || c || '-1'))
    ELSE '[]'::jsonb END)), now(), now(), now()
FROM generate_series(1, 100) c, (VALUES ('Deployment', 1, 1), ('ReplicaSet', 1, 5)) kinds (k, low, high), generate_series(low, high) n
"""


def _pods(cursor: Any) -> int:
    cursor.execute("SELECT count(*) FROM storage_resource WHERE resource_type = 'Pod'")
    return int(cursor.fetchone()[0])


def _settled(cursor: Any) -> bool:
    cursor.execute("SELECT count(*) > 20 AND bool_and(phase = 'watching') FROM storage_kind_sync")
    return bool(cursor.fetchone()[0])


def _memory(environ: dict[str, str], cursor: Any, folder: str) -> None:
    """One simulated cluster, registered twenty times: to the collector these are twenty."""
    with simulated(environ, folder, EACH) as kubeconfig:
        for number in range(CLUSTERS):
            manage(environ, "register_cluster", f"fleet-{number}", "--kubeconfig", str(kubeconfig))
        started = time.monotonic()
        with running([sys.executable, "manage.py", "collect"], environ) as child:
            until(lambda: _pods(cursor) == CLUSTERS * EACH and _settled(cursor))
            took = time.monotonic() - started
            most = peak(child.pid)
        print(
            f"{CLUSTERS} clusters of {EACH} pods in one collector: {most:.0f} MB (bound: 500), in {took:.0f} s",
            flush=True,
        )
    cursor.execute("UPDATE clusters_cluster SET deleted_at = now(), is_default = false")
    cursor.execute("TRUNCATE storage_resource, storage_change")
    cursor.execute("DELETE FROM storage_kind_sync")


def _asked(environ: dict[str, str], *words: str) -> float:
    command = [sys.executable, "-m", "bench.asking", *words]
    return float(
        subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    )


def _page(environ: dict[str, str], cursor: Any, folder: str) -> None:
    """The store's page and the cluster's, through the same address in turn."""
    with simulated(environ, folder, PODS) as kubeconfig:
        cluster = json.loads(
            manage(environ, "register_cluster", "large", "--kubeconfig", str(kubeconfig))
        )["id"]
        token = administrator(environ)
        with (
            running([sys.executable, "manage.py", "collect"], environ),
            web(environ) as (address, master),
        ):
            until(lambda: _pods(cursor) == PODS and _settled(cursor))
            # As autovacuum does within a minute.
            cursor.execute("VACUUM ANALYZE storage_resource")
            pool, headers = urllib3.PoolManager(timeout=300), {"Authorization": f"Bearer {token}"}
            url = f"{address}/api/v1/kubernetes/pods?cluster_id={cluster}&page=3&pageSize=20"

            def timed(query: str, *, live: bool) -> float:
                started = time.perf_counter()
                answer = pool.request(
                    "GET", url + query + ("&fresh=true" if live else ""), headers=headers
                )
                assert answer.json()["data"]["total"] == PODS, answer.data[:200]
                assert ("X-Data-Age" in answer.headers) is not live
                return time.perf_counter() - started

            for query, what in (("&keyword=load", "searched by name"), ("", "as it stands")):
                pairs = sorted(
                    timed(query, live=False) / timed(query, live=True) for _ in range(ROUNDS)
                )
                print(
                    f"page of 20 out of {PODS} pods, {what}: {pairs[ROUNDS // 2]:.3f} of the live path's time (bound: 0.1)"
                )
            asked, searched = _asked(environ, "page", "large"), _asked(environ, "search", "large")
            print(
                f"  in the database: {asked:.1f} ms (bound: 20), {searched:.1f} ms when searched by name",
                flush=True,
            )
            print(f"  web process peak {peak_memory(master.pid):.0f} MB", flush=True)


def _chain(environ: dict[str, str], cursor: Any) -> None:
    cursor.execute("TRUNCATE storage_resource, storage_change")
    fill(cursor, 1, ROWS // PER_CLUSTER)
    cursor.execute(CHAIN)
    cursor.execute("ANALYZE storage_resource")
    one = _asked(environ, "chain", "scale-1")
    every = _asked(
        environ, "chain", *(f"scale-{number}" for number in range(1, ROWS // PER_CLUSTER + 1))
    )
    print(
        f"owner chain of depth 3 among {ROWS} rows: {one:.1f} ms in one cluster, {every:.1f} ms over 100 clusters (bound: 50)",
        flush=True,
    )


def run() -> None:
    """About ten minutes."""
    with tempfile.TemporaryDirectory() as folder, environment() as environ:
        manage(environ, "migrate", "--verbosity", "0")
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        with database.cursor() as cursor:
            _memory(environ, cursor, folder)
            _page(environ, cursor, folder)
            _chain(environ, cursor)
        database.close()
