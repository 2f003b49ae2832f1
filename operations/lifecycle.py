"""The life of operations: creating, finding, cancelling them, and their changes of state.

How to add a kind of operation:

1. Write a runner, `def run(operation: Operation) -> RequeueAfter | Result`, in the service layer of
   your app. It does what can be done now and returns `RequeueAfter(seconds)` to be called once
   more, or a dict, the operation's result. A `DomainError` that it raises ends the operation as
   failed with that sentence. It must be idempotent: after a crash it is called again with the same
   row. What it has to remember it saves in steps (`plan`, `move`) or with `remember`. Between two
   calls to a cluster it calls `heartbeat`, which raises when the operation was cancelled or the
   requester may no longer do this.
2. Name it in settings.OPERATIONS: kind -> {"run": dotted path, "queue": one of
   settings.OPERATION_LIMITS}. A kind that leaves something behind when it does not succeed names
   "clean_up" as well, a function of the row that removes it. It is called before the row ends.
3. Create the row with `create(…)`, and in the view call `operations.tasks.enqueue(operation)`,
   which sends it when the transaction commits.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Prefetch, Q, QuerySet
from django.utils import timezone

from clusters import authority
from clusters.models import Cluster
from core import tracing
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Forbidden,
    NotFound,
    Unauthenticated,
)
from operations.models import Operation, OperationStep

Result = dict[str, Any]
State = Operation.State
StepState = OperationStep.State
# Seconds for which a check of the requester's rights holds, and the attribute of the row with its
# time (monotonic): `alive` is called often, and each check costs several queries.
RIGHT_SECONDS = 2.0
RIGHT_CHECKED_AT = "_right_checked_at"
# Advisory locks of PostgreSQL. One for each cluster, while operations are counted and started; one
# for each operation, while a worker runs it.
START_LOCK = 0x4B47
RUN_LOCK = 0x4B48 << 48
# Rows that one query may insert or claim.
BATCH_SIZE = 500


class Cancelled(Exception):
    """The operation was asked to stop; runners do not catch it."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """A runner's answer that it is to be called once more, after some seconds."""

    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class OperationTarget:
    """What an operation acts on; `resource` is a plural of the kinds table."""

    cluster: Cluster | None
    resource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of an operation to be planned; `key` is unique within its operation."""

    key: str
    name: str
    state: str = StepState.PENDING
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


# --- creating and finding ------------------------------------------------------------------------
def create(
    kind: str,
    target: OperationTarget,
    *,
    requested_by: str,
    parameters: Mapping[str, Any] | None = None,
    exclusive: str = "",
    rights: Mapping[str, Any] | None = None,
) -> Operation:
    """A new pending row; nothing runs until it is enqueued.

    `rights` are {"credential","acts"} that workers check; without, those of the present request.
    At most one active operation has the same `exclusive` key: Conflict otherwise, with the id of
    the active one as `operation_id` in its details.
    """
    row = Operation(
        kind=kind,
        queue=settings.OPERATIONS[kind]["queue"],
        cluster=target.cluster,
        resource=target.resource,
        namespace=target.namespace,
        name=target.name,
        requested_by=requested_by,
        authority=(_authority(requested_by, target.cluster) if rights is None else dict(rights)),
        parameters=dict(parameters or {}),
        trace=tracing.current(),
        exclusive=exclusive,
        due_at=_due(),
    )
    # A savepoint: the caller's transaction survives a violation of the unique constraint.
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        active = Operation.objects.filter(exclusive=exclusive, state__in=Operation.ACTIVE)
        active_id = active.values_list("pk", flat=True).first()
        raise Conflict(
            f"operation {active_id} is already running for this object",
            reason="OperationRunning",
            operation_id=active_id,
        ) from None
    return row


def _authority(requested_by: str, cluster: Cluster | None) -> dict[str, Any]:
    """The requester's credential and allowed acts, which workers check again.

    Empty for operations that the platform starts by itself, even while it serves a user.
    """
    current = authority.snapshot()
    if not current or current["credential"].get("username", "") != requested_by:
        return {}
    acts = []
    for act in current["acts"]:
        # By its id: the cluster may be renamed before the operation runs.
        if act["cluster"] and cluster:
            acts.append({**act, "cluster": str(cluster.pk)})
        else:
            acts.append(dict(act))
    return {**current, "acts": acts}


def _due(seconds: float = 0.0) -> datetime:
    """When an operation that is to run in some seconds counts as lost."""
    return timezone.now() + timedelta(seconds=seconds + settings.OPERATION_STALE_SECONDS)


def find(reference: object) -> Operation:
    """An operation by id, with its steps; NotFound when there is none."""
    text = str(reference)
    # No bigint has more digits, and PostgreSQL refuses what is no number.
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise NotFound(f"operation {text[:60]!r} does not exist")
    row = Operation.objects.prefetch_related(with_steps()).filter(pk=int(text)).first()
    if row is None:
        raise NotFound(f"operation {text} does not exist")
    return row


def with_steps() -> "Prefetch[str, Any, Any]":
    """What reads the steps of rows along with them, in their order."""
    return Prefetch("steps", queryset=OperationStep.objects.order_by("pk"))


# --- transitions ---------------------------------------------------------------------------------
def start(operation: Operation) -> bool:
    """pending -> running; False when it is not pending, or must wait.

    It waits while its cluster has as many running in that queue as OPERATION_LIMITS allows.
    """
    with transaction.atomic():
        # Two workers that count at the same time would both see a free place.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s, %s)",
                [START_LOCK, operation.cluster_id or 0],
            )
        running = _same_queue(operation).filter(state=State.RUNNING).count()
        # One that is to stop has only to clean up.
        is_limited = operation.cancel_requested_at is None
        if is_limited and running >= settings.OPERATION_LIMITS[operation.queue]:
            return False
        now = timezone.now()
        return _change(
            operation,
            (State.PENDING,),
            state=State.RUNNING,
            started_at=now,
            due_at=_due(),
        )


def _same_queue(operation: Operation) -> QuerySet[Operation]:
    """The operations of the same cluster and queue, itself among them."""
    cluster = Q(cluster=None) if operation.cluster_id is None else Q(cluster=operation.cluster_id)
    return Operation.objects.filter(cluster, queue=operation.queue)


def _change(operation: Operation, expected: Iterable[str], **columns: Any) -> bool:
    """Set the columns if the row is in an expected state; whether it was."""
    # One conditional UPDATE: no race can make an illegal transition.
    changed = Operation.objects.filter(pk=operation.pk, state__in=list(expected)).update(
        updated_at=timezone.now(), **columns
    )
    return changed == 1


def _finish(
    operation: Operation,
    state: str,
    expected: Iterable[str] = (State.RUNNING,),
    **columns: Any,
) -> bool:
    return _change(
        operation,
        expected,
        state=state,
        finished_at=timezone.now(),
        due_at=None,
        **columns,
    )


def succeed(operation: Operation, result: Result) -> bool:
    """running -> succeeded."""
    return _finish(operation, State.SUCCEEDED, result=result)


def keep_result(operation: Operation, result: Result) -> bool:
    """Store the result of an operation that runs; for what is to fail and still has one."""
    return _change(operation, (State.RUNNING,), result=result)


def fail(operation: Operation, error: DomainError) -> bool:
    """running -> failed, saying why."""
    reason = str(error.details.get("reason") or error.code)[:60]
    return _finish(operation, State.FAILED, error=error.message, reason=reason)


def interrupt(
    operation: Operation,
    error: str,
    *,
    reason: str = "interrupted",
) -> bool:
    """pending or running -> interrupted: it cannot go on; its steps show how far it came."""
    return _finish(
        operation,
        State.INTERRUPTED,
        Operation.ACTIVE,
        error=error,
        reason=reason,
    )


def cancel(operation: Operation) -> Operation:
    """Stop it: at once while pending, else before its next step. It may be cancelled twice.

    A pending one that has to clean up stays active until it has: enqueue it then. Conflict when it
    is over already.
    """
    now = timezone.now()
    has_to_clean_up = "clean_up" in settings.OPERATIONS.get(operation.kind, {})
    # Pending first: a worker may start it between the two updates, but never the other way round.
    was_pending = not has_to_clean_up and _finish(
        operation,
        State.CANCELLED,
        (State.PENDING,),
        cancel_requested_at=now,
        reason="cancelled",
    )
    if not was_pending:
        states = Operation.ACTIVE if has_to_clean_up else (State.RUNNING,)
        active = Operation.objects.filter(pk=operation.pk, state__in=states)
        if not active.update(cancel_requested_at=now, updated_at=now):
            raise Conflict(
                f"operation {operation.pk} is {find(operation.pk).state} already",
                reason="OperationOver",
            )
    return find(operation.pk)


def finish_cancelled(operation: Operation) -> bool:
    """running -> cancelled, with every open step."""
    OperationStep.objects.filter(operation=operation, state__in=OperationStep.OPEN).update(
        state=StepState.CANCELLED, updated_at=timezone.now()
    )
    return _finish(operation, State.CANCELLED, reason="cancelled")


# --- progress ------------------------------------------------------------------------------------
def heartbeat(operation: Operation) -> None:
    """Record that the worker is alive, so that no other worker takes the operation over.

    Cancelled when it was asked to stop or is no longer running; Forbidden when the requester may no
    longer do this.
    """
    running = Operation.objects.filter(
        pk=operation.pk, state=State.RUNNING, cancel_requested_at=None
    )
    if not running.update(due_at=_due()):
        raise Cancelled
    if monotonic() - getattr(operation, RIGHT_CHECKED_AT, -math.inf) >= RIGHT_SECONDS:
        require_right(operation)
        setattr(operation, RIGHT_CHECKED_AT, monotonic())


def require_right(operation: Operation) -> None:
    """Forbidden when the requester, or the API token that they used, may no longer do this.

    A cluster that does not answer takes no right away: the runner will notice it too.
    """
    try:
        authority.require(operation.authority)
    except (Forbidden, Unauthenticated) as error:
        raise Forbidden(
            f"{operation.requested_by} may no longer do this: {error.message}",
            reason="RightLost",
        ) from None
    except ClusterUnavailable:
        return


def plan(operation: Operation, steps: Iterable[Step]) -> None:
    """Add steps; those whose key exists already stay as they are."""
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
    # A run may be repeated after a crash, when some of the steps exist already.
    OperationStep.objects.bulk_create(
        rows,
        ignore_conflicts=True,
        batch_size=BATCH_SIZE,
    )
    _update_progress(operation.pk)


def steps(operation: Operation, *states: str) -> list[OperationStep]:
    """The operation's steps in order, of some states or of all."""
    rows = OperationStep.objects.filter(operation=operation).order_by("pk")
    if states:
        rows = rows.filter(state__in=states)
    return list(rows)


def move(step: OperationStep, state: str, message: str = "", **data: Any) -> bool:
    """Set a step's state and message, and add to its data; False when it is final already."""
    step.state = state
    step.message = message
    step.data = {**step.data, **data}
    # A final step stays final, e.g. one that was cancelled meanwhile.
    open_step = OperationStep.objects.filter(pk=step.pk, state__in=OperationStep.OPEN)
    if not open_step.update(
        state=state, message=message, data=step.data, updated_at=timezone.now()
    ):
        return False
    _update_progress(step.operation_id)
    return True


def _update_progress(pk: int) -> None:
    """Count the steps of an operation into its columns done and total."""
    rows = OperationStep.objects.filter(operation_id=pk)
    done = rows.exclude(state__in=OperationStep.OPEN).count()
    Operation.objects.filter(pk=pk).update(
        done=done,
        total=rows.count(),
        updated_at=timezone.now(),
    )


def advance(operation: Operation, *, done: int, total: int) -> None:
    """Set the progress of an operation whose parts are not steps, e.g. replicas."""
    Operation.objects.filter(pk=operation.pk, state=State.RUNNING).update(
        done=done, total=total, updated_at=timezone.now()
    )


def outage_start(since: str | None, error: ClusterUnavailable) -> str:
    """Since when a cluster does not answer, as RFC 3339 text: `since`, or now.

    Raises the error when that is longer ago than ROLLOUT_DEADLINE_SECONDS.
    """
    now = timezone.now()
    start = datetime.fromisoformat(since) if since else now
    if now - start > timedelta(seconds=settings.ROLLOUT_DEADLINE_SECONDS):
        raise error
    return start.isoformat()


def remember(operation: Operation, **parameters: Any) -> None:
    """Add to the row's parameters what the next run has to know."""
    operation.parameters = {**operation.parameters, **parameters}
    Operation.objects.filter(pk=operation.pk).update(parameters=operation.parameters)


# --- runs (the column `turn` numbers them) -------------------------------------------------------
@contextmanager
def try_lock(operation: Operation) -> Iterator[bool]:
    """Lock the operation for this process without waiting; whether that succeeded.

    The lock belongs to the database session: it is released when the process dies.
    """
    key = RUN_LOCK | operation.pk
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        locked = bool(cursor.fetchone()[0])
    try:
        yield locked
    finally:
        if locked:
            _unlock(key)


def _unlock(key: int) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
    except DatabaseError:
        # A broken session; closing it releases the lock, too.
        connection.close()


def begin_attempt(operation: Operation, turn: int) -> bool:
    """Count an attempt at the run; False when the row is at another run or no longer running."""
    rows = Operation.objects.filter(pk=operation.pk, turn=turn, state=State.RUNNING)
    return rows.update(attempts=F("attempts") + 1, due_at=_due()) == 1


def schedule_next_run(operation: Operation, turn: int, seconds: float) -> bool:
    """Record that the run is complete and the next one is due in some seconds."""
    rows = Operation.objects.filter(pk=operation.pk, turn=turn, state=State.RUNNING)
    return rows.update(turn=turn + 1, attempts=0, due_at=_due(seconds)) == 1


def claim_overdue(limit: int = BATCH_SIZE) -> list[Operation]:
    """Active operations without a heartbeat in time, most overdue first.

    Their worker or their message was lost. They are due later again, so that no other process
    claims them, too.
    """
    with transaction.atomic():
        overdue = Operation.objects.filter(
            state__in=Operation.ACTIVE, due_at__lt=timezone.now()
        ).order_by("due_at")
        # Another process that claims at this moment has its rows locked.
        rows = list(overdue.select_for_update(skip_locked=True)[:limit])
        Operation.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=_due())
    return rows


def pending_in_queue(operation: Operation) -> QuerySet[Operation]:
    """The pending operations that may start once this one has ended, oldest first."""
    return _same_queue(operation).filter(state=State.PENDING).order_by("pk")


def purge() -> int:
    """Delete operations that ended longer than OPERATION_RETENTION_DAYS ago; how many rows."""
    limit = timezone.now() - timedelta(days=settings.OPERATION_RETENTION_DAYS)
    return Operation.objects.filter(finished_at__lt=limit).delete()[0]
