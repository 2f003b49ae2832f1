"""How an order ends: its time is over, or it is refunded.

Money moves once; what runs is removed from the cluster, again and again until it is gone.
"""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.models import Order, Payment
from billing.services import deployments, ledger, orders, usage, webhooks
from core import clock
from core.errors import Conflict

Service = Order.Service
OPEN = (Service.PENDING, Service.RUNNING)


def expire_due(limit: int = 500) -> int:
    """End every order whose time is over, and remove what still runs of ended ones.

    Returns how many ended. Safe to run anywhere, at any time and more than once at the same time.
    """
    due = Order.objects.filter(service=Service.RUNNING, expires_at__lte=clock.now()).order_by(
        "expires_at"
    )
    ended = sum(_expire_unless_locked(order) for order in due[:limit])
    # Deploys of processes that died come first: what they left may have to be removed.
    deployments.recover()
    deployments.remove_pending()
    return ended


def _expire_unless_locked(order: Order) -> bool:
    try:
        return expire(order)
    except Conflict:
        # Another call has locked the order; the next run finds it again.
        return False


def expire(order: Order) -> bool:
    """Running -> Done, once; False when its time is not over or another call was first."""
    # Asks the cluster, so it stands before the transaction that locks the order.
    usage.sample_order(order)
    with transaction.atomic():
        order = orders.lock(order)
        at = clock.now()
        if order.service != Service.RUNNING or order.expires_at is None or order.expires_at > at:
            return False
        orders.change(
            order,
            at,
            expected={"service": Service.RUNNING},
            service=Service.DONE,
            closed_at=at,
        )
        ledger.charge(order, at)
        ledger.forfeit(order, at)
        # Only marked here; removing asks the cluster, after the transaction.
        deployments.release(order)
        webhooks.emit(order, "service.done", at)
    return True


def settle_if_over(order: Order, at: datetime | None = None) -> Order:
    """The order; when its time is over it is ended first.

    What runs is then removed, if its cluster answers.
    """
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
    """Pay back what was paid and not used, and end the order; returns the amount.

    Conflict when it is unpaid or over. A deploy that is under way finds the order ended when the
    cluster has answered, and removes what it created.
    """
    # Asks the cluster, so it stands before the transaction that locks the order.
    usage.sample_order(order)
    with transaction.atomic():
        order = orders.lock(order, patience_ms=60_000)
        at = clock.now()
        if order.status != Order.Status.FILED or order.service not in OPEN:
            raise Conflict(f"an order that is {order.status}, {order.service} cannot be refunded")
        if order.expires_at and order.expires_at <= at:
            raise Conflict("the order has expired; nothing is left to refund")
        ledger.charge(order, at)
        rest = ledger.balance(order)
        payment = Payment.objects.create(
            order=order,
            amount=-rest,
            reference=reference[:200],
            by=by[:150],
            at=at,
        )
        if rest:
            ledger.give_back(order, payment)
        orders.change(
            order,
            at,
            expected={"service": order.service},
            service=Service.ABORTED,
            closed_at=at,
        )
        deployments.release(order)
        webhooks.emit(order, "order.refunded", at, refunded=str(rest))
    deployments.remove_pending(order)
    return rest
