"""One collector for many clusters: memory, processor, first sync, and how soon a change shows.

`BENCH_CLUSTERS` clusters (100) of `BENCH_OBJECTS` (20) small objects, all of them served by one
process, each by a port of its own. `BENCH_KINDS` kinds of each are followed (8; 0: all of them).
"""

import base64
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import urllib3
import yaml

from bench.processes import (
    administrator,
    count_connections,
    migrated,
    peak,
    processor_seconds,
    proportional,
    running,
    until,
    web,
)
from bench.reads import Client
from simcluster import resources

CLUSTERS = int(os.environ.get("BENCH_CLUSTERS", "100"))
OBJECTS = int(os.environ.get("BENCH_OBJECTS", "20"))
KINDS = int(os.environ.get("BENCH_KINDS", "8"))
IDLE_SECONDS = float(os.environ.get("BENCH_SECONDS", "30"))
# Changes a second, over all clusters in turn.
RATE = float(os.environ.get("BENCH_RATE", "20"))
CHANGES = 200
DEADLINE = 1800.0
CHANGED = "small-0"
FOLLOWED = (
    "configmaps",
    "namespaces",
    "pods",
    "nodes",
    "services",
    "deployments.apps",
    "replicasets.apps",
    "serviceaccounts",
)
LEASES = {"leases.coordination.k8s.io"}
REGISTER = """
from pathlib import Path
from clusters import registry
for number in range({count}):
    text = Path({folder!r}, str(number)).read_text()
    registry.register(name=f"many-{{number}}", kubeconfig_text=text)
"""
LISTED = "SELECT count(*) FROM storage_kind_sync WHERE listed_at IS NOT NULL"
WATCHED = "SELECT count(*) FROM storage_kind_sync WHERE phase = 'watching'"
OBJECTS_STORED = "SELECT count(*) FROM storage_resource"
FRESH = """
SELECT count(*) FILTER (WHERE beaten_at > now() - interval '10 s') FROM storage_cluster_sync
"""


def _scalar(cursor: Any, statement: str, *params: object) -> Any:
    cursor.execute(statement, params or None)
    return cursor.fetchone()[0]


def _served_kinds() -> set[str]:
    """Every kind that can be followed, as a collector's settings spell it."""
    return {
        resource.storage
        for resource in resources.built_in()
        if {"list", "watch"} <= set(resource.verbs)
    }


def _excluded() -> set[str]:
    """What is not followed."""
    return _served_kinds() - set(FOLLOWED[:KINDS]) if KINDS else LEASES


@contextmanager
def _served(environ: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of all clusters."""
    arguments = [str(CLUSTERS), str(OBJECTS), str(folder)]
    command = [sys.executable, "-m", "bench.simulated_clusters", *arguments]
    with running(command, environ) as child:
        until((folder / "ready").exists)
        yield child


def _register(environ: dict[str, str], folder: Path) -> None:
    code = REGISTER.format(folder=str(folder), count=CLUSTERS)
    command = [sys.executable, "manage.py", "shell", "-c", code]
    subprocess.run(command, env=environ, check=True, capture_output=True)


class ApiServer:
    """One kept connection to a simulated cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        self._address = server["server"]
        self._pool = urllib3.PoolManager(ssl_context=context, timeout=60)
        self._headers = {
            "Authorization": f"Bearer {config['users'][0]['user']['token']}",
            "Content-Type": "application/merge-patch+json",
        }

    def change(self, value: str) -> None:
        """Give the object that is changed another value."""
        url = f"{self._address}/api/v1/namespaces/default/configmaps/{CHANGED}"
        body = json.dumps({"data": {"value": value}})
        answer = self._pool.request("PATCH", url, body=body, headers=self._headers)
        assert answer.status == 200, answer.data[:300]


class Delays:
    """When each value was written, and how many seconds later a reader saw it."""

    def __init__(self) -> None:
        self._written_at: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def write(self, cluster: ApiServer, value: str) -> None:
        """Change the object of a cluster; the time counts from its answer."""
        cluster.change(value)
        self._written_at[value] = time.perf_counter()

    def see(self, value: str) -> None:
        """A reader has got a value."""
        self.seconds.setdefault(value, time.perf_counter())

    def percentiles(self) -> tuple[float, float]:
        """(median, 95th percentile) in milliseconds."""
        delays = sorted(
            max(0.0, self.seconds[value] - moment) for value, moment in self._written_at.items()
        )
        return statistics.median(delays) * 1000, delays[len(delays) * 95 // 100] * 1000


def _follow(client: Client, delays: Delays, opened: threading.Event) -> None:
    """Read one watch over all clusters until the process ends."""

    def read() -> None:
        path = "/api/v1/kubernetes/watch?kinds=configmaps"
        with suppress(urllib3.exceptions.HTTPError), client.lines("GET", path) as response:
            for line in response:
                if line.startswith(b"data:"):
                    opened.set()
                    event = json.loads(line[5:])
                    data = (event.get("object") or {}).get("data") or {}
                    delays.see(str(data.get("value")))

    threading.Thread(target=read, daemon=True).start()


def _measure_changes(environ: dict[str, str], folder: Path, collector: int) -> None:
    """Change one object of each cluster in turn; a watch over all of them tells when it shows."""
    token = administrator(environ)
    clusters = [ApiServer(folder / str(number)) for number in range(CLUSTERS)]
    # The first change opens each connection.
    for cluster in clusters:
        cluster.change("warm")
    delays = Delays()
    opened = threading.Event()
    with web(environ) as (address, _):
        _follow(Client(address, token), delays, opened)
        until(opened.is_set, 60)
        used = processor_seconds(collector)
        started = time.monotonic()
        for number in range(CHANGES):
            delays.write(clusters[number % CLUSTERS], f"value-{number}")
            time.sleep(max(0.0, started + (number + 1) / RATE - time.monotonic()))
        until(lambda: len(delays.seconds) >= CHANGES, 120)
        share = (processor_seconds(collector) - used) / (time.monotonic() - started)
    median, late = delays.percentiles()
    print(
        f"{CHANGES} changes, {RATE:.0f} a second, each in another cluster: change to watch"
        f" {median:.0f} ms, 95th {late:.0f} ms, {share:.2f} of a core of the collector",
        flush=True,
    )


def _measure_sync(cursor: Any, collector: int, server: int) -> None:
    """From the start of the collector until it follows everything."""
    started = time.monotonic()
    before = processor_seconds(server)
    kinds = CLUSTERS * len(_served_kinds() - _excluded())
    for title, statement in (("listed", LISTED), ("watched", WATCHED)):
        until(lambda text=statement: _scalar(cursor, text) >= kinds, DEADLINE)
        objects = _scalar(cursor, OBJECTS_STORED)
        print(
            f"  all {kinds} kinds {title} after {time.monotonic() - started:.0f} s:"
            f" {objects} objects;"
            f" {processor_seconds(collector):.1f} s of processor of the collector,"
            f" {processor_seconds(server) - before:.1f} s of the clusters'",
            flush=True,
        )


def _measure_rest(cursor: Any, collector: int) -> None:
    """A collector that has nothing to do but to follow."""
    until(lambda: _scalar(cursor, FRESH) == CLUSTERS, 300)
    used = processor_seconds(collector)
    stale = 0
    ended = time.monotonic() + IDLE_SECONDS
    while time.monotonic() < ended:
        stale = max(stale, CLUSTERS - _scalar(cursor, FRESH))
        time.sleep(1)
    idle = (processor_seconds(collector) - used) / IDLE_SECONDS
    print(
        f"{CLUSTERS} idle clusters in one collector: {proportional(collector):.0f} MB,"
        f" at most {peak(collector):.0f} MB, {count_connections(collector)} connections,"
        f" {idle:.2f} of a core; {stale} clusters with a heartbeat older than 10 s",
        flush=True,
    )


def run() -> None:
    """Two minutes with 100 clusters of eight kinds, ten with all kinds."""
    with (
        tempfile.TemporaryDirectory() as place,
        migrated(COLLECTOR_EXCLUDE=",".join(_excluded())) as environ,
    ):
        folder = Path(place)
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        with database.cursor() as cursor, _served(environ, folder) as server:
            started = time.monotonic()
            _register(environ, folder)
            seconds = time.monotonic() - started
            print(f"{CLUSTERS} clusters registered in {seconds:.0f} s", flush=True)
            with running([sys.executable, "manage.py", "collect"], environ) as child:
                _measure_sync(cursor, child.pid, server.pid)
                _measure_rest(cursor, child.pid)
                _measure_changes(environ, folder, child.pid)
                print(f"  load {os.getloadavg()[0]:.0f}", flush=True)
        database.close()
