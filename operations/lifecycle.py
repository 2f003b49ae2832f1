"""Operations: making them, moving them on by conditional updates, finding and cancelling them.

How to add a kind of operation:

1. Write a runner, `def run(operation: Operation) -> Again | Result`, in the service layer of your app. It does what can be done now and
   returns: `Again(seconds)` to be called once more, or a dict, the operation's result. A `DomainError` that it raises ends the operation
   as failed with that sentence. It must be idempotent: after a crash it is called again with the same row. What it has to remember it
   keeps in steps (`plan`, `move`) or in `remember`; between two calls to a cluster it calls `alive`, which lets a cancel through
   and asks whether the requester may still do this.
2. Name it in settings.OPERATIONS: kind -> {"run": dotted path, "queue": one of settings.OPERATION_LIMITS}.
3. Make the row in a service or an edge with `create(…)`, and enqueue it at the edge with `operations.tasks.enqueue(operation)`, which
   sends it when the transaction commits.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Prefetch, Q, QuerySet
from django.utils import timezone

from clusters import authority
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
)
from core.times import rfc3339
from operations.models import Operation, OperationStep

Result = dict[str, Any]
State = Operation.State
StepState = OperationStep.State
# How long (seconds) a requester's right is taken as known while a turn lasts, and the attribute that says since when.
RIGHT_SECONDS = 2.0
ASKED = "_right_asked_at"
# Advisory locks of two families: the right to start something in a cluster, and the right to turn one operation.
START_LOCK, TURN_LOCK = 0x4B47, 0x4B48 << 48


class Cancelled(Exception):
    """Somebody asked for the operation to stop; runners let it through."""


@dataclass(frozen=True, slots=True)
class Again:
    """A runner's wish to be called once more."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation acts on; `resource` is a plural of the kinds table."""

    cluster: Cluster | None
    resource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A part to be planned; `key` tells it apart within its operation."""

    key: str
    name: str
    state: str = StepState.PENDING
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


# --- making and finding ---------------------------------------------------------------------------------------------
def create(
    kind: str,
    target: Target,
    *,
    requested_by: str,
    parameters: Mapping[str, Any] | None = None,
    exclusive: str = "",
) -> Operation:
    """A pending row. Conflict, with `operation_id` in its details, while another active operation has the same `exclusive` key."""
    row = Operation(
        kind=kind,
        queue=settings.OPERATIONS[kind]["queue"],
        cluster=target.cluster,
        resource=target.resource,
        namespace=target.namespace,
        name=target.name,
        requested_by=requested_by,
        authority=_authority(requested_by, target.cluster),
        parameters=dict(parameters or {}),
        exclusive=exclusive,
        due_at=_due(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        other = (
            Operation.objects.filter(exclusive=exclusive, state__in=Operation.ACTIVE)
            .values_list("pk", flat=True)
            .first()
        )
        raise Conflict(
            f"operation {other} is at this already", reason="OperationRunning", operation_id=other
        ) from None
    return row


def _authority(requested_by: str, cluster: Cluster | None) -> dict[str, Any]:
    """With what right it goes on, noted when a user asks for it; what the platform orders for itself while a user is served is its own."""
    noted = authority.noted()
    if not noted or noted["credential"].get("username", "") != requested_by:
        return {}
    # By its id: a cluster may get another name meanwhile.
    place = {"cluster": str(cluster.pk)} if cluster else {}
    acts = [{**act, **(place if act["cluster"] else {})} for act in noted["acts"]]
    return {**noted, "acts": acts}


def _due(seconds: float = 0.0) -> Any:
    return timezone.now() + timedelta(seconds=seconds + settings.OPERATION_STALE_SECONDS)


def find(reference: object) -> Operation:
    """An operation by id, with its steps; NotFound when there is none."""
    text = str(reference)
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise NotFound(f"operation {text[:60]!r} does not exist")
    row = Operation.objects.prefetch_related(_steps()).filter(pk=int(text)).first()
    if row is None:
        raise NotFound(f"operation {text} does not exist")
    return row


def _steps() -> "Prefetch[str, Any, Any]":
    return Prefetch("steps", queryset=OperationStep.objects.order_by("pk"))


def search(**wanted: object) -> QuerySet[Operation]:
    """Operations, newest first, whose columns equal what is wanted; Invalid for a state that does not exist."""
    if (state := wanted.get("state")) and state not in State.values:
        raise Invalid(f"state must be one of {', '.join(State.values)}", field="state")
    columns = {name: value for name, value in wanted.items() if value not in (None, "")}
    return Operation.objects.filter(**columns).order_by("-pk").prefetch_related(_steps())


def represent(operation: Operation) -> Result:
    """The row as the KubeGale document shows it (contract, section 3); times are RFC 3339 UTC."""
    return {
        "id": operation.pk,
        "kind": operation.kind,
        "cluster_id": operation.cluster_id,
        "target": {
            "kind": KINDS[operation.resource].name
            if operation.resource in KINDS
            else operation.resource,
            "namespace": operation.namespace,
            "name": operation.name,
        },
        "state": operation.state,
        "progress": {"done": operation.done, "total": operation.total},
        "steps": [
            {"name": step.name, "state": step.state, "message": step.message}
            for step in operation.steps.all()
        ],
        "result": operation.result,
        "error": operation.error or None,
        "reason": operation.reason or None,
        "cancel_requested": operation.cancel_requested_at is not None,
        "requested_by": operation.requested_by,
        "created_at": rfc3339(operation.created_at),
        "started_at": rfc3339(operation.started_at),
        "finished_at": rfc3339(operation.finished_at),
    }


def snapshots(pk: int, *, interval: float = 0.5, patience: float = 3600.0) -> Iterator[Result]:
    """The row as `represent` shows it, now and after every change, until it is final or patience (seconds) runs out.

    It sleeps between looks: run it in a thread, one per socket. NotFound when there is no such operation.
    """
    seen, end = None, monotonic() + patience
    while monotonic() < end:
        changed = Operation.objects.filter(pk=pk).values_list("updated_at", flat=True).first()
        if changed is None or changed != seen:
            row = find(pk)
            yield represent(row)
            if row.is_final:
                return
            seen = row.updated_at
        sleep(interval)


# --- transitions ----------------------------------------------------------------------------------------------------
def start(operation: Operation) -> bool:
    """pending -> running, unless its cluster has as many running in that queue as OPERATION_LIMITS allows."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s, %s)", [START_LOCK, operation.cluster_id or 0]
            )
        if (
            _beside(operation).filter(state=State.RUNNING).count()
            >= settings.OPERATION_LIMITS[operation.queue]
        ):
            return False
        now = timezone.now()
        return _change(
            operation, (State.PENDING,), state=State.RUNNING, started_at=now, due_at=_due()
        )


def _beside(operation: Operation) -> QuerySet[Operation]:
    """The operations of the same cluster and queue, itself among them."""
    cluster = Q(cluster=None) if operation.cluster_id is None else Q(cluster=operation.cluster_id)
    return Operation.objects.filter(cluster, queue=operation.queue)


def _change(operation: Operation, expected: Iterable[str], **columns: Any) -> bool:
    """Whether the row was in an expected state, and now has the columns."""
    changed = Operation.objects.filter(pk=operation.pk, state__in=list(expected)).update(
        updated_at=timezone.now(), **columns
    )
    return changed == 1


def _finish(
    operation: Operation, state: str, expected: Iterable[str] = (State.RUNNING,), **columns: Any
) -> bool:
    return _change(
        operation, expected, state=state, finished_at=timezone.now(), due_at=None, **columns
    )


def succeed(operation: Operation, result: Result) -> bool:
    """running -> succeeded."""
    return _finish(operation, State.SUCCEEDED, result=result)


def fail(operation: Operation, error: DomainError) -> bool:
    """running -> failed, saying why."""
    reason = str(error.details.get("reason") or error.code)[:60]
    return _finish(operation, State.FAILED, error=error.message, reason=reason)


def interrupt(operation: Operation, why: str, *, reason: str = "interrupted") -> bool:
    """pending or running -> interrupted: it cannot go on, and what it did so far stands in its steps."""
    return _finish(operation, State.INTERRUPTED, Operation.ACTIVE, error=why, reason=reason)


def cancel(operation: Operation) -> Operation:
    """Stop it: at once while pending, else before its next step. Conflict when it is over already; asking twice is fine."""
    if not _finish(
        operation,
        State.CANCELLED,
        (State.PENDING,),
        cancel_requested_at=timezone.now(),
        reason="cancelled",
    ):
        asked = Operation.objects.filter(pk=operation.pk, state=State.RUNNING).update(
            cancel_requested_at=timezone.now(), updated_at=timezone.now()
        )
        if not asked:
            raise Conflict(
                f"operation {operation.pk} is {find(operation.pk).state} already",
                reason="OperationOver",
            )
    return find(operation.pk)


def cancelled(operation: Operation) -> bool:
    """running -> cancelled, with every open step."""
    OperationStep.objects.filter(operation=operation, state__in=OperationStep.OPEN).update(
        state=StepState.CANCELLED, updated_at=timezone.now()
    )
    return _finish(operation, State.CANCELLED, reason="cancelled")


# --- progress -------------------------------------------------------------------------------------------------------
def alive(operation: Operation) -> None:
    """A sign of life. Cancelled when somebody asked to stop, or when the row is no longer running; Forbidden when the right is gone."""
    alive_rows = Operation.objects.filter(pk=operation.pk, state=State.RUNNING)
    if not alive_rows.filter(cancel_requested_at=None).update(due_at=_due()):
        raise Cancelled
    if monotonic() - getattr(operation, ASKED, -math.inf) >= RIGHT_SECONDS:
        require_right(operation)
        setattr(operation, ASKED, monotonic())


def require_right(operation: Operation) -> None:
    """Forbidden when the requester, or the API token that they used, may no longer do what the operation does.

    A cluster that does not answer takes no right away: the runner will notice it too.
    """
    try:
        authority.require(operation.authority)
    except (Forbidden, Unauthenticated) as error:
        raise Forbidden(
            f"{operation.requested_by} may no longer do this: {error.message}", reason="RightLost"
        ) from None
    except ClusterUnavailable:
        return


def plan(operation: Operation, steps: Iterable[Step]) -> None:
    """Add steps; those whose key is there already stay as they are."""
    rows = [
        OperationStep(
            operation=operation,
            key=step.key,
            name=step.name,
            state=step.state,
            message=step.message,
            data=dict(step.data),
        )
        for step in steps
    ]
    OperationStep.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
    _count(operation)


def steps(operation: Operation, *states: str) -> list[OperationStep]:
    """The operation's steps in order, of some states or of all."""
    found = OperationStep.objects.filter(operation=operation).order_by("pk")
    return list(found.filter(state__in=states) if states else found)


def move(step: OperationStep, state: str, message: str = "", **data: Any) -> bool:
    """A step's next state and message, its data widened; False when it is final already."""
    step.state, step.message, step.data = state, message, {**step.data, **data}
    open_step = OperationStep.objects.filter(pk=step.pk, state__in=OperationStep.OPEN)
    if not open_step.update(
        state=state, message=message, data=step.data, updated_at=timezone.now()
    ):
        return False
    _count(Operation(pk=step.operation_id))
    return True


def _count(operation: Operation) -> None:
    found = OperationStep.objects.filter(operation_id=operation.pk)
    done = found.exclude(state__in=OperationStep.OPEN).count()
    Operation.objects.filter(pk=operation.pk).update(
        done=done, total=found.count(), updated_at=timezone.now()
    )


def advance(operation: Operation, *, done: int, total: int) -> None:
    """Progress of work that has no steps of its own."""
    Operation.objects.filter(pk=operation.pk, state=State.RUNNING).update(
        done=done, total=total, updated_at=timezone.now()
    )


def remember(operation: Operation, **parameters: Any) -> None:
    """Widen the row's parameters: what the next turn has to know."""
    operation.parameters = {**operation.parameters, **parameters}
    Operation.objects.filter(pk=operation.pk).update(parameters=operation.parameters)


# --- turns ----------------------------------------------------------------------------------------------------------
@contextmanager
def held(operation: Operation) -> Iterator[bool]:
    """Whether this process alone may turn the operation; the database lets go of it when the process dies."""
    key = TURN_LOCK | operation.pk
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            _release(key)


def _release(key: int) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
    except DatabaseError:
        connection.close()


def begin_turn(operation: Operation, turn: int) -> bool:
    """Note that the turn was begun; False when the row has moved on."""
    found = Operation.objects.filter(pk=operation.pk, turn=turn, state=State.RUNNING)
    return found.update(attempts=F("attempts") + 1, due_at=_due()) == 1


def end_turn(operation: Operation, turn: int, seconds: float) -> bool:
    """The turn is done and the next is due in some seconds."""
    found = Operation.objects.filter(pk=operation.pk, turn=turn, state=State.RUNNING)
    return found.update(turn=turn + 1, attempts=0, due_at=_due(seconds)) == 1


def claim_overdue(limit: int = 500) -> list[Operation]:
    """Active operations that gave no sign of life in time, longest silent first: their worker or their message is gone."""
    with transaction.atomic():
        silent = Operation.objects.filter(
            state__in=Operation.ACTIVE, due_at__lt=timezone.now()
        ).order_by("due_at")
        rows = list(silent.select_for_update(skip_locked=True)[:limit])
        Operation.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=_due())
    return rows


def waiting(operation: Operation) -> QuerySet[Operation]:
    """The pending operations that the end of this one may let start, oldest first."""
    return _beside(operation).filter(state=State.PENDING).order_by("pk")


def purge() -> int:
    """Forget operations that ended longer than OPERATION_RETENTION_DAYS ago; how many."""
    limit = timezone.now() - timedelta(days=settings.OPERATION_RETENTION_DAYS)
    return Operation.objects.filter(finished_at__lt=limit).delete()[0]


# --- what was done to whom --------------------------------------------------------------------------------------------
DELETING = {"drain": "evict", "delete": "delete", "restart": "restart"}
LONGEST = timedelta(days=1)


def deeds(
    cluster: int, uids: Iterable[str], *, since: datetime, until: datetime
) -> list[dict[str, Any]]:
    """What operations did to objects in [since, until]: {"at","user","verb","namespace","name","uid"}, by the steps that bear their uids.

    `at` is when a step was done; where it deletes, which can take long, when the operation was asked for.
    """
    steps = OperationStep.objects.filter(
        operation__cluster_id=cluster,
        operation__created_at__gte=since - LONGEST,
        operation__created_at__lte=until,
        key__in=list(uids),
    ).filter(state__in=(StepState.RUNNING, StepState.SUCCEEDED))
    return [_deed(step) for step in steps.select_related("operation")]


def _deed(step: OperationStep) -> dict[str, Any]:
    operation = step.operation
    action = str(operation.parameters.get("action") or operation.kind)
    deletes = action in DELETING and (action != "restart" or operation.resource == "pods")
    return {
        "at": operation.created_at if deletes else step.updated_at,
        "user": operation.requested_by,
        "verb": DELETING[action] if deletes else action,
        "namespace": str(step.data.get("namespace") or ""),
        "name": str(step.data.get("name") or ""),
        "uid": step.key,
    }
