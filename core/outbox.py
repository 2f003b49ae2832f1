"""Deliveries as rows: leased by one worker, sent outside transactions, tried again with waits.

The rows have `state`, `attempts`, `due_at`, `finished_at` and `answer`.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import models, transaction

from core import clock

Row = TypeVar("Row", bound=models.Model)
# How long one worker has a delivery for itself.
LEASE = timedelta(minutes=2)


class State(models.TextChoices):
    """Pending, delivered, or abandoned."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


def _admit_all(_row: Any, _at: datetime) -> bool:
    return True


def lease_next(
    rows: models.QuerySet[Row],
    *related: str,
    lease: timedelta = LEASE,
    admit: Callable[[Row, datetime], bool] = _admit_all,
) -> Row | None:
    """The delivery of `rows` that has been due the longest, leased for one attempt.

    If this process dies, the row is due again when the lease is over. `related` are the foreign
    keys that are read with it. `admit` has the last word, in the same transaction: None when it
    refuses.
    """
    with transaction.atomic():
        at = clock.now()
        due = rows.filter(state=State.PENDING, due_at__lte=at).order_by(
            "due_at",
        )
        # Other workers skip the row instead of waiting for it.
        unlocked = due.select_for_update(
            skip_locked=True,
            of=("self",),
        )
        row: Any = unlocked.select_related(*related).first()
        if row is None or not admit(row, at):
            return None
        row.attempts += 1
        row.due_at = at + lease
        row.save(update_fields=["attempts", "due_at"])
    return row  # type: ignore[no-any-return]


def record_outcome(
    row: Any,
    problem: str,
    waits: Sequence[float],
    *,
    jitter: float = 0.0,
    **more: Any,
) -> None:
    """Write what came of an attempt: delivered when `problem` is "", else when to try again.

    `waits` are the seconds before each further attempt; after the last one the row has failed. A
    wait grows by up to `jitter` of itself, so that receivers are not called all at once. `more` are
    further columns of the row.
    """
    at = clock.now()
    columns: dict[str, Any]
    if not problem:
        columns = {"state": State.DELIVERED, "finished_at": at, "answer": "delivered"}
    elif row.attempts > len(waits):
        columns = {"state": State.FAILED, "finished_at": at, "answer": problem}
    else:
        stretch = 1 + random.uniform(0, jitter)  # noqa: S311  # no secret
        wait = waits[row.attempts - 1] * stretch
        columns = {"due_at": at + timedelta(seconds=wait), "answer": problem}
    # Another worker may have had the row meanwhile, when this one was slower than its lease.
    type(row).objects.filter(pk=row.pk, state=State.PENDING).update(
        **columns,
        **more,
    )
