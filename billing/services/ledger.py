"""The ledger: double entry, in Decimal, every charge derived from samples and derivable again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, Sum

from billing import pricing
from billing.models import Entry, Order, Payment, Posting, UsageSample

# Accounts; `prepaid` gives that of an order.
CASH = "cash"
REVENUE = "revenue"
FORFEITED = "forfeited"
ZERO = Decimal(0)
Kind = Posting.Kind


def prepaid_account(order: Order) -> str:
    """The account of what an order has paid and not used: owed as service or as a refund."""
    return f"prepaid/{order.pk}"


def balance(order: Order) -> Decimal:
    """What the order has paid and not used."""
    total = Entry.objects.filter(account=prepaid_account(order)).aggregate(total=Sum("amount"))[
        "total"
    ]
    return -(total or ZERO)


def post(
    order: Order,
    kind: str,
    *,
    key: str,
    at: datetime,
    debit: str,
    credit: str,
    amount: Decimal,
    **columns: object,
) -> Posting:
    """Move an amount from the account `credit` to the account `debit`.

    The key is unique, so that nothing is posted twice.
    """
    posting = Posting.objects.create(
        order=order,
        kind=kind,
        key=key,
        at=at,
        **columns,
    )
    Entry.objects.bulk_create(
        [
            Entry(posting=posting, account=debit, amount=amount),
            Entry(posting=posting, account=credit, amount=-amount),
        ]
    )
    return posting


def receive(order: Order, payment: Payment) -> Posting:
    """Post a payment: money came in and is owed as service."""
    return post(
        order,
        Kind.PAYMENT,
        key=f"payment/{payment.pk}",
        at=payment.at,
        debit=CASH,
        credit=prepaid_account(order),
        amount=payment.amount,
    )


def give_back(order: Order, payment: Payment) -> Posting:
    """Post a refund: money went back. The payment is negative."""
    return post(
        order,
        Kind.REFUND,
        key=f"refund/{payment.pk}",
        at=payment.at,
        debit=prepaid_account(order),
        credit=CASH,
        amount=-payment.amount,
    )


def forfeit(order: Order, at: datetime) -> None:
    """Post the balance of an order whose time is over: it is the provider's. Once an order."""
    if (rest := balance(order)) > 0:
        post(
            order,
            Kind.FORFEIT,
            key=f"forfeit/{order.pk}",
            at=at,
            debit=prepaid_account(order),
            credit=FORFEITED,
            amount=rest,
        )


def settled_through(order: Order) -> int:
    """The id of the last sample that a charge covers; 0 without one."""
    return Posting.objects.filter(order=order).aggregate(last=Max("last_sample"))["last"] or 0


def charge(order: Order, at: datetime) -> Posting | None:
    """Charge the samples since the last charge, never more than the balance; None for nothing.

    The order's row must be locked, or two calls would charge the same samples.
    """
    samples = UsageSample.objects.filter(order=order, pk__gt=settled_through(order))
    rows = list(samples.values_list("pk", "memory_bytes", "running_ms"))
    amount = min(_cost(order, rows), balance(order))
    if amount <= 0:
        return None
    first_sample, *_ = rows[0]
    last_sample, *_ = rows[-1]
    return post(
        order,
        Kind.CHARGE,
        key=f"charge/{order.pk}/{last_sample}",
        at=at,
        debit=prepaid_account(order),
        credit=REVENUE,
        amount=amount,
        first_sample=first_sample,
        last_sample=last_sample,
    )


def _cost(order: Order, rows: list[tuple[int, int, int]]) -> Decimal:
    """The price of samples as tuples (id, memory in bytes, running time in ms)."""
    return pricing.usage_price(order.price, sum(memory * running for _, memory, running in rows))


def charged_amount(order: Order) -> Decimal:
    """What the use of an order has cost so far."""
    entries = Entry.objects.filter(
        posting__order=order,
        posting__kind=Kind.CHARGE,
        account=prepaid_account(order),
    )
    return entries.aggregate(total=Sum("amount"))["total"] or ZERO


@dataclass(frozen=True, slots=True)
class Totals:
    """What an order's use has cost, and what it has paid and not used."""

    charged: Decimal = ZERO
    balance: Decimal = ZERO


def totals() -> dict[str, Totals]:
    """The totals of every order that was ever paid for, in one query."""
    charges = Sum(
        "amount",
        filter=Q(posting__kind=Kind.CHARGE),
        default=ZERO,
    )
    rows = (
        Entry.objects.filter(account__startswith="prepaid/")
        .values("posting__order_id")
        .annotate(left=Sum("amount"), used=charges)
    )
    return {row["posting__order_id"]: Totals(row["used"], -row["left"]) for row in rows.order_by()}


# --- deriving everything again --------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Difference:
    """Where the books and the evidence disagree."""

    order: str
    what: str
    booked: str
    derived: str


def differences(order: Order) -> Iterator[Difference]:
    """Derive the order's ledger from payments and samples again; yields every disagreement."""
    yield from _sample_differences(order)
    yield from _posting_differences(order)
    # Refunds are negative payments.
    paid = order.payments.filter(amount__gt=0).aggregate(total=Sum("amount"))["total"] or ZERO
    if paid != order.amount_paid:
        yield Difference(order.pk, "amount paid", str(order.amount_paid), str(paid))
    left = balance(order)
    if left < 0 or (order.closed_at and left != 0):
        yield Difference(order.pk, "prepaid balance", str(left), "0")


def _sample_differences(order: Order) -> Iterator[Difference]:
    """Derive each sample's running time from its own times and the sample before."""
    latest: dict[str, datetime] = {}
    for sample in UsageSample.objects.filter(order=order).order_by("pk").iterator():
        before = latest.get(sample.pod_uid)
        derived = pricing.running_ms(
            order,
            at=sample.at,
            since=sample.since,
            before=before,
        )
        if derived != sample.running_ms:
            yield Difference(
                order.pk,
                f"running time of sample {sample.pk}",
                str(sample.running_ms),
                str(derived),
            )
        # A clock that jumped back must not make the next sample longer.
        latest[sample.pod_uid] = max(before or sample.at, sample.at)


def _posting_differences(order: Order) -> Iterator[Difference]:
    """Derive each posting's amount from its payment or samples, in the order of posting."""
    left = ZERO
    through = 0
    payments = {
        f"{kind}/{row.pk}": abs(row.amount)
        for row in order.payments.all()
        for kind in ("payment", "refund")
    }
    for posting in Posting.objects.filter(order=order).order_by("pk").prefetch_related("entries"):
        entries = list(posting.entries.all())
        booked = sum((entry.amount for entry in entries if entry.amount > 0), ZERO)
        if sum((entry.amount for entry in entries), ZERO) != 0:
            yield Difference(
                order.pk,
                f"sides of {posting.key}",
                str(sum(entry.amount for entry in entries)),
                "0",
            )
        derived = _derived_amount(
            order,
            posting,
            payments=payments,
            left=left,
            through=through,
        )
        if booked != derived:
            yield Difference(order.pk, f"amount of {posting.key}", str(booked), str(derived))
        through = posting.last_sample or through
        left += booked if posting.kind == Kind.PAYMENT else -booked


def _derived_amount(
    order: Order,
    posting: Posting,
    *,
    payments: Mapping[str, Decimal],
    left: Decimal,
    through: int,
) -> Decimal:
    match posting.kind:
        case Kind.CHARGE:
            samples = UsageSample.objects.filter(
                order=order,
                pk__gt=through,
                pk__lte=posting.last_sample or 0,
            )
            rows = list(samples.values_list("pk", "memory_bytes", "running_ms"))
            return min(_cost(order, rows), left)
        case Kind.FORFEIT:
            return left
    return payments.get(posting.key, ZERO)
