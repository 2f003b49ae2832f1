"""When tasks are due, above all on days when clocks change."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation import schedules
from core.errors import Invalid

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
# zone, expression, since when, the next moments in UTC.
CLOCKS: dict[str, tuple[str, str, str, list[str]]] = {
    "an hour that Berlin does not have": (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28T12:00",
        ["2026-03-29T01:00", "2026-03-30T00:30"],
    ),
    "an hour that Berlin has twice": (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-24T12:00",
        ["2026-10-25T00:30", "2026-10-26T01:30"],
    ),
    "every hour through the doubled one": (
        "Europe/Berlin",
        "0 * * * *",
        "2026-10-24T23:30",
        ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"],
    ),
    "every half hour over the gap": (
        "Europe/Berlin",
        "*/30 * * * *",
        "2026-03-29T00:10",
        ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"],
    ),
    "an hour that New York does not have": (
        "America/New_York",
        "30 2 * * *",
        "2026-03-07T12:00",
        ["2026-03-08T07:00", "2026-03-09T06:30"],
    ),
    "an hour that New York has twice": (
        "America/New_York",
        "30 1 * * *",
        "2026-10-31T12:00",
        ["2026-11-01T05:30", "2026-11-02T06:30"],
    ),
    "a midnight that Sao Paulo did not have": (
        "America/Sao_Paulo",
        "0 0 * * *",
        "2018-11-03T12:00",
        ["2018-11-04T03:00", "2018-11-05T02:00"],
    ),
    "half an hour that Lord Howe does not have": (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03T00:00",
        ["2026-10-03T15:30", "2026-10-04T15:15"],
    ),
    "half an hour that Lord Howe has twice": (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T00:00",
        ["2026-04-04T14:45", "2026-04-05T15:15"],
    ),
    "no clock changes in Kolkata": (
        "Asia/Kolkata",
        "0 9 * * MON-FRI",
        "2026-01-16T12:00",
        ["2026-01-19T03:30", "2026-01-20T03:30"],
    ),
    "the last day of a month": (
        "UTC",
        "0 0 L * *",
        "2028-02-01T00:00",
        ["2028-02-29T00:00", "2028-03-31T00:00"],
    ),
}


@pytest.mark.parametrize("name", sorted(CLOCKS))
def test_clocks_that_change(name: str) -> None:
    zone, cron, since, expected = CLOCKS[name]
    schedule = schedules.parse({"cron": cron, "timezone": zone}, NOW)
    moment: datetime | None = datetime.fromisoformat(f"{since}:00+00:00")
    for text in expected:
        assert moment is not None
        moment = schedules.next_after(schedule, moment)
        assert moment == datetime.fromisoformat(f"{text}:00+00:00")


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ("0 0 * * *", "schedule"),
    "four fields": ({"cron": "0 0 * *"}, "schedule.cron"),
    "six fields": ({"cron": "0 0 0 * * *"}, "schedule.cron"),
    "minute 60": ({"cron": "60 0 * * *"}, "schedule.cron"),
    "a name": ({"cron": "@daily"}, "schedule.cron"),
    "never due": ({"cron": "0 0 30 2 *"}, "schedule.cron"),
    "no text": ({"cron": 5}, "schedule.cron"),
    "no zone of the world": ({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}, "timezone"),
    "a path": ({"cron": "0 0 * * *", "timezone": "../../etc/passwd"}, "timezone"),
    "an absolute path": ({"cron": "0 0 * * *", "timezone": "/etc/localtime"}, "timezone"),
    "a folder": ({"cron": "0 0 * * *", "timezone": "Europe"}, "timezone"),
    "zone alone": ({"timezone": "UTC"}, "schedule.cron"),
    "both": ({"cron": "0 0 * * *", "at": "2030-01-01T00:00:00Z"}, "schedule.at"),
    "the past": ({"at": "2026-01-15T11:59:59Z"}, "schedule.at"),
    "no offset": ({"at": "2030-01-01T00:00:00"}, "schedule.at"),
    "no time": ({"at": "tomorrow"}, "schedule.at"),
    "unknown member": ({"cron": "0 0 * * *", "zone": "UTC"}, "schedule.zone"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_schedules_that_are_refused(name: str) -> None:
    value, field = REFUSED[name]
    with pytest.raises(Invalid) as refused:
        schedules.parse(value, NOW)
    assert str(refused.value.details["field"]).endswith(field)


def test_one_moment_and_what_was_missed() -> None:
    assert schedules.parse({"at": "2030-06-01T10:00:00+02:00"}, NOW) == {
        "at": "2030-06-01T08:00:00Z"
    }
    hourly = {"cron": "0 * * * *", "timezone": "Europe/Berlin"}
    late = NOW + timedelta(hours=3, minutes=20)
    assert schedules.last_until(hourly, NOW, late) == NOW + timedelta(hours=3)
    # The moment itself counts, to the second.
    assert schedules.last_until(hourly, NOW, NOW + timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert schedules.last_until(hourly, NOW, NOW + timedelta(seconds=2)) == NOW


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize("cron", ["* * * * *", "7,52 * * * *", "*/20 1-3 * * *", "30 2 * * *"])
def test_a_calendar_is_what_the_scheduler_would_do(zone: str, cron: str) -> None:
    schedule = {"cron": cron, "timezone": zone}
    # Both ends of summer in both hemispheres, and a second that is no minute's first.
    for day in ("2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24"):
        since = datetime.fromisoformat(f"{day}T12:00:30+00:00")
        until = since + timedelta(days=2)
        expected = []
        moment = schedules.next_after(schedule, since - timedelta(seconds=1))
        while moment is not None and moment < until:
            expected.append(moment)
            moment = schedules.next_after(schedule, moment)
        assert schedules.upcoming(schedule, since, until, 10_000) == expected
        assert schedules.upcoming(schedule, since, until, 3) == expected[:3]


def test_a_calendar_of_every_minute_takes_few_steps() -> None:
    schedule = {"cron": "* * * * *", "timezone": "Europe/Berlin"}
    steps = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        moments = schedules.upcoming(schedule, NOW, NOW + timedelta(days=7), 1000)
    finally:
        sys.setprofile(None)
    assert len(moments) == 1000
    # Reading the expression takes some hundred calls, each moment three; by cronsim it is dozens.
    assert steps < 5 * len(moments), steps
