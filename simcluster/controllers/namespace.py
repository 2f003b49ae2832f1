"""Namespace: the objects of a new one, and the deletion of one with its contents."""

from collections import Counter
from dataclasses import dataclass, field

from simcluster import clock, deletion
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.errors import ApiError
from simcluster.objects import is_terminating
from simcluster.resources import Object, Resource

_AGAIN = 0.5
_KUBERNETES = "kubernetes"
# Each condition with its reason and message when it is met, in Kubernetes' order.
_DONE = (
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (
        "NamespaceContentRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
    (
        "NamespaceFinalizersRemaining",
        "ContentRemoved",
        "All content successfully removed",
    ),
)
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Give a new namespace its account and CA bundle; empty and finalize a deleted one."""
    client = Client(cluster, "namespace-controller")
    if not is_terminating(obj):
        _furnish(client, obj["metadata"]["name"])
        return None
    if _KUBERNETES in ((obj.get("spec") or {}).get("finalizers") or ()):
        content = _clear(client, obj["metadata"]["name"])
        status = obj.get("status") or {}
        conditions = _conditions(status.get("conditions") or [], content)
        if conditions != status.get("conditions"):
            obj = client.update_status(
                "namespaces",
                {**obj, "status": {**status, "conditions": conditions}},
            )
        # Finalizers of other controllers may still hold objects.
        if content.counts or content.errors:
            return _AGAIN
        deletion.finalize(cluster.store, obj, _KUBERNETES)
    return None


@dataclass
class _Content:
    """What a namespace still holds: objects by resource and by finalizer, and refusals."""

    counts: dict[str, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def _furnish(client: Client, name: str) -> None:
    if client.get("serviceaccounts", name, "default") is None:
        client.create(
            "serviceaccounts",
            {"metadata": {"name": "default", "namespace": name}},
        )
    if client.get("configmaps", name, "kube-root-ca.crt") is None:
        meta = {
            "name": "kube-root-ca.crt",
            "namespace": name,
            "annotations": {"kubernetes.io/description": _DESCRIPTION},
        }
        client.create(
            "configmaps",
            # Pods verify the API server with it, so every namespace has its copy.
            {"metadata": meta, "data": {"ca.crt": client.cluster.authority}},
        )


def _clear(client: Client, name: str) -> _Content:
    """Delete what is in a namespace, pods before all else; returns what is there still."""
    content = _Content()
    served: dict[str, Resource] = {}
    for resource in client.cluster.table:
        # One kind may be served in several versions, and is deleted once.
        served.setdefault(resource.storage, resource)
    for resource in (served.pop("pods"), *served.values()):
        if resource.namespaced and "delete" in resource.verbs:
            _clear_kind(client, resource, name, content)
        # Pods end with their grace period while what they use is still there.
        if resource.storage == "pods" and content.counts:
            break
    return content


def _clear_kind(client: Client, resource: Resource, name: str, content: _Content) -> None:
    store = client.cluster.store
    for record in store.list(resource.storage, name):
        if not record.field("metadata.deletionTimestamp"):
            try:
                client.delete(resource.storage, record.obj)
            except ApiError as error:
                content.errors.append(error.message)
    left = [record.obj["metadata"] for record in store.list(resource.storage, name)]
    if left:
        content.counts[f"{resource.plural}.{resource.group}"] = len(left)
    for meta in left:
        content.finalizers.update(meta.get("finalizers") or ())


def _conditions(before: list[Object], content: _Content) -> list[Object]:
    """The conditions of a namespace that is being deleted, in the words of its controller."""
    now = clock.timestamp()
    by_type = {condition["type"]: condition for condition in before}
    troubles = _troubles(content)
    for kind, reason, message in _DONE:
        status = "False"
        if kind in troubles:
            status = "True"
            reason, message = troubles[kind]
        old = by_type.get(kind, {})
        # The time is that of the status, not of the message.
        moment = old["lastTransitionTime"] if old.get("status") == status else now
        by_type[kind] = {
            "type": kind,
            "status": status,
            "lastTransitionTime": moment,
            "reason": reason,
            "message": message,
        }
    return list(by_type.values())


def _troubles(content: _Content) -> dict[str, tuple[str, str]]:
    """Reason and message of each condition that is true."""
    troubles = {}
    if content.errors:
        errors = ", ".join(sorted(content.errors))
        text = f"Failed to delete all resource types, {len(content.errors)} remaining: {errors}"
        troubles["NamespaceDeletionContentFailure"] = (
            "ContentDeletionFailed",
            text,
        )
    if content.counts:
        parts = sorted(
            f"{name} has {count} resource instances" for name, count in content.counts.items()
        )
        text = f"Some resources are remaining: {', '.join(parts)}"
        troubles["NamespaceContentRemaining"] = ("SomeResourcesRemain", text)
    if content.finalizers:
        parts = sorted(
            f"{name} in {count} resource instances" for name, count in content.finalizers.items()
        )
        text = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
        troubles["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", text)
    return troubles
