"""What capacity and use cost: pure arithmetic in Decimal."""

from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal

from billing.models.orders import Order

GIB = 2**30
MS_PER_HOUR = 3_600_000
EXACT = Context(prec=60)
CENT = Decimal("0.00000001")


def purchase_price(*, price: Decimal, units: int, seconds: int) -> Decimal:
    """What units cost for a time, in whole coins, rounded up: 90 an hour, 2 units and 100 hours are 18000."""
    exact = EXACT.divide(EXACT.multiply(price, Decimal(units * seconds)), Decimal(3600))
    return exact.quantize(Decimal(1), rounding=ROUND_CEILING, context=EXACT)


def usage_price(price: Decimal, byte_ms: int) -> Decimal:
    """What memory held for a time costs (bytes times milliseconds; one unit is one Gi), rounded down to eight places."""
    exact = EXACT.divide(EXACT.multiply(price, Decimal(byte_ms)), Decimal(GIB * MS_PER_HOUR))
    return exact.quantize(CENT, rounding=ROUND_DOWN, context=EXACT)


def running_ms(order: Order, *, at: datetime, since: datetime, before: datetime | None) -> int:
    """How much of a pod's running a look at `at` adds: since it started, was looked at `before`, or was paid for; never negative.

    A pod seen to run since `since` did run all that time, so a missed look costs no evidence; a clock that jumps back adds nothing.
    """
    starts = [moment for moment in (since, before, order.activated_at) if moment is not None]
    end = min(at, order.expires_at) if order.expires_at else at
    return max(0, (end - max(starts)) // timedelta(milliseconds=1))


def gib_hours(byte_ms: int) -> Decimal:
    """Bytes times milliseconds as Gi times hours, to six places."""
    return EXACT.divide(Decimal(byte_ms), Decimal(GIB * MS_PER_HOUR)).quantize(
        Decimal("0.000001"), rounding=ROUND_DOWN, context=EXACT
    )
