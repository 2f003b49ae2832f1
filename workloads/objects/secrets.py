"""Secrets as name, type and base64 data."""

from collections.abc import Mapping

import orjson

from clusters import registry
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound
from core.retry import retry_on_conflict

SECRETS = KINDS["secrets"]


def secrets(cluster: Cluster, namespace: str) -> list[Object]:
    """Every secret of a namespace, values and all."""
    return list(list_all(registry.client(cluster), SECRETS, namespace))


def secret(cluster: Cluster, namespace: str, name: str) -> Object:
    """One secret; NotFound when there is none."""
    found: Object = orjson.loads(registry.client(cluster).get(SECRETS, name, namespace=namespace))
    return found


def create(
    cluster: Cluster, namespace: str, name: str, *, kind: str, data: Mapping[str, str]
) -> None:
    """A new secret; Conflict when there is one of that name. Without a type Kubernetes makes it Opaque."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }
    registry.client(cluster).create(
        SECRETS, {**body, "type": kind} if kind else body, namespace=namespace
    )


def replace(
    cluster: Cluster, namespace: str, name: str, *, kind: str, data: Mapping[str, str]
) -> None:
    """Replace the data as a whole; labels and annotations stay. NotFound when there is no such secret."""
    client = registry.client(cluster)

    def write() -> None:
        body = {**secret(cluster, namespace, name), "data": dict(data)}
        client.replace(SECRETS, name, {**body, "type": kind} if kind else body, namespace=namespace)

    retry_on_conflict(write)


def remove(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a secret; one that is gone is fine."""
    try:
        registry.client(cluster).delete(SECRETS, name, namespace=namespace)
    except NotFound:
        return
