"""Checks of workloads, pods, nodes, storage, quotas and API versions, by kind."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from automation.inspection import api_versions
from automation.inspection.catalogue import Severity
from automation.inspection.facts import (
    Facts,
    condition,
    elements,
    has_condition,
    join_names,
    mapping,
    minor_version,
    whole,
)
from automation.inspection.hits import Checker, Hit
from automation.inspection.pod_specs import check_pod_spec, template_of
from clusters import quantities
from clusters.kinds import KINDS
from clusters.manifests import Object
from storage_api.query.problems import problem_rule
from workloads.objects.object_ref import controller_of

# Kubelets may be so many minor versions older than the API server.
SUPPORTED_SKEW = 3
# A pod or claim that is younger is still on its way.
GRACE = timedelta(minutes=5)
MAX_MESSAGE = 500
# Their pods are judged by the template, once.
_OWN_TEMPLATE = frozenset(["ReplicaSet", "StatefulSet", "DaemonSet", "Job"])
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def created_at(obj: Object) -> datetime | None:
    """metadata.creationTimestamp; None for none or a malformed one."""
    try:
        return datetime.fromisoformat(str(obj["metadata"]["creationTimestamp"]))
    except (KeyError, ValueError):
        return None


def is_older(
    obj: Object,
    age: timedelta,
    now: datetime,
) -> bool:
    """Whether the object has been there for that long."""
    created = created_at(obj)
    return created is not None and created.tzinfo is not None and now - created >= age


# --- nodes ----------------------------------------------------------------------------------------
def check_node(node: Object, facts: Facts) -> Iterator[Hit]:
    """Readiness, pressure, cordons and the kubelet's version."""
    ready = condition(node, "Ready")
    if ready.get("status") != "True":
        reason = ready.get("message") or ready.get("reason") or "no status"
        yield Hit("node-not-ready", _shorten(f"not ready: {reason}"))
    pressures = [
        name
        for name in _PRESSURES
        if has_condition(
            node,
            name,
            "True",
        )
    ]
    if pressures:
        yield Hit("node-pressure", join_names(pressures))
    if mapping(node, "spec").get("unschedulable") is True:
        yield Hit("node-cordoned", "the node is cordoned")
    yield from _check_kubelet(node, facts)


def _check_kubelet(node: Object, facts: Facts) -> Iterator[Hit]:
    kubelet = mapping(mapping(node, "status"), "nodeInfo").get("kubeletVersion")
    own = minor_version(kubelet)
    server = minor_version(facts.version)
    if own is None or server is None or own == server:
        return
    message = f"kubelet {kubelet}, API server {facts.version}"
    if own > server or own[0] != server[0] or server[1] - own[1] > SUPPORTED_SKEW:
        yield Hit("node-version-skew", message)
    else:
        yield Hit("node-version-behind", message)


# --- workloads ------------------------------------------------------------------------------------
def check_workload(obj: Object, facts: Facts) -> Iterator[Hit]:
    """A Deployment, StatefulSet or DaemonSet: its pods' template, its replicas, its rollout."""
    if not _is_controlled(obj):
        yield from check_pod_spec(obj, facts)
        yield from _check_replicas(obj, facts)
    yield from _check_availability(obj)


def _is_controlled(obj: Object) -> bool:
    """Whether an operator wrote it: what its template lacks is for the operator's resource."""
    return bool(controller_of(obj))


def _check_replicas(obj: Object, facts: Facts) -> Iterator[Hit]:
    if obj["kind"] == "DaemonSet":
        return
    namespace = str(obj["metadata"].get("namespace") or "")
    replicas = whole(mapping(obj, "spec").get("replicas"), 1)
    if replicas == 0:
        return
    key = (namespace, str(obj["kind"]), str(obj["metadata"]["name"]))
    replicas = max(replicas, facts.autoscaled.get(key, 0))
    if replicas == 1:
        yield Hit("single-replica", "1 replica")
        return
    labels = mapping(mapping(template_of(obj), "metadata"), "labels")
    if not facts.has_budget(namespace, labels):
        yield Hit(
            "no-disruption-budget",
            f"{replicas} replicas without a PodDisruptionBudget",
        )


def _check_availability(obj: Object) -> Iterator[Hit]:
    spec = mapping(obj, "spec")
    status = mapping(obj, "status")
    progress = condition(obj, "Progressing")
    if progress.get("status") == "False":
        yield Hit(
            "rollout-stuck",
            _shorten(str(progress.get("message") or "no progress")),
        )
        return
    if obj["kind"] == "DaemonSet":
        desired = whole(status.get("desiredNumberScheduled"))
        ready = whole(status.get("numberReady"))
    else:
        desired = whole(spec.get("replicas"), 1)
        ready = whole(status.get("readyReplicas"))
    # A workload that its controller has not looked at yet has no status to speak of.
    if ready < desired and "observedGeneration" in status:
        severity = None if ready == 0 else Severity.WARNING
        yield Hit(
            "workload-unavailable",
            f"{ready} of {desired} replicas are ready",
            severity,
        )


def check_job(job: Object, facts: Facts) -> Iterator[Hit]:
    """A Job's failure; the template too when no CronJob made it."""
    if has_condition(job, "Failed", "True"):
        failed = condition(job, "Failed")
        reason = failed.get("message") or failed.get("reason") or "it failed"
        yield Hit("job-failed", _shorten(str(reason)))
    finished = has_condition(job, "Complete", "True") or has_condition(
        job,
        "Failed",
        "True",
    )
    if not _is_controlled(job) and not finished:
        yield from check_pod_spec(job, facts)


# --- pods -----------------------------------------------------------------------------------------
def check_pod(pod: Object, facts: Facts) -> Iterator[Hit]:
    """What a pod goes through; its own template when no workload has it."""
    status = mapping(pod, "status")
    if status.get("reason") == "Evicted":
        yield Hit("pod-evicted", _shorten(str(status.get("message") or "evicted")))
        return
    yield from _check_failure(pod, status, facts)
    yield from _check_restarts(status, facts)
    phase = status.get("phase")
    is_alone = controller_of(pod).get("kind") not in _OWN_TEMPLATE
    # A static pod is a file of its node, which shows as a pod that the node owns.
    if is_alone and controller_of(pod).get("kind") != "Node" and phase not in _FINISHED:
        yield from check_pod_spec(pod, facts)


_FINISHED = ("Succeeded", "Failed")
_POD_RULE = problem_rule(KINDS["pods"])


def _check_failure(
    pod: Object,
    status: Mapping[str, Any],
    facts: Facts,
) -> Iterator[Hit]:
    if not _POD_RULE.holds(pod):
        return
    for container in _container_statuses(status):
        waiting = mapping(mapping(container, "state"), "waiting")
        reason = waiting.get("reason")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            text = f"container {container.get('name')}: {reason}: {waiting.get('message') or ''}"
            yield Hit("pod-failing", _shorten(text.rstrip(": ")))
            return
    if status.get("phase") == "Failed":
        reason = status.get("message") or status.get("reason") or "phase Failed"
        # A job's pod fails for its job, which is a finding of its own.
        severity = Severity.INFO if controller_of(pod).get("kind") == "Job" else None
        yield Hit(
            "pod-failing",
            _shorten(str(reason)),
            severity,
        )
    elif status.get("phase") == "Unknown":
        yield Hit("pod-failing", "the node of the pod does not answer")
    elif not is_older(pod, GRACE, facts.now):
        return
    elif has_condition(pod, "PodScheduled", "False"):
        reason = condition(pod, "PodScheduled").get("message") or "not scheduled"
        yield Hit("pod-pending", _shorten(str(reason)))
    else:
        waiting_for = [
            str(each.get("name")) for each in _container_statuses(status) if not each.get("ready")
        ]
        message = f"not ready: {join_names(waiting_for)}"
        yield Hit("pod-failing", message, Severity.WARNING)


def _container_statuses(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        *elements(
            status,
            "containerStatuses",
        ),
        *elements(status, "initContainerStatuses"),
    ]


def _check_restarts(status: Mapping[str, Any], facts: Facts) -> Iterator[Hit]:
    restarted: list[str] = []
    killed: list[str] = []
    for container in _container_statuses(status):
        name = str(container.get("name"))
        count = whole(container.get("restartCount"))
        if count >= facts.thresholds.restarts:
            restarted.append(f"{name} ({count})")
        for state in ("state", "lastState"):
            ended = mapping(mapping(container, state), "terminated")
            if ended.get("reason") == "OOMKilled" and name not in killed:
                killed.append(name)
    if restarted:
        yield Hit("pod-restarts", f"restarts: {join_names(restarted)}")
    if killed:
        yield Hit("pod-out-of-memory", f"OOMKilled: {join_names(killed)}")


# --- budgets, autoscalers, quotas, storage --------------------------------------------------------
def check_budget(budget: Object, facts: Facts) -> Iterator[Hit]:
    """A budget that would block every drain while all of its pods are healthy."""
    status = mapping(budget, "status")
    expected = whole(status.get("expectedPods"))
    allowed = whole(status.get("disruptionsAllowed"), 1)
    if expected and allowed == 0 and whole(status.get("currentHealthy")) >= expected:
        yield Hit(
            "disruption-budget-blocks",
            f"none of {expected} pods may be disrupted",
        )


def check_autoscaler(autoscaler: Object, facts: Facts) -> Iterator[Hit]:
    """An autoscaler that cannot add any more replicas."""
    most = whole(mapping(autoscaler, "spec").get("maxReplicas"))
    limited = condition(autoscaler, "ScalingLimited")
    current = whole(mapping(autoscaler, "status").get("currentReplicas"))
    is_limited = limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas"
    if most and current >= most and (is_limited or not limited):
        yield Hit("autoscaler-at-maximum", f"{current} of at most {most} replicas")


def check_quota(quota: Object, facts: Facts) -> Iterator[Hit]:
    """A quota of which a resource is used up to the threshold."""
    status = mapping(quota, "status")
    hard = mapping(status, "hard")
    used = mapping(status, "used")
    near: list[tuple[float, str]] = []
    for name, limit in hard.items():
        most = quantities.number(limit)
        if most > 0:
            share = quantities.number(used.get(name)) / most * 100
            if share >= facts.thresholds.quota_percent:
                near.append((share, f"{name} {used.get(name)} of {limit} ({share:.0f} %)"))
    if near:
        near.sort(reverse=True)
        severity = Severity.CRITICAL if near[0][0] >= 100 else None
        yield Hit(
            "quota-near-limit",
            join_names([text for _, text in near]),
            severity,
        )


def check_claim(claim: Object, facts: Facts) -> Iterator[Hit]:
    """A claim without its volume."""
    phase = mapping(claim, "status").get("phase")
    if phase == "Lost":
        yield Hit("claim-lost", "the volume of the claim is lost")
    elif phase == "Pending":
        storage = mapping(claim, "spec").get("storageClassName") or "the default"
        # Many classes bind a claim only when a pod uses it.
        severity = (
            None
            if is_older(
                claim,
                GRACE,
                facts.now,
            )
            else Severity.INFO
        )
        yield Hit(
            "claim-pending",
            f"pending, storage class {storage}",
            severity,
        )


def check_volume(volume: Object, facts: Facts) -> Iterator[Hit]:
    """A volume that nobody can use."""
    status = mapping(volume, "status")
    if status.get("phase") == "Failed":
        yield Hit(
            "volume-failed",
            _shorten(str(status.get("message") or "phase Failed")),
        )
    elif status.get("phase") == "Released":
        yield Hit(
            "volume-failed",
            "released by its claim, not reclaimed",
            Severity.INFO,
        )


# --- API versions ---------------------------------------------------------------------------------
def check_api_versions(obj: Object, facts: Facts) -> Iterator[Hit]:
    """API versions that its writers use, by managedFields."""
    kind = str(obj["kind"])
    removed: dict[str, str] = {}
    unstable: dict[str, None] = {}
    for entry in elements(obj["metadata"], "managedFields"):
        version = str(entry.get("apiVersion") or "")
        if replacement := api_versions.replacement_of(version, kind):
            removed[version] = f"{version} (removed in {replacement[0]}; use {replacement[1]})"
        elif api_versions.is_unstable(version):
            unstable[version] = None
    if removed:
        yield Hit("removed-api", f"written as {join_names(list(removed.values()))}")
    if unstable:
        yield Hit("unstable-api", f"written as {join_names(list(unstable))}")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"


BY_KIND: Mapping[str, Checker] = {
    "nodes": check_node,
    "deployments": check_workload,
    "statefulsets": check_workload,
    "daemonsets": check_workload,
    "cronjobs": check_pod_spec,
    "jobs": check_job,
    "pods": check_pod,
    "poddisruptionbudgets": check_budget,
    "horizontalpodautoscalers": check_autoscaler,
    "resourcequotas": check_quota,
    "persistentvolumeclaims": check_claim,
    "persistentvolumes": check_volume,
}
