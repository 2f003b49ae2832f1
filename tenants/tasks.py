"""What the clock does: old audit lines go, spent sign-ins are forgotten."""

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

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
    """Note what tenants use of their quotas, and drop old notes."""
    plans.sample_all()
    plans.expire_samples(days=settings.TENANT_USAGE_RETENTION_DAYS)
