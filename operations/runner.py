"""One turn of an operation: take the row where it stands, let its runner do what can be done now, say when to go on.

A turn is held by an advisory lock of the database, so that two messages for one operation never work at once; a lock dies with its
process, so that a turn broken off by SIGKILL can be taken up at once. A message carries the number of its turn: the second delivery
of a completed turn is void.
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
from core.errors import DomainError, Internal, Rejected
from operations import lifecycle
from operations.lifecycle import Again, Cancelled, Result
from operations.models import Operation

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 5
Runner = Callable[[Operation], Again | Result]


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be enqueued: the operation, its turn, its queue and how long to wait (seconds)."""

    operation: int
    turn: int
    queue: str
    seconds: float = 0.0


def message(operation: Operation, seconds: float = 0.0) -> Message:
    """The message for the operation's current turn."""
    return Message(operation.pk, operation.turn, operation.queue, seconds)


def run(pk: int, turn: int) -> list[Message]:
    """Take the turn, unless somebody else has it or it is done; what to enqueue next."""
    row = _current(pk, turn)
    if row is None:
        return []
    with lifecycle.held(row) as mine:
        fresh = _current(pk, turn) if mine else None
        return _take(fresh) if fresh else []


def _current(pk: int, turn: int) -> Operation | None:
    found = Operation.objects.select_related("cluster").filter(
        pk=pk, turn=turn, state__in=Operation.ACTIVE
    )
    return found.first()


def _take(row: Operation) -> list[Message]:
    if row.state == Operation.State.PENDING and not lifecycle.start(row):
        return []
    row.refresh_from_db()
    again = _outcome(row) if _may_go_on(row) else None
    if again is None:
        return [message(other) for other in lifecycle.waiting(row)[:1]]
    lifecycle.end_turn(row, row.turn, again.seconds)
    return [Message(row.pk, row.turn + 1, row.queue, again.seconds)]


def _may_go_on(row: Operation) -> bool:
    """False when the row was ended here instead: its cluster is gone, its kind unknown, its time over or its turn cursed."""
    if row.cluster is not None and row.cluster.deleted_at is not None:
        lifecycle.interrupt(row, "the cluster was removed", reason="cluster_removed")
    elif row.kind not in settings.OPERATIONS:
        lifecycle.interrupt(
            row, f"this version does not know operations of kind {row.kind}", reason="unknown_kind"
        )
    elif row.attempts >= MAX_ATTEMPTS:
        lifecycle.interrupt(
            row, f"the worker died {row.attempts} times at this point", reason="worker_lost"
        )
    elif row.started_at and timezone.now() - row.started_at > timedelta(
        seconds=settings.OPERATION_MAX_SECONDS
    ):
        lifecycle.fail(
            row,
            Rejected(
                f"not finished within {settings.OPERATION_MAX_SECONDS} seconds", reason="timeout"
            ),
        )
    else:
        return lifecycle.begin_turn(row, row.turn)
    return False


def _requester(row: Operation) -> impersonation.Source | None:
    """On whose behalf an operation goes on: its cluster's own RBAC may want to know. The platform's own work is nobody's."""
    if (user := row.authority.get("credential", {}).get("user")) is not None:
        by_id = cast(
            Callable[[int], impersonation.Identity], import_string(settings.IDENTITY_OF_ID)
        )
        return lambda: by_id(user)
    if not row.requested_by:
        return None
    named = cast(
        Callable[[str], impersonation.Identity | None], import_string(settings.IDENTITY_OF)
    )
    return lambda: named(row.requested_by)


def _outcome(row: Operation) -> Again | None:
    """Again, or None when the row is final now."""
    runner = cast(Runner, import_string(settings.OPERATIONS[row.kind]["run"]))
    try:
        lifecycle.alive(row)
        with impersonation.acting(_requester(row)):
            outcome = runner(row)
    except Cancelled:
        lifecycle.cancelled(row)
    except (DatabaseError, SoftTimeLimitExceeded):
        raise
    except DomainError as error:
        lifecycle.fail(row, error)
    except Exception:
        log.exception("operation %s (%s) broke", row.pk, row.kind)
        lifecycle.fail(row, Internal("internal error; the worker's log has the cause"))
    else:
        if isinstance(outcome, Again):
            return outcome
        lifecycle.succeed(row, outcome)
    return None
