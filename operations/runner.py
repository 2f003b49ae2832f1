"""Runs one step of an operation; returns when to run the next.

An advisory lock of the database keeps two messages for one operation from working at once. The lock
is released when its process dies, so that a run that SIGKILL ended can be repeated at once. Runs
are numbered (the column `turn`) and a message carries its number: delivered again after its run is
complete, it does nothing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django.utils.module_loading import import_string

from clusters import impersonation
from core import tracing
from core.errors import DomainError, Internal, Rejected
from operations import lifecycle
from operations.lifecycle import Cancelled, RequeueAfter, Result
from operations.models import Operation

log = logging.getLogger(__name__)
# Attempts at one run: a worker that dies each time is killed by what it does.
MAX_ATTEMPTS = 5
Runner = Callable[[Operation], RequeueAfter | Result]


@dataclass(frozen=True, slots=True)
class Message:
    """A run to be enqueued: the operation's id, number of the run, queue, seconds to wait."""

    operation: int
    turn: int
    queue: str
    seconds: float = 0.0


def message(operation: Operation, seconds: float = 0.0) -> Message:
    """The message for the operation's current run."""
    return Message(operation.pk, operation.turn, operation.queue, seconds)


def run(pk: int, turn: int) -> list[Message]:
    """Do one run of an operation, unless another worker does it or it is complete.

    Returns the messages to enqueue: the operation's next run, or one that waited for its end.
    """
    row = _read_active(pk, turn)
    if row is None:
        return []
    with lifecycle.try_lock(row) as locked:
        # Read again: the run may have been completed before the lock was ours.
        current = _read_active(pk, turn) if locked else None
        if current is None:
            return []
        return _run_locked(current)


def _read_active(pk: int, turn: int) -> Operation | None:
    rows = Operation.objects.select_related("cluster")
    return rows.filter(pk=pk, turn=turn, state__in=Operation.ACTIVE).first()


def _run_locked(row: Operation) -> list[Message]:
    if row.state == Operation.State.PENDING and not lifecycle.start(row):
        # Its cluster has enough to do: the end of a running operation sends the message again.
        return []
    # `start` changed columns, and a cancel may have.
    row.refresh_from_db()
    again = _call_runner(row) if _begin_attempt(row) else None
    if again is None:
        return [message(pending) for pending in lifecycle.pending_in_queue(row)[:1]]
    lifecycle.schedule_next_run(row, row.turn, again.seconds)
    return [Message(row.pk, row.turn + 1, row.queue, again.seconds)]


def _begin_attempt(row: Operation) -> bool:
    """Count the attempt; False when the operation cannot go on, which ends it."""
    max_duration = timedelta(seconds=settings.OPERATION_MAX_SECONDS)
    if row.cluster is not None and row.cluster.deleted_at is not None:
        lifecycle.interrupt(
            row,
            "the cluster was removed",
            reason="cluster_removed",
        )
    elif row.kind not in settings.OPERATIONS:
        lifecycle.interrupt(
            row,
            f"this version does not know operations of kind {row.kind}",
            reason="unknown_kind",
        )
    elif row.attempts >= MAX_ATTEMPTS:
        _clean_up(row)
        lifecycle.interrupt(
            row,
            f"the worker died {row.attempts} times at this point",
            reason="worker_lost",
        )
    elif row.started_at and timezone.now() - row.started_at > max_duration:
        sentence = f"not finished within {settings.OPERATION_MAX_SECONDS} seconds"
        _clean_up(row)
        lifecycle.fail(row, Rejected(sentence, reason="timeout"))
    else:
        return lifecycle.begin_attempt(row, row.turn)
    return False


def _requester(row: Operation) -> impersonation.Source | None:
    """Who is named to a cluster with impersonation; None for the platform's own operations."""
    user = row.authority.get("credential", {}).get("user")
    if user is not None:
        read_by_id = cast(
            Callable[[int], impersonation.Identity],
            import_string(settings.IDENTITY_OF_ID),
        )
        return lambda: read_by_id(user)
    if not row.requested_by:
        return None
    read_by_name = cast(
        Callable[[str], impersonation.Identity | None],
        import_string(settings.IDENTITY_OF),
    )
    return lambda: read_by_name(row.requested_by)


def _call_runner(row: Operation) -> RequeueAfter | None:
    """The runner's Again; None when the operation has ended, which this records."""
    runner = cast(Runner, import_string(settings.OPERATIONS[row.kind]["run"]))
    try:
        with (
            tracing.resume(f"operation {row.kind}", row.trace),
            impersonation.act_as(_requester(row)),
        ):
            # Asking for the requester's right may ask the cluster, in their name as well.
            lifecycle.heartbeat(row)
            outcome = runner(row)
    except Cancelled:
        _clean_up(row)
        lifecycle.finish_cancelled(row)
    # The row stays active: the run is attempted again.
    except (DatabaseError, SoftTimeLimitExceeded):
        raise
    except DomainError as error:
        _clean_up(row)
        lifecycle.fail(row, error)
    except Exception:
        # An error of ours: its text may hold what the requester must not see.
        log.exception("operation %s (%s) broke", row.pk, row.kind)
        _clean_up(row)
        lifecycle.fail(row, Internal("internal error; the worker's log has the cause"))
    else:
        if isinstance(outcome, RequeueAfter):
            return outcome
        lifecycle.succeed(row, outcome)
    return None


def _clean_up(row: Operation) -> None:
    """Let the kind remove what an operation that does not succeed leaves behind.

    Done before the row ends, so that a worker that dies meanwhile does it again. What cannot be
    removed is logged: the operation ends all the same.
    """
    dotted = settings.OPERATIONS[row.kind].get("clean_up")
    if not dotted:
        return
    clean_up = cast(Callable[[Operation], None], import_string(dotted))
    try:
        with impersonation.act_as(_requester(row)):
            clean_up(row)
    except DomainError as error:
        log.warning("operation %s (%s) left something: %s", row.pk, row.kind, error.message)
