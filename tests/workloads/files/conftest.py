"""Pods with files, a script that reads and changes them, and the server of transfers."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import BASE, Caller


@dataclass
class Files:
    """The files of one container, over the API."""

    caller: Caller
    client: httpx.Client
    pod: str
    place: dict[str, Any]

    def url(self, path: str = "") -> str:
        """The route of files, or one below it."""
        return f"pods/{self.pod}/files{path}"

    def envelope(
        self, method: str, route: str, body: Any = None, /, **query: Any
    ) -> dict[str, Any]:
        """The whole answer of a small call."""
        if body is None:
            return self.caller(method, f"{self.url(route)}?{urlencode({**self.place, **query})}")
        return self.caller(method, self.url(route), {**self.place, **body})

    def data(self, method: str, route: str, body: Any = None, /, **query: Any) -> Any:
        """The data of a small call that must be a success."""
        answer = self.envelope(method, route, body, **query)
        assert answer["code"] == 0, answer
        return answer["data"]

    def names(self, path: str) -> list[str]:
        """The names in a directory."""
        return [item["name"] for item in self.data("GET", "", path=path)["items"]]

    def write(self, path: str, content: str, **members: Any) -> Any:
        """Write a file as text."""
        return self.data("PUT", "/content", {"path": path, "content": content, **members})

    def read(self, path: str, **query: Any) -> Any:
        """Content and more of a file."""
        return self.data("GET", "/content", path=path, **query)

    def download(self, path: str, *, headers: Any = None, **query: Any) -> httpx.Response:
        """The answer of a download."""
        return self.client.get(
            f"{BASE}/{self.url('/download')}",
            params={**self.place, "path": path, **query},
            headers=headers,
        )

    def upload(self, path: str, *, body: Any = None, files: Any = None, **query: Any) -> Any:
        """The envelope of an upload."""
        answer = self.client.post(
            f"{BASE}/{self.url()}",
            params={**self.place, "path": path, **query},
            content=body,
            files=files,
        )
        return answer.json()


MakePod = Callable[..., Files]


@pytest.fixture
def registered(transactional_db: None, apiserver: RunningCluster) -> Cluster:
    """The simulated API server, registered where other threads see it."""
    return registry.register(name="simulated", kubeconfig_text=apiserver.kubeconfig_yaml)


@pytest.fixture
def token(transactional_db: None) -> str:
    """An administrator's API token."""
    user = get_user_model().objects.create_superuser("boss", "boss@example.com", None)
    return create_api_token(user, "tests")[1]


@pytest.fixture
def make_pod(
    registered: Cluster, apiserver: RunningCluster, socket_port: int, token: str
) -> MakePod:
    """Makes a running pod: make_pod("alpine", traits="no-tar")."""
    caller = Caller(token)
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{socket_port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )

    def make(image: str = "nginx:1", *, traits: str = "", **container: Any) -> Files:
        name = f"p-{uuid.uuid4().hex[:8]}"
        if traits:
            # Ways are remembered for each image.
            image = f"{image}-{name}"
        place = {"cluster_id": registered.pk, "namespace": "default"}
        content = {
            "metadata": {"name": name, "annotations": {"simcluster.dev/files": traits}},
            "spec": {"containers": [{"name": "main", "image": image, **container}]},
        }
        caller.data("POST", "pods", {**place, "content": content})

        def running() -> bool:
            pod = caller.data("GET", f"pods/{name}", **place)
            statuses = (pod.get("status") or {}).get("containerStatuses") or []
            return bool(statuses) and "running" in statuses[0]["state"]

        apiserver.wait(running)
        return Files(caller, client, name, place)

    return make


@pytest.fixture
def files(make_pod: MakePod) -> Files:
    """The files of a container with tar and a shell."""
    return make_pod()
