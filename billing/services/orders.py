"""Orders: buying and paying them, their secrets, and finding an order by its secret."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import OperationalError, connection, transaction

from billing import credentials, pricing
from billing.models import Order, Payment, Plan
from billing.services import ledger, webhooks
from core import clock
from core.errors import Conflict, Invalid, NotFound, Unauthenticated

Status = Order.Status
Service = Order.Service
DEFAULT_PLAN = "standard"
LONGEST_DURATION = 1_000_000


@dataclass(frozen=True, slots=True)
class PurchaseRequest:
    """What a buyer asks for; `duration` is in steps of VKUBE_DURATION_SECONDS."""

    units: int
    duration: int
    region: str = ""
    random_ports: bool = False
    plan: str = DEFAULT_PLAN
    address: str = ""
    public_key: str = ""


# --- finding --------------------------------------------------------------------------------------
def find(reference: object) -> Order:
    """An order by id; NotFound when there is none."""
    text = str(reference)
    order = None
    # PostgreSQL refuses NUL characters in parameters.
    if "\x00" not in text:
        order = Order.objects.select_related("plan", "owner").filter(pk=text).first()
    if order is None:
        raise NotFound(f"order {text[:60]!r} does not exist")
    return order


def find_by_secret(secret: str) -> Order:
    """The order that a secret opens; Unauthenticated otherwise."""
    if credentials.is_plausible(secret):
        candidates = credentials.digests(secret)
        order = Order.objects.select_related("plan").filter(secret_digest__in=candidates).first()
        if order is not None and credentials.matches(order.secret_digest, candidates):
            return order
    raise Unauthenticated("secret invalid")


def lock(order: Order, *, patience_ms: int = 10_000) -> Order:
    """The order as it is now, its row locked to the end of the transaction.

    Conflict when another call has it locked for longer than `patience_ms`.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience_ms}ms"])
            # The order's row alone: its plan is shared by many orders.
            rows = Order.objects.select_for_update(of=("self",)).select_related("plan")
            row = rows.get(pk=order.pk)
            # The caller's further statements wait as long as usual.
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        # lock_not_available
        if getattr(error.__cause__, "pgcode", "") == "55P03":
            raise Conflict(
                "the order is being changed by another call; try again", reason="busy"
            ) from None
        raise
    return row


def find_plan(name: str) -> Plan:
    """A plan on sale; the standard plan is created when it is first needed.

    NotFound for an unknown plan, Invalid for one that is not on sale.
    """
    plan: Plan | None
    if name == DEFAULT_PLAN:
        plan, _ = Plan.objects.get_or_create(name=name)
    else:
        plan = Plan.objects.filter(name=name).first()
    if plan is None:
        raise NotFound(f"plan {name[:60]!r} does not exist")
    if not plan.active:
        raise Invalid(f"plan {name[:60]!r} is not on sale", field="plan")
    return plan


# --- buying ---------------------------------------------------------------------------------------
def create(request: PurchaseRequest, *, owner: AbstractBaseUser | None = None) -> Order:
    """An unpaid order, priced by its plan; Invalid when the plan does not sell that."""
    plan = find_plan(request.plan)
    check(request, plan)
    at = clock.now()
    step_seconds = settings.VKUBE_DURATION_SECONDS
    amount = pricing.purchase_price(
        price=plan.price,
        units=request.units,
        seconds=request.duration * step_seconds,
    )
    with transaction.atomic():
        order = Order.objects.create(
            plan=plan,
            owner_id=owner.pk if owner else None,
            units=request.units,
            duration=request.duration,
            step_seconds=step_seconds,
            region=request.region,
            ports=Order.Ports.RANDOM if request.random_ports else Order.Ports.CHOSEN,
            price=plan.price,
            amount=amount,
            address=request.address,
            recipient=settings.VKUBE_RECIPIENT,
            public_key=request.public_key,
            created_at=at,
            updated_at=at,
        )
        webhooks.emit(order, "order.created", at)
    return order


def check(request: PurchaseRequest, plan: Plan) -> None:
    """Invalid when the plan does not sell that."""
    if request.units not in plan.units:
        raise Invalid(f"units must be one of {', '.join(map(str, plan.units))}", field="units")
    if not 1 <= request.duration <= LONGEST_DURATION:
        raise Invalid(f"duration must be from 1 to {LONGEST_DURATION}", field="duration")
    if plan.regions and request.region not in plan.regions:
        raise Invalid(f"region must be one of {', '.join(plan.regions)}", field="region")
    if len(request.region) > 63 or len(request.address) > 64 or len(request.public_key) > 128:
        raise Invalid("region, address or public key is too long")


def pay(
    order: Order, *, by: str, amount: Decimal | None = None, reference: str = ""
) -> tuple[Order, str | None]:
    """Record a payment: `amount`, or everything that is due. Returns (order, secret).

    The payment that completes the amount issues the secret, which is returned only here; None
    before. Conflict when the order is paid or closed, Invalid for an amount that is not due.
    """
    with transaction.atomic():
        order = lock(order)
        at = clock.now()
        due = order.amount - order.amount_paid
        paid = due if amount is None else amount
        if order.status != Status.PENDING or order.closed_at:
            raise Conflict(f"the order is {order.status} already")
        is_whole = paid.is_finite() and paid == paid.to_integral_value()
        if not is_whole or not 0 < paid <= due:
            raise Invalid(f"the amount must be a whole number from 1 to {due}", field="amount")
        payment = Payment.objects.create(
            order=order,
            amount=paid,
            reference=reference[:200],
            by=by[:150],
            at=at,
        )
        # In the same transaction: money and status never disagree.
        ledger.receive(order, payment)
        change(
            order,
            at,
            expected={"status": Status.PENDING},
            amount_paid=order.amount_paid + paid,
        )
        secret = _issue_secret(order, at) if paid == due else None
    return order, secret


def _issue_secret(order: Order, at: datetime) -> str:
    """Pending -> Paid -> Filed, with a secret."""
    change(
        order,
        at,
        expected={"status": Status.PENDING},
        status=Status.PAID,
    )
    webhooks.emit(order, "order.paid", at)
    secret = credentials.generate()
    digest = credentials.digest(secret)
    change(
        order,
        at,
        expected={"status": Status.PAID},
        status=Status.FILED,
        secret_digest=digest,
        secret_issued_at=at,
    )
    webhooks.emit(order, "order.filed", at)
    return secret


def change(order: Order, at: datetime, *, expected: dict[str, object], **columns: object) -> None:
    """Update columns and updated_at; Conflict unless the row still is as `expected`."""
    columns["updated_at"] = at
    # The update itself compares: no other transaction can change the row in between.
    if Order.objects.filter(pk=order.pk, **expected).update(**columns) != 1:
        raise Conflict("the order has changed meanwhile; try again")
    for name, value in columns.items():
        setattr(order, name, value)


def annotate(order: Order, *, owner: AbstractBaseUser | None, address: str) -> None:
    """Change owner and address, which is all that may change after the purchase."""
    with transaction.atomic():
        order = lock(order)
        change(
            order,
            clock.now(),
            expected={},
            owner_id=owner.pk if owner else None,
            address=address,
        )


def rotate_secret(order: Order) -> str:
    """A new secret, returned only here; the old one is void. Conflict while the order is unpaid."""
    with transaction.atomic():
        order = lock(order)
        at = clock.now()
        if order.status != Status.FILED:
            raise Conflict("the order is not paid: it has no secret yet")
        secret = credentials.generate()
        change(
            order,
            at,
            expected={"status": Status.FILED},
            secret_digest=credentials.digest(secret),
            secret_issued_at=at,
        )
    return secret
