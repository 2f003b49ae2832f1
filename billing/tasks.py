"""Periodic work on orders: ending them, sampling their use, sending webhooks."""

import logging

from celery import group, shared_task
from kombu.exceptions import OperationalError

from billing.services import expiry, usage, webhooks
from clusters import registry
from clusters.quiet_failures import log_failure
from core.locks import try_lock
from operations import lifecycle
from operations.tasks import enqueue

log = logging.getLogger(__name__)


@shared_task(
    name="billing.expire_orders",
    soft_time_limit=540,
    time_limit=600,
)
def expire_orders() -> None:
    """End orders whose time is over, and remove what still runs of them.

    The next run tries clusters again that did not answer.
    """
    with try_lock("billing.expire_orders") as is_mine:
        if is_mine:
            expiry.expire_due()


@shared_task(name="billing.sample_usage")
def sample_usage() -> None:
    """Start one task for each cluster, so that a dead one delays no other."""
    cluster_ids = registry.clusters().values_list("pk", flat=True)
    group(sample_cluster.s(pk) for pk in cluster_ids).apply_async()


@shared_task(
    name="billing.sample_cluster",
    soft_time_limit=240,
    time_limit=300,
)
def sample_cluster(pk: int) -> None:
    """Sample the pods of orders in one cluster, and delete strays."""
    with try_lock(f"billing.sample_cluster/{pk}") as is_mine:
        cluster = registry.clusters().filter(pk=pk).first() if is_mine else None
        if cluster is not None:
            with log_failure(cluster, "looking at orders"):
                usage.sample_cluster(cluster)
                usage.delete_strays(cluster)


@shared_task(
    name="billing.deliver_webhooks",
    soft_time_limit=240,
    time_limit=300,
)
def deliver_webhooks() -> None:
    """Send the deliveries that are due."""
    webhooks.deliver_due()


def enqueue_rollout_watch(pk: int) -> None:
    """Enqueue the Operation of a deploy, unless it is final or runs already."""
    operation = lifecycle.find(pk)
    if operation.is_final or operation.turn:
        return
    try:
        enqueue(operation)
    except OperationalError:
        # The deploy is done; `resume_operations` enqueues it when the broker is back.
        log.exception("operation %s cannot be enqueued now", pk)
