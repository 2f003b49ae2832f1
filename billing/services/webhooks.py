"""Events of orders for the outside: an outbox row each, signed and retried.

The format is that of Standard Webhooks 1.0.
"""

from datetime import datetime

import orjson
from django.conf import settings

from billing.models import Delivery, Order, Webhook
from clusters.outbound import OutboundError, check_url, post_signed, problem_of
from core import outbox, standard_webhooks
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


def create(url: str, events: list[str] | None = None) -> tuple[Webhook, str]:
    """(row, its signing key), which is shown once. Invalid for a bad address or event."""
    check(url, events or [])
    key = standard_webhooks.new_key()
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
    check_url(url, settings.WEBHOOK_ADDRESS_POLICY, field="url")
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


def deliver_due(limit: int = 200) -> int:
    """Send the deliveries that are due, at most `limit`; returns how many were tried."""
    for count in range(limit):
        row = outbox.lease_next(Delivery.objects.filter(webhook__active=True), "webhook")
        if row is None:
            return count
        # Outside any transaction: the receiver may be slow.
        problem = _send(row)
        outbox.record_outcome(row, problem, settings.WEBHOOK_BACKOFF_SECONDS)
    return limit


def _send(row: Delivery) -> str:
    """Post the delivery: "" when the receiver accepted it, else the problem in a few words."""
    try:
        answer = post_signed(
            row.webhook.url,
            # The stored bytes are signed and sent, so that every attempt is the same.
            row.payload.encode(),
            key=row.webhook.key,
            delivery=row.pk,
            policy=settings.WEBHOOK_ADDRESS_POLICY,
            timeout=settings.WEBHOOK_TIMEOUT,
        )
    except OutboundError as error:
        return str(error)[:200]
    return problem_of(answer)
