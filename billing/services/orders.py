"""Buying: orders, payments, secrets, and finding an order by its secret."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import OperationalError, connection, transaction

from billing import clock, credentials, pricing
from billing.models import Order, Payment, Plan
from billing.services import ledger, webhooks
from core.errors import Conflict, Invalid, NotFound, Unauthenticated

Status, Service = Order.Status, Order.Service
DEFAULT_PLAN = "standard"
LONGEST_DURATION = 1_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
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
    order = (
        Order.objects.select_related("plan", "owner").filter(pk=text).first()
        if "\x00" not in text
        else None
    )
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
    """The order as it is now, its row locked to the end of the transaction; Conflict when another holds it for too long."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience_ms}ms"])
            found = (
                Order.objects.select_for_update(of=("self",))
                .select_related("plan")
                .get(pk=order.pk)
            )
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", "") == "55P03":
            raise Conflict(
                "the order is being changed by another call; try again", reason="busy"
            ) from None
        raise
    return found


def find_plan(name: str) -> Plan:
    """A plan on sale; the standard one is made when it is first needed. NotFound or Invalid otherwise."""
    if name == DEFAULT_PLAN:
        plan = Plan.objects.get_or_create(name=name)[0]
    elif (found := Plan.objects.filter(name=name).first()) is None:
        raise NotFound(f"plan {name[:60]!r} does not exist")
    else:
        plan = found
    if not plan.active:
        raise Invalid(f"plan {name[:60]!r} is not on sale", field="plan")
    return plan


# --- buying ---------------------------------------------------------------------------------------
def create(wanted: Wanted, *, owner: AbstractBaseUser | None = None) -> Order:
    """An unpaid order, priced by its plan; Invalid when the plan does not sell that."""
    plan = find_plan(wanted.plan)
    check(wanted, plan)
    at, step = clock.now(), settings.VKUBE_DURATION_SECONDS
    with transaction.atomic():
        order = Order.objects.create(
            plan=plan,
            owner_id=owner.pk if owner else None,
            units=wanted.units,
            duration=wanted.duration,
            step_seconds=step,
            region=wanted.region,
            ports=Order.Ports.RANDOM if wanted.random_ports else Order.Ports.CHOSEN,
            price=plan.price,
            amount=pricing.purchase_price(
                price=plan.price, units=wanted.units, seconds=wanted.duration * step
            ),
            address=wanted.address,
            recipient=settings.VKUBE_RECIPIENT,
            public_key=wanted.public_key,
            created_at=at,
            updated_at=at,
        )
        webhooks.emit(order, "order.created", at)
    return order


def check(wanted: Wanted, plan: Plan) -> None:
    """Invalid when the plan does not sell that."""
    if wanted.units not in plan.units:
        raise Invalid(f"units must be one of {', '.join(map(str, plan.units))}", field="units")
    if not 1 <= wanted.duration <= LONGEST_DURATION:
        raise Invalid(f"duration must be from 1 to {LONGEST_DURATION}", field="duration")
    if plan.regions and wanted.region not in plan.regions:
        raise Invalid(f"region must be one of {', '.join(plan.regions)}", field="region")
    if len(wanted.region) > 63 or len(wanted.address) > 64 or len(wanted.public_key) > 128:
        raise Invalid("region, address or public key is too long")


def pay(
    order: Order, *, by: str, amount: Decimal | None = None, reference: str = ""
) -> tuple[Order, str | None]:
    """(order, its secret): a payment, all that is open unless an amount is given. The last one issues the secret, seen only here."""
    with transaction.atomic():
        order, at = lock(order), clock.now()
        due = order.amount - order.amount_paid
        given = due if amount is None else amount
        if order.status != Status.PENDING or order.closed_at:
            raise Conflict(f"the order is {order.status} already")
        if not given.is_finite() or given != given.to_integral_value() or not 0 < given <= due:
            raise Invalid(f"the amount must be a whole number from 1 to {due}", field="amount")
        payment = Payment.objects.create(
            order=order, amount=given, reference=reference[:200], by=by[:150], at=at
        )
        ledger.receive(order, payment)
        change(
            order, at, expected={"status": Status.PENDING}, amount_paid=order.amount_paid + given
        )
        secret = _issue_secret(order, at) if given == due else None
    return order, secret


def _issue_secret(order: Order, at: datetime) -> str:
    """Pending -> Paid -> Filed, with a secret."""
    change(order, at, expected={"status": Status.PENDING}, status=Status.PAID)
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
    """A conditional update: Conflict unless the row still is as expected. Every change refreshes updated_at."""
    columns["updated_at"] = at
    if Order.objects.filter(pk=order.pk, **expected).update(**columns) != 1:
        raise Conflict("the order has changed meanwhile; try again")
    for name, value in columns.items():
        setattr(order, name, value)


def annotate(order: Order, *, owner: AbstractBaseUser | None, address: str) -> None:
    """Change what may change of an order after it was bought."""
    with transaction.atomic():
        order = lock(order)
        change(
            order, clock.now(), expected={}, owner_id=owner.pk if owner else None, address=address
        )


def rotate_secret(order: Order) -> str:
    """A new secret, seen only here; the old one is dead. Conflict while the order is unpaid."""
    with transaction.atomic():
        order, at = lock(order), clock.now()
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
