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
from workloads.objects.subject import Subject

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "default"})
ANNOTATION = "kubegale.io/protected"
NEEDS_NAME = frozenset(
    {"namespaces", "nodes", "persistentvolumes", "persistentvolumeclaims", "clusterrolebindings"}
)


def why(subject: Subject, item: Object | None) -> str:
    """Why the object is protected, or nothing."""
    if reason := of_place(
        subject.cluster, subject.name if subject.kind.plural == "namespaces" else subject.namespace
    ):
        return reason
    annotations = ((item or {}).get("metadata") or {}).get("annotations") or {}
    return f"is annotated {ANNOTATION}" if annotations.get(ANNOTATION) == "true" else ""


def of_place(cluster: Cluster, namespace: str) -> str:
    """Why everything in a cluster or namespace is protected, or nothing."""
    if cluster.protected:
        return f"is in the protected cluster {cluster.name}"
    return f"is in the system namespace {namespace}" if namespace in SYSTEM_NAMESPACES else ""


def impact(subject: Subject, item: Object) -> dict[str, Any]:
    """How many pods, claims and children would go too; null for what does not apply or cannot be counted."""
    try:
        return dict(_counts(subject, item))
    except DomainError as error:
        return {"warnings": [f"the impact could not be counted: {error.message}"]}


def _counts(subject: Subject, item: Object) -> Iterator[tuple[str, Any]]:
    plural = subject.kind.plural
    if plural == "namespaces":
        yield "pods", count(subject.client, "pods", subject.name)
        yield "pvcs", count(subject.client, "persistentvolumeclaims", subject.name)
        yield "children", sum(count(subject.client, workload, subject.name) for workload in ACTIONS)
    elif plural == "nodes":
        yield "pods", len(nodes.pods(subject))
        yield "warnings", ["deleting a node does not drain it"]
    elif plural in ACTIONS:
        known = ownership.owners(subject, item)
        yield "pods", len(ownership.pods(subject, known))
        yield "children", len(known) - 1
    elif plural == "persistentvolumeclaims":
        yield "pods", len(list(_mounting(subject)))
    elif plural == "persistentvolumes":
        yield "pvcs", int(bool(item["spec"].get("claimRef")))


def _mounting(subject: Subject) -> Iterable[Object]:
    for pod in list_all(subject.client, KINDS["pods"], subject.namespace):
        claims = (
            (volume.get("persistentVolumeClaim") or {}).get("claimName")
            for volume in pod["spec"].get("volumes") or []
        )
        if subject.name in claims:
            yield pod


def count(client: ClusterClient, plural: str, namespace: str) -> int:
    """How many objects of a kind a namespace has, without reading them all."""
    chunk = client.chunk(KINDS[plural], namespace=namespace, limit=1)
    return len(chunk.items or []) + (chunk.metadata.remaining_item_count or 0)
