"""Periodic tasks: sample what clusters use, delete old recordings and stale debug pods."""

from celery import group, shared_task

from clusters import registry
from clusters.quiet_failures import log_failure
from workloads.metrics import usage_history
from workloads.streams import debug_pod_gc, recordings


@shared_task(name="workloads.sample_clusters", soft_time_limit=120, time_limit=150)
def sample_clusters() -> None:
    """Start a task for each cluster, and delete samples that have expired."""
    # One task each: a cluster that does not answer delays no other.
    cluster_ids = registry.clusters().values_list("pk", flat=True)
    group(sample_cluster.s(pk) for pk in cluster_ids).apply_async()
    usage_history.delete_expired()


@shared_task(name="workloads.sample_cluster", soft_time_limit=60, time_limit=90)
def sample_cluster(pk: int) -> None:
    """Store what one cluster uses now."""
    if cluster := registry.clusters().filter(pk=pk, status="active").first():
        with log_failure(cluster, "measuring what it uses"):
            usage_history.take_sample(cluster)


@shared_task(name="workloads.forget_recordings")
def forget_recordings() -> int:
    """Delete recordings of terminals older than TERMINAL_RECORDING_DAYS; how many."""
    return recordings.delete_expired()


@shared_task(name="workloads.remove_debug_pods")
def remove_debug_pods() -> None:
    """Start a task for each cluster."""
    # One task each: a cluster that does not answer delays no other.
    cluster_ids = registry.clusters().values_list("pk", flat=True)
    group(remove_cluster_debug_pods.s(pk) for pk in cluster_ids).apply_async()


@shared_task(name="workloads.remove_debug_pods_of", soft_time_limit=60, time_limit=90)
def remove_cluster_debug_pods(pk: int) -> int:
    """Delete debug pods that a killed process left behind; how many.

    A cluster that does not answer is tried again next time.
    """
    cluster = registry.clusters().filter(pk=pk, status="active").first()
    removed = 0
    if cluster:
        with log_failure(cluster, "looking for debug pods"):
            removed = debug_pod_gc.remove_stale_pods(cluster)
    return removed
