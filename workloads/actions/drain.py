"""Draining a node: kubectl drain as an operation that survives its worker.

Turns: the first names every pod's fate and refuses before anything is evicted; the following evict what may go, through the
Eviction API with the pod's uid as precondition, and watch it leave. What was evicted is seen in the cluster itself
(deletionTimestamp, or gone), so a turn that was broken off is repeated without evicting a pod twice. The node stays cordoned
whatever the end, as kubectl leaves it.
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
from operations.lifecycle import Again, Result, Step, Target
from operations.models import Operation, OperationStep
from workloads.actions import nodes
from workloads.actions.drain_filters import DrainFlags, DrainVerdict, PodDecision, decide
from workloads.actions.restarts import delete_options
from workloads.objects.subject import ObjectRef

PODS = KINDS["pods"]
TURN_SECONDS = 20.0
STATES = {
    DrainVerdict.EVICT: "pending",
    DrainVerdict.SKIP: "skipped",
    DrainVerdict.REFUSE: "failed",
}


# --- asking for it --------------------------------------------------------------------------------------------------
def preview(ref: ObjectRef, flags: DrainFlags) -> Result:
    """What a drain would do, without doing it; the cordon is tried with dryRun."""
    nodes.set_schedulable(ref, schedulable=False, dry_run=True)
    judged = _judgements(ref, flags)
    refused = any(one.verdict is DrainVerdict.REFUSE for one in judged)
    listed = [
        {"name": pod_name(one.pod), "action": str(one.verdict), "message": one.message}
        for one in judged
    ]
    return {"status": "dry_run", "would_fail": refused, "pods": listed, "warnings": warnings(flags)}


def warnings(flags: DrainFlags) -> list[str]:
    """What the flags override, in words."""
    return (
        ["PodDisruptionBudgets are not respected: pods are deleted, not evicted"]
        if flags.disable_eviction
        else []
    )


def request(ref: ObjectRef, flags: DrainFlags, *, requested_by: str) -> tuple[Operation, bool]:
    """(a pending operation, whether it is new): the node is cordoned at once, and asking twice for the same joins the first.

    Conflict when another drain of the node, with other flags, is going on.
    """
    uid = ref.read()["metadata"]["uid"]
    target = Target(ref.cluster, "nodes", "", ref.name)
    parameters = {"uid": uid, "flags": asdict(flags)}
    exclusive = f"drain/{ref.cluster.pk}/{uid}"
    nodes.set_schedulable(ref, schedulable=False)
    try:
        return lifecycle.create(
            "drain", target, requested_by=requested_by, parameters=parameters, exclusive=exclusive
        ), True
    except Conflict as error:
        running = lifecycle.find(error.details["operation_id"])
        if running.parameters["flags"] != asdict(flags):
            raise
        return running, False


# --- doing it -------------------------------------------------------------------------------------------------------
def run(operation: Operation) -> Again | Result:
    """One turn: plan first, then evict what may go now and look who has left."""
    assert operation.cluster is not None  # noqa: S101  # drains are made with one
    ref = ObjectRef(operation.cluster, nodes.NODES, "", operation.name)
    flags = DrainFlags(**operation.parameters["flags"])
    try:
        if not operation.parameters.get("planned"):
            _plan(operation, ref, flags)
        _turn(operation, ref, flags)
    except ClusterUnavailable as error:
        _note_waiting(operation, error)
        _check_time(operation, flags, error)
        return Again(settings.DRAIN_RETRY_SECONDS)
    if not lifecycle.steps(operation, *OperationStep.OPEN):
        return _end(operation, flags)
    _check_time(operation, flags, None)
    return Again(min(settings.DRAIN_POLL_SECONDS, settings.DRAIN_RETRY_SECONDS))


def _judgements(ref: ObjectRef, flags: DrainFlags) -> list[PodDecision]:
    return [decide(ref.client, pod, flags) for pod in nodes.list_pods(ref, flags.pod_selector)]


def pod_name(pod: Object) -> str:
    """`namespace/name`."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _plan(operation: Operation, ref: ObjectRef, flags: DrainFlags) -> None:
    """Name every pod's fate; Rejected when one of them forbids the drain."""
    _check_node(operation, ref)
    judged = _judgements(ref, flags)
    refused = any(one.verdict is DrainVerdict.REFUSE for one in judged)
    lifecycle.plan(operation, [_step(one, held=refused) for one in judged])
    if refused:
        sentences = [
            f"{pod_name(one.pod)}: {one.message}"
            for one in judged
            if one.verdict is DrainVerdict.REFUSE
        ]
        raise Rejected(
            f"nothing was evicted; the node stays cordoned. {'; '.join(sentences)}"[:4000],
            reason="DrainRefused",
        )
    lifecycle.remember(operation, planned=True)


def _check_node(operation: Operation, ref: ObjectRef) -> None:
    node = ref.read()
    if node["metadata"]["uid"] != operation.parameters["uid"]:
        raise Conflict("the node was removed and another of its name has joined", reason="Replaced")
    if not node["spec"].get("unschedulable"):
        nodes.set_schedulable(ref, schedulable=False)


def _step(judgement: PodDecision, *, held: bool) -> Step:
    metadata = judgement.pod["metadata"]
    state, message = STATES[judgement.verdict], judgement.message
    if held and judgement.verdict is DrainVerdict.EVICT:
        state, message = "skipped", "not evicted: another pod forbids the drain"
    return Step(
        metadata["uid"],
        pod_name(judgement.pod),
        state,
        message,
        {"namespace": metadata["namespace"], "name": metadata["name"]},
    )


def _turn(operation: Operation, ref: ObjectRef, flags: DrainFlags) -> None:
    there = {pod["metadata"]["uid"]: pod["metadata"] for pod in nodes.list_pods(ref)}
    end = monotonic() + TURN_SECONDS
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        if step.key not in there:
            lifecycle.move(step, "succeeded", "it has left the node")
        elif there[step.key].get("deletionTimestamp"):
            _wait_for(step, there[step.key], flags)
        elif _is_due(step) and monotonic() < end:
            lifecycle.alive(operation)
            _evict(ref, step, flags)


def _wait_for(step: OperationStep, metadata: Mapping[str, Any], flags: DrainFlags) -> None:
    limit = flags.skip_wait_for_delete_timeout
    age = (timezone.now() - datetime.fromisoformat(metadata["deletionTimestamp"])).total_seconds()
    if limit > 0 and age > limit:
        lifecycle.move(step, "skipped", f"evicted, but terminating for more than {limit} s")
    elif step.state != "running" or not step.data.get("evicted"):
        lifecycle.move(step, "running", "evicted, waiting for it to end", evicted=True)


def _is_due(step: OperationStep) -> bool:
    """Not while a request may still be under way whose outcome was lost with its worker or its connection."""
    retry_at, asked_at = step.data.get("retry_at"), step.data.get("asked_at")
    if asked_at and timezone.now() - datetime.fromisoformat(asked_at) < timedelta(
        seconds=settings.DRAIN_UNKNOWN_SECONDS
    ):
        return False
    return not retry_at or datetime.fromisoformat(retry_at) <= timezone.now()


def _evict(ref: ObjectRef, step: OperationStep, flags: DrainFlags) -> None:
    """One try; what may pass by itself is tried again later, what will not fails the step."""
    lifecycle.move(step, step.state, step.message, asked_at=timezone.now().isoformat())
    try:
        _ask(ref, step, flags)
    except NotFound:
        lifecycle.move(step, "succeeded", "it is gone already")
    except TooManyRequests as error:
        hint = (error.details.get("details") or {}).get("retryAfterSeconds") or 0
        _later(step, error.message, "TooManyRequests", float(hint))
    except Conflict as error:
        _conflicting(ref, step, error)
    except ClusterUnavailable as error:
        if "status" not in error.details:
            raise
        _later(step, error.message, str(error.details.get("reason") or "server_error"))
    except Forbidden as error:
        # A namespace that is being deleted takes its pods along.
        if "NamespaceTerminating" in str(error.details.get("details")):
            _later(step, error.message, "NamespaceTerminating")
        else:
            lifecycle.move(step, "failed", error.message)
    except DomainError as error:
        lifecycle.move(step, "failed", error.message)
    else:
        told = (
            "deleted without regard to PodDisruptionBudgets"
            if flags.disable_eviction
            else "evicted"
        )
        lifecycle.move(
            step,
            "running",
            f"{told}, waiting for it to end",
            evicted=True,
            asked_at=None,
            retry_at=None,
        )


def _ask(ref: ObjectRef, step: OperationStep, flags: DrainFlags) -> None:
    options = delete_options(step.key, grace=None if flags.grace_period < 0 else flags.grace_period)
    namespace, name = step.data["namespace"], step.data["name"]
    if flags.disable_eviction:
        ref.client.delete(PODS, name, namespace=namespace, options=options)
        return
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {
            key: value for key, value in options.items() if key not in {"kind", "apiVersion"}
        },
    }
    ref.client.request(
        "POST", PODS.path(namespace=namespace, name=name, subresource="eviction"), body=body
    )


def _later(step: OperationStep, message: str, reason: str, seconds: float = 0.0) -> None:
    retry_at = timezone.now() + timedelta(
        seconds=max(min(seconds, 60.0), settings.DRAIN_RETRY_SECONDS)
    )
    tries = step.data.get("tries", 0) + 1
    lifecycle.move(
        step,
        "pending",
        message,
        asked_at=None,
        retry_at=retry_at.isoformat(),
        tries=tries,
        reason=reason,
    )


def _conflicting(ref: ObjectRef, step: OperationStep, error: Conflict) -> None:
    """A uid that no longer fits means that our pod has gone and another has its name."""
    pod = ObjectRef(ref.cluster, PODS, step.data["namespace"], step.data["name"])
    try:
        replaced = pod.read()["metadata"]["uid"] != step.key
    except NotFound:
        replaced = True
    if replaced:
        lifecycle.move(
            step, "succeeded", "it is gone; another pod of its name was made and left alone"
        )
    else:
        _later(step, error.message, "Conflict")


# --- ending ---------------------------------------------------------------------------------------------------------
def _note_waiting(operation: Operation, error: ClusterUnavailable) -> None:
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.move(step, step.state, f"waiting for the cluster: {error.message}")


def _check_time(
    operation: Operation, flags: DrainFlags, unavailable: ClusterUnavailable | None
) -> None:
    """Rejected (reason timeout) or ClusterUnavailable once the time is over; open steps fail with what held them."""
    if not flags.timeout or not operation.started_at:
        return
    if timezone.now() - operation.started_at <= timedelta(seconds=flags.timeout):
        return
    held = lifecycle.steps(operation, *OperationStep.OPEN)
    for step in held:
        lifecycle.move(step, "failed", step.message or "not evicted in time")
    text = f"not drained within {flags.timeout} s; the node stays cordoned. "
    if unavailable is not None:
        raise ClusterUnavailable(text + unavailable.message, reason="cluster_unavailable")
    raise Rejected(
        (text + "; ".join(f"{step.name}: {step.message}" for step in held))[:4000], reason="timeout"
    )


def _end(operation: Operation, flags: DrainFlags) -> Result:
    steps = lifecycle.steps(operation)
    if failed := [step for step in steps if step.state == "failed"]:
        sentences = "; ".join(f"{step.name}: {step.message}" for step in failed)
        raise Rejected(
            f"some pods were not evicted; the node stays cordoned. {sentences}"[:4000],
            reason="EvictionFailed",
        )
    counts = {
        state: sum(step.state == state for step in steps) for state in ("succeeded", "skipped")
    }
    return {
        "node": operation.name,
        "evicted": counts["succeeded"],
        "skipped": counts["skipped"],
        "warnings": warnings(flags),
    }
