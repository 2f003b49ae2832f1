"""Periodic work on alerts: evaluating rules, telling people, forgetting what is long over."""

from celery import shared_task
from django.conf import settings

from alerts import context, evaluation, lifecycle, prometheus
from alerts.notifications import deliveries, dispatch
from core.locks import try_lock


@shared_task(name="alerts.evaluate", soft_time_limit=110, time_limit=120)
def evaluate() -> None:
    """Take turns until no change waits; another worker that is at it already is left alone."""
    if not evaluation.rest() and evaluation.evaluate():
        context.gather_missing(settings.ALERT_CONTEXTS_PER_TURN)


@shared_task(name="alerts.forget_alerts", soft_time_limit=540, time_limit=600)
def forget_alerts() -> None:
    """Delete alerts that were resolved long ago."""
    lifecycle.forget(settings.ALERT_RETENTION_DAYS)


@shared_task(name="alerts.dispatch", soft_time_limit=50, time_limit=60)
def send_notifications() -> None:
    """Write the deliveries of groups that are due, and start one task for each channel with any.

    So a receiver that hangs delays its own channel alone.
    """
    if not dispatch.is_anything_due():
        return
    dispatch.dispatch_due()
    for channel_id in deliveries.due_channels():
        deliver.apply_async((channel_id,), expires=30)


@shared_task(name="alerts.deliver", soft_time_limit=110, time_limit=120)
def deliver(channel_id: int) -> None:
    """Send what is due on one channel; another worker that is at it already is left alone."""
    with try_lock(f"alerts.deliver/{channel_id}") as is_mine:
        if is_mine:
            deliveries.deliver_due(channel_id)


@shared_task(name="alerts.query_prometheus", soft_time_limit=110, time_limit=120)
def query_prometheus() -> None:
    """Start one task for each cluster that promql rules ask, so that a dead one delays no other."""
    for cluster_id in prometheus.asked_clusters():
        query_cluster.apply_async((cluster_id,), expires=30)


@shared_task(name="alerts.query_cluster", soft_time_limit=110, time_limit=120)
def query_cluster(cluster_id: int) -> None:
    """Ask one cluster's Prometheus the queries of all rules over it."""
    with try_lock(f"alerts.query_cluster/{cluster_id}") as is_mine:
        if is_mine:
            prometheus.evaluate_cluster(cluster_id)


@shared_task(name="alerts.forget_deliveries", soft_time_limit=540, time_limit=600)
def forget_deliveries() -> None:
    """Delete deliveries that ended long ago, and groups that nobody is told of any more."""
    deliveries.forget(settings.ALERT_DELIVERY_RETENTION_DAYS)
    dispatch.forget_groups()
