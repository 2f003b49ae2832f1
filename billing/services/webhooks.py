"""Events of orders for the outside: an outbox row each, signed and retried.

The format is that of Standard Webhooks 1.0.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

import orjson
from django.conf import settings
from django.db import transaction

from billing import clock
from billing.http_client import Outbound, OutboundError
from billing.models import Delivery, Order, Webhook
from clusters.address_policy import check_host
from core.errors import Invalid
from core.times import rfc3339

EVENTS = (
    "order.created",
    "order.paid",
    "order.filed",
    "order.refunded",
    "service.running",
    "service.done",
    "deployment.applied",
    "deployment.ready",
    "deployment.failed",
    "deployment.removed",
)
KEY_PREFIX = "whsec_"
# How long one worker has a delivery for itself.
LEASE = timedelta(minutes=2)


def create(url: str, events: list[str] | None = None) -> tuple[Webhook, str]:
    """(row, its signing key), which is shown once. Invalid for a bad address or event."""
    check(url, events or [])
    key = KEY_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()
    return Webhook.objects.create(
        url=url,
        events=events or [],
        key=key,
    ), key


def check(url: str, events: object) -> None:
    """Invalid for an impossible address or an unknown event.

    The address must be http(s), without credentials, and no literal address that
    WEBHOOK_ADDRESS_POLICY forbids.
    """
    parts = Outbound.parse(url)
    if parts is None:
        raise Invalid(
            "the address must be http:// or https:// with a host and without credentials",
            field="url",
        )
    check_host(parts.host or "", settings.WEBHOOK_ADDRESS_POLICY)
    if not isinstance(events, list) or not all(event in EVENTS for event in events):
        raise Invalid(f"events must be a list of some of {', '.join(EVENTS)}", field="events")


def emit(order: Order, event: str, at: datetime, **data: object) -> None:
    """Write a delivery for each webhook with the event; part of the caller's transaction."""
    for webhook in Webhook.objects.filter(active=True):
        # No events are all events.
        if webhook.events and event not in webhook.events:
            continue
        payload = {
            "type": event,
            "timestamp": rfc3339(at),
            "data": {**order_payload(order), **data},
        }
        Delivery.objects.create(
            webhook=webhook,
            order=order,
            event=event,
            payload=orjson.dumps(payload).decode(),
            created_at=at,
            due_at=at,
        )


def order_payload(order: Order) -> dict[str, object]:
    """The order as webhooks send it; never its secret."""
    return {
        "id": order.id,
        "status": order.status,
        "service": order.service,
        "units": order.units,
        "region": order.region,
        "amount": int(order.amount),
        "amountPaid": int(order.amount_paid),
        "activatedAt": rfc3339(order.activated_at) or "",
        "expiresAt": rfc3339(order.expires_at) or "",
    }


def signature(key: str, *, delivery: str, timestamp: int, payload: bytes) -> str:
    """The `webhook-signature` header: HMAC-SHA256 over id, time and body."""
    signed = f"{delivery}.{timestamp}.".encode() + payload
    mac = hmac.new(base64.b64decode(key.removeprefix(KEY_PREFIX)), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def deliver_due(limit: int = 200) -> int:
    """Send the deliveries that are due, at most `limit`; returns how many were tried."""
    for count in range(limit):
        row = _lease_next()
        if row is None:
            return count
        # Outside any transaction: the receiver may be slow.
        _record_outcome(row, _send(row))
    return limit


def _lease_next() -> Delivery | None:
    """The delivery that has been due the longest, leased: if this process dies, it is due again."""
    with transaction.atomic():
        at = clock.now()
        due = Delivery.objects.filter(
            state=Delivery.State.PENDING,
            due_at__lte=at,
            webhook__active=True,
        ).order_by("due_at")
        # Other workers skip the row instead of waiting for it.
        unlocked = due.select_for_update(skip_locked=True, of=("self",))
        row = unlocked.select_related("webhook").first()
        if row is not None:
            Delivery.objects.filter(pk=row.pk).update(due_at=at + LEASE, attempts=row.attempts + 1)
            row.attempts += 1
    return row


def _send(row: Delivery) -> str:
    """Post the delivery: "" when the receiver accepted it, else the problem in a few words."""
    # The stored bytes are signed and sent, so that every attempt is the same.
    payload = row.payload.encode()
    timestamp = int(clock.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "kubegale-webhooks",
        "webhook-id": row.pk,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(
            row.webhook.key,
            delivery=row.pk,
            timestamp=timestamp,
            payload=payload,
        ),
    }
    try:
        with Outbound(
            policy=settings.WEBHOOK_ADDRESS_POLICY, timeout=settings.WEBHOOK_TIMEOUT
        ) as outbound:
            answer = outbound.request(
                "POST",
                row.webhook.url,
                headers=headers,
                body=payload,
            )
    except OutboundError as error:
        return str(error)[:200]
    return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"


def _record_outcome(row: Delivery, problem: str) -> None:
    at = clock.now()
    waits = settings.WEBHOOK_BACKOFF_SECONDS
    if not problem:
        columns = {"state": Delivery.State.DELIVERED, "finished_at": at, "answer": "delivered"}
    elif row.attempts > len(waits):
        columns = {"state": Delivery.State.FAILED, "finished_at": at, "answer": problem}
    else:
        columns = {"due_at": at + timedelta(seconds=waits[row.attempts - 1]), "answer": problem}
    Delivery.objects.filter(pk=row.pk, state=Delivery.State.PENDING).update(**columns)
