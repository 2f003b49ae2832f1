"""The numbers of objects that the database keeps are those of the rows, whatever writers do."""

from collections.abc import Iterator
from typing import Any

import orjson
import psycopg2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clusters.models import Cluster
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.services import bulk, resources, retention
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill
from tests.workers import database_url

pytestmark = pytest.mark.usefixtures("emptied")
INSERT = """
INSERT INTO storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data,
   create_time, update_time, change_time)
VALUES ('o', 'counted', 'Pod', 'a', %s, '{}', now(), now(), now())
"""
ROWS = """
SELECT resource_type, namespace, count(*) FROM storage_resource GROUP BY 1, 2 ORDER BY 1, 2
"""
KEPT = """
SELECT resource_type, namespace, sum(rows)::bigint FROM storage_count
GROUP BY 1, 2 HAVING sum(rows) <> 0 ORDER BY 1, 2
"""


def read(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def key(name: str, namespace: str = "a") -> Key:
    return Key("counted", "Pod", namespace, name)


def write(*names: str, namespace: str = "a", data: bytes | None = b"{}") -> None:
    bulk.write([WriteRecord(key(name, namespace), data) for name in names])


@pytest.fixture
def writers() -> Iterator[list[Any]]:
    """Two sessions that would rather fail than wait for each other."""
    sessions = [psycopg2.connect(database_url()) for _ in range(2)]
    for session in sessions:
        with session.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        session.commit()
    yield sessions
    for session in sessions:
        session.close()


def test_every_way_of_writing_is_counted() -> None:
    write(*(f"few-{number}" for number in range(3)))
    write(*(f"many-{number}" for number in range(40)), namespace="b")
    # Both new and old ones, the old ones unchanged and changed.
    write(*(f"many-{number}" for number in range(20, 60)), namespace="b")
    write("few-0", data=b'{"changed": true}')
    resources.put(key("single"), "{}")
    resources.put(key("single"), '{"changed": true}')
    assert read(KEPT) == read(ROWS) == [("Pod", "a", 4), ("Pod", "b", 60)]
    write("few-0", "few-1", "absent", data=None)
    resources.sweep("counted", "Pod", DocumentQuery(RESOURCE, key("many-1", "b").clauses()))
    assert read(KEPT) == read(ROWS) == [("Pod", "a", 2), ("Pod", "b", 59)]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource")
    assert read(KEPT) == []


def test_writers_of_one_kind_do_not_wait_for_each_other(writers: list[Any]) -> None:
    write("first")
    for number, session in enumerate(writers):
        with session.cursor() as cursor:
            cursor.execute(INSERT, [f"other-{number}"])
    # Nothing of them is there yet, and what one gives up never was.
    assert read(KEPT) == read(ROWS) == [("Pod", "a", 1)]
    writers[0].rollback()
    writers[1].commit()
    assert read(KEPT) == read(ROWS) == [("Pod", "a", 2)]


def test_rows_that_came_past_the_triggers_are_counted_by_the_hourly_work() -> None:
    write("first")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE storage_resource DISABLE TRIGGER storage_count_added")
        cursor.execute(INSERT, ["unseen"])
        cursor.execute("ALTER TABLE storage_resource ENABLE TRIGGER storage_count_added")
    assert read(KEPT) != read(ROWS)
    assert retention.correct_counts() == 1
    assert read(KEPT) == read(ROWS)
    assert retention.correct_counts() == 0


def full_text(statement: str) -> str:
    """The statement, or the prepared one that it executes; "" for one that prepares."""
    words = statement.split()
    if words[0] == "PREPARE":
        return ""
    if words[0] != "EXECUTE":
        return statement
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE name = %s", [words[1]])
        return str(cursor.fetchone()[0])


def test_the_total_of_a_list_reads_no_rows(admin: Caller) -> None:
    cluster: Cluster = fill("listed", [])
    for number in range(3):
        body = {"kind": "Pod", "metadata": {"name": f"web-{number}", "namespace": "shop"}}
        record = WriteRecord(
            Key(cluster.name, "Pod", "shop", f"web-{number}"), orjson.dumps(body), omitted=b"{}"
        )
        bulk.write([record])
    for query, total, is_kept in (
        ({}, 3, True),
        ({"namespace": "shop"}, 3, True),
        ({"namespace": "other"}, 0, True),
        ({"keyword": "web-1"}, 1, False),
    ):
        with CaptureQueriesContext(connection) as queries:
            page = admin.data("GET", "pods", cluster_id=cluster.pk, **query)
        assert page["total"] == total
        texts = [full_text(query["sql"]) for query in queries]
        reads = [text for text in texts if "FROM storage_resource" in text]
        assert [("storage_count" in text) for text in reads] == [is_kept]
