"""The clock of tasks: what is due is started, what has ended is told."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from automation import runs, triggers


@shared_task(name="automation.tick", soft_time_limit=50, time_limit=60)
def tick() -> None:
    """Make the runs that are due, start those that waited, end those whose operation has ended.

    Any number of workers may do this at once.
    """
    now = timezone.now()
    if not runs.is_anything_due(now):
        return
    runs.settle_all()
    runs.make_due(now)
    triggers.start_triggered()
    runs.start_waiting()


@shared_task(name="automation.forget_runs", soft_time_limit=540, time_limit=600)
def forget_runs() -> None:
    """Delete runs that ended long ago, and end those that nobody approves."""
    runs.expire_approvals()
    runs.forget(settings.TASK_RUN_RETENTION_DAYS)
