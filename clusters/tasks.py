"""Periodic checks of the registered clusters."""

from celery import group, shared_task
from django.conf import settings

from clusters import registry
from clusters.quiet_failures import log_failure


@shared_task(name="clusters.check_clusters")
def check_clusters() -> None:
    """Start one task for each cluster, so that a dead one delays no other."""
    # They expire when the next round starts: a queue that falls behind does not grow.
    group(
        check_cluster.s(pk).set(expires=settings.CLUSTER_CHECK_INTERVAL)
        for pk in registry.clusters().values_list("pk", flat=True)
    ).apply_async()


@shared_task(name="clusters.check_cluster", soft_time_limit=60, time_limit=90)
def check_cluster(pk: int) -> None:
    """Check one cluster's connection and save its status."""
    if cluster := registry.clusters().filter(pk=pk).first():
        with log_failure(cluster, "checking it"):
            registry.check(cluster)
