"""The Operation behind a deploy: it waits for the pod to be ready and records what happened."""

from datetime import timedelta

import msgspec
from django.conf import settings
from django.db import transaction

from billing.kubernetes_structs import KubernetesDeployment, Pod
from billing.models import Deployment
from billing.services import inventory, webhooks
from clusters import registry
from clusters.kinds import KINDS
from core import clock
from core.errors import ClusterUnavailable, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation, OperationStep

KIND = "vkube_deploy"
# Between two looks at the cluster.
SECONDS = 2.0
GONE = "the Deployment is gone"
State = Deployment.State
StepState = OperationStep.State


def follow(row: Deployment) -> Operation:
    """Create the pending Operation of a deploy.

    Part of the caller's transaction; the view enqueues it when that has committed.
    """
    target = OperationTarget(
        cluster=row.cluster,
        resource="deployments",
        namespace=row.namespace,
        name=row.name,
    )
    operation = lifecycle.create(
        KIND,
        target,
        requested_by=f"order {row.order_id}",
        parameters={"deployment": row.pk},
    )
    Deployment.objects.filter(pk=row.pk).update(operation=operation.pk)
    row.operation = operation.pk
    return operation


def run(operation: Operation) -> RequeueAfter | Result:
    """One step of the Operation (settings: OPERATIONS).

    Returns when to run the next step while the pod is not ready, else {"state", …}. Rejected when
    the pod was not ready within VKUBE_READY_SECONDS or the Deployment is gone.
    """
    row = (
        Deployment.objects.select_related("order", "cluster")
        .filter(pk=operation.parameters.get("deployment"))
        .first()
    )
    if row is None:
        return {"state": "gone"}
    if row.state != State.APPLIED:
        return {"state": row.state}
    if row.stopped:
        return {"state": "stopped"}
    if row.operation != operation.pk:
        return {"state": "replaced"}
    lifecycle.plan(operation, [Step("pod", "wait for the pod to be ready")])
    try:
        deployment = _read_deployment(row)
        if deployment is not None and deployment.is_rolled_out():
            _finish(row, State.READY)
            _move_steps(operation, StepState.SUCCEEDED, "ready")
            return {"state": State.READY, "region": row.region}
        is_missing = deployment is None
        problem = GONE if is_missing else _problem(row)
    except ClusterUnavailable as error:
        # The pod may be ready all the same: it keeps its time.
        is_missing = False
        problem = error.message
    age = clock.now() - operation.created_at
    if is_missing or age > timedelta(seconds=settings.VKUBE_READY_SECONDS):
        problem = problem or "the pod was not ready in time"
        _finish(row, State.FAILED, problem)
        _move_steps(operation, StepState.FAILED, problem)
        raise Rejected(problem, reason="not_ready")
    _move_steps(operation, StepState.RUNNING, problem)
    return RequeueAfter(SECONDS)


def _move_steps(operation: Operation, state: str, message: str) -> None:
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.move(step, state, message)


def _read_deployment(row: Deployment) -> KubernetesDeployment | None:
    client = registry.client(row.cluster)
    try:
        body = client.get(KINDS["deployments"], row.name, namespace=row.namespace)
    except NotFound:
        return None
    return msgspec.json.decode(body, type=KubernetesDeployment)


def _problem(row: Deployment) -> str:
    """Why the pod is not ready, in the cluster's words; "" while there is no problem."""
    pods = inventory.list_objects(
        registry.client(row.cluster),
        KINDS["pods"],
        Pod,
        namespace=row.namespace,
        labelSelector=f"app={row.name}",
    )
    newest_first = sorted(
        pods,
        key=lambda pod: pod.metadata.creation_timestamp,
        reverse=True,
    )
    for pod in newest_first:
        if problem := _pod_problem(pod):
            return problem[:500]
    return ""


def _pod_problem(pod: Pod) -> str:
    """What a container waits for, else why the pod is not scheduled; "" for neither."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting
        if waiting and waiting.message:
            return f"{status.name}: {waiting.reason}: {waiting.message}"
    for condition in pod.status.conditions or []:
        is_unscheduled = condition.type == "PodScheduled" and condition.status == "False"
        if is_unscheduled and condition.message:
            return condition.message
    return ""


def _finish(row: Deployment, state: str, error: str = "") -> None:
    """applied -> ready or failed, with its event; a row in another state stays as it is."""
    with transaction.atomic():
        at = clock.now()
        ready = {"ready_at": at} if state == State.READY else {}
        # Another deploy may have replaced the row since it was read.
        moved = Deployment.objects.filter(pk=row.pk, state=State.APPLIED).update(
            state=state, error=error[:500], **ready
        )
        if moved:
            event = "deployment.ready" if state == State.READY else "deployment.failed"
            data = {"error": error} if error else {}
            webhooks.emit(row.order, event, at, **data)
