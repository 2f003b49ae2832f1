"""Times as RFC 3339 text in UTC, the way every API of ours writes them."""

from datetime import UTC, datetime
from typing import overload


@overload
def rfc3339(moment: datetime, *, digits: int = 0) -> str: ...
@overload
def rfc3339(moment: datetime | None, *, digits: int = 0) -> str | None: ...
def rfc3339(moment: datetime | None, *, digits: int = 0) -> str | None:
    """`2026-11-28T09:30:00Z`, with milliseconds when `digits` is 3; None for None."""
    if moment is None:
        return None
    precision = "milliseconds" if digits == 3 else "seconds"
    text = moment.astimezone(UTC).isoformat(timespec=precision)
    return text.removesuffix("+00:00") + "Z"


# Seconds of each unit, and its word.
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def duration_words(seconds: float) -> str:
    """`46 minutes`: a duration in its largest unit, as sentences name it.

    Below two of a unit the smaller one says more: `90 seconds`, `100 minutes`.
    """
    whole = max(round(seconds), 0)
    for length, word in _UNITS:
        if whole >= 2 * length:
            return f"{whole // length} {word}s"
    return "1 second" if whole == 1 else f"{whole} seconds"
