"""Retention of the audit trail and of expired tokens."""

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from access import audit


@shared_task(name="access.expire_audit")
def expire_audit() -> None:
    """Delete audit entries older than AUDIT_RETENTION_DAYS."""
    audit.expire(days=settings.AUDIT_RETENTION_DAYS)


@shared_task(name="access.forget_expired_tokens")
def forget_expired_tokens() -> None:
    """Delete the rows of refresh tokens that have expired."""
    call_command("flushexpiredtokens")
