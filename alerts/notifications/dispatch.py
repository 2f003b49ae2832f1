"""Who is told what, and when: groups that are due become deliveries.

Rows decide: a group's row is locked while its delivery is written, and remembers which alerts its
channel was told of. So a worker that dies loses nothing, and two write one delivery.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from alerts.models import Alert, Delivery, NotificationGroup
from alerts.notifications import deliveries, messages
from alerts.silences import silences_of
from core import clock
from core.database.existence import any_exists

# Alerts of one group that are looked at.
MOST_ALERTS = 5000


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group's alerts as its channel may hear of them now."""

    # Not silenced, not acknowledged, and not of a cluster in maintenance.
    firing: Sequence[Alert]
    # Of these the channel does not know yet that they fire, or that they ended.
    new: Sequence[Alert]
    resolved: Sequence[Alert]
    is_anything_quiet: bool
    # The ids of those that the channel was told of, without alerts that are deleted.
    known: frozenset[int]

    @property
    def changes(self) -> list[datetime]:
        """When what is to be told happened."""
        fired = [alert.fired_at or alert.started_at for alert in self.new]
        ended = [alert.resolved_at or alert.started_at for alert in self.resolved]
        return fired + ended


def dispatch_due(limit: int = 500) -> int:
    """Write the deliveries of groups that are due, at most `limit`; how many were looked at."""
    for count in range(limit):
        if not _dispatch_next():
            return count
    return limit


def _due_groups(now: datetime | Now) -> QuerySet[NotificationGroup]:
    return NotificationGroup.objects.filter(due_at__lte=now, channel__enabled=True)


def is_anything_due() -> bool:
    """Whether a group or a delivery waits for somebody. One statement."""
    return any_exists(_due_groups(Now()), deliveries.due(Now()))


def _dispatch_next() -> bool:
    with transaction.atomic():
        now = clock.now()
        unlocked = (
            _due_groups(now)
            .select_for_update(skip_locked=True, of=("self",))
            .order_by(
                "due_at",
                "pk",
            )
        )
        group = unlocked.select_related("channel", "rule").first()
        if group is None:
            return False
        _dispatch(group, now)
    return True


def _dispatch(
    group: NotificationGroup,
    now: datetime,
) -> None:
    view = _look_at(group, now)
    if view.changes:
        tell_at = _time_to_tell(group, view.changes)
        if now < tell_at:
            group.due_at = tell_at
            group.save(update_fields=["due_at"])
            return
    if view.changes or (view.firing and _repeats_at(group) <= now):
        _write_delivery(group, view, now)
    times = []
    if view.firing:
        times.append(_repeats_at(group))
    if view.is_anything_quiet:
        # A silence may be deleted, a maintenance end: neither knows of groups.
        times.append(now + timedelta(seconds=settings.ALERT_QUIET_RECHECK_SECONDS))
    group.due_at = min(times, default=None)
    group.save(
        update_fields=["due_at", "notified_alerts", "sequence", "notified_at"],
    )


def _look_at(
    group: NotificationGroup,
    now: datetime,
) -> GroupView:
    notified = set(group.notified_alerts)
    which = Q(pk__in=notified)
    if _is_channel_of_rule(group):
        which |= Q(rule=group.rule_id, group_key=group.group_key, state=Alert.State.FIRING)
    rows = (
        Alert.objects.filter(which)
        .select_related("cluster")
        .order_by(
            "started_at",
            "pk",
        )
    )
    alerts = list(rows[:MOST_ALERTS])
    quiet = set(silences_of([alert.pk for alert in alerts], now))
    quiet |= {alert.pk for alert in alerts if alert.cluster and alert.cluster.maintenance}
    acknowledged = {alert.pk for alert in alerts if alert.acked_at is not None}
    audible = [alert for alert in alerts if alert.pk not in quiet]
    firing = [
        alert
        for alert in audible
        if alert.state == Alert.State.FIRING and alert.pk not in acknowledged
    ]
    return GroupView(
        firing=firing,
        new=[alert for alert in firing if alert.pk not in notified],
        resolved=[alert for alert in audible if alert.state == Alert.State.RESOLVED],
        is_anything_quiet=bool(quiet),
        known=frozenset(alert.pk for alert in alerts if alert.pk in notified),
    )


def _is_channel_of_rule(group: NotificationGroup) -> bool:
    """Whether the rule still tells this channel; what it was told of, it hears the end of."""
    if group.rule is None:
        return False
    return group.rule.channels.filter(pk=group.channel_id).exists()


def _time_to_tell(
    group: NotificationGroup,
    changes: Collection[datetime],
) -> datetime:
    """When the changes are told: once they pause, so that a burst is one notification.

    Not later than a few seconds after the first of them, and not at once after another one.
    """
    quiet = max(changes) + timedelta(seconds=settings.ALERT_GROUP_WAIT_SECONDS)
    latest = min(changes) + timedelta(seconds=settings.ALERT_GROUP_WAIT_LONGEST_SECONDS)
    tell_at = min(quiet, latest)
    if group.notified_at is None:
        return tell_at
    interval = timedelta(seconds=settings.ALERT_GROUP_INTERVAL_SECONDS)
    return max(tell_at, group.notified_at + interval)


def _repeats_at(group: NotificationGroup) -> datetime:
    seconds = group.rule.repeat_seconds if group.rule else 0
    last = group.notified_at or datetime.min.replace(tzinfo=UTC)
    return last + timedelta(seconds=seconds)


def _write_delivery(
    group: NotificationGroup,
    view: GroupView,
    now: datetime,
) -> None:
    channel = group.channel
    notification = messages.of_group(
        group,
        view.firing,
        view.resolved,
    )
    language = orjson.loads(channel.config).get(
        "language",
        "en",
    )
    group.sequence += 1
    group.notified_at = now
    ended = {alert.pk for alert in view.resolved}
    group.notified_alerts = sorted((view.known | {alert.pk for alert in view.firing}) - ended)
    Delivery.objects.create(
        channel=channel,
        group=group,
        group_key=group.group_key,
        idempotency_key=f"alert-{group.pk}-{group.sequence}",
        payload=messages.write(channel.kind, channel.name, language, notification),
        due_at=now,
    )


def forget_groups() -> int:
    """Delete groups with nothing to tell for a day; how many."""
    before = clock.now() - timedelta(days=1)
    idle = NotificationGroup.objects.filter(
        due_at=None,
        notified_alerts=[],
        notified_at__lt=before,
    )
    return idle.delete()[0]
