"""What the clock does: old audit lines go, spent sign-ins are forgotten."""

from celery import group, shared_task
from django.conf import settings
from django.core.management import call_command

from clusters import registry
from clusters.quiet_failures import attempt
from tenants import audit, plans


@shared_task(name="tenants.expire_audit")
def expire_audit() -> None:
    """Delete audit entries older than AUDIT_RETENTION_DAYS."""
    audit.expire(days=settings.AUDIT_RETENTION_DAYS)


@shared_task(name="tenants.forget_expired_tokens")
def forget_expired_tokens() -> None:
    """Rows of refresh tokens that have run out say nothing any more."""
    call_command("flushexpiredtokens")


@shared_task(name="tenants.sample_usage", soft_time_limit=240, time_limit=300)
def sample_usage() -> None:
    """One task a cluster, so that a dead one delays nobody; and drop old notes."""
    group(sample_cluster.s(pk) for pk in plans.clusters_with_tenants()).apply_async()
    plans.expire_samples(days=settings.TENANT_USAGE_RETENTION_DAYS)


@shared_task(name="tenants.sample_cluster", soft_time_limit=120, time_limit=150)
def sample_cluster(pk: int) -> None:
    """Note what one cluster's tenants use of their quotas."""
    if cluster := registry.clusters().filter(pk=pk).first():
        with attempt(cluster, "looking at what its tenants use"):
            plans.sample(cluster, cluster.tenants.all())
