"""What capacity and use cost: pure arithmetic in Decimal."""

from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal

from billing.models.orders import Order

GIB = 2**30
MS_PER_HOUR = 3_600_000
# More digits than any product of ours has, so that only the last step rounds.
EXACT = Context(prec=60)
CENT = Decimal("0.00000001")


def purchase_price(*, price: Decimal, units: int, seconds: int) -> Decimal:
    """What units cost for `seconds`, in whole coins, rounded up.

    `price` is for one unit and hour: 90 for 2 units and 100 hours are 18000.
    """
    exact = EXACT.divide(EXACT.multiply(price, Decimal(units * seconds)), Decimal(3600))
    return exact.quantize(
        Decimal(1),
        rounding=ROUND_CEILING,
        context=EXACT,
    )


def usage_price(price: Decimal, byte_ms: int) -> Decimal:
    """What the use of memory costs, rounded down to eight places.

    `byte_ms` is bytes times milliseconds; `price` is for one Gi and hour.
    """
    exact = EXACT.divide(EXACT.multiply(price, Decimal(byte_ms)), Decimal(GIB * MS_PER_HOUR))
    return exact.quantize(CENT, rounding=ROUND_DOWN, context=EXACT)


def running_ms(
    order: Order,
    *,
    at: datetime,
    since: datetime,
    before: datetime | None,
) -> int:
    """The running time in milliseconds that a sample at `at` adds to earlier ones.

    It counts from the latest of the pod's start (`since`), the sample before and the order's
    activation, to the order's end at most. A pod that runs since `since` ran all that time, so a
    missed sample loses nothing; a clock that jumps back adds nothing.
    """
    starts = [time for time in (since, before, order.activated_at) if time is not None]
    end = min(at, order.expires_at) if order.expires_at else at
    return max(0, (end - max(starts)) // timedelta(milliseconds=1))


def gib_hours(byte_ms: int) -> Decimal:
    """Bytes times milliseconds as Gi times hours, rounded down to six places."""
    exact = EXACT.divide(Decimal(byte_ms), Decimal(GIB * MS_PER_HOUR))
    return exact.quantize(
        Decimal("0.000001"),
        rounding=ROUND_DOWN,
        context=EXACT,
    )
