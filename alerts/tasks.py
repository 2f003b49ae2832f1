"""Periodic work on alerts: evaluating rules, and forgetting what is long over."""

from celery import shared_task
from django.conf import settings

from alerts import context, evaluation, lifecycle


@shared_task(name="alerts.evaluate", soft_time_limit=110, time_limit=120)
def evaluate() -> None:
    """Take turns until no change waits; another worker that is at it already is left alone."""
    if evaluation.evaluate():
        context.gather_missing(settings.ALERT_CONTEXTS_PER_TURN)


@shared_task(name="alerts.forget_alerts", soft_time_limit=540, time_limit=600)
def forget_alerts() -> None:
    """Delete alerts that were resolved long ago."""
    lifecycle.forget(settings.ALERT_RETENTION_DAYS)
