"""Draining a node: kubectl drain as an operation that survives its worker.

The first step of the operation decides about every pod and refuses before anything is evicted.
Each further step evicts what may go, through the Eviction API with the pod's uid as precondition,
and looks which pods have terminated. What was evicted is visible in the cluster itself
(deletionTimestamp, or no such pod), so a step that broke off is repeated without evicting a pod
twice. The node stays cordoned however the drain ends, as with kubectl.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.conf import settings
from django.utils import timezone

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Forbidden,
    NotFound,
    Rejected,
    TooManyRequests,
)
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation, OperationStep
from workloads.actions import nodes
from workloads.actions.drain_budgets import refused_evictions
from workloads.actions.drain_filters import (
    DrainFlags,
    DrainVerdict,
    PodDecision,
    decide,
)
from workloads.actions.restarts import delete_options
from workloads.objects.object_ref import ObjectRef

PODS = KINDS["pods"]
# How long one step of the operation may keep evicting before it lets other operations run.
STEP_SECONDS = 20.0
# The longest error of an operation: there may be hundreds of failed steps to join.
MAX_MESSAGE = 4000
STATES = {
    DrainVerdict.EVICT: "pending",
    DrainVerdict.SKIP: "skipped",
    DrainVerdict.REFUSE: "failed",
}


# --- starting a drain ---------------------------------------------------------
def preview(ref: ObjectRef, flags: DrainFlags) -> Result:
    """{"status","would_fail","pods","warnings"} of a drain, without doing it.

    The cordon is sent with dryRun, so that a missing right shows.
    """
    nodes.set_schedulable(ref, schedulable=False, dry_run=True)
    decisions = _decisions(ref, flags)
    budgets, budget_warnings = _budget_refusals(ref, flags, decisions)
    pods = []
    for decision in decisions:
        refusal = budgets.get(decision.pod["metadata"]["uid"], "")
        messages = [message for message in (decision.message, refusal) if message]
        pods.append(
            {
                "name": pod_name(decision.pod),
                "action": str(decision.verdict),
                "message": "; ".join(messages),
                "waits_for_budget": bool(refusal),
            }
        )
    return {
        "status": "dry_run",
        "would_fail": bool(_refusals(decisions)),
        "pods": pods,
        "warnings": [*warnings(flags), *budget_warnings],
    }


def _budget_refusals(
    ref: ObjectRef,
    flags: DrainFlags,
    decisions: list[PodDecision],
) -> tuple[dict[str, str], list[str]]:
    """(uid -> why the eviction would be refused now, warnings)."""
    if flags.disable_eviction:
        return {}, []
    evicted = [decision.pod for decision in decisions if decision.verdict is DrainVerdict.EVICT]
    try:
        return refused_evictions(ref.client, evicted), []
    except (Forbidden, NotFound) as error:
        # Credentials may drain and yet not list budgets: the preview says what it does not know.
        return {}, [f"PodDisruptionBudgets could not be read: {error.message}"]


def warnings(flags: DrainFlags) -> list[str]:
    """Sentences about what the flags override."""
    if flags.disable_eviction:
        return ["PodDisruptionBudgets are not respected: pods are deleted, not evicted"]
    return []


def request(
    ref: ObjectRef,
    flags: DrainFlags,
    *,
    requested_by: str,
    rights: Mapping[str, Any] | None = None,
) -> tuple[Operation, bool]:
    """(a drain operation of the node, whether it is new); the node is cordoned at once.

    `rights` as for `lifecycle.create`.
    The same request joins a running drain. Conflict when one with other flags is running.
    """
    uid = ref.read()["metadata"]["uid"]
    target = OperationTarget(ref.cluster, "nodes", "", ref.name)
    parameters = {"uid": uid, "flags": asdict(flags)}
    nodes.set_schedulable(ref, schedulable=False)
    try:
        operation = lifecycle.create(
            "drain",
            target,
            requested_by=requested_by,
            parameters=parameters,
            exclusive=f"drain/{ref.cluster.pk}/{uid}",
            rights=rights,
        )
    except Conflict as error:
        running = lifecycle.find(error.details["operation_id"])
        if running.parameters["flags"] != asdict(flags):
            raise
        return running, False
    return operation, True


# --- draining -----------------------------------------------------------------
def run(operation: Operation) -> RequeueAfter | Result:
    """Plan first, then evict what may go now and look which pods have terminated.

    {"node","evicted","skipped","warnings"} at the end. Rejected when a pod refuses the drain, when
    evictions failed or the time is over.
    """
    assert operation.cluster is not None  # noqa: S101  # drains are created with one
    ref = ObjectRef(operation.cluster, nodes.NODES, "", operation.name)
    flags = DrainFlags(**operation.parameters["flags"])
    try:
        if not operation.parameters.get("planned"):
            _plan(operation, ref, flags)
        _evict_pods(operation, ref, flags)
    except ClusterUnavailable as error:
        _report_waiting(operation, error)
        _check_timeout(operation, flags, error)
        return RequeueAfter(settings.DRAIN_RETRY_SECONDS)
    if not lifecycle.steps(operation, *OperationStep.OPEN):
        return _finish(operation, flags)
    _check_timeout(operation, flags, None)
    return RequeueAfter(min(settings.DRAIN_POLL_SECONDS, settings.DRAIN_RETRY_SECONDS))


def _decisions(ref: ObjectRef, flags: DrainFlags) -> list[PodDecision]:
    pods = nodes.list_pods(ref, flags.pod_selector)
    return [decide(ref.client, pod, flags) for pod in pods]


def _refusals(decisions: list[PodDecision]) -> list[PodDecision]:
    return [decision for decision in decisions if decision.verdict is DrainVerdict.REFUSE]


def pod_name(pod: Object) -> str:
    """`namespace/name`."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _plan(operation: Operation, ref: ObjectRef, flags: DrainFlags) -> None:
    """One step for each pod; Rejected when one of them forbids the drain."""
    _check_node(operation, ref)
    decisions = _decisions(ref, flags)
    refusals = _refusals(decisions)
    steps = [_step(decision, is_refused=bool(refusals)) for decision in decisions]
    lifecycle.plan(operation, steps)
    if refusals:
        sentences = [f"{pod_name(refusal.pod)}: {refusal.message}" for refusal in refusals]
        text = f"nothing was evicted; the node stays cordoned. {'; '.join(sentences)}"
        raise Rejected(text[:MAX_MESSAGE], reason="DrainRefused")
    lifecycle.remember(operation, planned=True)


def _check_node(operation: Operation, ref: ObjectRef) -> None:
    """Conflict when the node was replaced; cordons it again when it was uncordoned meanwhile."""
    node = ref.read()
    if node["metadata"]["uid"] != operation.parameters["uid"]:
        raise Conflict(
            "the node was removed and another of its name has joined",
            reason="Replaced",
        )
    if not node["spec"].get("unschedulable"):
        nodes.set_schedulable(ref, schedulable=False)


def _step(decision: PodDecision, *, is_refused: bool) -> Step:
    """The step of one pod; `is_refused` tells that some pod forbids the whole drain."""
    metadata = decision.pod["metadata"]
    state = STATES[decision.verdict]
    message = decision.message
    if is_refused and decision.verdict is DrainVerdict.EVICT:
        state = "skipped"
        message = "not evicted: another pod forbids the drain"
    data = {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
    }
    return Step(metadata["uid"], pod_name(decision.pod), state, message, data)


def _evict_pods(operation: Operation, ref: ObjectRef, flags: DrainFlags) -> None:
    """Bring every open step as far as it goes now."""
    pods = {pod["metadata"]["uid"]: pod["metadata"] for pod in nodes.list_pods(ref)}
    end = monotonic() + STEP_SECONDS
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        metadata = pods.get(step.key)
        if metadata is None:
            lifecycle.move(step, "succeeded", "it has left the node")
        elif metadata.get("deletionTimestamp"):
            _wait_for_termination(step, metadata, flags)
        elif _is_due(step) and monotonic() < end:
            lifecycle.heartbeat(operation)
            _evict(ref, step, flags)


def _wait_for_termination(
    step: OperationStep,
    metadata: Mapping[str, Any],
    flags: DrainFlags,
) -> None:
    limit = flags.skip_wait_for_delete_timeout
    deleted_at = datetime.fromisoformat(metadata["deletionTimestamp"])
    age = (timezone.now() - deleted_at).total_seconds()
    if limit > 0 and age > limit:
        lifecycle.move(
            step,
            "skipped",
            f"evicted, but terminating for more than {limit} s",
        )
    elif step.state != "running" or not step.data.get("evicted"):
        # Someone else deleted it, or the answer to our own eviction was lost.
        lifecycle.move(
            step,
            "running",
            "evicted, waiting for it to terminate",
            evicted=True,
        )


def _is_due(step: OperationStep) -> bool:
    """Whether the pod may be evicted now.

    Not while an earlier request may still be running whose outcome was lost, with its worker or
    its connection: a second eviction could exceed a PodDisruptionBudget.
    """
    now = timezone.now()
    requested_at = step.data.get("asked_at")
    if requested_at:
        unknown_until = datetime.fromisoformat(requested_at) + timedelta(
            seconds=settings.DRAIN_UNKNOWN_SECONDS
        )
        if now < unknown_until:
            return False
    retry_at = step.data.get("retry_at")
    return not retry_at or datetime.fromisoformat(retry_at) <= now


def _evict(ref: ObjectRef, step: OperationStep, flags: DrainFlags) -> None:
    """Try once: a refusal that may pass is tried again later, any other fails the step."""
    # Stored before the request, see `_is_due`.
    lifecycle.move(
        step,
        step.state,
        step.message,
        asked_at=timezone.now().isoformat(),
    )
    try:
        _send_eviction(ref, step, flags)
    except NotFound:
        lifecycle.move(step, "succeeded", "it does not exist any more")
    except TooManyRequests as error:
        # 429: a PodDisruptionBudget does not allow the disruption now.
        seconds = (error.details.get("details") or {}).get("retryAfterSeconds") or 0
        _retry_later(step, error.message, "TooManyRequests", float(seconds))
    except Conflict as error:
        _handle_conflict(ref, step, error)
    except ClusterUnavailable as error:
        # Only an answer tells that the request had no effect; without one the step stays unknown.
        if "status" not in error.details:
            raise
        _retry_later(
            step,
            error.message,
            str(error.details.get("reason") or "server_error"),
        )
    except Forbidden as error:
        # A namespace that is being deleted deletes its pods itself.
        if "NamespaceTerminating" in str(error.details.get("details")):
            _retry_later(step, error.message, "NamespaceTerminating")
        else:
            lifecycle.move(step, "failed", error.message)
    except DomainError as error:
        lifecycle.move(step, "failed", error.message)
    else:
        action = "evicted"
        if flags.disable_eviction:
            action = "deleted without regard to PodDisruptionBudgets"
        lifecycle.move(
            step,
            "running",
            f"{action}, waiting for it to terminate",
            evicted=True,
            asked_at=None,
            retry_at=None,
        )


def _send_eviction(ref: ObjectRef, step: OperationStep, flags: DrainFlags) -> None:
    grace = None if flags.grace_period < 0 else flags.grace_period
    options = delete_options(step.key, grace=grace)
    namespace = step.data["namespace"]
    name = step.data["name"]
    if flags.disable_eviction:
        ref.client.delete(PODS, name, namespace=namespace, options=options)
        return
    # Inside an Eviction the DeleteOptions have no type of their own.
    embedded_options = {
        key: value for key, value in options.items() if key not in {"kind", "apiVersion"}
    }
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": embedded_options,
    }
    path = PODS.path(namespace=namespace, name=name, subresource="eviction")
    ref.client.request("POST", path, body=body)


def _retry_later(
    step: OperationStep,
    message: str,
    reason: str,
    seconds: float = 0.0,
) -> None:
    """Try again after as many seconds as the API server asks for, a minute at most."""
    delay = max(min(seconds, 60.0), settings.DRAIN_RETRY_SECONDS)
    retry_at = timezone.now() + timedelta(seconds=delay)
    lifecycle.move(
        step,
        "pending",
        message,
        asked_at=None,
        retry_at=retry_at.isoformat(),
        tries=step.data.get("tries", 0) + 1,
        reason=reason,
    )


def _handle_conflict(ref: ObjectRef, step: OperationStep, error: Conflict) -> None:
    """A conflict about the uid means that our pod is gone and another has its name."""
    pod = ObjectRef(ref.cluster, PODS, step.data["namespace"], step.data["name"])
    try:
        is_replaced = pod.read()["metadata"]["uid"] != step.key
    except NotFound:
        is_replaced = True
    if is_replaced:
        message = "it does not exist any more; a new pod of its name was left alone"
        lifecycle.move(step, "succeeded", message)
    else:
        _retry_later(step, error.message, "Conflict")


# --- ending -------------------------------------------------------------------
def _report_waiting(operation: Operation, error: ClusterUnavailable) -> None:
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.move(
            step,
            step.state,
            f"waiting for the cluster: {error.message}",
        )


def _check_timeout(
    operation: Operation,
    flags: DrainFlags,
    unavailable: ClusterUnavailable | None,
) -> None:
    """Rejected (reason timeout) or ClusterUnavailable once the time is over.

    Open steps fail with the reason why their pods stayed.
    """
    if not flags.timeout or not operation.started_at:
        return
    if timezone.now() - operation.started_at <= timedelta(seconds=flags.timeout):
        return
    open_steps = lifecycle.steps(operation, *OperationStep.OPEN)
    for step in open_steps:
        lifecycle.move(step, "failed", step.message or "not evicted in time")
    text = f"not drained within {flags.timeout} s; the node stays cordoned. "
    if unavailable is not None:
        raise ClusterUnavailable(text + unavailable.message, reason="cluster_unavailable")
    text += _join_messages(open_steps)
    raise Rejected(text[:MAX_MESSAGE], reason="timeout")


def _join_messages(steps: list[OperationStep]) -> str:
    return "; ".join(f"{step.name}: {step.message}" for step in steps)


def _finish(operation: Operation, flags: DrainFlags) -> Result:
    steps = lifecycle.steps(operation)
    failed = [step for step in steps if step.state == "failed"]
    if failed:
        text = f"some pods were not evicted; the node stays cordoned. {_join_messages(failed)}"
        raise Rejected(text[:MAX_MESSAGE], reason="EvictionFailed")
    return {
        "node": operation.name,
        "evicted": sum(step.state == "succeeded" for step in steps),
        "skipped": sum(step.state == "skipped" for step in steps),
        "warnings": warnings(flags),
    }
