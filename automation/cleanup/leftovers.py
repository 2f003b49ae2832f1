"""Objects that nothing needs any more: what they are, and why each of them counts as left over."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from automation.cleanup.references import ClusterReferences
from automation.inspection.facts import condition, has_condition, mapping, whole
from automation.inspection.objects import created_at
from clusters.manifests import Object
from core.times import rfc3339
from workloads.actions.protection import annotation_protection
from workloads.manifests.export import HELM_RELEASE, OWN_FINALIZERS, SERVICE_ACCOUNT_TOKEN
from workloads.objects.object_ref import controller_of

# What a task may clean up, in the order in which it goes: what refers to others first.
CATEGORIES: Mapping[str, str] = {
    "pods": "evicted and completed pods",
    "jobs": "finished jobs",
    "replicasets": "empty ReplicaSets without a Deployment",
    "configmaps": "ConfigMaps that nothing refers to",
    "secrets": "Secrets that nothing refers to",
    "persistentvolumeclaims": "PersistentVolumeClaims that nothing mounts",
}
UNUSED = frozenset(["configmaps", "secrets", "persistentvolumeclaims"])
# Why the kubelet or the node controller ended a pod that no one needs as evidence.
_NODE_REASONS = frozenset(
    [
        "Evicted",
        "NodeShutdown",
        "Terminated",
        "Preempting",
        "NodeAffinity",
        "UnexpectedAdmissionError",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
    ]
)
# Controllers put these into every namespace.
_CONTROLLER_CONFIGMAPS = frozenset(
    [
        "kube-root-ca.crt",
        "istio-ca-root-cert",
        "openshift-service-ca.crt",
        "linkerd-identity-trust-roots",
    ]
)
_SYSTEM_SECRETS = frozenset(
    [
        SERVICE_ACCOUNT_TOKEN,
        HELM_RELEASE,
        "bootstrap.kubernetes.io/token",
        "istio.io/key-and-cert",
    ]
)
# Helm keeps its releases in ConfigMaps where it is set up so.
HELM_RECORD = "sh.helm.release.v1."
_LEADER = "control-plane.alpha.kubernetes.io/leader"
# Labels and annotations by which programs choose objects: such an object is named nowhere.
_CHOSEN_BY = (
    "app.kubernetes.io/managed-by",
    "argocd.argoproj.io/",
    "cert-manager.io/",
    "external-secrets.io/",
    "fluxcd.io",
    "grafana_",
    "kubegale.io/",
    "kubernetes.io/service-account",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "olm.",
    "operators.coreos.com/",
    "prometheus",
    "reconcile.external-secrets.io/",
    "replicator.v1.mittwald.de/",
    "sealedsecrets.bitnami.com/",
)


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object that may go, and why; `uid` and `resource_version` are what was looked at."""

    category: str
    namespace: str
    name: str
    reason: str
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """How objects are judged: younger ones than `min_age` stay."""

    now: datetime
    min_age: timedelta


def leftover(
    category: str,
    obj: Object,
    references: ClusterReferences,
    judgement: Judgement,
) -> Leftover | None:
    """The object as something that may go; None when it is needed, or young, or in doubt."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp") or annotation_protection(obj):
        return None
    if set(metadata.get("finalizers") or ()) - {*OWN_FINALIZERS, "foregroundDeletion"}:
        # Whoever set the finalizer still has something to do with the object.
        return None
    reasons = _JUDGES[category](obj, references)
    judged = next(reasons, None)
    if judged is None:
        return None
    reason, since = judged
    if since is None or judgement.now - since < judgement.min_age:
        return None
    return Leftover(
        category,
        str(metadata.get("namespace") or ""),
        str(metadata["name"]),
        f"{reason} since {rfc3339(since)}",
        str(metadata["uid"]),
        str(metadata["resourceVersion"]),
    )


# Why an object may go, and since when that is so.
Reasons = Iterator[tuple[str, datetime | None]]


def _judge_pod(pod: Object, _references: ClusterReferences) -> Reasons:
    status = mapping(pod, "status")
    # The pods of a job are the job's: their end is counted by it.
    if controller_of(pod).get("kind") in ("Job", "Node"):
        return
    phase = status.get("phase")
    reason = str(status.get("reason") or "")
    if phase == "Failed" and reason in _NODE_REASONS:
        yield ("evicted" if reason == "Evicted" else f"ended ({reason})"), _pod_end(pod)
    elif phase == "Succeeded":
        yield "completed", _pod_end(pod)


def _pod_end(pod: Object) -> datetime | None:
    """When the last container ended; the creation where no container says so."""
    ends: list[datetime] = []
    for container in mapping(pod, "status").get("containerStatuses") or []:
        end = _moment(
            mapping(
                mapping(container, "state"),
                "terminated",
            ).get("finishedAt")
        )
        if end is not None:
            ends.append(end)
    return max(ends) if ends else created_at(pod)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _judge_job(job: Object, _references: ClusterReferences) -> Reasons:
    spec = mapping(job, "spec")
    # A CronJob has limits of its own; a job with a time to live goes by itself.
    if controller_of(job) or "ttlSecondsAfterFinished" in spec:
        return
    if whole(mapping(job, "status").get("active")):
        return
    for name, word in (("Complete", "completed"), ("Failed", "failed")):
        if has_condition(job, name, "True"):
            end = _moment(condition(job, name).get("lastTransitionTime"))
            yield word, end or created_at(job)
            return


def _judge_replica_set(replica_set: Object, _references: ClusterReferences) -> Reasons:
    # The old ReplicaSets of a Deployment are its history, which a rollback needs.
    if replica_set["metadata"].get("ownerReferences"):
        return
    spec = mapping(replica_set, "spec")
    if spec.get("replicas") == 0 and not whole(
        mapping(
            replica_set,
            "status",
        ).get("replicas")
    ):
        yield "no replicas", created_at(replica_set)


def _judge_unused(category: str) -> Callable[[Object, ClusterReferences], Reasons]:
    def judge(obj: Object, references: ClusterReferences) -> Reasons:
        metadata = obj["metadata"]
        namespace = str(metadata.get("namespace") or "")
        if metadata.get("ownerReferences") or _is_chosen_by_label(metadata):
            return
        if category == "configmaps" and _is_system_configmap(obj):
            return
        if category == "secrets" and str(obj.get("type")) in _SYSTEM_SECRETS:
            return
        if not references.is_used(
            category,
            namespace,
            str(metadata["name"]),
        ):
            yield "nothing refers to it, it exists", created_at(obj)

    return judge


def _is_chosen_by_label(metadata: Mapping[str, Any]) -> bool:
    names = [*mapping(metadata, "labels"), *mapping(metadata, "annotations")]
    return any(name.startswith(_CHOSEN_BY) for name in names)


def _is_system_configmap(obj: Object) -> bool:
    metadata = obj["metadata"]
    if str(metadata["name"]).startswith(HELM_RECORD):
        return True
    return metadata["name"] in _CONTROLLER_CONFIGMAPS or _LEADER in mapping(
        metadata,
        "annotations",
    )


_JUDGES: Mapping[str, Callable[[Object, ClusterReferences], Reasons]] = {
    "pods": _judge_pod,
    "jobs": _judge_job,
    "replicasets": _judge_replica_set,
    **{category: _judge_unused(category) for category in UNUSED},
}
