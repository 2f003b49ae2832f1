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
