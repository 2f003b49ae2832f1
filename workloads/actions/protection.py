"""Protected objects, and what deleting or draining an object would affect."""

from collections.abc import Iterable, Iterator
from typing import Any

from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import DomainError
from workloads.actions import nodes, ownership
from workloads.actions.verbs import ACTIONS
from workloads.objects.object_ref import ObjectRef

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "default"})
ANNOTATION = "kubegale.io/protected"
# Kinds whose deletion is confirmed by typing the object's name.
NEEDS_NAME = frozenset(
    {
        "namespaces",
        "nodes",
        "persistentvolumes",
        "persistentvolumeclaims",
        "clusterrolebindings",
    }
)


def protection_reason(ref: ObjectRef, item: Object | None) -> str:
    """Why the object is protected, as the end of a sentence about it; "" when it is not."""
    # A namespace protects itself like the objects in it.
    namespace = ref.name if ref.kind.plural == "namespaces" else ref.namespace
    if reason := namespace_protection(ref.cluster, namespace):
        return reason
    return annotation_protection(item)


def annotation_protection(item: Object | None) -> str:
    """Why the object itself is protected; "" when it is not."""
    annotations = ((item or {}).get("metadata") or {}).get("annotations") or {}
    return f"is annotated {ANNOTATION}" if annotations.get(ANNOTATION) == "true" else ""


def cluster_protection(cluster: Cluster) -> str:
    """Why everything in a cluster is protected; "" when it is not."""
    return f"is in the protected cluster {cluster.name}" if cluster.protected else ""


def namespace_protection(cluster: Cluster, namespace: str) -> str:
    """Why everything in a cluster or namespace is protected; "" when it is not."""
    return cluster_protection(cluster) or system_protection(namespace)


def system_protection(namespace: str) -> str:
    """Why everything in a namespace is protected in any cluster; "" when it is not."""
    if namespace in SYSTEM_NAMESPACES:
        return f"is in the system namespace {namespace}"
    return ""


def impact(ref: ObjectRef, item: Object) -> dict[str, Any]:
    """How many pods, pvcs and children would be affected too, and warnings about it.

    Counts that do not apply to the kind are absent; when counting fails there is only a warning.
    """
    try:
        return dict(_counts(ref, item))
    except DomainError as error:
        return {"warnings": [f"the impact could not be counted: {error.message}"]}


def _counts(ref: ObjectRef, item: Object) -> Iterator[tuple[str, Any]]:
    plural = ref.kind.plural
    if plural == "namespaces":
        yield "pods", count_objects(ref.client, "pods", ref.name)
        yield (
            "pvcs",
            count_objects(ref.client, "persistentvolumeclaims", ref.name),
        )
        counts = [count_objects(ref.client, workload, ref.name) for workload in ACTIONS]
        yield "children", sum(counts)
    elif plural == "nodes":
        yield "pods", len(nodes.list_pods(ref))
        yield "warnings", ["deleting a node does not drain it"]
    elif plural in ACTIONS:
        owners = ownership.owner_chain(ref, item)
        yield "pods", len(ownership.list_pods(ref, owners))
        # The chain includes the workload itself.
        yield "children", len(owners) - 1
    elif plural == "persistentvolumeclaims":
        yield "pods", len(list(_pods_mounting(ref)))
    elif plural == "persistentvolumes":
        yield "pvcs", int(bool(item["spec"].get("claimRef")))


def _pods_mounting(ref: ObjectRef) -> Iterable[Object]:
    """The pods with a volume from the claim."""
    for pod in list_all(ref.client, KINDS["pods"], ref.namespace):
        volumes = pod["spec"].get("volumes") or []
        claims = [volume.get("persistentVolumeClaim") or {} for volume in volumes]
        if any(claim.get("claimName") == ref.name for claim in claims):
            yield pod


def count_objects(client: ClusterClient, plural: str, namespace: str) -> int:
    """How many objects of a kind a namespace has, without reading them all."""
    # A list with limit=1 tells the rest in remainingItemCount.
    chunk = client.chunk(KINDS[plural], namespace=namespace, limit=1)
    return len(chunk.items or []) + (chunk.metadata.remaining_item_count or 0)
