"""When a task is due: cron expressions with a time zone, or one moment.

Daylight saving is as cronsim does it, which is Debian's cron: a time that a day does not have is
taken when the clock has jumped, a time that a day has twice is taken once, and an expression whose
minutes or hours begin with a star goes by what the clock shows.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from core.errors import Invalid
from core.times import rfc3339

MAX_CRON = 200
# Names of zones, and no paths in the zone data.
MAX_ZONE = 64
# A leap day is due every eight years at the latest; an expression that is never due at all would
# make cronsim look for 50 years.
FIELD = "schedule"


def parse(value: object, now: datetime) -> dict[str, str] | None:
    """A schedule as it is stored: {"cron", "timezone"}, {"at"}, or None.

    Invalid, with `field`, for anything else, for a zone or an expression that is none, for an
    expression that is never due, and for a moment that is over.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Invalid("schedule must be {cron, timezone}, {at} or null", field=FIELD)
    for name in value:
        if name not in ("cron", "timezone", "at"):
            raise Invalid(
                f"unknown member {f'schedule.{name}'[:200]!r}",
                field=f"{FIELD}.{name}",
            )
    if "at" in value and ("cron" in value or "timezone" in value):
        raise Invalid("a schedule has cron or at, not both", field=f"{FIELD}.at")
    if "at" in value:
        at = _moment(value["at"], now)
        return {"at": rfc3339(at, digits=3 if at.microsecond else 0)}
    if "cron" not in value:
        raise Invalid("schedule needs cron or at", field=f"{FIELD}.cron")
    zone = _zone(value.get("timezone", "UTC"))
    schedule = {"cron": _cron(value["cron"]), "timezone": zone.key}
    try:
        upcoming = next_after(schedule, now)
    except CronSimError as error:
        raise Invalid(
            f"schedule.cron is not a cron expression of five fields: {error}",
            field=f"{FIELD}.cron",
        ) from None
    if upcoming is None:
        raise Invalid("schedule.cron is never due", field=f"{FIELD}.cron")
    return schedule


def _moment(value: object, now: datetime) -> datetime:
    field = f"{FIELD}.at"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        moment = moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise Invalid(
            "schedule.at must be a time in RFC 3339 with its offset",
            field=field,
        )
    if moment <= now:
        raise Invalid("schedule.at is in the past", field=field)
    return moment


def _zone(value: object) -> ZoneInfo:
    # The names of the zone data hold letters, digits and these; anything else could be a path.
    is_name = isinstance(value, str) and 0 < len(value) <= MAX_ZONE and ".." not in value
    if is_name and not str(value).startswith("/"):
        try:
            return ZoneInfo(str(value))
        except (KeyError, ValueError, OSError):
            pass
    raise Invalid(
        "schedule.timezone must be a name such as Europe/Berlin",
        field=f"{FIELD}.timezone",
    )


def _cron(value: object) -> str:
    field = f"{FIELD}.cron"
    if not isinstance(value, str) or not value.isascii() or len(value) > MAX_CRON:
        raise Invalid(
            f"{field} must be text of at most {MAX_CRON} characters",
            field=field,
        )
    # With six fields cronsim would take the first as seconds.
    if len(value.split()) != 5:
        raise Invalid(
            "schedule.cron must have five fields: minute, hour, day, month, day of week",
            field=field,
        )
    return " ".join(value.split())


def next_after(schedule: Mapping[str, Any] | None, moment: datetime) -> datetime | None:
    """The first time after a moment at which the schedule is due, in UTC; None for none."""
    if schedule is None:
        return None
    if "at" in schedule:
        at = datetime.fromisoformat(schedule["at"])
        return at if at > moment else None
    local = moment.astimezone(ZoneInfo(schedule["timezone"]))
    try:
        return next(CronSim(schedule["cron"], local)).astimezone(UTC)
    except (StopIteration, OverflowError):
        return None


def last_until(
    schedule: Mapping[str, Any] | None,
    first: datetime,
    now: datetime,
) -> datetime:
    """The latest time not after `now` at which the schedule was due, `first` at the earliest.

    `first` was due: what came after it and is over as well was missed with it.
    """
    if schedule is None or "at" in schedule:
        return first
    local = now.astimezone(ZoneInfo(schedule["timezone"]))
    latest = first
    # Backwards a due moment at `now` itself does not count, so this begins a second later.
    for moment in CronSim(
        schedule["cron"],
        local.replace(microsecond=0),
        reverse=True,
    ):
        latest = moment.astimezone(UTC)
        break
    whole = now.replace(microsecond=0)
    if next_after(schedule, _just_before(whole)) == whole:
        latest = whole
    return max(first, latest)


def _just_before(moment: datetime) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() - 1, UTC)


def upcoming(
    schedule: Mapping[str, Any] | None,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[datetime]:
    """When the schedule is due in [since, until), at most `limit` times; for a calendar."""
    before = _just_before(since)
    if schedule is None or "at" in schedule:
        moment = next_after(schedule, before)
        moments = iter([moment] if moment else [])
    else:
        moments = _moments_of_cron(schedule, before, until)
    return list(islice(takewhile(lambda moment: moment < until, moments), limit))


def _moments_of_cron(
    schedule: Mapping[str, Any], after: datetime, until: datetime
) -> Iterator[datetime]:
    """Every time after a moment at which a cron expression is due, in UTC, `until` and later."""
    zone = ZoneInfo(schedule["timezone"])
    cron = CronSim(schedule["cron"], after.astimezone(zone))
    # What goes by the minute of the hour alone needs no look at each minute, as long as the clock
    # is put forward and back by whole hours.
    offset = _minutes_of_offset(after, zone)
    is_by_minute = schedule["cron"].split()[1:] == ["*"] * 4
    if is_by_minute and offset == _minutes_of_offset(until, zone):
        yield from _moments_by_minute({(minute - offset) % 60 for minute in cron.minutes}, after)
        return
    try:
        for moment in cron:
            yield moment.astimezone(UTC)
    except OverflowError:
        # The calendar of the language has ended.
        return


def _minutes_of_offset(moment: datetime, zone: ZoneInfo) -> int:
    """By how many minutes of an hour the zone's clock differs from UTC at the moment."""
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return int(offset.total_seconds() // 60 % 60)


def _moments_by_minute(minutes: set[int], after: datetime) -> Iterator[datetime]:
    """Every time after a moment with one of the minutes of an hour in UTC, without end."""
    hour = after.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while True:
        for minute in sorted(minutes):
            moment = hour + timedelta(minutes=minute)
            if moment > after:
                yield moment
        hour += timedelta(hours=1)
