"""Periodic work on orders: ending them, looking at what they use, telling the outside."""

import logging

from celery import group, shared_task
from kombu.exceptions import OperationalError

from billing.locks import try_lock
from billing.services import expiry, usage, webhooks
from clusters import registry
from clusters.quiet_failures import attempt
from operations import lifecycle
from operations.tasks import enqueue

log = logging.getLogger(__name__)


@shared_task(name="billing.expire_orders", soft_time_limit=540, time_limit=600)
def expire_orders() -> None:
    """End what is over and take away what still runs of it; a cluster that is down is tried again by the next run."""
    with try_lock("billing.expire_orders") as mine:
        if mine:
            expiry.expire_due()


@shared_task(name="billing.sample_usage")
def sample_usage() -> None:
    """One task a cluster, so that a dead one delays nobody."""
    group(
        sample_cluster.s(pk) for pk in registry.clusters().values_list("pk", flat=True)
    ).apply_async()


@shared_task(name="billing.sample_cluster", soft_time_limit=240, time_limit=300)
def sample_cluster(pk: int) -> None:
    """Look at one cluster's pods of orders, and clear away strays."""
    with try_lock(f"billing.sample_cluster/{pk}") as mine:
        if mine and (cluster := registry.clusters().filter(pk=pk).first()):
            with attempt(cluster, "looking at orders"):
                usage.sample_cluster(cluster)
                usage.delete_strays(cluster)


@shared_task(name="billing.deliver_webhooks", soft_time_limit=240, time_limit=300)
def deliver_webhooks() -> None:
    """Send what is due."""
    webhooks.deliver_due()


def enqueue_rollout_watch(pk: int) -> None:
    """Send the Operation of a deploy on its way; one that is over or under way already is left alone."""
    operation = lifecycle.find(pk)
    if operation.is_final or operation.turn:
        return
    try:
        enqueue(operation)
    except OperationalError:
        # The deploy is done; the periodic look for silent operations sends it when the broker is back.
        log.exception("operation %s cannot be enqueued now", pk)
