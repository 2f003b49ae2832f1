"""Fixtures for acting on live objects."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller

Put = Callable[..., dict[str, Any]]


@pytest.fixture
def space(admin: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin.data(
        "POST", "namespaces", {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
    )
    return name


@pytest.fixture
def put(admin: Caller, cluster: Cluster, space: str) -> Put:
    """Makes an object in the namespace: put("deployments", {...})."""

    def make(plural: str, content: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = admin.data(
            "POST", plural, {"cluster_id": cluster.pk, "namespace": space, "content": content}
        )
        return made

    return make


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Waits that fit a cluster which runs twenty times as fast as in life."""
    settings.DRAIN_POLL_SECONDS = settings.ROLLOUT_POLL_SECONDS = 0.05
    settings.DRAIN_RETRY_SECONDS = 0.1
    settings.DRAIN_UNKNOWN_SECONDS = 0.5
    settings.CLUSTER_CIRCUIT_SECONDS = 0.2


def template(image: str = "nginx:1", *, app: str = "web", **spec: Any) -> dict[str, Any]:
    """A pod template."""
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}], **spec},
    }


def workload(
    name: str = "web", *, replicas: int | None = 2, image: str = "nginx:1", **spec: Any
) -> dict[str, Any]:
    """The manifest of a Deployment, StatefulSet or DaemonSet; the route says which."""
    body = {
        "selector": {"matchLabels": {"app": name}},
        "template": template(image, app=name),
        **spec,
    }
    return {
        "metadata": {"name": name},
        "spec": body if replicas is None else {**body, "replicas": replicas},
    }


def pods_of(apiserver: RunningCluster, space: str, *, ready: bool = True) -> list[dict[str, Any]]:
    """The pods of a namespace that are not on their way out; ready ones only, unless told otherwise."""
    found = [
        pod for pod in apiserver.list("pods", space) if not pod["metadata"].get("deletionTimestamp")
    ]
    return [pod for pod in found if not ready or is_ready(pod)]


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the pod is Ready."""
    return any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in (pod.get("status") or {}).get("conditions") or []
    )
