"""One action on many objects, chosen by selector or by name: an operation with a step for each object.

Every step may be done twice without harm: deletes carry the uid, restarts the operation's own time, new Jobs the operation's number.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
from core.errors import ClusterUnavailable, Conflict, DomainError, Invalid, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import Again, Result, Step, Target
from operations.models import Operation, OperationStep
from workloads.actions import actions, restarts
from workloads.actions.actions import ACTIONS, ActionOptions
from workloads.objects.subject import ObjectRef

MAX_OBJECTS = 5000
TURN_SECONDS = 20.0
# Going back to "the previous" revision twice ends where it began.
NOT_IN_BULK = frozenset({"rollback"})


@dataclass(frozen=True, slots=True)
class ObjectSelection:
    """Which objects: by selectors, by names, or really all of them."""

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


def check_action(kind: Kind, order: BulkAction) -> None:
    """Invalid, naming what there is, when the kind cannot have the action done to many."""
    known = {
        "delete",
        *(set(ACTIONS.get(kind.plural, {})) - NOT_IN_BULK),
        *(["restart"] if kind.plural == "pods" else []),
    }
    if order.action not in known:
        raise Invalid(f"action must be one of {', '.join(sorted(known))}", field="action")
    if order.action == "scale" and order.options.get("replicas") is None:
        raise Invalid("replicas is required", field="replicas")


def select_objects(cluster: Cluster, kind: Kind, choice: ObjectSelection) -> list[Object]:
    """The objects meant. Invalid when nothing narrows the choice and `all` was not said, or when they are too many."""
    if not (choice.label_selector or choice.field_selector or choice.names or choice.everything):
        raise Invalid(
            "give labelSelector, fieldSelector or names, or say all=true", field="labelSelector"
        )
    selectors = {"labelSelector": choice.label_selector, "fieldSelector": choice.field_selector}
    found = []
    for item in list_all(
        registry.client(cluster), kind, choice.namespace if kind.namespaced else "", **selectors
    ):
        name = item["metadata"]["name"]
        if not choice.names or name in choice.names:
            # Kubernetes lets roles have such names; no row of an operation does.
            if "\x00" in name:
                raise Invalid(
                    f"{name!r} holds a NUL character; narrow the selector to leave it out"
                )
            found.append(item)
        if len(found) > MAX_OBJECTS:
            raise Invalid(
                f"more than {MAX_OBJECTS} objects at once; narrow the selector",
                field="labelSelector",
            )
    return found


def fingerprint(items: list[Object]) -> str:
    """A digest of exactly these objects."""
    return hashlib.sha256(
        "".join(sorted(item["metadata"]["uid"] for item in items)).encode()
    ).hexdigest()


def create(
    cluster: Cluster,
    kind: Kind,
    order: BulkAction,
    items: list[Object],
    *,
    namespace: str,
    requested_by: str,
) -> Operation:
    """A pending operation with a step for each object."""
    parameters = {
        "action": order.action,
        "options": dict(order.options),
        "at": f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}",
    }
    with transaction.atomic():
        target = Target(cluster, kind.plural, namespace)
        row = lifecycle.create("bulk", target, requested_by=requested_by, parameters=parameters)
        lifecycle.plan(row, [_step(item) for item in items])
    return row


def _step(item: Object) -> Step:
    metadata = item["metadata"]
    namespace = metadata.get("namespace", "")
    name = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
    return Step(metadata["uid"], name, data={"namespace": namespace, "name": metadata["name"]})


def run(operation: Operation) -> Again | Result:
    """As many steps as fit into a turn."""
    end = monotonic() + TURN_SECONDS
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.alive(operation)
        try:
            _do(operation, step)
        except ClusterUnavailable as error:
            return _later(operation, step, error)
        except DomainError as error:
            lifecycle.move(step, "failed", error.message)
        if monotonic() > end:
            return Again(0)
    return _end(operation)


def _do(operation: Operation, step: OperationStep) -> None:
    assert operation.cluster is not None  # noqa: S101  # made with one
    ref = ObjectRef(
        operation.cluster, KINDS[operation.resource], step.data["namespace"], step.data["name"]
    )
    action: str = operation.parameters["action"]
    known: Callable[[ObjectRef, Operation, OperationStep], str] = _act
    if action == "delete":
        known = _delete
    elif ref.kind.plural == "pods":
        known = _restart_pod
    lifecycle.move(step, "succeeded", known(ref, operation, step))


def _delete(ref: ObjectRef, operation: Operation, step: OperationStep) -> str:
    given = operation.parameters["options"]
    options = restarts.delete_options(step.key, grace=given.get("grace_period"))
    options["propagationPolicy"] = given.get("propagation") or "Background"
    try:
        ref.client.delete(ref.kind, ref.name, namespace=ref.namespace or None, options=options)
    except NotFound:
        return "gone already"
    except Conflict:
        return "gone already; another of its name was made and left alone"
    return "deleted"


def _restart_pod(ref: ObjectRef, operation: Operation, step: OperationStep) -> str:
    try:
        pod = ref.read()
    except NotFound:
        return "gone already"
    if pod["metadata"]["uid"] != step.key or pod["metadata"].get("deletionTimestamp"):
        return "restarted already"
    restarts.restart(
        ref, restarts.RestartOptions(grace=operation.parameters["options"].get("grace_period"))
    )
    return "deleted, its controller makes another"


def _act(ref: ObjectRef, operation: Operation, step: OperationStep) -> str:
    if ref.read()["metadata"]["uid"] != step.key:
        raise Conflict("it was deleted, and another of its name was made", reason="Replaced")
    given, action = operation.parameters["options"], operation.parameters["action"]
    name = (
        f"{ref.name[:40].rstrip('-')}-op{operation.pk}"
        if action in {"trigger", "rerun", "restart"}
        else ""
    )
    options = ActionOptions(
        replicas=given.get("replicas"), name=name, at=operation.parameters["at"]
    )
    try:
        outcome = actions.run(ref, action, options)
    except Conflict as error:
        if name and error.details.get("reason") == "AlreadyExists":
            return "done already"
        raise
    return "; ".join(
        ["done" if outcome.data["changed"] else "nothing to change", *outcome.warnings]
    )


def _later(operation: Operation, step: OperationStep, error: ClusterUnavailable) -> Again:
    """Try the same step again, until the cluster was away for too long."""
    since = step.data.get("away_since") or timezone.now().isoformat()
    lifecycle.move(step, "running", error.message, away_since=since)
    if timezone.now() - datetime.fromisoformat(since) > timedelta(
        seconds=settings.ROLLOUT_DEADLINE_SECONDS
    ):
        raise error
    return Again(settings.DRAIN_RETRY_SECONDS)


def _end(operation: Operation) -> Result:
    steps = lifecycle.steps(operation)
    failed = [f"{step.name}: {step.message}" for step in steps if step.state == "failed"]
    if failed:
        raise Rejected(
            f"{len(failed)} of {len(steps)} failed. {'; '.join(failed)}"[:4000], reason="SomeFailed"
        )
    return {"action": operation.parameters["action"], "objects": len(steps)}
