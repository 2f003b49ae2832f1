"""Times on the wire: how they are written, and what a time parameter may look like."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

from psycopg2 import sql

INT64 = 2**63
# The unix seconds of the years 1 to 9999, which datetime can hold.
FIRST_SECOND = -62135596800
LAST_SECOND = 253402300799

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_WALL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\Z")
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(\.[0-9]{1,9})?"
    r"(Z|[+ -][0-9]{2}:?[0-9]{2})\Z"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TimeStyle:
    """How instants are written.

    `rfc3339`: with milliseconds and offset; else the wall clock of the zone, in seconds.
    """

    zone: str
    rfc3339: bool = False

    @cached_property
    def info(self) -> ZoneInfo:
        """The zone itself."""
        return ZoneInfo(self.zone)

    def expression(self, instant: sql.Composable) -> sql.Composable:
        """SQL for the text of an instant."""
        if self.rfc3339:
            return sql.SQL("storage_rfc3339({}, {})").format(instant, sql.Literal(self.zone))
        return sql.SQL("to_char({} AT TIME ZONE {}, 'YYYY-MM-DD HH24:MI:SS')").format(
            instant, sql.Literal(self.zone)
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """A caller's bound in unix seconds; `wall` is its text when the caller sent a wall clock."""

    seconds: Decimal
    wall: str | None = None

    @property
    def instant(self) -> datetime:
        """The bound as an instant, cut to the years 1 to 9999."""
        seconds = max(self.seconds, Decimal(FIRST_SECOND))
        return to_instant(min(seconds, Decimal(LAST_SECOND)))


def to_instant(seconds: int | Decimal) -> datetime:
    """The instant of unix seconds within the years 1 to 9999, to the microsecond."""
    # datetime.fromtimestamp would go through a float, which loses microseconds.
    whole = int(seconds // 1)
    day, second = divmod(whole, 86400)
    stamp = datetime.fromordinal(_EPOCH.toordinal() + day).replace(
        tzinfo=UTC, hour=second // 3600, minute=second // 60 % 60, second=second % 60
    )
    return stamp.replace(microsecond=int((Decimal(seconds) - whole) * 1_000_000))


def parse_int64(text: str) -> int | None:
    """A base-10 int64, or None."""
    if not text.isascii() or len(text) > 20 or not _INTEGER.match(text):
        return None
    number = int(text)
    return number if -INT64 <= number < INT64 else None


def parse_bound(text: str, zone: ZoneInfo) -> Bound | None:
    """A time parameter, or None when it is no time.

    Unix seconds, `YYYY-MM-DD HH:MM:SS` as the wall clock of the zone, or RFC 3339.
    """
    if (seconds := parse_int64(text)) is not None:
        return Bound(Decimal(seconds))
    try:
        if _WALL.match(text):
            wall_clock = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone)
            return Bound(_seconds(wall_clock), wall=text)
        if parts := _RFC3339.match(text):
            # A plus that was not percent-encoded arrives as a space.
            offset = "+00:00" if parts[3] == "Z" else parts[3].replace(" ", "+")
            stamp = datetime.fromisoformat(parts[1] + offset)
            return Bound(_seconds(stamp) + Decimal(parts[2] or 0))
    except (ValueError, OverflowError):
        return None
    return None


def _seconds(stamp: datetime) -> Decimal:
    since = stamp - _EPOCH
    return Decimal(since.days * 86400 + since.seconds)
