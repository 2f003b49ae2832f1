"""The life of runs: which are due, one for each moment, waiting, starting, ending.

Rows decide, never memory: a task's row is locked while runs of it are made, a moment's run is
unique, and a run ends by one conditional UPDATE. So any number of beats, workers and web processes
may call these functions at once.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from alerts.models import TaskTrigger
from automation import notifications, schedules
from automation.models import Run, Task
from automation.run_answers import represent_steps
from clusters.models import Cluster
from core.database.existence import any_exists
from core.errors import Conflict, NotFound
from core.times import rfc3339
from operations import lifecycle, tasks
from operations.lifecycle import OperationTarget
from operations.models import Operation, OperationStep

KIND = "task"
# What the policy knows a run's operation as.
RESOURCE = "taskruns"
RIGHT_LOST = "RightLost"
State = Run.State
# The state of a run whose operation has ended.
_ENDS: Mapping[str, str] = {
    Operation.State.SUCCEEDED: State.SUCCEEDED,
    Operation.State.FAILED: State.FAILED,
    Operation.State.CANCELLED: State.CANCELLED,
    Operation.State.INTERRUPTED: State.INTERRUPTED,
}


# --- finding --------------------------------------------------------------------------------------
def find(pk: object) -> Run:
    """The run by id, as it is now; NotFound."""
    text = str(pk)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    row = rows().filter(pk=number).first()
    if row is None:
        raise NotFound("there is no such run")
    return current(row)


def rows() -> QuerySet[Run]:
    """Runs with what `represent` shows of them."""
    steps = Prefetch(
        "operation__steps",
        queryset=OperationStep.objects.order_by("pk"),
    )
    related = ("task", "task__owner", "operation", "requested_by", "decided_by")
    return Run.objects.select_related(*related).prefetch_related(steps)


def current(run: Run) -> Run:
    """The run, ended when its operation has ended and nobody has noted that yet."""
    if run.state in Run.ACTIVE and run.operation is not None and run.operation.is_final:
        settle(run)
        return rows().get(pk=run.pk)
    return run


def covers(
    clusters: Mapping[int, frozenset[str] | None] | None,
    targets: Mapping[str, Any],
) -> bool:
    """Whether all places of these targets are inside; `clusters` None is everything.

    A cluster's None is all of its namespaces.
    """
    if clusters is None:
        return True
    chosen = targets.get("clusters") or []
    if not chosen or not set(chosen) <= clusters.keys():
        return False
    namespaces = set(targets.get("namespaces") or [])
    visible = [clusters[pk] for pk in chosen]
    return all(places is None or (bool(namespaces) and namespaces <= places) for places in visible)


# --- making ---------------------------------------------------------------------------------------
def create(
    task: Task,
    trigger: str,
    *,
    scheduled_at: datetime | None = None,
    requested_by: User | None = None,
    token: int | None = None,
    alert: int | None = None,
    retry_of: Run | None = None,
) -> Run:
    """A run of the task, waiting for approval or on its way.

    While another one goes on, `concurrency` decides: it is recorded as skipped, or the other one is
    asked to stop and this one begins when it has. IntegrityError when the moment has its run.
    """
    with transaction.atomic():
        # Of two runs that are made at once, the second sees the first.
        Task.objects.select_for_update(of=("self",)).get(pk=task.pk)
        going = list(_going_on(task))
        run = _build(task, trigger, scheduled_at or timezone.now())
        run.requested_by = requested_by
        run.token = token
        run.alert = alert
        run.retry_of = retry_of
        if going and task.concurrency == Task.Concurrency.FORBID:
            run.state = State.SKIPPED
            run.reason = "Forbidden"
            run.message = f"run {going[0].pk} still goes on, and concurrency is forbid"
            run.finished_at = timezone.now()
        elif task.approval:
            run.state = State.WAITING_APPROVAL
        run.save(force_insert=True)
        if going and task.concurrency == Task.Concurrency.REPLACE:
            for other in going:
                # One that has just ended needs no stopping.
                with suppress(Conflict):
                    cancel(other, f"replaced by run {run.pk}")
        if run.state == State.PENDING:
            start(run)
        else:
            notifications.announce(run)
    return run


def _build(task: Task, trigger: str, scheduled_at: datetime) -> Run:
    return Run(
        task=task,
        trigger=trigger,
        scheduled_at=scheduled_at,
        params=task.params,
        definition={
            "name": task.name,
            "type": task.type,
            "targets": task.targets,
            "on_failure": task.on_failure,
            "retries": task.retries,
            "timeout_seconds": task.timeout_seconds,
            "approval": task.approval,
            # Whose rights it has: who changes the task meanwhile owns the runs after this one.
            "credential": task.credential,
        },
    )


def _going_on(task: Task) -> QuerySet[Run]:
    return Run.objects.filter(
        task=task,
        state__in=Run.OPEN,
        dry_run=False,
    ).order_by("pk")


def keep_plan(
    task: Task,
    requested_by: User | None,
    steps: list[dict[str, Any]],
    result: Mapping[str, Any],
) -> Run:
    """A dry run as a row that is over already."""
    now = timezone.now()
    run = _build(task, Run.Trigger.MANUAL, now)
    run.dry_run = True
    run.requested_by = requested_by
    run.state = State.SUCCEEDED if steps else State.SKIPPED
    run.message = "" if steps else "there is nothing to do"
    run.steps = steps
    run.result = dict(result)
    run.started_at = now
    run.finished_at = timezone.now()
    run.save(force_insert=True)
    return run


# --- starting -------------------------------------------------------------------------------------
def start(run: Run) -> bool:
    """Make the run's operation, unless an earlier run still goes on; whether it was made."""
    with transaction.atomic():
        # Two callers that start the same run would make two operations of it.
        Task.objects.select_for_update(of=("self",)).get(pk=run.task_id)
        waiting = Run.objects.filter(pk=run.pk, state=State.PENDING, operation=None)
        task = run.task
        earlier = Run.objects.filter(task=task, state__in=Run.ACTIVE, pk__lt=run.pk)
        is_alone = task.concurrency == Task.Concurrency.ALLOW or not earlier.exists()
        if not (waiting.exists() and is_alone):
            return False
        run.operation = _operation(run)
        waiting.update(operation=run.operation)
        tasks.enqueue(run.operation)
    return True


def _operation(run: Run) -> Operation:
    task = run.task
    clusters = run.definition["targets"].get("clusters") or []
    namespaces = run.definition["targets"].get("namespaces") or []
    cluster = Cluster.objects.filter(pk__in=clusters).first() if len(clusters) == 1 else None
    return lifecycle.create(
        KIND,
        OperationTarget(
            cluster,
            RESOURCE,
            namespaces[0] if len(namespaces) == 1 else "",
            task.name,
        ),
        requested_by=run.owner_name,
        parameters={"run": run.pk, "task": task.pk},
        # Not the rights of who asked for the run: those of the owner, with the token of the task.
        rights={"credential": run.credential, "acts": []},
    )


def begin(run: Run) -> None:
    """pending -> running."""
    now = timezone.now()
    Run.objects.filter(pk=run.pk, state=State.PENDING).update(
        state=State.RUNNING,
        started_at=now,
    )
    run.refresh_from_db(fields=["state", "started_at"])


def _waiting() -> QuerySet[Run]:
    return Run.objects.filter(state=State.PENDING, operation=None)


def start_waiting() -> None:
    """Start the runs that waited for an earlier one to end."""
    for run in _waiting().select_related("task", "task__owner"):
        start(run)


# --- ending ---------------------------------------------------------------------------------------
def settle(run: Run) -> bool:
    """Take over how the run's operation ended; whether this call did.

    A task whose owner may not do it any more is stopped.
    """
    operation = run.operation
    if operation is None or not operation.is_final:
        return False
    state = _ENDS[operation.state]
    result = operation.result or {}
    if state == State.SUCCEEDED and result.get("state") in State.values:
        state = result["state"]
    # Why it was stopped stands there already.
    noted = Run.objects.filter(pk=run.pk).values_list("message", flat=True).first()
    message = operation.error or str(result.get("message") or "") or noted or ""
    steps = represent_steps(operation.steps.order_by("pk"))
    with transaction.atomic():
        if not _finish(
            run,
            Run.ACTIVE,
            state,
            message=message,
            reason=operation.reason,
            steps=steps,
        ):
            return False
        # Of a run from before somebody took the task over, it says nothing about the task.
        if operation.reason == RIGHT_LOST and run.owner_id == run.task.owner_id:
            stop_task(run.task, message)
    return True


def _ended() -> QuerySet[Run]:
    active = Run.objects.filter(state__in=Run.ACTIVE)
    return active.exclude(operation__state__in=Operation.ACTIVE)


def settle_all() -> None:
    """End every run whose operation has ended, or is gone."""
    for run in _ended().select_related("task", "task__owner", "operation"):
        settle(run)


def _finish(run: Run, expected: Iterable[str], state: str, **columns: Any) -> bool:
    """End the run if it is in an expected state, and tell its channels; whether it was."""
    # One conditional UPDATE: of two processes that end a run, one tells of it.
    changed = Run.objects.filter(pk=run.pk, state__in=list(expected)).update(
        state=state, finished_at=timezone.now(), **columns
    )
    if not changed:
        return False
    run.refresh_from_db()
    notifications.announce(run)
    return True


def stop_task(task: Task, reason: str) -> None:
    """No more runs by themselves, until somebody saves the task again."""
    Task.objects.filter(pk=task.pk, stopped_reason="").update(
        stopped_reason=reason[:300], next_run_at=None
    )


def cancel(run: Run, message: str = "") -> Run:
    """Stop a run: at once while it waits, else before its next step; Conflict when it is over."""
    with transaction.atomic():
        waits = (State.WAITING_APPROVAL, State.PENDING)
        rows_waiting = Run.objects.select_for_update(of=("self",)).filter(
            pk=run.pk, state__in=waits, operation=None
        )
        if rows_waiting.exists():
            _finish(run, waits, State.CANCELLED, message=message or "cancelled")
            return find(run.pk)
    run = find(run.pk)
    if run.is_over or run.operation is None:
        raise Conflict(f"run {run.pk} is {run.state} already", reason="RunOver")
    Run.objects.filter(pk=run.pk).update(message=message)
    _cancel_operation(run.operation)
    return find(run.pk)


def _cancel_operation(operation: Operation) -> None:
    operation = lifecycle.cancel(operation)
    if operation.state == Operation.State.PENDING:
        # It has to clean up, which waits for nothing.
        tasks.enqueue(operation)


def cancel_open(task: Task) -> None:
    """Stop every run of a task that is being deleted."""
    for run in Run.objects.filter(task=task, state__in=Run.OPEN):
        if run.operation is not None and not run.operation.is_final:
            _cancel_operation(run.operation)


def decide(
    run: Run,
    by: User,
    *,
    approved: bool,
    comment: str,
) -> Run:
    """Approve or reject a run that waits for it; Conflict when it does not."""
    with transaction.atomic():
        noted = Run.objects.filter(pk=run.pk, state=State.WAITING_APPROVAL).update(
            decided_by=by, decided_at=timezone.now(), comment=comment
        )
        if not noted:
            raise Conflict(
                f"run {run.pk} is {find(run.pk).state} already",
                reason="NotWaiting",
            )
        if approved:
            Run.objects.filter(pk=run.pk).update(state=State.PENDING)
            run.refresh_from_db()
            start(run)
        else:
            _finish(
                run,
                (State.WAITING_APPROVAL,),
                State.CANCELLED,
                message=f"rejected by {by.get_username()}",
                reason="Rejected",
            )
    return find(run.pk)


def expire_approvals() -> None:
    """End the runs that nobody has approved for too long."""
    limit = timezone.now() - timedelta(days=settings.TASK_APPROVAL_DAYS)
    waiting = Run.objects.filter(state=State.WAITING_APPROVAL, created_at__lt=limit)
    for run in waiting.select_related("task", "task__owner"):
        _finish(
            run,
            (State.WAITING_APPROVAL,),
            State.SKIPPED,
            message=f"nobody approved it within {settings.TASK_APPROVAL_DAYS} days",
            reason="NotApproved",
        )


# --- the clock ------------------------------------------------------------------------------------
def plan_next(task: Task, now: datetime) -> datetime | None:
    """When the task is due next; None when it does not run by itself."""
    if not task.enabled or task.stopped_reason:
        return None
    return schedules.next_after(task.schedule, now)


def _due_tasks(now: datetime) -> QuerySet[Task]:
    return Task.objects.filter(enabled=True, stopped_reason="", next_run_at__lte=now)


def is_anything_due(now: datetime) -> bool:
    """Whether the clock has anything to do: start, end, or begin for an alert. One statement."""
    return any_exists(_ended(), _due_tasks(now), TaskTrigger.objects.all(), _waiting())


def make_due(now: datetime, limit: int = 500) -> int:
    """A run for each task that is due; how many were looked at.

    What was missed while nothing ran is one run: of its latest moment, when that is not longer ago
    than the task's deadline, and else one that says that it was skipped.
    """
    count = 0
    while count < limit:
        with transaction.atomic():
            due = _due_tasks(now).select_for_update(skip_locked=True, of=("self",))
            task = due.select_related("owner").order_by("next_run_at", "pk").first()
            if task is None:
                return count
            _make_due(task, now)
        count += 1
    return count


def _make_due(task: Task, now: datetime) -> None:
    due = task.next_run_at
    assert due is not None  # noqa: S101  # the query asks for it
    moment = schedules.last_until(task.schedule, due, now)
    task.next_run_at = schedules.next_after(task.schedule, now)
    task.save(update_fields=["next_run_at"])
    try:
        # A savepoint: a moment that has its run already costs nothing else.
        with transaction.atomic():
            if not task.owner.is_active:
                reason = f"its owner {task.owner.get_username()} is switched off"
                _record(task, moment, State.FAILED, reason, RIGHT_LOST)
                stop_task(task, reason)
            elif now - moment > timedelta(seconds=task.deadline_seconds):
                message = (
                    f"missed: it was due at {rfc3339(moment)} and found at {rfc3339(now)}, "
                    f"later than its deadline of {task.deadline_seconds} s allows"
                )
                _record(task, moment, State.SKIPPED, message, "Missed")
            else:
                create(task, Run.Trigger.SCHEDULE, scheduled_at=moment)
    except IntegrityError:
        return


def _record(
    task: Task,
    moment: datetime,
    state: str,
    message: str,
    reason: str,
) -> None:
    """A run of the schedule that is over before it began."""
    run = _build(task, Run.Trigger.SCHEDULE, moment)
    run.state = state
    run.message = message
    run.reason = reason
    run.finished_at = timezone.now()
    run.save(force_insert=True)
    notifications.announce(run)


def forget(days: int) -> int:
    """Delete runs that ended so long ago; how many rows."""
    limit = timezone.now() - timedelta(days=days)
    return Run.objects.filter(finished_at__lt=limit).exclude(Q(state__in=Run.OPEN)).delete()[0]
