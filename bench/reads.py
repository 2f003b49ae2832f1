"""Small reads out of the store among many objects, and how soon a change shows.

Search over all kinds, pages deep in a long list, single objects; change to list, watch and feed.
`BENCH_PODS` sets how many pods of 7 KB the long list has.
"""

import base64
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import urllib3
import yaml

from bench.processes import administrator, manage, migrated, running, until, web
from simcluster.testing import RunningCluster, running_cluster

PODS = int(os.environ.get("BENCH_PODS", "50000"))
ROUNDS = 31
CHANGES = 40
# Milliseconds between two looks at a list.
LOOK_SECONDS = 0.002
CLUSTER = "reads"
API = "/api/v1/kubernetes"
# Every sixth object is of another kind than Pod.
FILL = """
INSERT INTO storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data, omitted,
   create_time, update_time, change_time)
SELECT substr(md5('reads/' || n), 1, 24), %(cluster)s,
  CASE WHEN n <= %(pods)s THEN 'Pod'
       ELSE (ARRAY['ReplicaSet', 'ConfigMap', 'Service', 'Endpoints'])[1 + n %% 4] END,
  'ns-' || n %% 100, 'app-' || n %% 200 || '-' || substr(md5(n::text), 1, 10),
  jsonb_build_object(
    'apiVersion', 'v1', 'kind', 'Pod',
    'metadata', jsonb_build_object(
      'name', 'app-' || n %% 200 || '-' || substr(md5(n::text), 1, 10),
      'namespace', 'ns-' || n %% 100, 'uid', md5('uid' || n), 'resourceVersion', n::text,
      'creationTimestamp', to_char(
        timestamptz '2024-01-01 00:00:00Z' + (n * 7919 %% 50000) * interval '1 minute',
        'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
      'labels', jsonb_build_object('app', 'app-' || n %% 200)),
    'spec', jsonb_build_object('nodeName', 'node-' || n %% 250, 'env', (
      SELECT jsonb_agg(jsonb_build_object('name', 'VARIABLE_' || i, 'value', md5((n * i)::text)))
      FROM generate_series(1, 95) i)),
    'status', jsonb_build_object('phase', 'Running', 'podIP', '10.0.0.1')),
  '{"managedFields":[]}', now(), now(), now()
FROM generate_series(1, %(pods)s * 6 / 5) n
"""
# As a collector leaves it that has just seen everything, and stays that fresh for an hour.
FRESH = """
INSERT INTO storage_cluster_sync
  (cluster_id, owner, token, expires_at, stored_as, beaten_at, revision, identity, error)
SELECT id, '', 0, now(), name, now() + interval '1 hour', '', '', '' FROM clusters_cluster
"""
FRESH_KINDS = """
INSERT INTO storage_kind_sync
  (cluster_id, "group", version, plural, kind, namespaced, namespace, resource_type, aliases, phase,
   resource_version, lost_after, listed_at, changed_at, exact, error)
SELECT c.id, kind.group_name, 'v1', kind.plural, kind.name, true, '', kind.name, '[]'::jsonb,
       'watching', '1', '', now(), now(), true, ''
FROM clusters_cluster c,
  (VALUES ('', 'pods', 'Pod'), ('apps', 'replicasets', 'ReplicaSet'),
          ('', 'configmaps', 'ConfigMap'), ('', 'services', 'Service'),
          ('', 'endpoints', 'Endpoints')) kind (group_name, plural, name)
UNION ALL
SELECT c.id, 'example.com', 'v1', 'things' || n, 'Thing' || n, true, '', 'Thing' || n, '[]'::jsonb,
       'watching', '1', '', now(), now(), true, ''
FROM clusters_cluster c, generate_series(1, 53) n
"""
WATCHED = """
SELECT count(*) > 20 AND bool_and(phase = 'watching') FROM storage_kind_sync
"""
Call = Callable[[], object]


class Client:
    """One kept connection with a token."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._pool = urllib3.PoolManager(timeout=60)
        self._headers = {"Authorization": f"Bearer {token}"}

    def data(self, path: str) -> Any:
        """The data of a success; it must have come out of the store where that can be told."""
        return self.answer(path).json()["data"]

    def answer(self, path: str) -> Any:
        """The whole answer of a success."""
        response = self._pool.request("GET", self._address + API + path, headers=self._headers)
        assert response.status == 200, response.data[:300]
        return response

    @contextmanager
    def lines(self, method: str, path: str, body: bytes | None = None) -> Iterator[Any]:
        """A streamed answer, for its lines."""
        response = self._pool.request(
            method,
            self._address + path,
            body=body,
            headers=self._headers,
            preload_content=False,
        )
        assert response.status == 200, response.status
        try:
            yield response
        finally:
            response.close()


class Cluster(Client):
    """The simulated API server itself."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]
        super().__init__(server["server"], config["users"][0]["user"]["token"])
        authority = kubeconfig.with_suffix(".ca")
        authority.write_bytes(base64.b64decode(server["certificate-authority-data"]))
        self._pool = urllib3.PoolManager(ca_certs=str(authority), timeout=60)


def _medians(calls: dict[str, Call]) -> dict[str, tuple[float, float]]:
    """(median, 95th percentile) in milliseconds of each call, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: _percentiles(values) for name, values in times.items()}


def _percentiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[len(ordered) * 95 // 100]


def _measure_reads(client: Client, cursor: Any, cluster: int) -> None:
    pods = f"/pods?cluster_id={cluster}&pageSize=20"
    middle = PODS // 40
    deep = PODS * 9 // 200
    cursor.execute(
        "SELECT namespace, resource_name FROM storage_resource WHERE resource_type = 'Pod' LIMIT 1"
    )
    namespace, name = cursor.fetchone()
    single = f"/pods/{name}?cluster_id={cluster}&namespace={namespace}"
    assert "X-Data-Age" in client.answer(single).headers
    assert client.data(f"{pods}&page={deep}")["total"] == PODS

    def read_bare() -> None:
        cursor.execute(
            "SELECT data::text FROM storage_resource WHERE cluster_id = %s"
            " AND resource_type = 'Pod' AND namespace = %s AND resource_name = %s",
            [CLUSTER, namespace, name],
        )
        cursor.fetchall()

    calls: dict[str, Call] = {
        "bare: one row by its key, without a web server": read_bare,
        "one object": partial(client.data, single),
        "first page of 20": partial(client.data, pods),
        "page of 20 in a namespace": partial(client.data, f"{pods}&namespace=ns-7&page=2"),
        "page of 20 in the middle": partial(client.data, f"{pods}&page={middle}"),
        "page of 20 at nine tenths": partial(client.data, f"{pods}&page={deep}"),
        "the same by name": partial(client.data, f"{pods}&page={deep}&orderby=name"),
        "the same, newest first": partial(client.data, f"{pods}&page={deep}&orderby=-created"),
        "search over 58 kinds, few matches": partial(client.data, "/multicluster/search?q=17-4a"),
        "search over 58 kinds, many matches": partial(client.data, "/multicluster/search?q=app"),
        "overview": partial(client.data, "/multicluster/overview"),
    }
    for title, (median, late) in _medians(calls).items():
        print(f"{title}: {median:.1f} ms, 95th {late:.1f} ms", flush=True)


class Changes:
    """ConfigMaps that are changed in the cluster, and when each value was seen where."""

    def __init__(self, server: RunningCluster) -> None:
        self._server = server
        self.written_at: dict[str, float] = {}
        self.seen_at: dict[str, dict[str, float]] = {}

    def write(self, value: str) -> None:
        """Change the ConfigMap in the cluster."""
        config_map = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "changing", "namespace": "default", "uid": str(uuid4())},
            "data": {"value": value},
        }
        self.written_at[value] = time.perf_counter()
        self._server.call(lambda: self._server.store.put("configmaps", config_map))

    def see(self, reader: str, text: bytes) -> None:
        """A reader has got a text: which of the values are in it for the first time."""
        moment = time.perf_counter()
        seen = self.seen_at.setdefault(reader, {})
        for value in self.written_at.keys() - seen.keys():
            if value.encode() in text:
                seen[value] = moment

    def delays(self, reader: str) -> list[float]:
        """Milliseconds from each write until the reader saw it."""
        seen = self.seen_at.get(reader, {})
        return [
            (seen[value] - moment) * 1000
            for value, moment in self.written_at.items()
            if value in seen
        ]


def _follow(client: Client, changes: Changes, reader: str, *request: Any) -> None:
    """Read a stream in a thread of its own until the process ends."""

    def read() -> None:
        # Streams of earlier rounds end when nothing comes for a minute.
        with suppress(urllib3.exceptions.HTTPError), client.lines(*request) as response:
            for line in response:
                changes.see(reader, line)

    threading.Thread(target=read, daemon=True).start()


def _measure_changes(
    server: RunningCluster, bare: Cluster, address: str, token: str, cluster: int, *, pause: float
) -> None:
    """Change a ConfigMap again and again, `pause` seconds apart."""
    changes = Changes(server)
    client = Client(address, token)
    watch = f"{API}/watch?clusters={cluster}&kinds=configmaps"
    feed = f"/bcsapi/v4/storage/dynamic/watch/{CLUSTER}/ConfigMap"
    bare_watch = "/api/v1/configmaps?watch=true&resourceVersion=0"
    _follow(bare, changes, "the cluster's own watch", "GET", bare_watch)
    _follow(Client(address, token), changes, "watch", "GET", watch)
    _follow(Client(address, token), changes, "feed", "POST", feed, b"{}")
    time.sleep(1)
    configmaps = f"/configmaps?cluster_id={cluster}&namespace=default"
    for _ in range(CHANGES):
        value = uuid4().hex
        changes.write(value)
        while value not in changes.seen_at.get("list", {}):
            changes.see("list", client.answer(configmaps).data)
            time.sleep(LOOK_SECONDS)
        time.sleep(pause)
    for reader in ("watch", "feed"):
        until(partial(_has_all, changes, reader), 30)
    for reader in ("the cluster's own watch", "list", "watch", "feed"):
        median, late = _percentiles(changes.delays(reader))
        print(
            f"change to {reader}, {pause * 1000:.0f} ms apart: {median:.0f} ms, 95th {late:.0f} ms",
            flush=True,
        )


def _has_all(changes: Changes, reader: str) -> bool:
    return len(changes.delays(reader)) == CHANGES


def _register(environ: dict[str, str], folder: str, server: RunningCluster) -> int:
    kubeconfig = Path(folder) / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig_yaml)
    answer = manage(environ, "register_cluster", CLUSTER, "--kubeconfig", str(kubeconfig))
    return int(json.loads(answer)["id"])


def run() -> None:
    """About two minutes, half of them to fill the table."""
    with (
        tempfile.TemporaryDirectory() as folder,
        migrated(OPEN_DIALECTS="bcs") as environ,
        running_cluster(controllers=False, kubelet=False) as server,
    ):
        cluster = _register(environ, folder, server)
        bare = Cluster(Path(folder) / "kubeconfig")
        token = administrator(environ)
        database = psycopg2.connect(environ["DATABASE_URL"])
        database.autocommit = True
        with database.cursor() as cursor, web(environ) as (address, _):
            collect = [sys.executable, "manage.py", "collect"]
            with running(collect, environ):
                until(lambda: _is_watched(cursor))
                for pause in (0.2, 0.02):
                    _measure_changes(server, bare, address, token, cluster, pause=pause)
            cursor.execute("TRUNCATE storage_resource, storage_change")
            cursor.execute("DELETE FROM storage_kind_sync")
            cursor.execute("DELETE FROM storage_cluster_sync")
            cursor.execute(FRESH)
            cursor.execute(FRESH_KINDS)
            cursor.execute(FILL, {"cluster": CLUSTER, "pods": PODS})
            # As autovacuum does within a minute.
            cursor.execute("VACUUM ANALYZE storage_resource")
            _measure_reads(Client(address, token), cursor, cluster)
        database.close()


def _is_watched(cursor: Any) -> bool:
    cursor.execute(WATCHED)
    return bool(cursor.fetchone()[0])
