"""Templates: 200 documents rendered and compared, and 50 documents to 20 clusters.

The first is a dry run of a deployment, beside a bare client that sends the API server the same
requests over one kept connection: the rest is our own time. The second is a deployment by a real
worker; meanwhile the established connections to each cluster are counted, and the web server with
its one process of few threads is asked for a page that needs the database.
"""

import contextlib
import json
import ssl
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from bench.processes import administrator, environment, manage, running, until, web
from simcluster.testing import RunningCluster, running_cluster

DOCUMENTS = 200
CLUSTERS = 20
DOCUMENTS_PER_CLUSTER = 50
ROUNDS = 5
SPACE = "bench"
BASE = "/api/v1/kubernetes"
SCHEMA = {"type": "object", "properties": {"level": {"type": "string", "default": "info"}}}
WORKER = [sys.executable, "-m", "celery", "-A", "kubegale", "worker", "-c", "2", "-l", "WARNING"]
ESTABLISHED = "01"


def _body(documents: int) -> str:
    """A template: one Deployment to four ConfigMaps of a kilobyte, each with a value."""
    parts = []
    for number in range(documents):
        obj: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"settings-{number}"},
            "data": {"level": "LEVEL", "text": "line of text\n" * 80},
        }
        if number % 5 == 0:
            obj = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": f"web-{number}"},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": f"web-{number}"}},
                    "template": {
                        "metadata": {"labels": {"app": f"web-{number}"}},
                        "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
                    },
                },
            }
        parts.append(yaml.safe_dump(obj))
    return "---\n".join(parts).replace("LEVEL", "{{ level }}")


class _Api:
    """Calls the routes; every answer must be a success."""

    def __init__(self, address: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(
            base_url=f"{address}{BASE}",
            headers=headers,
            timeout=120,
        )

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.client.request(method, path, json=body).json()
        assert answer["code"] == 0, answer
        return answer["data"]

    def register(self, name: str, server: RunningCluster) -> int:
        """The id of a registered cluster, in which there is the namespace."""
        pk = int(
            self(
                "POST",
                "/clusters",
                {"name": name, "kubeconfig": server.kubeconfig_yaml},
            )["id"]
        )
        self(
            "POST",
            "/namespaces",
            {"cluster_id": pk, "content": {"metadata": {"name": SPACE}}},
        )
        return pk

    def template(self, name: str, documents: int) -> int:
        """The id of a new template with so many documents."""
        body = {"name": name, "version": "1.0.0", "body": _body(documents), "schema": SCHEMA}
        return int(self("POST", "/templates", body)["id"])


def _bare_seconds(server: RunningCluster) -> float:
    """What the API server takes for the same reads and dry runs, without us."""
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(
        base_url=server.url,
        headers=headers,
        verify=ssl.create_default_context(cadata=server.authority),
    ) as client:
        for obj in yaml.safe_load_all(_body(DOCUMENTS).replace("{{ level }}", "info")):
            root = "/api/v1" if obj["apiVersion"] == "v1" else "/apis/apps/v1"
            path = f"{root}/namespaces/{SPACE}/{obj['kind'].lower()}s/{obj['metadata']['name']}"
            client.get(path)
            answer = client.patch(
                path,
                params={"dryRun": "All", "fieldManager": "bench", "fieldValidation": "Strict"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                content=json.dumps(obj),
            )
            assert answer.status_code in (200, 201), answer.text
    return time.perf_counter() - began


def _measure_preview(api: _Api, server: RunningCluster, cluster: int) -> None:
    pk = api.template("preview", DOCUMENTS)
    target = {"cluster_id": cluster, "namespace": SPACE}
    body = {"name": "preview", "targets": [target], "dry_run": True}
    shares = []
    for _ in range(ROUNDS):
        bare = _bare_seconds(server)
        began = time.perf_counter()
        documents = api("POST", f"/templates/{pk}/deploy", body)["documents"]
        whole = time.perf_counter() - began
        assert [row["action"] for row in documents] == ["created"] * DOCUMENTS
        shares.append((whole - bare, whole, bare))
    own, whole, bare = (statistics.median(column) for column in zip(*shares, strict=True))
    print(
        f"{DOCUMENTS} documents rendered, dry run and compared: {whole:.2f} s,"
        f" a bare client's requests {bare:.2f} s, our own {own:.2f} s (bound: 1.5)",
        flush=True,
    )


def _connections(ports: frozenset[int]) -> Counter[int]:
    """Established connections by the port that they lead to."""
    counts: Counter[int] = Counter()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        port = int(remote.rpartition(":")[2], 16)
        if state == ESTABLISHED and port in ports:
            counts[port] += 1
    return counts


@contextlib.contextmanager
def _watched(ports: frozenset[int], api: _Api) -> Iterator[tuple[list[int], list[float]]]:
    """(most connections to one cluster, seconds of a page), sampled within the block."""
    most: list[int] = [0]
    pages: list[float] = [0.0]
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.005):
            most.append(max(_connections(ports).values(), default=0))

    def ask() -> None:
        while not ended.wait(0.05):
            began = time.perf_counter()
            api("GET", "/template-deployments")
            pages.append(time.perf_counter() - began)

    threads = [threading.Thread(target=each) for each in (count, ask)]
    for thread in threads:
        thread.start()
    try:
        yield most, pages
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _measure_fleet(api: _Api, environ: dict[str, str]) -> None:
    pk = api.template("fleet", DOCUMENTS_PER_CLUSTER)
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running_cluster(controllers=False, kubelet=False))
            for _ in range(CLUSTERS)
        ]
        targets = []
        for number, server in enumerate(servers):
            cluster = api.register(f"fleet-{number}", server)
            targets.append({"cluster_id": cluster, "namespace": SPACE})
        ports = frozenset(int(urlsplit(server.url).port or 0) for server in servers)
        for idle in servers:
            idle.requests.clear()
        with running(WORKER, environ), _watched(ports, api) as (most, pages):
            began = time.perf_counter()
            answer = api(
                "POST",
                f"/templates/{pk}/deploy",
                {"name": "fleet", "targets": targets},
            )
            accepted = time.perf_counter() - began
            path = f"/operations/{answer['operation_id']}"
            row = until(lambda: _final(api, path))
            seconds = time.perf_counter() - began
    assert row["state"] == "succeeded", row["error"]
    print(
        f"{DOCUMENTS_PER_CLUSTER} documents to {CLUSTERS} clusters: {seconds:.1f} s by one"
        f" operation, accepted after {accepted:.2f} s; at most {max(most)} connections to a"
        f" cluster (bound: 4), a page meanwhile {statistics.median(pages) * 1000:.0f} ms,"
        f" the slowest {max(pages) * 1000:.0f} ms",
        flush=True,
    )


def _final(api: _Api, path: str) -> Any:
    row = api("GET", path)
    return None if row["state"] in ("pending", "running") else row


def run() -> None:
    """Print both measurements."""
    with (
        environment() as environ,
        running_cluster(controllers=False, kubelet=False) as server,
    ):
        manage(
            environ,
            "migrate",
            "--verbosity",
            "0",
        )
        token = administrator(environ)
        with web(environ) as (address, _master):
            api = _Api(address, token)
            _measure_preview(
                api,
                server,
                api.register("one", server),
            )
            _measure_fleet(api, environ)
