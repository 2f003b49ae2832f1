"""What must not be touched lightly, and what would go along with it."""

from collections.abc import Iterable, Iterator
from typing import Any

from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import DomainError
from workloads.actions import nodes, ownership
from workloads.actions.actions import ACTIONS
from workloads.objects.subject import ObjectRef

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "default"})
ANNOTATION = "kubegale.io/protected"
NEEDS_NAME = frozenset(
    {"namespaces", "nodes", "persistentvolumes", "persistentvolumeclaims", "clusterrolebindings"}
)


def protection_reason(ref: ObjectRef, item: Object | None) -> str:
    """Why the object is protected, or nothing."""
    if reason := namespace_protection(
        ref.cluster, ref.name if ref.kind.plural == "namespaces" else ref.namespace
    ):
        return reason
    annotations = ((item or {}).get("metadata") or {}).get("annotations") or {}
    return f"is annotated {ANNOTATION}" if annotations.get(ANNOTATION) == "true" else ""


def namespace_protection(cluster: Cluster, namespace: str) -> str:
    """Why everything in a cluster or namespace is protected, or nothing."""
    if cluster.protected:
        return f"is in the protected cluster {cluster.name}"
    return f"is in the system namespace {namespace}" if namespace in SYSTEM_NAMESPACES else ""


def impact(ref: ObjectRef, item: Object) -> dict[str, Any]:
    """How many pods, claims and children would go too; null for what does not apply or cannot be counted."""
    try:
        return dict(_counts(ref, item))
    except DomainError as error:
        return {"warnings": [f"the impact could not be counted: {error.message}"]}


def _counts(ref: ObjectRef, item: Object) -> Iterator[tuple[str, Any]]:
    plural = ref.kind.plural
    if plural == "namespaces":
        yield "pods", count_objects(ref.client, "pods", ref.name)
        yield "pvcs", count_objects(ref.client, "persistentvolumeclaims", ref.name)
        yield (
            "children",
            sum(count_objects(ref.client, workload, ref.name) for workload in ACTIONS),
        )
    elif plural == "nodes":
        yield "pods", len(nodes.list_pods(ref))
        yield "warnings", ["deleting a node does not drain it"]
    elif plural in ACTIONS:
        known = ownership.owner_chain(ref, item)
        yield "pods", len(ownership.list_pods(ref, known))
        yield "children", len(known) - 1
    elif plural == "persistentvolumeclaims":
        yield "pods", len(list(_mounting(ref)))
    elif plural == "persistentvolumes":
        yield "pvcs", int(bool(item["spec"].get("claimRef")))


def _mounting(ref: ObjectRef) -> Iterable[Object]:
    for pod in list_all(ref.client, KINDS["pods"], ref.namespace):
        claims = (
            (volume.get("persistentVolumeClaim") or {}).get("claimName")
            for volume in pod["spec"].get("volumes") or []
        )
        if ref.name in claims:
            yield pod


def count_objects(client: ClusterClient, plural: str, namespace: str) -> int:
    """How many objects of a kind a namespace has, without reading them all."""
    chunk = client.chunk(KINDS[plural], namespace=namespace, limit=1)
    return len(chunk.items or []) + (chunk.metadata.remaining_item_count or 0)
