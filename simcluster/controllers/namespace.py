"""Namespace: what a new one is given, and the end of one with all that is in it."""

from typing import TYPE_CHECKING

from simcluster import deletion
from simcluster.client import Client
from simcluster.resources import Object

if TYPE_CHECKING:
    from simcluster.cluster import Cluster

_AGAIN = 0.5
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
    "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)


def reconcile(cluster: "Cluster", obj: Object) -> float | None:
    """Give a new namespace its account and certificates; empty one that is being deleted, then let it go."""
    client = Client(cluster, "namespace-controller")
    if not obj["metadata"].get("deletionTimestamp"):
        _furnish(client, obj["metadata"]["name"])
        return None
    if _empty(cluster, client, obj["metadata"]["name"]):
        obj["spec"] = {}
        cluster.store.put("namespaces", obj)
        deletion.finish(cluster.registry, cluster.table.of_storage("namespaces"), obj)
        return None
    return _AGAIN


def _furnish(client: Client, name: str) -> None:
    if client.get("serviceaccounts", name, "default") is None:
        client.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
    if client.get("configmaps", name, "kube-root-ca.crt") is None:
        meta = {
            "name": "kube-root-ca.crt",
            "namespace": name,
            "annotations": {"kubernetes.io/description": _DESCRIPTION},
        }
        client.create(
            "configmaps", {"metadata": meta, "data": {"ca.crt": client.cluster.authority}}
        )


def _empty(cluster: "Cluster", client: Client, name: str) -> bool:
    left = False
    for storage in cluster.store.storages():
        resource = cluster.table.of_storage(storage) if _served(cluster, storage) else None
        if resource is None or not resource.namespaced:
            continue
        for record in cluster.store.list(storage, name):
            if not record.field("metadata.deletionTimestamp"):
                client.delete(storage, record.obj)
        left = left or any(True for _ in cluster.store.list(storage, name))
    return not left


def _served(cluster: "Cluster", storage: str) -> bool:
    return any(resource.storage == storage for resource in cluster.table)
