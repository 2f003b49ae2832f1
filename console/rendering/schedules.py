"""The schedule of a task in words, as far as they are shorter than its cron expression."""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

NUMBER = re.compile(r"\d{1,2}\Z")
STEP = re.compile(r"\*/(\d{1,2})\Z")
DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
WORKDAYS = frozenset(range(1, 6))
# More moments of a day than that are harder to read than the expression.
MAX_HOURS = 6


def describe_schedule(schedule: Mapping[str, Any] | None) -> str:
    """`every day at 20:00 (Europe/Berlin)`; the moment of one with `at` is shown apart."""
    if schedule is None:
        return _("only by hand")
    if "at" in schedule:
        return _("once")
    return f"{describe_cron(schedule['cron'])} ({schedule['timezone']})"


def describe_cron(expression: str) -> str:
    """A cron expression of five fields in words; itself where there are none for it."""
    minute, hour, day, month, weekday = expression.split()
    if month != "*":
        return expression
    is_daily = day == "*" and weekday == "*"
    words = _within_hours(minute, hour) if is_daily else ""
    times = _times(minute, hour)
    if words or not times:
        return words or expression
    if is_daily:
        return _("every day at {times}").format(times=times)
    if day == "*":
        days = _weekdays(weekday)
        return _("{days} at {times}").format(days=days, times=times) if days else expression
    if weekday == "*" and NUMBER.match(day):
        return _("on day {day} of each month at {times}").format(day=int(day), times=times)
    return expression


def _within_hours(minute: str, hour: str) -> str:
    """Words for what is due every so many minutes or hours; "" for everything else."""
    if hour == "*" and minute == "*":
        return _("every minute")
    if hour == "*" and (step := STEP.match(minute)):
        count = int(step[1])
        return ngettext("every {n} minute", "every {n} minutes", count).format(n=count)
    if not NUMBER.match(minute):
        return ""
    if hour == "*":
        return _("every hour at minute {minute}").format(minute=int(minute))
    if step := STEP.match(hour):
        text = _("every {n} hours at minute {minute}")
        return text.format(n=int(step[1]), minute=int(minute))
    return ""


def _times(minute: str, hour: str) -> str:
    """`08:30, 20:30` for a minute and hours by number; "" for everything else."""
    hours = hour.split(",")
    is_plain = NUMBER.match(minute) and all(NUMBER.match(part) for part in hours)
    if not is_plain or len(hours) > MAX_HOURS:
        return ""
    return ", ".join(f"{int(part):02}:{int(minute):02}" for part in hours)


def _weekdays(field: str) -> str:
    """The days of a field by name; "" where it is not made of days and spans of days."""
    days: list[int] = []
    for part in field.upper().split(","):
        first, _dash, last = part.partition("-")
        start = _day_number(first)
        end = _day_number(last or first)
        if start is None or end is None:
            return ""
        # Sunday is 0 as well as 7, and ends a week that begins on Monday.
        if end < start or (last and end == 0):
            end += 7
        days += [number % 7 for number in range(start, end + 1)]
    if set(days) == WORKDAYS:
        return _("Monday to Friday")
    names = [str(WEEKDAYS[(number - 1) % 7]) for number in dict.fromkeys(days)]
    return _(", ").join(names)


def _day_number(text: str) -> int | None:
    """0 to 6 from Sunday on."""
    if text in DAY_NAMES:
        return DAY_NAMES.index(text)
    return int(text) % 7 if NUMBER.match(text) and int(text) < 8 else None
