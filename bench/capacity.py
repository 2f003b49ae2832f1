"""What many objects, changes and clusters cost: the figures of docs/capacity.md.

`BENCH_ROWS` objects in clusters of 10,000 each, `BENCH_CLUSTERS` clusters (one simulated cluster
registered as often) under one collector; either may be 0.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from bench.processes import (
    count_connections,
    migrated,
    peak,
    processor_seconds,
    running,
    simulated,
    until,
)
from bench.storage import PER_CLUSTER, fill

ROWS = int(os.environ.get("BENCH_ROWS", "200000"))
CLUSTERS = int(os.environ.get("BENCH_CLUSTERS", "100"))
PODS_PER_CLUSTER = 20
IDLE_SECONDS = 20.0
# One process serves every cluster here, on the cores of the collector.
DEADLINE = 1800.0
ROUNDS = 31
CHANGES = 2_000
BATCH = 250
SIZES = """
SELECT count(*), pg_table_size('storage_resource'), pg_indexes_size('storage_resource'),
       sum(octet_length(data::text)) FROM storage_resource
"""
LOG_SIZE = """
SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
WHERE inhparent = 'storage_change'::regclass
"""
# One statement a batch, as a collector's commit.
CHANGE = """
WITH written AS (
  UPDATE storage_resource r SET
    data = jsonb_set(data, '{metadata,resourceVersion}', to_jsonb((%(version)s)::text)),
    update_time = clock_timestamp(), change_time = clock_timestamp()
  WHERE r.cluster_id = %(cluster)s AND r.resource_type = 'Pod'
    AND r.id IN (SELECT id FROM storage_resource WHERE cluster_id = %(cluster)s
                 AND type_key = 'pod' ORDER BY arrival OFFSET %(offset)s LIMIT %(size)s)
  RETURNING r.*
)
INSERT INTO storage_change
  (at, op, object_id, cluster_id, resource_type, namespace, resource_name,
   uid, resource_version, create_time, data)
SELECT update_time, 'change', object_id, cluster_id, resource_type, namespace, resource_name,
       uid, resource_version, create_time, data
FROM written
"""
READS = {
    "one object": (
        "SELECT data FROM storage_resource WHERE cluster_id = 'scale-1' AND resource_type = 'Pod'"
        " AND namespace = 'ns-7' AND resource_name = 'pod-107'"
    ),
    "exact total of a cluster's pods": (
        "SELECT count(*) FROM storage_resource WHERE cluster_id = 'scale-1' AND type_key = 'pod'"
        " AND resource_type = 'Pod'"
    ),
    "first 20 pods over all clusters by name": (
        "SELECT id FROM storage_resource WHERE resource_type = 'Pod'"
        " ORDER BY resource_name, namespace, cluster_id LIMIT 20"
    ),
    "a part of a name over all clusters": (
        "SELECT count(*) FROM storage_resource WHERE position('4711' IN lower(resource_name)) > 0"
    ),
}
REGISTER = """
from pathlib import Path
from clusters import registry
text = Path({kubeconfig!r}).read_text()
for number in range({count}):
    registry.register(name=f"capacity-{{number}}", kubeconfig_text=text)
"""
WATCHED = """
SELECT count(DISTINCT cluster_id) = %s AND bool_and(phase = 'watching') FROM storage_kind_sync
"""


def _one(cursor: Any, statement: str, *params: object) -> tuple[Any, ...]:
    cursor.execute(statement, params or None)
    row: tuple[Any, ...] = cursor.fetchone()
    return row


def _seconds_of(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _measure_rows(cursor: Any) -> None:
    clusters = ROWS // PER_CLUSTER
    seconds = _seconds_of(lambda: fill(cursor, 1, clusters))
    count, table, indexes, text = _one(cursor, SIZES)
    print(
        f"{count} objects in {clusters} clusters, filled in {seconds:.0f} s: of each"
        f" {int(text) / count:.0f} bytes of JSON, {table / count:.0f} in the table,"
        f" {indexes / count:.0f} in indexes",
        flush=True,
    )
    for title, statement in READS.items():
        times = [_seconds_of(lambda text=statement: cursor.execute(text)) for _ in range(ROUNDS)]
        print(f"  {title}: {statistics.median(times) * 1000:.2f} ms in the database", flush=True)


def _measure_changes(cursor: Any) -> None:
    before = _one(cursor, "SELECT pg_current_wal_lsn()")[0]
    log_before = int(_one(cursor, LOG_SIZE)[0])
    started = time.perf_counter()
    for offset in range(0, CHANGES, BATCH):
        values = {"cluster": "scale-1", "version": offset, "offset": offset, "size": BATCH}
        cursor.execute(CHANGE, values)
    seconds = time.perf_counter() - started
    wal = int(_one(cursor, "SELECT pg_current_wal_lsn() - %s::pg_lsn", before)[0])
    grown = int(_one(cursor, LOG_SIZE)[0]) - log_before
    print(
        f"a change: {seconds / CHANGES * 1000:.2f} ms of one database process,"
        f" {grown / CHANGES:.0f} bytes of log, {wal / CHANGES:.0f} bytes of WAL",
        flush=True,
    )


def _measure_clusters(environ: dict[str, str], cursor: Any, folder: str) -> None:
    cursor.execute("TRUNCATE storage_resource, storage_change")
    with simulated(environ, folder, PODS_PER_CLUSTER) as kubeconfig:
        code = REGISTER.format(kubeconfig=str(kubeconfig), count=CLUSTERS)
        subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", code],
            env=environ,
            check=True,
            capture_output=True,
        )
        started = time.monotonic()
        with running([sys.executable, "manage.py", "collect"], environ) as child:
            until(lambda: bool(_one(cursor, WATCHED, CLUSTERS)[0]), DEADLINE)
            seconds = time.monotonic() - started
            used = processor_seconds(child.pid)
            time.sleep(IDLE_SECONDS)
            idle = (processor_seconds(child.pid) - used) / IDLE_SECONDS
            print(
                f"{CLUSTERS} idle clusters in one collector: {peak(child.pid):.0f} MB,"
                f" {count_connections(child.pid)} connections, {idle:.2f} of a core;"
                f" all watched after {seconds:.0f} s",
                flush=True,
            )


def run() -> None:
    """A few minutes with 200,000 rows, five with 1,000,000; the clusters take as long again."""
    with tempfile.TemporaryDirectory() as folder, migrated() as environ:
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        with database.cursor() as cursor:
            if ROWS:
                _measure_rows(cursor)
                _measure_changes(cursor)
            if CLUSTERS:
                _measure_clusters(environ, cursor, folder)
        database.close()
