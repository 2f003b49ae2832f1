"""Periodic looks at what clusters use."""

from celery import group, shared_task

from clusters import services as registry
from workloads import samples


@shared_task(name="workloads.sample_clusters", soft_time_limit=120, time_limit=150)
def sample_clusters() -> None:
    """One task a cluster, so that a dead one delays nobody; and forget what is old."""
    group(sample_cluster.s(pk) for pk in registry.clusters().values_list("pk", flat=True)).apply_async()
    samples.forget()


@shared_task(name="workloads.sample_cluster", soft_time_limit=60, time_limit=90)
def sample_cluster(pk: int) -> None:
    """Note what one cluster uses."""
    if cluster := registry.clusters().filter(pk=pk, status="active").first():
        samples.take(cluster)
