"""How an order ends: its time is over, or it is refunded. Money moves once; what runs is taken away until it is gone."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing import clock
from billing.models import Order, Payment
from billing.services import deployments, ledger, orders, usage, webhooks
from core.errors import Conflict

Service = Order.Service
OPEN = (Service.PENDING, Service.RUNNING)


def expire_due(limit: int = 500) -> int:
    """End every order whose time is over and take away what still runs of ended ones; how many ended. Safe to run anywhere, any time."""
    due = Order.objects.filter(service=Service.RUNNING, expires_at__lte=clock.now()).order_by(
        "expires_at"
    )
    ended = sum(_expire_unless_locked(order) for order in due[:limit])
    deployments.recover()
    deployments.remove_pending()
    return ended


def _expire_unless_locked(order: Order) -> bool:
    try:
        return expire(order)
    except Conflict:
        return False  # somebody holds the order; the next run finds it again


def expire(order: Order) -> bool:
    """Running -> Done, once, however many try; False when its time is not over or somebody else was first."""
    usage.sample_order(order)
    with transaction.atomic():
        order, at = orders.lock(order), clock.now()
        if order.service != Service.RUNNING or order.expires_at is None or order.expires_at > at:
            return False
        orders.change(
            order, at, expected={"service": Service.RUNNING}, service=Service.DONE, closed_at=at
        )
        ledger.charge(order, at)
        ledger.forfeit(order, at)
        deployments.release(order)
        webhooks.emit(order, "service.done", at)
    return True


def settle_if_over(order: Order, at: datetime | None = None) -> Order:
    """The order as it is; when its time is over it is ended first, and what runs is taken away if its cluster answers."""
    if (
        order.service == Service.RUNNING
        and order.expires_at
        and order.expires_at <= (at or clock.now())
    ):
        _expire_unless_locked(order)
        deployments.remove_pending(order)
        return orders.find(order.pk)
    return order


def refund(order: Order, *, by: str, reference: str = "") -> Decimal:
    """Give back what was paid and not used, and end the order; the amount. Conflict when it is unpaid or over.

    A deploy that is under way finds the order over when the cluster has answered, and takes away what it made.
    """
    usage.sample_order(order)
    with transaction.atomic():
        order, at = orders.lock(order, patience_ms=60_000), clock.now()
        if order.status != Order.Status.FILED or order.service not in OPEN:
            raise Conflict(f"an order that is {order.status}, {order.service} cannot be refunded")
        if order.expires_at and order.expires_at <= at:
            raise Conflict("the order has expired; nothing is left to refund")
        ledger.charge(order, at)
        rest = ledger.balance(order)
        payment = Payment.objects.create(
            order=order, amount=-rest, reference=reference[:200], by=by[:150], at=at
        )
        if rest:
            ledger.give_back(order, payment)
        orders.change(
            order, at, expected={"service": order.service}, service=Service.ABORTED, closed_at=at
        )
        deployments.release(order)
        webhooks.emit(order, "order.refunded", at, refunded=str(rest))
    deployments.remove_pending(order)
    return rest
