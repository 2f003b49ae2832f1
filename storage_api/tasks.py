"""The hourly maintenance of the store."""

import logging

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from storage_api.models import Alarm, Event
from storage_api.services import metrics, retention

log = logging.getLogger(__name__)


@shared_task(
    name="storage_api.keep_retention",
    soft_time_limit=1800,
    time_limit=1860,
)
def keep_retention() -> None:
    """Create the change log's coming partitions, drop expired ones; expire events and alarms.

    Also correct the kept numbers of objects, should they be wrong.
    """
    now = timezone.now()
    retention.create_partitions(now.date())
    retention.drop_partitions(now.date(), keep_days=settings.STORAGE_CHANGE_DAYS)
    retention.expire(
        Event._meta.db_table,
        time_column="event_time",
        now=now,
        max_days=settings.STORAGE_EVENT_MAX_DAYS,
        max_count=settings.STORAGE_EVENT_MAX_COUNT,
    )
    retention.expire(
        Alarm._meta.db_table,
        time_column="received_time",
        now=now,
        max_days=settings.STORAGE_ALARM_MAX_DAYS,
        max_count=settings.STORAGE_ALARM_MAX_COUNT,
    )
    metrics.expire(now)
    if corrected := retention.correct_counts():
        log.warning("%d kept numbers of objects were wrong, and are corrected", corrected)
