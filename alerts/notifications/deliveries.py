"""Deliveries on their way: sent in order, at the channel's rate, tried again until they arrive."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Now

from alerts.models import Channel, Delivery
from alerts.notifications import messages, senders
from alerts.notifications.config import RULES
from core import clock, outbox
from core.errors import TooManyRequests
from core.times import rfc3339

# Longer than any attempt takes.
LEASE = timedelta(seconds=45)
# A wait before another attempt grows by up to so much of itself.
JITTER = 0.3


def due(now: datetime | Now) -> QuerySet[Delivery]:
    """What waits to be sent; their channels' rates may hold it up."""
    return Delivery.objects.filter(
        state=outbox.State.PENDING,
        due_at__lte=now,
        channel__enabled=True,
    )


def due_channels() -> list[int]:
    """The channels that have something to send now."""
    now = clock.now()
    channels = Channel.objects.filter(pk__in=due(now).values("channel"))
    return [channel.pk for channel in channels if _is_within_rate(channel, now)]


def deliver_due(channel_id: int, limit: int = 100) -> int:
    """Send what is due on one channel, at most `limit`; returns how many were tried."""
    for count in range(limit):
        row = outbox.lease_next(
            _next_of_channel(channel_id),
            "channel",
            lease=LEASE,
            admit=lambda row, at: _take_turn(row.channel_id, at),
        )
        if row is None:
            return count
        # Outside any transaction: the receiver may be slow.
        _attempt(row)
    return limit


def _next_of_channel(channel_id: int) -> QuerySet[Delivery]:
    """What may be sent next: of each group the oldest, since an end must not come first."""
    earlier = Delivery.objects.filter(
        group=OuterRef("group"),
        state=outbox.State.PENDING,
        pk__lt=OuterRef("pk"),
    )
    rows = Delivery.objects.filter(
        channel=channel_id,
        channel__enabled=True,
    )
    return rows.filter(~Exists(earlier))


def _attempt(row: Delivery) -> senders.Outcome:
    outcome = senders.send(
        row.channel.kind,
        orjson.loads(row.channel.config),
        row.payload,
        row.idempotency_key,
    )
    entry = {"at": rfc3339(clock.now()), "status": outcome.status, "error": outcome.problem}
    # A test is tried once.
    waits = () if row.is_test else settings.ALERT_BACKOFF_SECONDS
    outbox.record_outcome(
        row,
        outcome.problem,
        waits,
        jitter=JITTER,
        status=outcome.status,
        log=[*row.log, entry],
    )
    return outcome


# --- the rate of a channel ------------------------------------------------------------------------
def _pace(kind: str) -> tuple[timedelta, int]:
    """(time between two attempts in the long run, how many may come at once).

    Half of the rate at once and half of it over a minute: no minute holds more than the rate.
    """
    burst = RULES[kind].rate // 2
    return timedelta(seconds=60 / burst), burst


def _is_within_rate(channel: Channel, now: datetime) -> bool:
    interval, burst = _pace(channel.kind)
    return channel.paced_until is None or channel.paced_until <= now + interval * (burst - 1)


def _take_turn(channel_id: int, at: datetime) -> bool:
    """Count an attempt of the channel, unless that is more than its rate allows."""
    channel = Channel.objects.get(pk=channel_id)
    interval, burst = _pace(channel.kind)
    ahead = at + interval * (burst - 1)
    # The row's lock makes two workers count one after the other.
    rows = Channel.objects.filter(pk=channel_id).filter(
        Q(paced_until=None) | Q(paced_until__lte=ahead)
    )
    from_now = Greatest(Coalesce(F("paced_until"), at), at)
    return bool(rows.update(paced_until=from_now + interval))


# --- tests and lists ------------------------------------------------------------------------------
def send_test(channel: Channel) -> Delivery:
    """The delivery of a test notification, tried once; TooManyRequests beyond the rate."""
    now = clock.now()
    if not _take_turn(channel.pk, now):
        raise TooManyRequests("this channel has sent too much in the last minute")
    language = orjson.loads(channel.config).get(
        "language",
        "en",
    )
    notification = messages.test_notification(channel, now)
    row = Delivery.objects.create(
        channel=channel,
        idempotency_key=f"alert-test-{uuid4().hex}",
        payload=messages.write(channel.kind, channel.name, language, notification),
        is_test=True,
        attempts=1,
        # If this process dies, a worker makes the attempt.
        due_at=now + LEASE,
    )
    _attempt(row)
    row.refresh_from_db()
    return row


def represent(row: Delivery) -> dict[str, Any]:
    """A delivery as JSON data; never its text."""
    is_pending = row.state == outbox.State.PENDING
    return {
        "id": row.pk,
        "channel_id": row.channel_id,
        "channel": row.channel.name,
        "kind": row.channel.kind,
        "rule_id": row.group.rule_id if row.group else None,
        "group_key": row.group_key,
        "idempotency_key": row.idempotency_key,
        "test": row.is_test,
        "state": row.state,
        "status": row.status,
        "error": "" if row.state == outbox.State.DELIVERED else row.answer,
        "attempts": row.attempts,
        "log": row.log,
        "created_at": rfc3339(row.created_at),
        "next_try": rfc3339(row.due_at) if is_pending else None,
        "finished_at": rfc3339(row.finished_at),
    }


def forget(days: int) -> int:
    """Delete deliveries that ended so long ago; how many."""
    before = clock.now() - timedelta(days=days)
    return Delivery.objects.filter(finished_at__lt=before).delete()[0]
