"""One action on many objects, selected by selector or by name.

An operation has a step for each object; where the action changes pods, the step lasts until they
are ready. Every step may be repeated without harm: deletions carry
the uid, restarts the operation's own time, new Jobs the operation's number.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    Rejected,
)
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation, OperationStep
from workloads.actions import restarts, rollouts, verbs
from workloads.actions.rollouts import Tracking
from workloads.actions.verbs import ACTIONS, ActionOptions
from workloads.objects.object_ref import ObjectRef

MAX_OBJECTS = 5000
# The longest error of an operation: there may be hundreds of failed steps to join.
MAX_MESSAGE = 4000
# How long one step of the operation may go on before it lets other operations run.
STEP_SECONDS = 20.0
# Returning to "the previous" revision twice ends where it began, so it cannot be repeated.
NOT_IN_BULK = frozenset({"rollback"})


@dataclass(frozen=True, slots=True)
class ObjectSelection:
    """Which objects: by selectors, by names, or explicitly all of them (`everything`)."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    names: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class BulkAction:
    """What to do with each of them."""

    action: str
    options: Mapping[str, Any] = field(default_factory=dict)


def check_action(kind: Kind, action: BulkAction) -> None:
    """Invalid, with the possible actions, when objects of the kind cannot have it in bulk."""
    possible = {"delete"} | set(ACTIONS.get(kind.plural, {})) - NOT_IN_BULK
    if kind.plural == "pods":
        possible.add("restart")
    if action.action not in possible:
        raise Invalid(
            f"action must be one of {', '.join(sorted(possible))}",
            field="action",
        )
    if action.action == "scale" and action.options.get("replicas") is None:
        raise Invalid("replicas is required", field="replicas")


def select_objects(cluster: Cluster, kind: Kind, selection: ObjectSelection) -> list[Object]:
    """The selected objects.

    Invalid when nothing narrows the selection and `all` is not set, and for too many objects.
    """
    is_narrowed = selection.label_selector or selection.field_selector or selection.names
    if not is_narrowed and not selection.everything:
        raise Invalid(
            "give labelSelector, fieldSelector or names, or set all=true",
            field="labelSelector",
        )
    items = list_all(
        registry.client(cluster),
        kind,
        selection.namespace if kind.namespaced else "",
        labelSelector=selection.label_selector,
        fieldSelector=selection.field_selector,
    )
    objects = []
    for item in items:
        name = item["metadata"]["name"]
        if not selection.names or name in selection.names:
            # Kubernetes accepts a NUL in the names of roles; PostgreSQL does not.
            if "\x00" in name:
                raise Invalid(
                    f"{name!r} contains a NUL character; narrow the selector to leave it out"
                )
            objects.append(item)
        if len(objects) > MAX_OBJECTS:
            raise Invalid(
                f"more than {MAX_OBJECTS} objects at once; narrow the selector",
                field="labelSelector",
            )
    return objects


def fingerprint(items: list[Object]) -> str:
    """A SHA-256 digest of exactly these objects, in any order."""
    uids = sorted(item["metadata"]["uid"] for item in items)
    return hashlib.sha256("".join(uids).encode()).hexdigest()


def create(
    cluster: Cluster,
    kind: Kind,
    action: BulkAction,
    items: list[Object],
    *,
    namespace: str,
    requested_by: str,
) -> Operation:
    """A pending operation with a step for each object."""
    parameters = {
        "action": action.action,
        "options": dict(action.options),
        "at": f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}",
    }
    # No worker may see the operation without its steps: it would be finished at once.
    with transaction.atomic():
        target = OperationTarget(cluster, kind.plural, namespace)
        row = lifecycle.create("bulk", target, requested_by=requested_by, parameters=parameters)
        lifecycle.plan(row, [_step(item) for item in items])
    return row


def _step(item: Object) -> Step:
    metadata = item["metadata"]
    namespace = metadata.get("namespace", "")
    name = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
    return Step(
        metadata["uid"],
        name,
        data={"namespace": namespace, "name": metadata["name"]},
    )


def run(operation: Operation) -> RequeueAfter | Result:
    """As many steps as fit into STEP_SECONDS; {"action","objects"} at the end.

    Rejected when some of them failed, ClusterUnavailable when the cluster was away for too long.
    """
    end = monotonic() + STEP_SECONDS
    # Every action is begun before any is waited for.
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.heartbeat(operation)
        try:
            _run_step(operation, step)
        except ClusterUnavailable as error:
            return _retry_later(operation, step, error)
        except DomainError as error:
            lifecycle.move(step, "failed", error.message)
        if monotonic() > end:
            return RequeueAfter(0)
    if lifecycle.steps(operation, *OperationStep.OPEN):
        return RequeueAfter(settings.ROLLOUT_POLL_SECONDS)
    return _finish(operation)


def _run_step(operation: Operation, step: OperationStep) -> None:
    """Act on the object, or look how far its rollout is; the step says what came of it."""
    assert operation.cluster is not None  # noqa: S101  # created with one
    kind = KINDS[operation.resource]
    ref = ObjectRef(operation.cluster, kind, step.data["namespace"], step.data["name"])
    if "rollout" in step.data:
        _follow(ref, step)
        return
    if operation.parameters["action"] == "delete":
        message = _delete(ref, operation, step)
    elif kind.plural == "pods":
        message = _restart_pod(ref, operation, step)
    else:
        message, tracking = _run_action(ref, operation, step)
        if tracking is not None:
            _begin_following(step, tracking, message)
            return
    lifecycle.move(step, "succeeded", message)


def _begin_following(step: OperationStep, tracking: Tracking, message: str) -> None:
    rollout = {
        "generation": tracking.item["metadata"].get("generation", 0),
        "until": tracking.until,
        "deadline": rollouts.deadline_of(tracking.item),
    }
    now = timezone.now().isoformat()
    lifecycle.move(step, "running", message, rollout=rollout, moved_at=now, away_since=None)


def _follow(ref: ObjectRef, step: OperationStep) -> None:
    """Look once how far the rollout is; Rejected when it makes no progress."""
    rollout = step.data["rollout"]
    item = _read_chosen(ref, step)
    status = rollouts.status_of(
        item,
        ref.kind.plural,
        generation=rollout["generation"],
        until=rollout["until"],
    )
    if status.finished:
        lifecycle.move(step, "succeeded", status.message)
    elif status.message != step.message:
        now = timezone.now().isoformat()
        lifecycle.move(step, "running", status.message, moved_at=now, away_since=None)
    elif rollouts.is_overdue(step.data["moved_at"], rollout["deadline"]):
        text = f"no progress for {rollout['deadline']} s: {status.message}"
        raise Rejected(text, reason="ProgressDeadlineExceeded")


def _read_chosen(ref: ObjectRef, step: OperationStep) -> Object:
    """The object that was selected; Conflict when another has its name."""
    item = ref.read()
    if item["metadata"]["uid"] != step.key:
        raise Conflict(
            "it was deleted, and a new object has its name",
            reason="Replaced",
        )
    return item


def _delete(ref: ObjectRef, operation: Operation, step: OperationStep) -> str:
    parameters = operation.parameters["options"]
    options = restarts.delete_options(step.key, grace=parameters.get("grace_period"))
    options["propagationPolicy"] = parameters.get("propagation") or "Background"
    try:
        ref.client.delete(
            ref.kind,
            ref.name,
            namespace=ref.namespace or None,
            options=options,
        )
    except NotFound:
        return "deleted already"
    except Conflict:
        # The precondition on the uid failed.
        return "deleted already; a new object of its name was left alone"
    return "deleted"


def _restart_pod(ref: ObjectRef, operation: Operation, step: OperationStep) -> str:
    try:
        pod = ref.read()
    except NotFound:
        return "deleted already"
    if pod["metadata"]["uid"] != step.key or pod["metadata"].get("deletionTimestamp"):
        return "restarted already"
    grace = operation.parameters["options"].get("grace_period")
    restarts.restart(ref, restarts.RestartOptions(grace=grace))
    return "deleted, its controller creates another"


def _run_action(
    ref: ObjectRef, operation: Operation, step: OperationStep
) -> tuple[str, Tracking | None]:
    """(what was done, the rollout that it began: None without one)."""
    _read_chosen(ref, step)
    action = operation.parameters["action"]
    # A fixed name: a repeated step meets its own Job instead of creating a second one.
    job_name = ""
    if action in {"trigger", "rerun", "restart"}:
        job_name = f"{ref.name[:40].rstrip('-')}-op{operation.pk}"
    options = ActionOptions(
        replicas=operation.parameters["options"].get("replicas"),
        name=job_name,
        at=operation.parameters["at"],
    )
    try:
        outcome = verbs.run(ref, action, options)
    except Conflict as error:
        if job_name and error.details.get("reason") == "AlreadyExists":
            return "done already", None
        raise
    message = "done" if outcome.data["changed"] else "nothing to change"
    if outcome.rollout is not None:
        message = "started, waiting for its pods"
    return "; ".join([message, *outcome.warnings]), outcome.rollout


def _retry_later(
    operation: Operation, step: OperationStep, error: ClusterUnavailable
) -> RequeueAfter:
    """Try the same step again; raises the error when the cluster has been away for too long."""
    since = lifecycle.outage_start(step.data.get("away_since"), error)
    lifecycle.move(step, "running", error.message, away_since=since)
    return RequeueAfter(settings.DRAIN_RETRY_SECONDS)


def _finish(operation: Operation) -> Result:
    steps = lifecycle.steps(operation)
    failed = [f"{step.name}: {step.message}" for step in steps if step.state == "failed"]
    if failed:
        text = f"{len(failed)} of {len(steps)} failed. {'; '.join(failed)}"
        raise Rejected(text[:MAX_MESSAGE], reason="SomeFailed")
    return {"action": operation.parameters["action"], "objects": len(steps)}
