"""A simulated cluster, and a client that is nothing but HTTP."""

import asyncio
import json
import ssl
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3

from simcluster.testing import RunningCluster, running_cluster

T = TypeVar("T")
# `python -m simcluster` finds the package from here, whatever folder the tests are started in.
SOURCES = Path(__file__).parents[2]
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {"name": "web", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}
                ]
            },
        },
    },
}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Any
    raw: bytes

    @property
    def body(self) -> Any:
        """The decoded JSON."""
        return json.loads(self.raw)


class Api:
    """Plain HTTP with the administrator's token (or another, or none)."""

    def __init__(
        self, url: str, authority: str, token: str, *, certificate: Path | None = None
    ) -> None:
        self.context = ssl.create_default_context(cadata=authority)
        # The WebSocket client reads and writes in two threads; with TLS 1.3 a read changes the state of the session while a write uses it.
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            self.context.load_cert_chain(certificate)
        self.pool = urllib3.PoolManager(ssl_context=self.context, maxsize=50, retries=False)
        self.url = url
        self.token = token

    def headers(self, **more: str) -> dict[str, str]:
        """The usual headers."""
        signed = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Accept": "application/json", "User-Agent": "recorder/1.0", **signed, **more}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Reply:
        """One request."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = self.headers(
            Accept=accept, **({"Content-Type": content_type} if raw is not None else {})
        )
        answer = self.pool.request(method, self.url + path, body=raw, headers=headers, timeout=30)
        return Reply(answer.status, answer.headers, answer.data)

    def get(self, path: str, **more: Any) -> Reply:
        """GET."""
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any, **more: Any) -> Reply:
        """POST."""
        return self.call("POST", path, body, **more)

    def merge(self, path: str, body: Any) -> Reply:
        """PATCH with a merge patch."""
        return self.call("PATCH", path, body, content_type="application/merge-patch+json")

    def watch(self, path: str, seconds: int = 2) -> list[dict[str, Any]]:
        """All events until the watch times out."""
        joint = "&" if "?" in path else "?"
        reply = self.get(f"{path}{joint}watch=1&timeoutSeconds={seconds}")
        return [json.loads(line) for line in reply.raw.splitlines()]


def run_in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns or raises.

    It runs in a thread of its own: in the thread of the tests a browser of other tests may already
    run an event loop.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def api_of(cluster: RunningCluster, token: str | None = None) -> Api:
    """A client of a cluster."""
    return Api(cluster.url, cluster.authority, cluster.token if token is None else token)


@pytest.fixture(scope="session")
def sim() -> Iterator[RunningCluster]:
    """One cluster for all tests here, forty times as fast as life."""
    with running_cluster(time_scale=40, nodes=3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def api(sim: RunningCluster) -> Api:
    """Its administrator."""
    return api_of(sim)


@pytest.fixture
def namespace(api: Api, request: pytest.FixtureRequest) -> str:
    """A namespace of one's own."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    name: str = api.post("/api/v1/namespaces", body).body["metadata"]["name"]
    return name
