"""Periodic samples of what tenants use."""

from celery import group, shared_task
from django.conf import settings

from clusters import registry
from clusters.quiet_failures import log_failure
from tenants import plans


@shared_task(
    name="tenants.sample_usage",
    soft_time_limit=240,
    time_limit=300,
)
def sample_usage() -> None:
    """Start one task for each cluster, so that a dead one delays no other; delete old samples."""
    cluster_ids = plans.clusters_with_tenants()
    group(sample_cluster.s(pk) for pk in cluster_ids).apply_async()
    plans.expire_samples(days=settings.TENANT_USAGE_RETENTION_DAYS)


@shared_task(
    name="tenants.sample_cluster",
    soft_time_limit=120,
    time_limit=150,
)
def sample_cluster(pk: int) -> None:
    """Record what the tenants of one cluster use of their quotas."""
    if cluster := registry.clusters().filter(pk=pk).first():
        with log_failure(cluster, "looking at what its tenants use"):
            plans.record_usage(cluster, cluster.tenants.all())
