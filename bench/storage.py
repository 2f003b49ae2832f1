"""The snapshot store over HTTP against a bare psycopg2 program.

The program does the same SQL over one connection, without a web server.
"""

import base64
import http.client
import io
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import psycopg2

from bench.processes import migrated, peak_memory, web

ROUNDS = 11
PREFIX = "/bcsapi/v4/storage"
DOCUMENTS = int(os.environ.get("BENCH_DOCUMENTS", "100000"))
RESOURCES = int(os.environ.get("BENCH_RESOURCES", "1000000"))
PER_CLUSTER = 10_000
_TIME = "AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD HH24:MI:SS'"
DOCUMENT = f"""
  '{{"_id":"' || r.object_id || '"'
  || ',"clusterId":' || to_json(r.cluster_id)::text
  || coalesce(',"namespace":' || to_json(nullif(r.namespace, ''))::text, '')
  || ',"resourceType":' || to_json(r.resource_type)::text
  || ',"resourceName":' || to_json(r.resource_name)::text
  || ',"data":' || r.data::text
  || ',"createTime":"' || to_char(r.create_time {_TIME}) || '"'
  || ',"updateTime":"' || to_char(r.update_time {_TIME}) || '"' || '}}'
"""
LIST = f"""
SELECT d.* FROM (
  SELECT r.id FROM storage_resource r
  WHERE r.cluster_id = %s AND r.type_key = lower(%s COLLATE "C")
    AND r.resource_type = %s AND r.namespace = %s
  ORDER BY r.arrival
) chosen CROSS JOIN LATERAL (
  SELECT {DOCUMENT} FROM storage_resource r WHERE r.id = chosen.id OFFSET 0
) d
"""  # noqa: S608  # a constant
NAMES = """
SELECT '{"_id":"' || r.object_id || '"'
  || ',"resourceName":' || to_json(r.resource_name)::text || '}'
FROM storage_resource r
WHERE r.cluster_id = %s AND r.type_key = lower(%s COLLATE "C")
  AND r.resource_type = %s AND r.namespace = %s
ORDER BY r.arrival
"""
# What the store itself does, without its checks: the bare program is a floor.
UPSERT = """
WITH written AS (
  INSERT INTO storage_resource AS r
    (object_id, cluster_id, resource_type, namespace, resource_name, data,
     create_time, update_time, change_time)
  {source}
  ON CONFLICT (cluster_id, resource_type, namespace, resource_name) DO UPDATE SET
    data = EXCLUDED.data, update_time = EXCLUDED.update_time, change_time = EXCLUDED.change_time
  RETURNING r.*
)
INSERT INTO storage_change
  (at, op, object_id, cluster_id, resource_type, namespace, resource_name,
   uid, resource_version, create_time, data)
SELECT update_time, 'add', object_id, cluster_id, resource_type, namespace, resource_name,
       uid, resource_version, create_time, data
FROM written
"""
_THREE_TIMES = "clock_timestamp(), clock_timestamp(), clock_timestamp()"
PUT_SINGLE = UPSERT.format(source=f"VALUES (%s, %s, %s, %s, %s, %s, {_THREE_TIMES})")
PUT_MANY = UPSERT.format(
    source=f"""
  SELECT md5(name), cluster, 'Pod', ns, name, data, {_THREE_TIMES} FROM bare ORDER BY ns, name
"""  # noqa: S608  # a constant
)
SCALE = """
INSERT INTO storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data,
   create_time, update_time, change_time)
SELECT substr(md5(c || '/' || n), 1, 24), 'scale-' || c,
  CASE WHEN n %% 10 = 0 THEN 'Service' ELSE 'Pod' END, 'ns-' || n %% 100, 'pod-' || n,
  jsonb_build_object(
    'metadata', jsonb_build_object(
      'name', 'pod-' || n,
      'namespace', 'ns-' || n %% 100,
      'uid', md5(c || '-' || n),
      'resourceVersion', n::text,
      'creationTimestamp', to_char(
        timestamptz '2024-01-01 00:00:00Z' + n * interval '1 minute',
        'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
      'labels', jsonb_build_object('app', 'app-' || n %% 200, 'tier', 'tier-' || n %% 4),
      'ownerReferences', jsonb_build_array(jsonb_build_object(
        'kind', 'ReplicaSet', 'name', 'rs-' || n %% 500, 'uid', md5('rs' || n %% 500)))),
    'spec', jsonb_build_object(
      'nodeName', 'node-' || n %% 250,
      'containers', jsonb_build_array(jsonb_build_object(
        'name', 'main', 'image', 'registry/app:' || n %% 50,
        'args', md5(n::text) || md5(c || n::text)))),
    'status', jsonb_build_object(
      'phase', CASE WHEN n %% 53 = 1 THEN 'Failed' ELSE 'Running' END,
      'hostIP', '10.0.' || n %% 250 || '.1',
      'podIP', '10.' || n %% 250 || '.' || n / 250 || '.2',
      'startTime', '2024-01-01T00:00:00Z')),
  now(), now(), now()
FROM generate_series(%(first)s, %(last)s) c, generate_series(1, %(each)s) n
"""
BARE_TABLE = """
CREATE TEMPORARY TABLE IF NOT EXISTS bare (cluster text, ns text, name text, data jsonb)
ON COMMIT DELETE ROWS
"""
SECONDARY_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'storage_resource' AND indexdef NOT LIKE 'CREATE UNIQUE%'
"""
TABLE_SIZE = """
SELECT count(*), pg_size_pretty(pg_total_relation_size('storage_resource')) FROM storage_resource
"""


def pod(number: int, revision: int = 0) -> bytes:
    """A pod of about 4 KB."""
    containers = [
        {
            "name": f"c{place}",
            "image": f"registry.example.com/team/app-{number % 50}:{revision}",
            "resources": {
                "limits": {"cpu": "500m", "memory": "512Mi"},
                "requests": {"cpu": "100m", "memory": "128Mi"},
            },
            "env": [
                {
                    "name": f"VARIABLE_{n}",
                    "value": f"value {number * 31 + n}",
                }
                for n in range(16)
            ],
            "volumeMounts": [
                {
                    "name": f"volume-{n}",
                    "mountPath": f"/var/lib/{number}/{n}",
                }
                for n in range(4)
            ],
        }
        for place in range(2)
    ]
    conditions = [
        {
            "type": kind,
            "status": "True",
            "lastTransitionTime": "2024-03-01T10:00:00Z",
        }
        for kind in ("Ready", "Initialized", "PodScheduled")
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"pod-{number}",
            "namespace": "ns",
            "uid": f"00000000-0000-0000-0000-{number:012}",
            "resourceVersion": str(number + revision),
            "creationTimestamp": "2024-03-01T10:00:00Z",
            "labels": {
                "app": f"app-{number % 50}",
                "pod-template-hash": f"{number:x}",
            },
            "annotations": {f"example.com/annotation-{n}": "x" * 60 for n in range(8)},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"rs-{number % 100}",
                    "uid": f"u-{number % 100}",
                }
            ],
        },
        "spec": {
            "nodeName": f"node-{number % 100}",
            "containers": containers,
        },
        "status": {
            "phase": "Running",
            "hostIP": f"10.0.0.{number % 100}",
            "podIP": f"10.1.{number % 250}.3",
            "conditions": conditions,
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


class Client:
    """One kept connection to the web server; bodies are read whole and not decoded."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=600)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        **query: Any,
    ) -> bytes:
        """The body of an answer that must be a success."""
        self.connection.request(
            method,
            path + ("?" + urlencode(query, quote_via=quote) if query else ""),
            body,
        )
        answer = self.connection.getresponse().read()
        assert b'"result":true' in answer[:40] or path.endswith("/test"), answer[:300]
        return answer

    def first_byte(self, path: str) -> tuple[float, float]:
        """(seconds to the first byte of the body, seconds to the last)."""
        started = time.perf_counter()
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        response.read(1)
        first = time.perf_counter() - started
        while response.read(1 << 20):
            pass
        return first, time.perf_counter() - started


@contextmanager
def session(environ: dict[str, str]) -> Iterator[Any]:
    """A bare session, committing each statement."""
    with closing(psycopg2.connect(environ["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def medians(*calls: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The median of each call, taken in turns so that a slow moment hits all."""
    for call in calls:
        call()
    rows = [[seconds_of(call) for call in calls] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def report(name: str, ours: float, bare: float, bound: float) -> None:
    """One line: both times and their ratio."""
    print(
        f"{name}: {ours * 1000:.2f} ms against {bare * 1000:.2f} ms bare,"
        f" ratio {ours / bare:.2f} (bound: {bound})",
        flush=True,
    )


def copy(
    cursor: Any,
    cluster: str,
    namespace: str,
    documents: list[bytes],
    *,
    first: int = 0,
) -> None:
    """COPY the documents and upsert them into both tables, as a bare program would."""
    cursor.execute(BARE_TABLE)
    lines = b"".join(
        f"{cluster}\t{namespace}\tpod-{first + place}\t".encode()
        + document.replace(b"\\", b"\\\\")
        + b"\n"
        for place, document in enumerate(documents)
    )
    cursor.execute("BEGIN")
    cursor.copy_expert("COPY bare FROM STDIN", io.BytesIO(lines))
    cursor.execute(PUT_MANY)
    cursor.execute("COMMIT")


def batch(client: Client, cluster: str, documents: list[bytes]) -> None:
    """The same through the batch endpoint."""
    lines = b"".join(
        b'{"op":"put","resourceType":"Pod","namespace":"ns","resourceName":"pod-%d","data":%s}\n'
        % (place, document)
        for place, document in enumerate(documents)
    )
    client(
        "POST",
        f"{PREFIX}/k8s/dynamic/clusters/{cluster}/batch",
        lines,
    )


def lists(client: Client, cursor: Any) -> None:
    """500 whole documents, 5,000 names."""
    for cluster, count in (("lists", 500), ("names", 5000)):
        copy(
            cursor,
            cluster,
            "ns",
            [pod(number) for number in range(count)],
        )
    cursor.execute("VACUUM ANALYZE storage_resource")
    whole = f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/lists/namespaces/ns/Pod"
    names = f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/names/namespaces/ns/Pod"

    def bare(statement: str, cluster: str) -> None:
        cursor.execute(statement, (cluster, "Pod", "Pod", "ns"))
        cursor.fetchall()

    ours, floor = medians(lambda: client("GET", whole), lambda: bare(LIST, "lists"))
    report("list of 500 documents of 4 KB", ours, floor, 1.6)
    first, last = client.first_byte(whole)
    print(f"  its first byte after {first * 1000:.2f} ms, its last after {last * 1000:.2f} ms")
    ours, floor = medians(
        lambda: client("GET", names, field="resourceName"),
        lambda: bare(NAMES, "names"),
    )
    report("names of 5,000 documents", ours, floor, 2.0)


def puts(client: Client, cursor: Any, name: str) -> None:
    """One document: the endpoint's own cost against the empty endpoint's."""
    document = iter(range(10**9))
    path = f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/puts/namespaces/ns/Pod/web"

    def ours() -> None:
        client("PUT", path, b'{"data":' + pod(1, next(document)) + b"}")

    def bare() -> None:
        cursor.execute(
            PUT_SINGLE,
            (
                "0" * 24,
                "bare",
                "Pod",
                "ns",
                "web",
                pod(1, next(document)).decode(),
            ),
        )

    def empty() -> None:
        client("GET", "/v1/k8sservice/test")

    total, floor, nothing = medians(ours, bare, empty, rounds=401)
    own = total - floor - nothing
    print(
        f"{name}: {total * 1000:.2f} ms, bare upsert {floor * 1000:.2f} ms,"
        f" empty endpoint {nothing * 1000:.2f} ms:"
        f" own cost {own / nothing:.2f} of the empty endpoint's (bound: 0.5)",
        flush=True,
    )


def batches(client: Client, cursor: Any) -> None:
    """2,000 documents of 4 KB: new ones, and changed ones."""
    mine: dict[str, list[float]] = {"new": [], "changed": []}
    floors: dict[str, list[float]] = {"new": [], "changed": []}
    for turn in range(5):
        for revision, title in enumerate(mine):
            documents = [pod(number, revision) for number in range(2000)]
            mine[title].append(seconds_of(partial(batch, client, f"batch-{turn}", documents)))
            floors[title].append(
                seconds_of(
                    partial(
                        copy,
                        cursor,
                        f"bare-{turn}",
                        "ns",
                        documents,
                    )
                )
            )
    for title in mine:
        ours = statistics.median(mine[title])
        bare = statistics.median(floors[title])
        print(
            f"batch of 2,000 {title}: {2000 / ours:.0f} rows/s against {2000 / bare:.0f} bare,"
            f" {bare / ours:.0%} of it (bound: 70 %)",
            flush=True,
        )


def scale_requests(
    cluster: str,
) -> dict[str, tuple[str, dict[str, Any]]]:
    """The requests to a table that grows: name -> (path, query)."""

    def extra(**values: str) -> dict[str, str]:
        by_path = {path.replace("__", "."): value for path, value in values.items()}
        return {"extra": base64.b64encode(json.dumps(by_path).encode()).decode()}

    typed = f"{PREFIX}/query/k8s/dynamic/clusters/{cluster}/pod"
    return {
        "by namespace": (typed, {"namespace": "ns-7"}),
        "by pod status": (typed, {"status": "Failed"}),
        "by hostIp list": (
            typed,
            {"hostIp": "10.0.3.1,10.0.77.1,10.0.180.1"},
        ),
        "by label through extra": (
            typed,
            extra(data__metadata__labels__app="app-17"),
        ),
        "by owner through extra": (
            typed,
            extra(data__metadata__ownerReferences__name="rs-33"),
        ),
        "deep page": (typed, {"offset": 8900, "limit": 50}),
        "names of a namespace": (
            f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/{cluster}/namespaces/ns-7/Pod",
            {"field": "resourceName"},
        ),
    }


def fill(cursor: Any, first: int, last: int) -> None:
    """Add clusters of 10,000 resources, the first and last of them by number.

    All indexes but those of keys are built afterwards, and statistics are fresh.
    """
    cursor.execute(SECONDARY_INDEXES)
    definitions = cursor.fetchall()
    for name, _ in definitions:
        cursor.execute(f"DROP INDEX {name}")
    cursor.execute("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'")
    for start in range(first, last + 1, 10):
        cursor.execute(
            SCALE,
            {
                "first": start,
                "last": min(start + 9, last),
                "each": PER_CLUSTER,
            },
        )
    for _, definition in definitions:
        cursor.execute(definition)
    cursor.execute("VACUUM ANALYZE storage_resource")


def sequential_scans(cursor: Any) -> int:
    """How often the table was scanned from end to end so far."""
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    # Other sessions report what they did after a second.
    time.sleep(1.5)
    cursor.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'storage_resource'")
    return int(cursor.fetchone()[0])


def scale(address: str, cursor: Any) -> None:
    """The same requests to one cluster, alone and among a hundred."""
    requests = scale_requests("scale-1")
    cursor.execute("TRUNCATE storage_resource")

    def measure() -> dict[str, float]:
        client = Client(address)
        calls = [
            lambda path=path, query=query: client("GET", path, **query)
            for path, query in requests.values()
        ]  # type: ignore[misc]
        return dict(zip(requests, medians(*calls, rounds=31), strict=True))

    fill(cursor, 1, 1)
    small = measure()
    started = time.monotonic()
    fill(cursor, 2, RESOURCES // PER_CLUSTER)
    cursor.execute(TABLE_SIZE)
    count, size = cursor.fetchone()
    print(
        f"  {count} resources, {size}, filled in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    before = sequential_scans(cursor)
    large = measure()
    for name, seconds in large.items():
        ratio = seconds / small[name]
        print(
            f"{name}: {seconds * 1000:.2f} ms against {small[name] * 1000:.2f} ms at 10,000,"
            f" ratio {ratio:.2f} (bound: 3)",
            flush=True,
        )
    print(
        f"  sequential scans meanwhile: {sequential_scans(cursor) - before}",
        flush=True,
    )


def memory(address: str, cursor: Any, master: int) -> None:
    """100,000 documents of 4 KB in one answer."""
    for start in range(0, DOCUMENTS, 5000):
        copy(
            cursor,
            "memory",
            "ns",
            [pod(number) for number in range(start, start + 5000)],
            first=start,
        )
    client = Client(address)
    client(
        "GET",
        f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/lists/namespaces/ns/Pod",
    )
    before = peak_memory(master)
    first, last = client.first_byte(f"{PREFIX}/k8s/dynamic/all_resources/clusters/memory/Pod")
    print(
        f"list of {DOCUMENTS} documents of 4 KB: first byte after {first * 1000:.0f} ms,"
        f" last after {last:.1f} s, peak memory of the web process {before:.0f} MB before"
        f" and {peak_memory(master):.0f} MB after",
        flush=True,
    )


def print_versions(cursor: Any) -> None:
    """Print the database and the cores that this runs on."""
    cursor.execute("SELECT split_part(version(), ',', 1)")
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    print(
        f"  {cursor.fetchone()[0]}, {cores} cores shared by all",
        flush=True,
    )


def run() -> None:
    """All measurements, in one run; BENCH_RESOURCES sets the size of the large table."""
    with (
        migrated(OPEN_DIALECTS="bcs,k8sservice", AUDIT_STORE_WRITES="false") as environ,
        session(environ) as cursor,
    ):
        print_versions(cursor)
        with web(environ) as (address, process):
            lists(Client(address), cursor)
            puts(
                Client(address),
                cursor,
                "put of one document, 16 threads and connections",
            )
            batches(Client(address), cursor)
            memory(address, cursor, process.pid)
        with web({**environ, "WEB_THREADS": "1"}) as (
            address,
            _,
        ):
            puts(
                Client(address),
                cursor,
                "put of one document, one thread and connection",
            )
        with web(
            {
                **environ,
                "WEB_THREADS": "1",
                "AUDIT_STORE_WRITES": "true",
            }
        ) as (address, _):
            puts(
                Client(address),
                cursor,
                "put of one document, one thread and connection, audited",
            )
        with web(environ) as (address, _):
            scale(address, cursor)
