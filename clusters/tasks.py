"""Periodic looks at the registered clusters."""

from celery import group, shared_task

from clusters import services


@shared_task(name="clusters.check_clusters")
def check_clusters() -> None:
    """One task a cluster, so that a dead one delays nobody."""
    group(check_cluster.s(pk) for pk in services.clusters().values_list("pk", flat=True)).apply_async()


@shared_task(name="clusters.check_cluster", soft_time_limit=60, time_limit=90)
def check_cluster(pk: int) -> None:
    """Note what one cluster's API server answers."""
    if cluster := services.clusters().filter(pk=pk).first():
        services.check(cluster)
