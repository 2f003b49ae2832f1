"""What small requests cost: one pod, a page of 20, one stored document, beside the API server.

Each is asked in turns with the same of the bare API server, by 1, 8 and 32 clients, and the medians
of the rounds' ratios are shown.
"""

import base64
import json
import ssl
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
import yaml

from bench.load import Rate, measure
from bench.processes import (
    administrator,
    children_seconds,
    manage,
    migrated,
    peak_memory,
    running,
    simulated,
    until,
    web,
)

PODS = 2000
CLIENTS = (1, 8, 32)
SECONDS = 2.0
ROUNDS = 5
NAMESPACE = "default"
CLUSTER = "bench"
STORE = f"/bcsstorage/v1/k8s/dynamic/namespace_resources/clusters/{CLUSTER}/namespaces/{NAMESPACE}"
# For the proof that memory does not grow.
LARGE_PAGES = 2000


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go, and what says who asks."""

    port: int
    token: str
    tls: ssl.SSLContext | None = None

    def request(self, path: str, *, method: str = "GET", body: bytes = b"") -> bytes:
        """The bytes of one request."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def measure(self, request: bytes, clients: int) -> Rate:
        """One round."""
        return measure(self.port, request, clients=clients, seconds=SECONDS, tls=self.tls)


def _api_server(kubeconfig: Path) -> Server:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.check_hostname = False
    port = urlsplit(cluster["server"]).port
    assert port is not None
    return Server(port, config["users"][0]["user"]["token"], context)


def _compare(what: str, bare: tuple[Server, str], ours: tuple[Server, str], master: int) -> None:
    """Print both rates and medians, the medians of their ratios, and what an answer cost."""
    for clients in CLIENTS:
        rounds: list[tuple[Rate, Rate]] = []
        before = children_seconds(master)
        for _ in range(ROUNDS):
            first = bare[0].measure(bare[0].request(bare[1]), clients)
            second = ours[0].measure(ours[0].request(ours[1]), clients)
            rounds.append((first, second))
        medians = [statistics.median(pair[side].median for pair in rounds) for side in (0, 1)]
        rates = [statistics.median(pair[side].per_second for pair in rounds) for side in (0, 1)]
        answers = sum(second.per_second * SECONDS for _, second in rounds)
        cost = (children_seconds(master) - before) / answers
        slower = statistics.median(second.median / first.median for first, second in rounds)
        share = statistics.median(second.per_second / first.per_second for first, second in rounds)
        print(
            f"{what}, {clients} clients: p50 {medians[1] * 1000:.2f} ms,"
            f" {slower:.2f} of the API server's {medians[0] * 1000:.2f};"
            f" {rates[1]:.0f} a second, {share:.2f} of its {rates[0]:.0f};"
            f" {cost * 1000:.2f} ms of processor time",
            flush=True,
        )


def written(server: Server) -> bytes:
    """The bytes of a PUT of a small document."""
    document = {"data": {"metadata": {"name": "written", "labels": {"a": "b"}}, "spec": {"x": 1}}}
    path = f"{STORE}/Pod/written"
    return server.request(path, method="PUT", body=json.dumps(document).encode())


def stored_name(server: Server) -> str:
    """The name of a pod, once the collector has stored one."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port)
    headers = {"Authorization": f"Bearer {server.token}"}
    listing = f"{STORE}/Pod?limit=1&field=resourceName"

    def names() -> list[str]:
        answer = json.loads(pool.request("GET", listing, headers=headers).data)
        return [item["resourceName"] for item in answer.get("data") or []]

    return until(names)[0]


def _measure_writes(server: Server) -> None:
    """Audited PUTs of bcs-storage by 8 clients."""
    rates = [server.measure(written(server), 8) for _ in range(ROUNDS)]
    print(
        f"PUT of bcs-storage, audited, 8 clients:"
        f" {statistics.median(rate.per_second for rate in rates):.0f} a second,"
        f" p50 {statistics.median(rate.median for rate in rates) * 1000:.2f} ms",
        flush=True,
    )


def _measure_memory(address: str, token: str, master: int, cluster: int) -> None:
    """Pages of 1,000 pods over one connection, and the most that the process held meanwhile."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", urlsplit(address).port, maxsize=1)
    path = f"/api/v1/kubernetes/pods?cluster_id={cluster}&page_size=1000"
    size = 0
    for _ in range(LARGE_PAGES):
        size = len(pool.request("GET", path, headers={"Authorization": f"Bearer {token}"}).data)
    megabytes = peak_memory(master)
    print(f"after {LARGE_PAGES} pages of {size / 1e6:.1f} MB: peak {megabytes:.0f} MB", flush=True)


def register(environ: Mapping[str, str], kubeconfig: Path) -> int:
    """The id of the simulated cluster, registered."""
    arguments = ("register_cluster", CLUSTER, "--kubeconfig", str(kubeconfig), "--skip-checks")
    manage(dict(environ), *arguments)
    return 1


@contextmanager
def collected(environ: dict[str, str], folder: str) -> Iterator[tuple[str, int, Path]]:
    """(token of an administrator, id and kubeconfig of a simulated cluster, being collected)."""
    token = administrator(environ)
    with simulated(environ, folder, PODS) as kubeconfig:
        cluster = register(environ, kubeconfig)
        with running([sys.executable, "manage.py", "collect"], environ):
            yield token, cluster, kubeconfig


def read_requests(server: Server, cluster: int) -> dict[str, str]:
    """The paths of the small reads by their names, once the collector has stored a pod."""
    name = stored_name(server)
    query = f"cluster_id={cluster}&namespace={NAMESPACE}"
    return {
        "get one pod": f"/api/v1/kubernetes/pods/{name}?{query}",
        "one document (bcs)": f"{STORE}/Pod/{name}",
        "page of 20": f"/api/v1/kubernetes/pods?{query}&page_size=20",
    }


def run() -> None:
    """Print the table."""
    with (
        migrated() as environ,
        tempfile.TemporaryDirectory(prefix="kubegale-bench-") as folder,
        ExitStack() as stack,
    ):
        token, cluster, kubeconfig = stack.enter_context(collected(environ, folder))
        address, master = stack.enter_context(web(environ))
        port = urlsplit(address).port
        assert port is not None
        ours = Server(port, token)
        bare = _api_server(kubeconfig)
        place = f"/api/v1/namespaces/{NAMESPACE}/pods"
        single = f"{place}/{stored_name(ours)}"
        bare_paths = (single, single, f"{place}?limit=20")
        reads = read_requests(ours, cluster).items()
        for bare_path, (what, path) in zip(bare_paths, reads, strict=True):
            _compare(what, (bare, bare_path), (ours, path), master.pid)
        _measure_writes(ours)
        _measure_memory(address, token, master.pid, cluster)
