"""Persistent volume claims, and the guard that keeps those of StatefulSets."""

from collections.abc import Iterable

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound, Rejected

CLAIMS = KINDS["persistentvolumeclaims"]


def claims(cluster: Cluster, namespace: str, selector: str = "") -> list[Object]:
    """The claims of a namespace that a label selector matches."""
    return list(list_all(registry.client(cluster), CLAIMS, namespace, labelSelector=selector))


def claim(cluster: Cluster, namespace: str, name: str) -> Object:
    """One claim; NotFound when there is none."""
    found: Object = orjson.loads(registry.client(cluster).get(CLAIMS, name, namespace=namespace))
    return found


def remove(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a claim unless a StatefulSet still has its labels (Rejected); one that is gone is fine."""
    try:
        _remove_unused(registry.client(cluster), namespace, [claim(cluster, namespace, name)])
    except NotFound:
        return


def remove_selected(cluster: Cluster, namespace: str, selector: str) -> None:
    """Delete all that match; Rejected, and nothing deleted, when one of them is still used."""
    _remove_unused(registry.client(cluster), namespace, claims(cluster, namespace, selector))


def _remove_unused(client: ClusterClient, namespace: str, doomed: Iterable[Object]) -> None:
    names = []
    sets = list(list_all(client, KINDS["statefulsets"], namespace))
    for item in doomed:
        name = item["metadata"]["name"]
        if users := _users(item, sets):
            listed = " ".join(f"{namespace}/{user}" for user in users)
            raise Rejected(
                f"pvc {namespace}/{name} can not be deleted, it is still used by statefulsets [{listed}]"
            )
        names.append(name)
    for name in names:
        try:
            client.delete(CLAIMS, name, namespace=namespace)
        except NotFound:
            continue


def _users(item: Object, sets: Iterable[Object]) -> list[str]:
    """Names of the StatefulSets that carry every label of the claim; a claim without labels has none."""
    labels = item["metadata"].get("labels") or {}
    if not labels:
        return []
    return [
        each["metadata"]["name"]
        for each in sets
        if labels.items() <= (each["metadata"].get("labels") or {}).items()
    ]
