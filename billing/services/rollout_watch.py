"""The Operation behind a deploy: it waits for the pod to be ready and records what happened."""

from datetime import timedelta

import msgspec
from django.conf import settings
from django.db import transaction

from billing import clock
from billing.models import Deployment
from billing.services import inventory, webhooks
from clusters import registry
from clusters.kinds import KINDS
from core.errors import ClusterUnavailable, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import Again, Result, Step, Target
from operations.models import Operation, OperationStep

KIND = "vkube_deploy"
SECONDS = 2.0
State = Deployment.State
StepState = OperationStep.State


class Waiting(msgspec.Struct):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class ContainerState(msgspec.Struct):
    """What a container is doing."""

    waiting: Waiting | None = None


class ContainerStatus(msgspec.Struct):
    """One container."""

    name: str = ""
    state: ContainerState = msgspec.field(default_factory=ContainerState)


class Condition(msgspec.Struct):
    """One condition of a pod."""

    type: str = ""
    status: str = ""
    message: str = ""


class PodStatus(msgspec.Struct, rename="camel"):
    """How far a pod is."""

    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None


class Pod(msgspec.Struct):
    """A pod."""

    metadata: inventory.Meta = msgspec.field(default_factory=inventory.Meta)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class RolloutMeta(msgspec.Struct):
    """Which version of the object this is."""

    generation: int = 0


class RolloutStatus(msgspec.Struct, rename="camel"):
    """How far the Deployment is."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0


class Rollout(msgspec.Struct):
    """A Deployment, as far as waiting for it needs."""

    metadata: RolloutMeta = msgspec.field(default_factory=RolloutMeta)
    status: RolloutStatus = msgspec.field(default_factory=RolloutStatus)

    def done(self) -> bool:
        """What `kubectl rollout status` waits for, with one replica."""
        now = self.status
        return (
            now.observed_generation >= self.metadata.generation
            and now.replicas == now.updated_replicas == now.available_replicas == 1
        )


def follow(row: Deployment) -> Operation:
    """A pending Operation for the deploy; part of the caller's transaction, to be enqueued by the edge."""
    target = Target(
        cluster=row.cluster, resource="deployments", namespace=row.namespace, name=row.name
    )
    operation = lifecycle.create(
        KIND, target, requested_by=f"order {row.order_id}", parameters={"deployment": row.pk}
    )
    Deployment.objects.filter(pk=row.pk).update(operation=operation.pk)
    row.operation = operation.pk
    return operation


def run(operation: Operation) -> Again | Result:
    """One look: ready, failed for good, replaced meanwhile, or once more in a moment."""
    row = (
        Deployment.objects.select_related("order", "cluster")
        .filter(pk=operation.parameters.get("deployment"))
        .first()
    )
    if row is None or row.state != State.APPLIED:
        return {"state": row.state if row else "gone"}
    if row.stopped or row.operation != operation.pk:
        return {"state": "stopped" if row.stopped else "replaced"}
    lifecycle.plan(operation, [Step("pod", "wait for the pod to be ready")])
    try:
        found = _read_deployment(row)
        problem = (
            "" if found and found.done() else _problem(row) if found else "the Deployment is gone"
        )
    except ClusterUnavailable as error:
        found, problem = Rollout(), error.message
    if found is not None and not problem and found.done():
        _finish(row, State.READY)
        _move_steps(operation, StepState.SUCCEEDED, "ready")
        return {"state": State.READY, "region": row.region}
    if found is None or clock.now() - operation.created_at > timedelta(
        seconds=settings.VKUBE_READY_SECONDS
    ):
        problem = problem or "the pod was not ready in time"
        _finish(row, State.FAILED, problem)
        _move_steps(operation, StepState.FAILED, problem)
        raise Rejected(problem, reason="not_ready")
    _move_steps(operation, StepState.RUNNING, problem)
    return Again(SECONDS)


def _move_steps(operation: Operation, state: str, message: str) -> None:
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.move(step, state, message)


def _read_deployment(row: Deployment) -> Rollout | None:
    try:
        found = registry.client(row.cluster).get(
            KINDS["deployments"], row.name, namespace=row.namespace
        )
    except NotFound:
        return None
    return msgspec.json.decode(found, type=Rollout)


def _problem(row: Deployment) -> str:
    """Why the pod is not ready, in the cluster's words; "" when it only takes its time."""
    pods = inventory.items(
        registry.client(row.cluster),
        KINDS["pods"],
        Pod,
        namespace=row.namespace,
        labelSelector=f"app={row.name}",
    )
    for pod in sorted(pods, key=lambda pod: pod.metadata.creation_timestamp, reverse=True):
        for status in pod.status.container_statuses or []:
            if (waiting := status.state.waiting) and waiting.message:
                return f"{status.name}: {waiting.reason}: {waiting.message}"[:500]
        for condition in pod.status.conditions or []:
            if (
                condition.type == "PodScheduled"
                and condition.status == "False"
                and condition.message
            ):
                return condition.message[:500]
    return ""


def _finish(row: Deployment, state: str, error: str = "") -> None:
    """applied -> ready or failed, and tell; a row that moved on meanwhile stays as it is."""
    with transaction.atomic():
        at = clock.now()
        ready = {"ready_at": at} if state == State.READY else {}
        moved = Deployment.objects.filter(pk=row.pk, state=State.APPLIED).update(
            state=state, error=error[:500], **ready
        )
        if moved:
            event = "deployment.ready" if state == State.READY else "deployment.failed"
            webhooks.emit(row.order, event, at, **({"error": error} if error else {}))
