"""Following a change until its pods are ready: kubectl's rollout status as an operation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import ClusterUnavailable, Conflict, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import Again, Result, Step, Target
from operations.models import Operation
from workloads.objects.subject import ObjectRef

STEP = "rollout"


@dataclass(frozen=True, slots=True)
class Tracking:
    """What to wait for: `scaled` looks at the number of pods only, `rolled_out` at their template too."""

    item: Object
    until: str = "rolled_out"


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How far a rollout is: pods ready of pods wanted, and a sentence."""

    ready: int
    wanted: int
    finished: bool
    sentence: str


def create(
    subject: ObjectRef,
    tracking: Tracking,
    *,
    action: str,
    requested_by: str,
    deadline: int | None = None,
) -> Operation:
    """A pending operation that follows the change; `deadline` is how long it may stand still (seconds)."""
    metadata = tracking.item["metadata"]
    spec = tracking.item.get("spec") or {}
    parameters = {
        "uid": metadata["uid"],
        "generation": metadata.get("generation", 0),
        "until": tracking.until,
        "action": action,
        "deadline": deadline
        or spec.get("progressDeadlineSeconds")
        or settings.ROLLOUT_DEADLINE_SECONDS,
    }
    target = Target(subject.cluster, subject.kind.plural, subject.namespace, subject.name)
    return lifecycle.create("rollout", target, requested_by=requested_by, parameters=parameters)


def run(operation: Operation) -> Again | Result:
    """One look; failed when it stands still past its deadline, or when the object is gone or another one."""
    assert operation.cluster is not None  # noqa: S101  # rollouts are made with one
    ref = ObjectRef(
        operation.cluster, KINDS[operation.resource], operation.namespace, operation.name
    )
    lifecycle.plan(operation, [Step(STEP, f"{operation.namespace}/{operation.name}")])
    try:
        item = _same(ref, operation)
    except ClusterUnavailable as error:
        _note(operation, f"waiting for the cluster: {error.message}", moved=False)
        _check_deadline(operation, error.message, unavailable=True)
        return Again(settings.ROLLOUT_POLL_SECONDS * 5)
    standing = _standing(item, operation)
    _note(operation, standing.sentence)
    lifecycle.advance(operation, done=standing.ready, total=standing.wanted)
    if standing.finished:
        lifecycle.move(lifecycle.steps(operation)[0], "succeeded", standing.sentence)
        lifecycle.advance(operation, done=standing.wanted, total=standing.wanted)
        return {"ready": standing.ready, "wanted": standing.wanted, "message": standing.sentence}
    _check_deadline(operation, standing.sentence)
    return Again(settings.ROLLOUT_POLL_SECONDS)


def _same(ref: ObjectRef, operation: Operation) -> Object:
    """The object, which must still be the one that was changed."""
    try:
        item = ref.read()
    except NotFound as error:
        raise NotFound(
            f"{ref.kind.name} {ref.name} was deleted meanwhile", reason="Deleted"
        ) from error
    if item["metadata"]["uid"] != operation.parameters["uid"]:
        raise Conflict(
            f"{ref.kind.name} {ref.name} was deleted and made anew meanwhile",
            reason="Replaced",
        )
    item.setdefault("status", {})
    return item


def _note(operation: Operation, sentence: str, *, moved: bool = True) -> None:
    """Write the sentence into the step, and remember when things last moved."""
    step = lifecycle.steps(operation)[0]
    if step.message != sentence:
        before = step.data.get("moved_at") or timezone.now().isoformat()
        lifecycle.move(
            step, "running", sentence, moved_at=timezone.now().isoformat() if moved else before
        )


def _check_deadline(operation: Operation, sentence: str, *, unavailable: bool = False) -> None:
    step = lifecycle.steps(operation)[0]
    seconds = operation.parameters["deadline"]
    if timezone.now() - datetime.fromisoformat(step.data["moved_at"]) <= timedelta(seconds=seconds):
        return
    lifecycle.move(step, "failed", sentence)
    if unavailable:
        raise ClusterUnavailable(
            f"no progress for {seconds} s: {sentence}", reason="cluster_unavailable"
        )
    raise Rejected(f"no progress for {seconds} s: {sentence}", reason="ProgressDeadlineExceeded")


def _standing(item: Object, operation: Operation) -> RolloutStatus:
    spec, status = item["spec"], item["status"]
    if status.get("observedGeneration", 0) < operation.parameters["generation"]:
        return RolloutStatus(
            0, _wanted(item), False, "waiting for the change to be seen by the cluster's controller"
        )
    if operation.parameters["until"] == "scaled":
        return _scaled(spec, status)
    match operation.resource:
        case "deployments":
            return _deployment(spec, status)
        case "statefulsets":
            return _stateful_set(spec, status)
    return _daemon_set(spec, status)


def _wanted(item: Object) -> int:
    wanted: Any = item["spec"].get("replicas", item["status"].get("desiredNumberScheduled", 1))
    return int(wanted)


def _scaled(spec: Object, status: Object) -> RolloutStatus:
    wanted, there = spec.get("replicas", 1), status.get("replicas", 0)
    ready = status.get("readyReplicas", 0)
    finished = there == wanted and ready >= wanted
    return RolloutStatus(
        min(ready, wanted), wanted, finished, f"{ready} of {wanted} pods are ready, {there} exist"
    )


def _deployment(spec: Object, status: Object) -> RolloutStatus:
    """kubectl's DeploymentStatusViewer."""
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    if conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        raise Rejected(
            str(
                conditions["Progressing"].get("message")
                or "the rollout exceeded its progress deadline"
            ),
            reason="ProgressDeadlineExceeded",
        )
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    there, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return RolloutStatus(
            min(available, updated),
            wanted,
            False,
            f"{updated} of {wanted} new pods have been updated",
        )
    if there > updated:
        return RolloutStatus(
            min(available, updated),
            wanted,
            False,
            f"{there - updated} old pods are pending termination",
        )
    if available < updated:
        return RolloutStatus(
            available, wanted, False, f"{available} of {updated} updated pods are available"
        )
    return RolloutStatus(wanted, wanted, True, f"all {wanted} pods are updated and available")


def _stateful_set(spec: Object, status: Object) -> RolloutStatus:
    """kubectl's StatefulSetStatusViewer."""
    strategy, wanted = spec.get("updateStrategy") or {}, spec.get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if strategy.get("type") == "OnDelete":
        return RolloutStatus(
            ready,
            wanted,
            True,
            "the update strategy is OnDelete: pods change when they are deleted",
        )
    if ready < wanted:
        return RolloutStatus(ready, wanted, False, f"{ready} of {wanted} pods are ready")
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        due = max(wanted - partition, 0)
        return RolloutStatus(
            ready,
            wanted,
            updated >= due,
            f"{updated} of {due} pods above partition {partition} are updated",
        )
    if status.get("updateRevision") != status.get("currentRevision"):
        return RolloutStatus(
            min(updated, ready), wanted, False, f"{updated} pods are at the new revision"
        )
    return RolloutStatus(ready, wanted, True, f"all {wanted} pods are updated and ready")


def _daemon_set(spec: Object, status: Object) -> RolloutStatus:
    """kubectl's DaemonSetStatusViewer."""
    wanted, updated = (
        status.get("desiredNumberScheduled", 0),
        status.get("updatedNumberScheduled", 0),
    )
    available = status.get("numberAvailable", 0)
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return RolloutStatus(
            available,
            wanted,
            True,
            "the update strategy is OnDelete: pods change when they are deleted",
        )
    if updated < wanted:
        return RolloutStatus(
            min(available, updated),
            wanted,
            False,
            f"{updated} of {wanted} new pods have been updated",
        )
    if available < wanted:
        return RolloutStatus(
            available, wanted, False, f"{available} of {wanted} updated pods are available"
        )
    return RolloutStatus(wanted, wanted, True, f"all {wanted} pods are updated and available")
