"""Applying to many targets, or waiting until all is ready, as an operation with a step for each.

The text is stored encrypted with the operation, since it may hold Secrets; steps and result hold
names and actions only. A run that is repeated after a crash applies a target again, which changes
nothing where it was applied already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import Kind
from clusters.models import Cluster
from core import crypto
from core.errors import ClusterUnavailable, DomainError, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation, OperationStep
from workloads.actions import rollouts
from workloads.manifests.apply import ApplyOptions, ApplyResult, Place, apply_objects
from workloads.manifests.documents import PlannedObject, plan, read_manifests

KIND = "apply"
STEP_SECONDS = 20.0
MAX_MESSAGE = 4000


@dataclass(frozen=True, slots=True)
class ApplyTarget:
    """A cluster, the namespace for objects that name none, and a merge patch over each object.

    `places` are looked at by pruning besides those of the text. A target with a reason to `skip`
    is only named by the operation. `namespaces` are those of the objects, "" for what is in none:
    who may read there sees the operation.
    """

    cluster: Cluster
    namespace: str = ""
    patch: Mapping[str, Any] = field(default_factory=dict)
    unbounded: bool = False
    places: Sequence[Place] = ()
    skip: str = ""
    namespaces: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ApplyPurpose:
    """For what a text is applied: the operation's kind, what it acts on, its `exclusive` key.

    `hidden` are texts that messages never show.
    """

    kind: str = KIND
    resource: str = ""
    name: str = ""
    exclusive: str = ""
    hidden: Sequence[str] = field(default=(), repr=False)


PLAIN = ApplyPurpose()


def create(
    text: str,
    targets: Sequence[ApplyTarget],
    options: ApplyOptions,
    *,
    wait: bool,
    requested_by: str,
    purpose: ApplyPurpose = PLAIN,
) -> Operation:
    """A pending operation with a step for each target, in their order; an empty text only prunes.

    Conflict as `lifecycle.create` raises it.
    """
    single = targets[0] if len(targets) == 1 and not targets[0].skip else None
    parameters = {
        "content": crypto.encrypt(text),
        "hidden": crypto.encrypt(orjson.dumps(list(purpose.hidden)).decode()),
        "options": {**asdict(options), "unbounded": False},
        "wait": wait,
    }
    # No worker may see the operation without its steps: it would be finished at once.
    with transaction.atomic():
        row = lifecycle.create(
            purpose.kind,
            OperationTarget(
                single.cluster if single else None,
                purpose.resource,
                single.namespace if single else "",
                purpose.name,
            ),
            requested_by=requested_by,
            parameters=parameters,
            exclusive=purpose.exclusive,
        )
        lifecycle.plan(row, [_step(place, target) for place, target in enumerate(targets)])
    return row


def _step(place: int, target: ApplyTarget) -> Step:
    name = target.cluster.name
    if target.namespace:
        name = f"{name}/{target.namespace}"
    namespaces = list(target.namespaces or [target.namespace])
    return Step(
        str(place),
        name,
        OperationStep.State.SKIPPED if target.skip else OperationStep.State.PENDING,
        target.skip,
        data={
            # A cluster that was removed is nobody's any more.
            **({} if target.skip else {"namespaces": namespaces}),
            "cluster": target.cluster.pk,
            "namespace": target.namespace,
            "patch": crypto.encrypt(orjson.dumps(dict(target.patch)).decode()),
            "unbounded": target.unbounded,
            "places": [[*_kind_data(kind), namespace] for kind, namespace in target.places],
        },
    )


def _kind_data(kind: Kind) -> list[Any]:
    """The kind as JSON, for `Kind(*…)`."""
    return [kind.name, kind.plural, kind.group, kind.version, kind.namespaced]


def run(operation: Operation) -> RequeueAfter | Result:
    """As many targets as fit into STEP_SECONDS; {"targets":[{"cluster_id","namespace","state",
    "message","documents"}]} at the end.

    Rejected when one of them failed; the operation has the result then too.
    """
    end = monotonic() + STEP_SECONDS
    options = operation.parameters["options"]
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.heartbeat(operation)
        if options["stop_at_failure"] and _has_failed(operation):
            lifecycle.move(
                step,
                "skipped",
                "not applied: a target before it failed",
            )
            continue
        again = _run_target(operation, step)
        if again is not None:
            return again
        if monotonic() > end:
            return RequeueAfter(0)
    return _finish(operation)


def _has_failed(operation: Operation) -> bool:
    return bool(lifecycle.steps(operation, OperationStep.State.FAILED))


def _run_target(operation: Operation, step: OperationStep) -> RequeueAfter | None:
    """Apply to one target, or look once at what it waits for; None when the step is over."""
    try:
        if "documents" not in step.data:
            _apply_target(operation, step)
        if step.state not in OperationStep.OPEN:
            return None
        return _wait(operation, step)
    except ClusterUnavailable as error:
        return _retry_later(operation, step, error)
    except DomainError as error:
        lifecycle.move(step, "failed", error.message)
        return None


def _apply_target(operation: Operation, step: OperationStep) -> None:
    parameters = operation.parameters
    cluster = registry.find(step.data["cluster"])
    patch = orjson.loads(crypto.decrypt(step.data["patch"]))
    content = crypto.decrypt(parameters["content"])
    manifests = read_manifests(content) if content else []
    planned = plan(
        cluster,
        manifests,
        namespace=step.data["namespace"],
        patch=patch,
    )
    options = ApplyOptions(**{**parameters["options"], "unbounded": step.data["unbounded"]})
    results = []
    for result in apply_objects(
        cluster,
        planned,
        options,
        places=[(Kind(*data), namespace) for *data, namespace in step.data.get("places", [])],
        hidden=orjson.loads(crypto.decrypt(parameters["hidden"])) if "hidden" in parameters else (),
        beat=lambda: lifecycle.heartbeat(operation),
    ):
        if isinstance(result.error, ClusterUnavailable):
            # The whole target is tried again: what was applied stays unchanged then.
            raise result.error
        results.append(result)
        lifecycle.move(
            step,
            "running",
            _progress_sentence(len(results), len(planned)),
        )
    rows = [result.summary() for result in results]
    failed = [row for row in rows if row["action"] == "failed"]
    if failed:
        sentences = "; ".join(f"{row['kind']} {row['name']}: {row['msg']}" for row in failed)
        lifecycle.move(
            step,
            "failed",
            sentences[:MAX_MESSAGE],
            documents=rows,
        )
    elif parameters["wait"] and not options.dry_run:
        pending = objects_to_wait_for(results)
        lifecycle.move(
            step,
            "running",
            "waiting",
            documents=rows,
            pending=pending,
        )
    else:
        lifecycle.move(
            step,
            "succeeded",
            _count_actions(rows),
            documents=rows,
        )


def _progress_sentence(done: int, planned: int) -> str:
    """How far a target is; what is pruned comes after the planned objects."""
    if done > planned:
        return f"{done - planned} objects pruned"
    return f"{done} of {planned} objects"


def _count_actions(rows: Sequence[Mapping[str, Any]]) -> str:
    """`2 created, 1 unchanged`; `no objects` for none."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["action"]] = counts.get(row["action"], 0) + 1
    return ", ".join(f"{count} {action}" for action, count in counts.items()) or "no objects"


# --- waiting --------------------------------------------------------------------------------------
def objects_to_wait_for(results: Sequence[ApplyResult]) -> list[dict[str, Any]]:
    """Addresses (JSON) of the applied workloads and jobs, for `pending_sentence`."""
    pending = []
    for result in results:
        kind = result.planned.kind
        if kind is None or result.after is None:
            continue
        if kind.plural in rollouts.ROLLED_OUT or kind.plural == "jobs":
            generation = orjson.loads(result.after)["metadata"].get("generation", 0)
            pending.append(_address(kind, result.planned, generation))
    return pending


def _address(kind: Kind, planned: PlannedObject, generation: int) -> dict[str, Any]:
    return {
        "kind": [kind.name, kind.plural, kind.group, kind.version],
        "namespace": planned.namespace,
        "name": planned.name,
        "generation": generation,
    }


def _wait(operation: Operation, step: OperationStep) -> RequeueAfter | None:
    client = registry.client(registry.find(step.data["cluster"]))
    sentences = []
    pending = []
    for address in step.data["pending"]:
        lifecycle.heartbeat(operation)
        sentence = pending_sentence(client, address)
        if sentence:
            pending.append(address)
            sentences.append(f"{address['name']}: {sentence}")
    if not pending:
        lifecycle.move(
            step,
            "succeeded",
            _count_actions(step.data["documents"]),
        )
        return None
    message = "; ".join(sentences)[:MAX_MESSAGE]
    now = timezone.now()
    # Time runs from the last progress, as in a rollout.
    moved_at = step.data.get("moved_at") if step.message == message else None
    deadline = timedelta(seconds=settings.ROLLOUT_DEADLINE_SECONDS)
    if moved_at and now - datetime.fromisoformat(moved_at) > deadline:
        lifecycle.move(
            step,
            "failed",
            f"no progress: {message}"[:MAX_MESSAGE],
        )
        return None
    lifecycle.move(
        step,
        "running",
        message,
        pending=pending,
        moved_at=moved_at or now.isoformat(),
    )
    return RequeueAfter(settings.ROLLOUT_POLL_SECONDS)


def pending_sentence(client: ClusterClient, address: Mapping[str, Any]) -> str:
    """What the object is waiting for, "" when it is ready; Rejected when it never will be."""
    kind = Kind(*address["kind"])
    try:
        item = orjson.loads(
            client.get(
                kind,
                address["name"],
                namespace=address["namespace"],
            )
        )
    except NotFound:
        raise NotFound(
            f"{kind.name} {address['name']} was deleted meanwhile", reason="Deleted"
        ) from None
    if kind.plural != "jobs":
        status = rollouts.status_of(
            item,
            kind.plural,
            generation=address["generation"],
        )
        return "" if status.finished else status.message
    conditions = {
        condition["type"]: condition
        for condition in (item.get("status") or {}).get("conditions") or []
        if condition.get("status") == "True"
    }
    if "Failed" in conditions:
        reason = conditions["Failed"].get("message") or "it failed"
        raise Rejected(f"Job {address['name']}: {reason}", reason="JobFailed")
    return "" if "Complete" in conditions else "not complete"


def _retry_later(
    operation: Operation, step: OperationStep, error: ClusterUnavailable
) -> RequeueAfter | None:
    """Try the same target again; its step fails when the cluster has been away for too long."""
    try:
        since = lifecycle.outage_start(step.data.get("away_since"), error)
    except ClusterUnavailable:
        lifecycle.move(step, "failed", error.message)
        return None
    lifecycle.move(
        step,
        "running",
        error.message,
        away_since=since,
    )
    return RequeueAfter(settings.DRAIN_RETRY_SECONDS)


def _finish(operation: Operation) -> Result:
    steps = lifecycle.steps(operation)
    result: Result = {
        "targets": [
            {
                "cluster_id": step.data["cluster"],
                "namespace": step.data["namespace"],
                "state": step.state,
                "message": step.message,
                "documents": step.data.get("documents", []),
            }
            for step in steps
        ]
    }
    failed = [f"{step.name}: {step.message}" for step in steps if step.state == "failed"]
    if failed:
        # What became of each object is of most interest where some of them failed.
        lifecycle.keep_result(operation, result)
        text = f"{len(failed)} of {len(steps)} targets failed. {'; '.join(failed)}"
        raise Rejected(text[:MAX_MESSAGE], reason="SomeFailed")
    return result
