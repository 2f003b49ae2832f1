"""Periodic looks at the registered clusters, and the turns of operations."""

from celery import group, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction

from clusters import operations, registry, turns
from clusters.models import Operation
from clusters.quiet_failures import attempt


@shared_task(name="clusters.check_clusters")
def check_clusters() -> None:
    """One task a cluster, so that a dead one delays nobody."""
    group(
        check_cluster.s(pk).set(expires=settings.CLUSTER_CHECK_INTERVAL)
        for pk in registry.clusters().values_list("pk", flat=True)
    ).apply_async()


@shared_task(name="clusters.check_cluster", soft_time_limit=60, time_limit=90)
def check_cluster(pk: int) -> None:
    """Note what one cluster's API server answers."""
    if cluster := registry.clusters().filter(pk=pk).first():
        with attempt(cluster, "checking it"):
            registry.check(cluster)


def enqueue(operation: Operation) -> None:
    """Send the operation to the workers when the transaction commits."""
    transaction.on_commit(lambda: send(turns.message(operation)))


def send(message: turns.Message) -> None:
    """Put one turn on its queue."""
    run_operation.apply_async(
        (message.operation, message.turn), queue=message.queue, countdown=message.seconds
    )


@shared_task(name="clusters.run_operation", soft_time_limit=240, time_limit=300)
def run_operation(pk: int, turn: int) -> None:
    """One turn of an operation, then the message for the next; delivered twice it works once."""
    try:
        messages = turns.run(pk, turn)
    except SoftTimeLimitExceeded:
        messages = [turns.message(row) for row in Operation.objects.filter(pk=pk, turn=turn)]
    for message in messages:
        send(message)


@shared_task(name="clusters.resume_operations", soft_time_limit=60, time_limit=90)
def resume_operations() -> None:
    """Send every operation again whose worker or message was lost; a turn that still runs is not disturbed."""
    for row in operations.claim_overdue():
        send(turns.message(row))


@shared_task(name="clusters.purge_operations", soft_time_limit=600, time_limit=660)
def purge_operations() -> None:
    """Forget old operations."""
    operations.purge()
