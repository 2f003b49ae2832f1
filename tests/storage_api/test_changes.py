"""The change log: what is written with each write, how it is followed, how days come and go."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import Expired, Invalid
from storage_api import tasks
from storage_api.models import Alarm, Change, Event
from storage_api.query.conditions import equals
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.query.times import TimeStyle
from storage_api.services import bulk, change_log, resources, retention
from storage_api.services.bulk import WriteRecord
from storage_api.services.change_log import LogPosition
from storage_api.services.resources import Key
from tests.storeserver import database

STYLE = TimeStyle("UTC", rfc3339=True)


def put(cluster: str, name: str, data: Any, kind: str = "Pod") -> None:
    """Put one document."""
    resources.put(Key(cluster, kind, "ns", name), json.dumps(data))


def log(cluster: str) -> list[tuple[str, str, Any]]:
    """(op, name, document) of a cluster, in order."""
    return [
        (row.op, row.resource_name, row.data)
        for row in Change.objects.filter(cluster_id=cluster).order_by("seq")
    ]


@pytest.mark.django_db
def test_each_write_that_changes_something_is_one_entry() -> None:
    put("log", "a", {"v": 1, "metadata": {"uid": "u", "resourceVersion": "5"}})
    put("log", "a", {"metadata": {"resourceVersion": "5", "uid": "u"}, "v": 1.0})
    put("log", "a", {"v": 2})
    bulk.write(
        [
            WriteRecord(Key("log", "Pod", "ns", "a"), b'{"v": 2}'),
            WriteRecord(Key("log", "Pod", "ns", "b"), b"1"),
        ]
    )
    resources.delete(
        DocumentQuery(
            RESOURCE, (*resources.type_clauses("log", "Pod"), equals("resource_name", "a"))
        )
    )
    resources.delete(
        DocumentQuery(
            RESOURCE, (*resources.type_clauses("log", "Pod"), equals("resource_name", "a"))
        )
    )
    entries = log("log")
    assert [entry[:2] for entry in entries] == [
        ("add", "a"),
        ("change", "a"),
        ("add", "b"),
        ("delete", "a"),
    ]
    assert entries[1][2] == entries[3][2] == {"v": 2}
    first = Change.objects.filter(cluster_id="log").order_by("seq")[0]
    assert (first.uid, first.resource_version, first.namespace) == ("u", "5", "ns")


@pytest.mark.django_db
def test_a_write_that_fails_leaves_no_entry() -> None:
    with pytest.raises(Invalid):
        resources.put(Key("log", "Pod", "ns", "n" * 2000), "{}")
    assert log("log") == []


@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_late_is_not_skipped() -> None:
    """Two transactions draw their numbers in one order and commit in the other."""
    with database() as early:
        early.execute("BEGIN")
        early.execute(resources._PUT.text, ("0" * 24, "late", "Pod", "ns", "early", "{}"))
        put("late", "late", {})
        assert [
            entry.seq for entry in change_log.read_after(LogPosition(0), "late", "Pod", style=STYLE)
        ] == []
        early.execute("COMMIT")
        names = [
            json.loads(entry.document)["resourceName"]
            for entry in change_log.read_after(LogPosition(0), "late", "Pod", style=STYLE)
        ]
    assert names == ["early", "late"]
    resources.delete(DocumentQuery(RESOURCE, resources.type_clauses("late", "Pod")))


@pytest.mark.django_db(transaction=True)
def test_a_lower_number_is_waited_for_whichever_transaction_began_first() -> None:
    """The older transaction draws the higher number and commits; an open transaction that writes nothing here holds nothing up."""
    with database() as older, database() as newer, database() as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT pg_current_xact_id()")
        older.execute("BEGIN")
        older.execute("SELECT pg_current_xact_id()")
        newer.execute("BEGIN")
        newer.execute(resources._PUT.text, ("2" * 24, "swap", "Pod", "ns", "first", "{}"))
        older.execute(resources._PUT.text, ("3" * 24, "swap", "Pod", "ns", "second", "{}"))
        older.execute("COMMIT")
        assert [
            entry.seq for entry in change_log.read_after(LogPosition(0), "swap", "Pod", style=STYLE)
        ] == []
        newer.execute("COMMIT")
        names = [
            json.loads(entry.document)["resourceName"]
            for entry in change_log.read_after(LogPosition(0), "swap", "Pod", style=STYLE)
        ]
    assert names == ["first", "second"]
    resources.delete(DocumentQuery(RESOURCE, resources.type_clauses("swap", "Pod")))


@pytest.mark.django_db(transaction=True)
def test_a_feed_from_now_on_holds_what_commits_later_and_nothing_older() -> None:
    """However many other transactions are under way at that moment."""
    with database() as other:
        other.execute("BEGIN")
        other.execute(resources._PUT.text, ("1" * 24, "now", "Pod", "ns", "open", "{}"))
        put("now", "older", {})
        start = change_log.current_position()
        put("now", "newer", {})
        other.execute("COMMIT")
        names = [
            json.loads(entry.document)["resourceName"]
            for entry in change_log.read_after(start, "now", "Pod", style=STYLE)
        ]
    assert names == ["open", "newer"]
    resources.delete(DocumentQuery(RESOURCE, resources.type_clauses("now", "Pod")))


@pytest.mark.django_db(transaction=True)
def test_the_feed_goes_on_from_a_place_and_refuses_a_lost_one() -> None:
    for version in range(3):
        put("feed", "web", {"status": {"phase": f"p{version}"}, "n": version % 2})
    put("feed", "web", {"status": {"phase": "p2"}, "n": 5})
    entries = change_log.read_after(LogPosition(0), "feed", "Pod", style=STYLE)
    assert [entry.op for entry in entries] == ["add", "change", "change", "change"]
    assert [
        entry.seq
        for entry in change_log.read_after(LogPosition(entries[1].seq), "feed", "Pod", style=STYLE)
    ] == [entry.seq for entry in entries[2:]]
    differing = change_log.read_after(
        LogPosition(0), "feed", "Pod", style=STYLE, must_differ=("data", "status", "phase")
    )
    assert [entry.seq for entry in differing] == [entry.seq for entry in entries[:3]]
    change_log.check_place(change_log.current_position().seq)
    change_log.check_place(0)
    with database() as cursor:
        cursor.execute("DELETE FROM storage_change WHERE seq <= %s", [entries[2].seq])
    with pytest.raises(Expired):
        change_log.check_place(entries[0].seq)
    resources.delete(DocumentQuery(RESOURCE, resources.type_clauses("feed", "Pod")))


@pytest.mark.django_db
def test_partitions_come_and_go_by_day() -> None:
    today = date(2031, 5, 10)
    assert retention.create_partitions(today, days=2) == [
        today + timedelta(days=ahead) for ahead in range(3)
    ]
    assert retention.create_partitions(today, days=2) == []
    retention.create_partitions(date(2031, 5, 1), days=0)
    assert retention.drop_partitions(today, keep_days=0) == []
    kept = retention.partitions()
    dropped = retention.drop_partitions(today, keep_days=7)
    assert date(2031, 5, 1) in dropped
    assert [day for day in retention.partitions() if day >= date(2031, 5, 3)] == [
        day for day in kept if day >= date(2031, 5, 3)
    ]


@pytest.mark.django_db
def test_rows_that_came_before_their_partition_move_into_it() -> None:
    put("move", "web", {})
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE storage_change SET at = '2032-01-05 12:00:00Z' WHERE cluster_id = 'move'"
        )
        cursor.execute(
            "SELECT tableoid::regclass::text FROM storage_change WHERE cluster_id = 'move'"
        )
        assert cursor.fetchone() == ("storage_change_other",)
    retention.create_partitions(date(2032, 1, 5), days=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text FROM storage_change WHERE cluster_id = 'move'"
        )
        assert cursor.fetchall() == [("storage_change_20320105",)]


def event(cluster: str, at: datetime, made: datetime) -> Event:
    """An event of that time, reported then."""
    return Event(
        object_id="0" * 24,
        cluster_id=cluster,
        event_time=at,
        create_time=made,
        extra_info={},
        data={},
    )


@pytest.mark.django_db
def test_old_and_crowding_events_go() -> None:
    now = timezone.now()
    Event.objects.bulk_create(
        [
            event("old", now, now - timedelta(days=16)),
            event("old", now - timedelta(days=90), now - timedelta(days=14)),
        ]
    )
    Event.objects.bulk_create(
        event("full", now - timedelta(seconds=second), now) for second in range(31)
    )
    Event.objects.bulk_create(
        event("calm", now - timedelta(seconds=second), now) for second in range(30)
    )
    Alarm.objects.create(
        object_id="0" * 24,
        cluster_id="old",
        received_time=now,
        create_time=now - timedelta(days=16),
        data={},
    )
    gone = retention.expire(
        "storage_event", time_column="event_time", now=now, max_days=15, max_count=30
    )
    assert gone == 1 + 11
    assert Event.objects.filter(cluster_id="old").count() == 1
    assert Event.objects.filter(cluster_id="calm").count() == 30
    full = Event.objects.filter(cluster_id="full")
    assert (full.count(), full.filter(event_time__lt=now - timedelta(seconds=19)).count()) == (
        20,
        0,
    )
    assert (
        retention.expire(
            "storage_event", time_column="event_time", now=now, max_days=0, max_count=0
        )
        == 0
    )
    tasks.keep_retention()
    assert Alarm.objects.count() == 0
    assert datetime.now(UTC).date() in retention.partitions()
