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


def list_secrets(cluster: Cluster, namespace: str) -> list[Object]:
    """Every Secret of a namespace, with its values."""
    return list(list_all(registry.client(cluster), SECRETS, namespace))


def get_secret(cluster: Cluster, namespace: str, name: str) -> Object:
    """One Secret with its values; NotFound when there is none."""
    item: Object = orjson.loads(registry.client(cluster).get(SECRETS, name, namespace=namespace))
    return item


def create_secret(
    cluster: Cluster,
    namespace: str,
    name: str,
    *,
    kind: str,
    data: Mapping[str, str],
) -> None:
    """Create a Secret of a type (`kind`, "" for Opaque) with base64 data.

    Conflict when there is one of that name.
    """
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }
    if kind:
        body["type"] = kind
    registry.client(cluster).create(SECRETS, body, namespace=namespace)


def replace_secret(
    cluster: Cluster,
    namespace: str,
    name: str,
    *,
    kind: str,
    data: Mapping[str, str],
) -> None:
    """Replace all data of a Secret; labels and annotations stay. NotFound when there is none."""
    client = registry.client(cluster)

    def write() -> None:
        # With the resourceVersion that was read, so a change in between is a conflict.
        body = {**get_secret(cluster, namespace, name), "data": dict(data)}
        if kind:
            body["type"] = kind
        client.replace(SECRETS, name, body, namespace=namespace)

    retry_on_conflict(write)


def delete_secret(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a Secret; nothing when there is none."""
    try:
        registry.client(cluster).delete(SECRETS, name, namespace=namespace)
    except NotFound:
        return
