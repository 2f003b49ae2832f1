"""Celery tasks that run operations."""

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from operations import lifecycle, runner
from operations.models import Operation


def enqueue(operation: Operation) -> None:
    """Send the operation to the workers when the transaction commits."""
    transaction.on_commit(lambda: send(runner.message(operation)))


def send(message: runner.Message) -> None:
    """Put one run on its queue."""
    run_operation.apply_async(
        (message.operation, message.turn),
        queue=message.queue,
        countdown=message.seconds,
    )


@shared_task(name="operations.run_operation", soft_time_limit=240, time_limit=300)
def run_operation(pk: int, turn: int) -> None:
    """Do one run of an operation, then send the next; delivered twice it works once."""
    try:
        messages = runner.run(pk, turn)
    except SoftTimeLimitExceeded:
        # Runners are idempotent: the same run is done again.
        messages = [runner.message(row) for row in Operation.objects.filter(pk=pk, turn=turn)]
    for message in messages:
        send(message)


@shared_task(name="operations.resume_operations", soft_time_limit=60, time_limit=90)
def resume_operations() -> None:
    """Send every operation again whose worker or message was lost.

    A run that is in fact still going is not disturbed: it has the operation's lock.
    """
    for row in lifecycle.claim_overdue():
        send(runner.message(row))


@shared_task(
    name="operations.purge_operations",
    soft_time_limit=600,
    time_limit=660,
)
def purge_operations() -> None:
    """Delete old operations."""
    lifecycle.purge()
