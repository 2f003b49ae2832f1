"""The order in which objects are sent, so that each finds what it stands on.

Helm's InstallOrder (pkg/release/util/kind_sorter.go), with webhooks and API services last: they
could refuse what comes after them before their own pods run.
"""

from collections.abc import Iterable

from clusters.manifests import Object
from workloads.manifests.documents import PlannedObject

KIND_ORDER = (
    "PriorityClass",
    "CustomResourceDefinition",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
)
LAST = ("APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_PLACES = {name: place for place, name in enumerate(KIND_ORDER)}
# Custom objects come after what Kubernetes knows, so that their operators find everything.
_CUSTOM = len(KIND_ORDER)
_PLACES.update({name: _CUSTOM + 1 + place for place, name in enumerate(LAST)})


def kind_place(obj: Object) -> int:
    """The place of an object's kind in the order; kinds that no list names stand together."""
    return _PLACES.get(str(obj.get("kind") or ""), _CUSTOM)


def in_apply_order(planned: Iterable[PlannedObject]) -> list[PlannedObject]:
    """The objects in the order in which they are sent; those of one kind stay as they were."""
    return sorted(planned, key=lambda item: (kind_place(item.obj), item.manifest.index))
