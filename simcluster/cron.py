"""Cron schedules in five fields."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
}
_MACROS |= {"@midnight": "0 0 * * *", "@hourly": "0 * * * *"}
_SPAN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = [
    {},
    {},
    {},
    {
        name: at
        for at, name in enumerate(
            [
                "jan",
                "feb",
                "mar",
                "apr",
                "may",
                "jun",
                "jul",
                "aug",
                "sep",
                "oct",
                "nov",
                "dec",
            ],
            1,
        )
    },
    {name: at for at, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
]


@dataclass(frozen=True)
class Schedule:
    """The minutes at which a cron job runs."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def matches(self, moment: datetime) -> bool:
        """Whether the schedule fires in this minute."""
        if (
            moment.minute not in self.minutes
            or moment.hour not in self.hours
            or moment.month not in self.months
        ):
            return False
        day = moment.day in self.days
        weekday = moment.isoweekday() % 7 in self.weekdays
        # Days of month and week are alternatives once both are restricted: cron's old rule.
        return day and weekday if self.any_day or self.any_weekday else day or weekday

    def due(self, after: datetime, until: datetime) -> datetime | None:
        """The latest run in (after, until], at most a day back; None when there was none."""
        moment = until.replace(second=0, microsecond=0)
        earliest = max(after, until - timedelta(days=1))
        while moment > earliest:
            if self.matches(moment):
                return moment
            moment -= timedelta(minutes=1)
        return None


@dataclass(frozen=True)
class Every:
    """A run each time that a span has passed since the last one."""

    span: timedelta

    def due(self, after: datetime, until: datetime) -> datetime | None:
        """The latest run in (after, until], counted from `after`; None when there was none."""
        times = (until - after) // self.span
        return after + times * self.span if times > 0 else None


def _every(text: str) -> Every:
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'failed to parse duration @every {text}: time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > 290 * 365 * 86400:
        raise ValueError(f'failed to parse duration @every {text}: time: invalid duration "{text}"')
    return Every(timedelta(seconds=max(int(seconds), 1)))


def _values(text: str, field: int) -> frozenset[int]:
    low, high = _BOUNDS[field]
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        left, _, right = span.partition("-")
        if span in ("*", "?"):
            first = low
            last = high
        else:
            first = _number(left, field)
            last = first
            if right:
                last = _number(right, field)
            elif step:
                # `5/10` goes on from 5 to the upper bound.
                last = high
        if not low <= first <= last <= high:
            raise ValueError(f"end of range ({last}) beyond the bounds ({low}-{high}): {part}")
        if step and (not step.isdigit() or int(step) == 0):
            raise ValueError(f"step of range should be a positive number: {part}")
        values.update(range(first, last + 1, int(step or 1)))
    return frozenset(value % 7 if field == 4 else value for value in values)


def _number(text: str, field: int) -> int:
    if text.lower() in _NAMES[field]:
        return _NAMES[field][text.lower()]
    if not text.isdigit():
        raise ValueError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    return int(text)


def parse(text: str) -> Schedule | Every:
    """Read a schedule; ValueError says what is wrong with it."""
    if text.startswith("@every "):
        return _every(text.removeprefix("@every "))
    fields = _MACROS.get(text.strip(), text).split()
    if len(fields) != 5:
        raise ValueError(
            f"expected exactly 5 fields, found {len(fields)}: {fields}".replace("'", "").replace(
                ",", ""
            )
        )
    sets = [_values(field, at) for at, field in enumerate(fields)]
    return Schedule(
        sets[0],
        sets[1],
        sets[2],
        sets[3],
        sets[4],
        fields[2] in ("*", "?"),
        fields[4] in ("*", "?"),
    )
