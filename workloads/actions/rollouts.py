"""Following a change until its pods are ready: kubectl rollout status as an operation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import (
    ClusterUnavailable,
    Conflict,
    NotFound,
    Rejected,
)
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation
from workloads.objects.object_ref import ObjectRef

STEP = "rollout"
# The kinds that `status_of` knows.
ROLLED_OUT = frozenset({"deployments", "statefulsets", "daemonsets"})
ON_DELETE = "the update strategy is OnDelete: pods change when they are deleted"


@dataclass(frozen=True, slots=True)
class Tracking:
    """What to wait for; `until` is "scaled" (how many pods) or "rolled_out" (the template too)."""

    item: Object
    until: str = "rolled_out"


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How far a rollout is: ready pods of desired pods, and a sentence for people."""

    ready: int
    desired: int
    message: str
    finished: bool = False


def create(
    ref: ObjectRef,
    tracking: Tracking,
    *,
    action: str,
    requested_by: str,
    change: Mapping[str, int | None] | None = None,
    deadline: int | None = None,
) -> Operation:
    """A pending operation that follows the change.

    `change` has the numbers that the action changes, as {"from": 3, "to": 5} replicas.
    `deadline` is how long it may make no progress, in seconds; without one the Deployment's own
    progressDeadlineSeconds counts, else ROLLOUT_DEADLINE_SECONDS.
    """
    metadata = tracking.item["metadata"]
    parameters = {
        "uid": metadata["uid"],
        "generation": metadata.get("generation", 0),
        "until": tracking.until,
        "action": action,
        "change": dict(change or {}),
        "deadline": deadline or deadline_of(tracking.item),
    }
    target = OperationTarget(ref.cluster, ref.kind.plural, ref.namespace, ref.name)
    return lifecycle.create(
        "rollout",
        target,
        requested_by=requested_by,
        parameters=parameters,
    )


def deadline_of(item: Object) -> int:
    """How many seconds a rollout of the object may make no progress."""
    spec = item.get("spec") or {}
    return int(spec.get("progressDeadlineSeconds") or settings.ROLLOUT_DEADLINE_SECONDS)


def run(operation: Operation) -> RequeueAfter | Result:
    """Look once at the object; {"ready", "wanted", "message"} when the rollout is complete.

    Rejected when it makes no progress within its deadline, NotFound or Conflict when the object
    was deleted or replaced.
    """
    assert operation.cluster is not None  # noqa: S101  # rollouts are created with one
    kind = KINDS[operation.resource]
    ref = ObjectRef(operation.cluster, kind, operation.namespace, operation.name)
    lifecycle.plan(
        operation,
        [Step(STEP, f"{operation.namespace}/{operation.name}")],
    )
    try:
        item = _read_same_object(ref, operation)
    except ClusterUnavailable as error:
        _report(
            operation,
            f"waiting for the cluster: {error.message}",
            progress=False,
        )
        _check_deadline(operation, error.message, unavailable=True)
        # A cluster that does not answer is asked less often.
        return RequeueAfter(settings.ROLLOUT_POLL_SECONDS * 5)
    status = _rollout_status(item, operation)
    _report(operation, status.message)
    lifecycle.advance(operation, done=status.ready, total=status.desired)
    if status.finished:
        lifecycle.move(lifecycle.steps(operation)[0], "succeeded", status.message)
        lifecycle.advance(operation, done=status.desired, total=status.desired)
        return {
            "ready": status.ready,
            "wanted": status.desired,
            "message": status.message,
        }
    _check_deadline(operation, status.message)
    return RequeueAfter(settings.ROLLOUT_POLL_SECONDS)


def _read_same_object(ref: ObjectRef, operation: Operation) -> Object:
    """The object, which must still be the one that was changed."""
    name = f"{ref.kind.name} {ref.name}"
    try:
        item = ref.read()
    except NotFound as error:
        raise NotFound(f"{name} was deleted meanwhile", reason="Deleted") from error
    if item["metadata"]["uid"] != operation.parameters["uid"]:
        raise Conflict(
            f"{name} was deleted and recreated meanwhile",
            reason="Replaced",
        )
    return item


def _report(operation: Operation, message: str, *, progress: bool = True) -> None:
    """Write the message into the step; a new one counts as progress by default."""
    step = lifecycle.steps(operation)[0]
    if step.message == message:
        return
    now = timezone.now().isoformat()
    moved_at = now if progress else step.data.get("moved_at") or now
    lifecycle.move(step, "running", message, moved_at=moved_at)


def _check_deadline(operation: Operation, message: str, *, unavailable: bool = False) -> None:
    """Rejected, or ClusterUnavailable, when nothing has moved for the operation's deadline."""
    step = lifecycle.steps(operation)[0]
    seconds = operation.parameters["deadline"]
    if not is_overdue(step.data["moved_at"], seconds):
        return
    lifecycle.move(step, "failed", message)
    text = f"no progress for {seconds} s: {message}"
    if unavailable:
        raise ClusterUnavailable(text, reason="cluster_unavailable")
    raise Rejected(text, reason="ProgressDeadlineExceeded")


def is_overdue(moved_at: str, seconds: int) -> bool:
    """Whether nothing has moved for so long since the time, as ISO 8601."""
    return timezone.now() - datetime.fromisoformat(moved_at) > timedelta(seconds=seconds)


def _rollout_status(item: Object, operation: Operation) -> RolloutStatus:
    return status_of(
        item,
        operation.resource,
        generation=operation.parameters["generation"],
        until=operation.parameters["until"],
    )


def status_of(
    item: Object, plural: str, *, generation: int = 0, until: str = "rolled_out"
) -> RolloutStatus:
    """How far a Deployment, StatefulSet or DaemonSet is, as `kubectl rollout status` tells it.

    `generation` is the one to wait for; Rejected when its controller has given the rollout up.
    """
    spec = item["spec"]
    # A new object has no status before its controller has seen it.
    status = item.setdefault("status", {})
    # Until the controller has observed this generation, its status is about the one before.
    if status.get("observedGeneration", 0) < generation:
        message = "waiting for the change to be seen by the cluster's controller"
        return RolloutStatus(0, _desired_pods(item), message)
    if until == "scaled":
        return _scale_status(spec, status)
    match plural:
        case "deployments":
            return _deployment_status(spec, status)
        case "statefulsets":
            return _stateful_set_status(spec, status)
    return _daemon_set_status(spec, status)


def _desired_pods(item: Object) -> int:
    # A DaemonSet has no replicas: its status says how many nodes should run a pod.
    count: Any = item["spec"].get("replicas", item["status"].get("desiredNumberScheduled", 1))
    return int(count)


def _scale_status(spec: Object, status: Object) -> RolloutStatus:
    desired = spec.get("replicas", 1)
    existing = status.get("replicas", 0)
    ready = status.get("readyReplicas", 0)
    message = f"{ready} of {desired} pods are ready, {existing} exist"
    finished = existing == desired and ready >= desired
    return RolloutStatus(min(ready, desired), desired, message, finished)


def _deployment_status(spec: Object, status: Object) -> RolloutStatus:
    """kubectl's DeploymentStatusViewer."""
    _check_progressing(status)
    desired = spec.get("replicas", 1)
    existing = status.get("replicas", 0)
    updated = status.get("updatedReplicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < desired:
        message = f"{updated} of {desired} new pods have been updated"
        return RolloutStatus(min(available, updated), desired, message)
    if existing > updated:
        message = f"{existing - updated} old pods are pending termination"
        return RolloutStatus(min(available, updated), desired, message)
    if available < updated:
        message = f"{available} of {updated} updated pods are available"
        return RolloutStatus(available, desired, message)
    message = f"all {desired} pods are updated and available"
    return RolloutStatus(desired, desired, message, finished=True)


def _check_progressing(status: Object) -> None:
    """Rejected when the Deployment's controller reported ProgressDeadlineExceeded."""
    for condition in status.get("conditions") or []:
        if condition["type"] != "Progressing":
            continue
        if condition.get("reason") == "ProgressDeadlineExceeded":
            message = condition.get("message") or "the rollout exceeded its progress deadline"
            raise Rejected(str(message), reason="ProgressDeadlineExceeded")


def _stateful_set_status(spec: Object, status: Object) -> RolloutStatus:
    """kubectl's StatefulSetStatusViewer."""
    strategy = spec.get("updateStrategy") or {}
    desired = spec.get("replicas", 1)
    ready = status.get("readyReplicas", 0)
    updated = status.get("updatedReplicas", 0)
    if strategy.get("type") == "OnDelete":
        return RolloutStatus(ready, desired, ON_DELETE, finished=True)
    if ready < desired:
        return RolloutStatus(ready, desired, f"{ready} of {desired} pods are ready")
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        # Pods with an ordinal below the partition keep the old template.
        due = max(desired - partition, 0)
        message = f"{updated} of {due} pods above partition {partition} are updated"
        return RolloutStatus(ready, desired, message, finished=updated >= due)
    if status.get("updateRevision") != status.get("currentRevision"):
        message = f"{updated} pods are at the new revision"
        return RolloutStatus(min(updated, ready), desired, message)
    message = f"all {desired} pods are updated and ready"
    return RolloutStatus(ready, desired, message, finished=True)


def _daemon_set_status(spec: Object, status: Object) -> RolloutStatus:
    """kubectl's DaemonSetStatusViewer."""
    desired = status.get("desiredNumberScheduled", 0)
    updated = status.get("updatedNumberScheduled", 0)
    available = status.get("numberAvailable", 0)
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return RolloutStatus(available, desired, ON_DELETE, finished=True)
    if updated < desired:
        message = f"{updated} of {desired} new pods have been updated"
        return RolloutStatus(min(available, updated), desired, message)
    if available < desired:
        message = f"{available} of {desired} updated pods are available"
        return RolloutStatus(available, desired, message)
    message = f"all {desired} pods are updated and available"
    return RolloutStatus(desired, desired, message, finished=True)
