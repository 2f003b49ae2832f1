"""Does a run: plans once, takes its steps one after the other, undoes them when it has to.

Everything that matters between two turns is in the rows of the operation, so that a worker that is
killed is followed by another one that goes on at the same step.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from automation import context as contexts
from automation import definitions, runs, types
from automation.context import RunContext
from automation.models import Run
from automation.types.base import Again, FinishedStep, Step, TaskType
from clusters import registry
from core.errors import ClusterUnavailable, DomainError, Forbidden, Rejected
from operations import lifecycle, tasks
from operations.lifecycle import RequeueAfter, Result
from operations.models import Operation, OperationStep
from workloads.actions import protection

# How long one turn may go on before it lets other operations run.
TURN_SECONDS = 20.0
MAX_MESSAGE = 4000
# Between two looks of a run that waits for its next attempt or for a cluster.
MAX_PAUSE = 15.0


class _Stop(Exception):
    """The run ends now as failed; its steps say why."""

    def __init__(self, error: DomainError) -> None:
        self.error = error


def run(operation: Operation) -> RequeueAfter | Result:
    """As many steps as fit into a turn; {"run", "state", "message"} at the end.

    Rejected when a step failed; the run has its result then, too.
    """
    row = Run.objects.select_related(
        "task",
        "task__owner",
    ).get(pk=operation.parameters["run"])
    runs.begin(row)
    kind = types.find(row.definition["type"])
    context = contexts.of_run(
        row,
        definitions.params_of(row),
        lambda: _beat(operation, row),
    )
    work = _Work(operation, row, kind, context)
    try:
        return work.go_on()
    except _Stop as stop:
        work.keep_result()
        raise stop.error from None


def _beat(operation: Operation, row: Run) -> None:
    lifecycle.heartbeat(operation)
    if _is_late(row):
        raise _Stop(_timeout(row))


def _is_late(row: Run) -> bool:
    limit = timedelta(seconds=row.definition["timeout_seconds"])
    return row.started_at is not None and timezone.now() - row.started_at > limit


def _timeout(row: Run) -> Rejected:
    seconds = row.definition["timeout_seconds"]
    return Rejected(
        f"not finished within its timeout of {seconds} s",
        reason="timeout",
    )


class _Work:
    """One turn of a run."""

    def __init__(
        self,
        operation: Operation,
        row: Run,
        kind: TaskType,
        context: RunContext,
    ) -> None:
        self.operation = operation
        self.row = row
        self.kind = kind
        self.context = context
        self.end = monotonic() + TURN_SECONDS

    def go_on(self) -> RequeueAfter | Result:
        """Plan, take steps, roll back, finish: from where the last turn left off."""
        parameters = self.operation.parameters
        if not parameters.get("planned") and (again := self._plan()):
            return again
        try:
            if not parameters.get("rolling_back") and (again := self._take_steps()):
                return again
        except _Stop as stop:
            # Over its time: what was done is undone all the same, when that was asked for.
            self._close("not done: the run was over its timeout")
            if self.context.on_failure != "rollback":
                raise
            lifecycle.remember(
                self.operation,
                rolling_back=True,
                error=stop.error.message,
            )
        if self._must_roll_back() and (again := self._roll_back()):
            return again
        return self._finish()

    # --- planning ---------------------------------------------------------------------------------
    def _plan(self) -> RequeueAfter | None:
        try:
            self.kind.check(self.context.params)
            steps = plan(self.kind, self.context)
        except ClusterUnavailable as error:
            since = lifecycle.outage_start(
                self.operation.parameters.get("away_since"),
                error,
            )
            lifecycle.remember(self.operation, away_since=since)
            return RequeueAfter(settings.TASK_RETRY_SECONDS)
        with transaction.atomic():
            lifecycle.plan(
                self.operation,
                [_operation_step(place, step) for place, step in enumerate(steps)],
            )
            lifecycle.remember(self.operation, planned=True)
        return None

    # --- steps ------------------------------------------------------------------------------------
    def _take_steps(self) -> RequeueAfter | None:
        waits: list[float] = []
        for step in lifecycle.steps(self.operation, *OperationStep.OPEN):
            _beat(self.operation, self.row)
            if self._must_stop():
                lifecycle.move(step, "skipped", "not done: a step before it failed")
                continue
            pause = self._take(step)
            if pause is not None:
                waits.append(pause)
                if self.context.on_failure != "continue" or not _is_in_trouble(step):
                    # Steps have an order: what comes after waits for this one.
                    break
            if monotonic() > self.end:
                return RequeueAfter(0)
        if waits:
            return RequeueAfter(min(min(waits), MAX_PAUSE))
        return None

    def _must_stop(self) -> bool:
        if self.context.on_failure == "continue":
            return False
        return bool(lifecycle.steps(self.operation, OperationStep.State.FAILED))

    def _take(self, row: OperationStep) -> float | None:
        """Do a step; the seconds after which to go on with it, None when it is over."""
        data = row.data
        until = data.get("not_before")
        if until and (left := (datetime.fromisoformat(until) - timezone.now()).total_seconds()) > 0:
            return max(left, 0.1)
        # `begun` with no outcome: the worker died in the middle of it.
        if data.get("begun") and not self.kind.repeatable:
            return self._fail(
                row,
                Rejected("the worker died while it did this: nobody knows how far it came"),
            )
        lifecycle.move(row, "running", row.message, begun=True, not_before=None)
        try:
            outcome = self.kind.execute(self.context, step_of(row))
        except ClusterUnavailable as error:
            return self._try_later(row, error)
        except Forbidden as error:
            # Rights that are gone end the run, whatever it does about failures.
            lifecycle.move(row, "failed", error.message[:MAX_MESSAGE])
            if error.details.get("reason") == runs.RIGHT_LOST:
                self._close("not done: the owner may not do this any more")
                raise _Stop(error) from None
            return None
        except DomainError as error:
            return self._fail(row, error)
        if isinstance(outcome, Again):
            lifecycle.move(
                row,
                "running",
                outcome.message[:MAX_MESSAGE],
                **{**outcome.data, "begun": False, "away_since": None},
            )
            return outcome.seconds
        if outcome.state == "failed":
            return self._fail(row, Rejected(outcome.message), outcome.data)
        lifecycle.move(
            row,
            outcome.state,
            outcome.message[:MAX_MESSAGE],
            **outcome.data,
        )
        return None

    def _try_later(
        self,
        row: OperationStep,
        error: ClusterUnavailable,
    ) -> float | None:
        """A cluster that is away takes no attempt, until it has been away for too long."""
        try:
            since = lifecycle.outage_start(row.data.get("away_since"), error)
        except ClusterUnavailable:
            return self._fail(row, error)
        if not self.kind.repeatable:
            return self._fail(row, error)
        lifecycle.move(
            row,
            "running",
            error.message[:MAX_MESSAGE],
            away_since=since,
            begun=False,
        )
        return float(settings.TASK_RETRY_SECONDS)

    def _fail(
        self,
        row: OperationStep,
        error: DomainError,
        data: Mapping[str, Any] | None = None,
    ) -> float | None:
        """Another attempt when the task allows one; else the step has failed."""
        tries = int(row.data.get("tries", 0)) + 1
        if tries > int(self.row.definition.get("retries", 0)):
            lifecycle.move(
                row, "failed", error.message[:MAX_MESSAGE], **{**(data or {}), "tries": tries}
            )
            return None
        pause = min(
            settings.TASK_RETRY_SECONDS * 2 ** (tries - 1), settings.TASK_RETRY_LONGEST_SECONDS
        )
        not_before = timezone.now() + timedelta(seconds=pause)
        lifecycle.move(
            row,
            "running",
            f"attempt {tries} failed, again in {pause:g} s: {error.message}"[:MAX_MESSAGE],
            tries=tries,
            begun=False,
            not_before=not_before.isoformat(),
        )
        return float(pause)

    def _close(self, message: str) -> None:
        """End the steps that nobody will take any more."""
        for step in lifecycle.steps(self.operation, *OperationStep.OPEN):
            lifecycle.move(step, "skipped", message)

    # --- undoing ----------------------------------------------------------------------------------
    def _must_roll_back(self) -> bool:
        if self.context.on_failure != "rollback" or not self.kind.supports_rollback:
            return False
        return bool(
            self.operation.parameters.get("rolling_back")
            or lifecycle.steps(self.operation, OperationStep.State.FAILED)
        )

    def _roll_back(self) -> RequeueAfter | None:
        """Undo what was done, last step first."""
        if not self.operation.parameters.get("rolling_back"):
            lifecycle.remember(self.operation, rolling_back=True)
        done = lifecycle.steps(
            self.operation, OperationStep.State.SUCCEEDED, OperationStep.State.FAILED
        )
        for row in reversed(done):
            if row.data.get("rolled_back") is not None or not row.data.get("begun"):
                continue
            lifecycle.heartbeat(self.operation)
            if again := self._undo(row):
                return again
            if monotonic() > self.end:
                return RequeueAfter(0)
        return None

    def _undo(self, row: OperationStep) -> RequeueAfter | None:
        try:
            message = self.kind.rollback(self.context, step_of(row)).message
            is_undone = True
        except ClusterUnavailable as error:
            try:
                since = lifecycle.outage_start(row.data.get("undo_since"), error)
            except ClusterUnavailable:
                message = f"could not be rolled back: {error.message}"
                is_undone = False
            else:
                _note(row, row.message, undo_since=since)
                return RequeueAfter(settings.TASK_RETRY_SECONDS)
        except DomainError as error:
            message = f"could not be rolled back: {error.message}"
            is_undone = False
        _note(row, f"{row.message}; {message}"[:MAX_MESSAGE], rolled_back=is_undone)
        return None

    # --- the end ----------------------------------------------------------------------------------
    def keep_result(self) -> None:
        """Save what the run shows as its result."""
        finished = finished_steps(lifecycle.steps(self.operation))
        result = self.kind.result(self.context, finished)
        Run.objects.filter(pk=self.row.pk).update(result=result)

    def _finish(self) -> Result:
        self.keep_result()
        steps = lifecycle.steps(self.operation)
        if error := self.operation.parameters.get("error"):
            raise Rejected(error, reason="timeout")
        failed = [step for step in steps if step.state == OperationStep.State.FAILED]
        if failed:
            sentences = "; ".join(f"{step.name}: {step.message}" for step in failed)
            text = f"{len(failed)} of {len(steps)} steps failed. {sentences}"
            raise Rejected(text[:MAX_MESSAGE], reason="SomeFailed")
        if not any(step.state == OperationStep.State.SUCCEEDED for step in steps):
            message = steps[0].message if steps else "there is nothing to do"
            return {
                "run": self.row.pk,
                "state": Run.State.SKIPPED,
                "message": message[:MAX_MESSAGE],
            }
        return {"run": self.row.pk, "state": Run.State.SUCCEEDED, "message": ""}


def _is_in_trouble(row: OperationStep) -> bool:
    """Whether a step waits for its next attempt rather than for what it began."""
    return bool(row.data.get("away_since") or row.data.get("not_before"))


def plan(kind: TaskType, context: RunContext) -> list[Step]:
    """The steps of a run, with a failed one for each cluster that could not be asked."""
    steps = kind.plan(context)
    if kind.is_dangerous(context.params) and settings.CONFIRMATION_LEVEL != "off":
        steps = [_without_protected(context, step) for step in steps]
    for pk, message in context.problems.items():
        cluster = registry.find(pk)
        steps.append(
            Step(
                pk,
                "",
                cluster.name,
                "Cluster",
                message,
                key=f"problem/{pk}",
                state="failed",
            )
        )
    return steps


def _without_protected(context: RunContext, step: Step) -> Step:
    """The step; skipped in a protected place that the targets do not name.

    Nobody can confirm anything when a run is due: what the targets name was confirmed when the task
    was saved.
    """
    if step.state != "pending" or step.cluster_id is None:
        return step
    targets = context.targets
    cluster = context.cluster(step.cluster_id)
    reason = ""
    if targets.clusters is None:
        reason = protection.cluster_protection(cluster)
    if not reason and step.namespace not in (targets.namespaces or ()):
        reason = protection.system_protection(step.namespace)
    if not reason:
        return step
    message = f"{reason}: name it in the targets to include it"
    return replace(step, message=message, state="skipped")


def _operation_step(place: int, step: Step) -> lifecycle.Step:
    name = "/".join(part for part in (step.kind, step.namespace, step.name) if part)
    return lifecycle.Step(
        f"{place}/{step.unique_key}"[:600],
        name[:600] or step.message[:600],
        step.state,
        step.message[:MAX_MESSAGE],
        {
            "cluster_id": step.cluster_id,
            "namespace": step.namespace,
            "name": step.name,
            "kind": step.kind,
            "key": step.key,
            "plan": step.message[:MAX_MESSAGE],
            "data": dict(step.data),
        },
    )


# What the runner itself keeps with a step, beside what the type keeps.
_OWN = frozenset(
    {
        "cluster_id",
        "namespace",
        "name",
        "kind",
        "key",
        "plan",
        "data",
        "begun",
        "tries",
        "not_before",
        "away_since",
        "undo_since",
        "rolled_back",
    }
)


def step_of(row: OperationStep) -> Step:
    """The planned step of a row, with what was added to its data since."""
    data: dict[str, Any] = row.data
    added = {name: value for name, value in data.items() if name not in _OWN}
    return Step(
        data["cluster_id"],
        data["namespace"],
        data["name"],
        data["kind"],
        data["plan"],
        {**data["data"], **added},
        data["key"],
        row.state,
    )


def finished_steps(rows: Sequence[OperationStep]) -> list[FinishedStep]:
    """The steps with how they ended."""
    return [FinishedStep(step_of(row), row.state, row.message) for row in rows]


def _note(row: OperationStep, message: str, **data: Any) -> None:
    """Add to a step that is final already."""
    row.message = message
    row.data = {**row.data, **data}
    OperationStep.objects.filter(pk=row.pk).update(
        message=message, data=row.data, updated_at=timezone.now()
    )


def rehearse(kind: TaskType, context: RunContext) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(steps, result) of a dry run: what a run would do now; nothing is changed."""
    steps = plan(kind, context)
    shown = [
        {
            "cluster_id": step.cluster_id,
            "namespace": step.namespace,
            "kind": step.kind,
            "name": step.name,
            "state": step.state,
            "message": step.message,
            "rolled_back": False,
        }
        for step in steps
    ]
    finished = [FinishedStep(step, step.state, step.message) for step in steps]
    return shown, kind.result(context, finished)


def clean_up(operation: Operation) -> None:
    """Stop what the steps of a run that does not succeed have started and wait for."""
    for row in lifecycle.steps(operation):
        child = row.data.get("operation_id")
        if child and row.state not in ("succeeded", "skipped"):
            # One that is over already needs no stopping.
            with suppress(DomainError):
                child_row = lifecycle.cancel(lifecycle.find(child))
                if not child_row.is_final:
                    tasks.enqueue(child_row)
