"""How PostgreSQL answers the store's questions: by indexes, never by walking the table; names without touching documents."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg2 import sql

from clusters.kinds import KINDS
from clusters.lists import ListQuery
from clusters.models import Cluster
from storage_api.query import conditions, extra, filters, paths
from storage_api.query.conditions import Clause
from storage_api.query.queries import (
    DocumentQuery,
    count_statement,
    select_statement,
    target_condition,
)
from storage_api.query.shapes import RESOURCE, selection
from storage_api.query.times import TimeStyle, to_instant
from storage_api.services import resources, snapshot

STYLE = TimeStyle("Asia/Shanghai")
CLUSTER = "plans-3"
FILL = """
INSERT INTO storage_resource (object_id, cluster_id, resource_type, namespace, resource_name, data, create_time, update_time, change_time)
SELECT md5(c || '-' || n), 'plans-' || c,
  CASE WHEN n % 4 = 0 THEN 'Deployment' WHEN n % 40 = 1 THEN 'taskgroup' ELSE 'Pod' END, 'ns-' || n % 20, 'name-' || n,
  jsonb_build_object(
    'metadata', jsonb_build_object('name', 'name-' || n, 'uid', md5(n::text), 'labels', jsonb_build_object('app', 'app-' || n % 50),
      'creationTimestamp', to_char(timestamptz '2020-01-01 00:00:00Z' + n * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
      'ownerReferences', jsonb_build_array(jsonb_build_object('name', 'rs-' || n % 100, 'uid', 'u-' || n % 100))),
    'rcname', 'rc-' || n % 30, 'hostIP', '10.1.0.' || n % 100, 'lastStatus', 's-' || n % 30,
    'spec', jsonb_build_object('nodeName', 'node-' || n % 100, 'padding', repeat(md5(n::text), 60)),
    'status', jsonb_build_object('phase', CASE WHEN n % 50 = 3 THEN 'Failed' ELSE 'Running' END, 'hostIP', '10.0.0.' || n % 100,
      'podIP', '10.2.' || n % 250 || '.1', 'replicas', n % 40)),
  now(), now() - n * interval '1 second', now()
FROM generate_series(1, 10) c, generate_series(1, 1500) n
"""


@pytest.fixture(scope="module")
def filled(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Ten clusters of 1,500 documents, with statistics."""
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            # What other tests have left would change the statistics.
            cursor.execute("TRUNCATE storage_resource, storage_change, storage_gap")
            cursor.execute(FILL)
            cursor.execute("SELECT gin_clean_pending_list('storage_resource_document')")
            _settle(cursor)
        yield
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM storage_resource WHERE cluster_id LIKE 'plans-%'")
            cursor.execute("VACUUM storage_resource")
        connection.close()


def _settle(cursor: Any) -> None:
    """Until the visibility map covers the table: any snapshot that is older than the rows keeps VACUUM from marking their pages, and the
    planner does not count on an index alone for pages that are not marked."""
    deadline = time.monotonic() + 60
    while True:
        cursor.execute("VACUUM (ANALYZE, DISABLE_PAGE_SKIPPING) storage_resource")
        cursor.execute(
            "SELECT relallvisible, relpages FROM pg_class WHERE oid = 'storage_resource'::regclass"
        )
        visible, pages = cursor.fetchone()
        # Pages that the table has grown by and that hold no row yet are never marked.
        if visible >= 0.9 * pages and not _reads_pages():
            return
        assert time.monotonic() < deadline, f"{visible} of {pages} pages are visible to all"
        time.sleep(0.1)


def _reads_pages() -> bool:
    """Whether lists of names read pages of the table: some are not marked, or the statistics,
    which are drawn at random, make the planner think so."""
    names = selection(RESOURCE, paths.fields("resourceName"), STYLE)
    wheres = (of_type(), typed("pod"), of_type("Pod", conditions.equals("namespace", "ns-3")))
    for where in wheres:
        query = DocumentQuery(RESOURCE, where)
        for node in nodes(plan(*select_statement(query, names, in_index=True), run=True)):
            if "Index Name" in node and (
                node["Node Type"] != "Index Only Scan" or node["Heap Fetches"]
            ):
                return True
    return False


def plan(statement: sql.Composable, params: list[Any], *, run: bool = False) -> dict[str, Any]:
    """The plan of a statement as a cursor of ours gets it: no parallel workers, first rows soon."""
    options = sql.SQL("(FORMAT JSON, ANALYZE, BUFFERS)" if run else "(FORMAT JSON)")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        cursor.execute(sql.SQL("EXPLAIN {} {}").format(options, statement), params)
        top: dict[str, Any] = cursor.fetchone()[0][0]["Plan"]
        return top


def nodes(top: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield top
    for below in top.get("Plans", []):
        yield from nodes(below)


def indexes(top: dict[str, Any]) -> set[str]:
    """The indexes that a plan uses, after a look that nothing walks a table."""
    walked = [node["Relation Name"] for node in nodes(top) if node["Node Type"] == "Seq Scan"]
    assert walked == []
    return {
        node["Index Name"].removeprefix("storage_resource_")
        for node in nodes(top)
        if "Index Name" in node
    }


def answered(
    where: tuple[Clause, ...], *, field: str = "", offset: int = 0, limit: int | None = 100
) -> dict[str, Any]:
    """The plan of a list."""
    fields = paths.fields(field)
    query = DocumentQuery(RESOURCE, where, offset, limit)
    chosen = selection(RESOURCE, fields, STYLE)
    return plan(*select_statement(query, chosen, in_index=bool(fields) and "data" not in fields))


def of_type(kind: str = "Pod", *more: Clause) -> tuple[Clause, ...]:
    """The conditions of a CRUD list."""
    return (*resources.type_clauses(CLUSTER, kind), *more)


def typed(name: str, env: str = "k8s", **values: str) -> tuple[Clause, ...]:
    """The conditions of a typed query."""
    (query,) = [item for item in filters.QUERIES[env] if item.name == name]
    context = resources.condition_context(CLUSTER, query.types, STYLE)
    return (
        *resources.query_type_clauses(CLUSTER, query),
        *conditions.typed_clauses(context, query.filters, values),
    )


def matching(kind: str = "Pod", **found: Any) -> tuple[Clause, ...]:
    """The conditions of `extra`."""
    context = resources.condition_context(CLUSTER, (kind.lower(),), STYLE)
    wanted = [
        extra.Equals(paths.parse(path.replace("__", ".")), (value,))
        for path, value in found.items()
    ]
    return of_type(kind, *conditions.equality_clauses(context, wanted))


@pytest.mark.django_db
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("limit", [None, 100])
@pytest.mark.parametrize(
    ("where", "index"),
    [
        (lambda: of_type(), {"listing", "key"}),
        (lambda: of_type("Pod", conditions.equals("namespace", "ns-3")), {"key", "listing"}),
        (
            lambda: (
                *resources.type_clauses(CLUSTER, "Pod"),
                conditions.equals("namespace", "ns-3"),
                conditions.equals("resource_name", "name-3"),
            ),
            {"key", "across", "by_name"},
        ),
        (lambda: typed("pod"), {"listing"}),
        (lambda: typed("pod", namespace="ns-3,ns-4"), {"listing"}),
        (lambda: typed("pod", status="Failed"), {"status"}),
        (lambda: typed("pod", hostIp="10.0.0.1,10.0.0.3"), {"host_ip"}),
        (lambda: typed("pod", podIp="10.2.7.1"), {"pod_ip"}),
        (
            lambda: typed("pod", createTimeBegin="1577836800", createTimeEnd="1577880000"),
            {"created"},
        ),
        (lambda: typed("taskgroup", "mesos", rcName="rc-1"), {"rc_name"}),
        (lambda: typed("taskgroup", "mesos", hostIp="10.1.0.1"), {"host_ip"}),
        (lambda: typed("taskgroup", "mesos", lastStatus="s-1"), {"document"}),
        (lambda: typed("deployment", replicas="7"), {"document"}),
        (lambda: matching(data__metadata__labels__app="app-3"), {"document"}),
        (lambda: matching(data__metadata__ownerReferences__name="rs-3"), {"document"}),
        (lambda: matching(data__metadata__ownerReferences__0__name="rs-3"), {"document"}),
        (lambda: matching(data__metadata__labels={"app": "app-3"}), {"document"}),
        (lambda: matching(data__nothing=None), {"listing", "key", "update_time"}),
    ],
)
def test_no_list_walks_the_table(where: Any, index: set[str], limit: int | None) -> None:
    for field in ("", "resourceName", "data.metadata.name"):
        used = indexes(answered(where(), field=field, limit=limit))
        assert used & index, (field, used)


@pytest.mark.django_db
@pytest.mark.usefixtures("filled")
def test_a_deep_page_unpacks_only_its_own_documents() -> None:
    top = answered(typed("pod"), offset=1000, limit=50)
    assert "listing" in indexes(top)
    query = DocumentQuery(RESOURCE, typed("pod"), 1000, 50)
    run = plan(*select_statement(query, selection(RESOURCE, {}, STYLE), in_index=False), run=True)
    fetched = [
        node["Actual Rows"] * node["Actual Loops"]
        for node in nodes(run)
        if node.get("Index Name") == "storage_resource_pkey"
    ]
    assert fetched == [50]


@pytest.mark.django_db
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "where",
    [
        lambda: of_type(),
        lambda: typed("pod"),
        lambda: of_type("Pod", conditions.equals("namespace", "ns-3")),
    ],
    ids=["type", "typed", "namespace"],
)
def test_names_come_out_of_an_index_alone(where: Any) -> None:
    """No heap page is read, so no document is."""
    query = DocumentQuery(RESOURCE, where())
    run = plan(
        *select_statement(
            query, selection(RESOURCE, paths.fields("resourceName"), STYLE), in_index=True
        ),
        run=True,
    )
    scans = [node for node in nodes(run) if "Index Name" in node or "Relation Name" in node]
    assert [node["Node Type"] for node in scans] == ["Index Only Scan"]
    assert scans[0]["Heap Fetches"] == 0
    assert scans[0]["Actual Rows"] > 50


@pytest.mark.django_db
@pytest.mark.usefixtures("filled")
def test_sweeps_and_counts_use_indexes() -> None:
    swept = DocumentQuery(
        RESOURCE, (*of_type(), *resources.update_time_range(None, to_instant(1_000_000_000)))
    )
    where, params = target_condition(swept)
    top = plan(sql.SQL("DELETE FROM storage_resource r WHERE {}").format(where), params)
    assert "update_time" in indexes(top)
    labelled = DocumentQuery(RESOURCE, matching(data__metadata__labels__app="app-3"))
    where, params = target_condition(labelled)
    assert "document" in indexes(
        plan(sql.SQL("DELETE FROM storage_resource r WHERE {}").format(where), params)
    )
    assert "document" in indexes(plan(*count_statement(labelled)))
    assert indexes(plan(*count_statement(DocumentQuery(RESOURCE, of_type())))) <= {
        "update_time",
        "listing",
        "key",
    }


@pytest.mark.parametrize("order", ["", "name", "-namespace"])
@pytest.mark.usefixtures("filled")
def test_a_page_within_a_namespace_reads_nothing_beside_it(order: str) -> None:
    query = ListQuery(namespace="ns-3", size=5, order=order)
    with CaptureQueriesContext(connection) as queries:
        snapshot.page(Cluster(pk=0, name=CLUSTER), KINDS["pods"], query)
    executed = queries[-1]["sql"]
    assert executed.startswith("EXECUTE ")
    top = plan(sql.SQL(executed), [], run=True)
    walks = [node for node in nodes(top) if node.get("Relation Name") == "storage_resource"]
    assert len(walks) == 3
    # One of the page, one of its documents by their ids; that from the end is not run.
    assert sorted(node["Actual Rows"] * node["Actual Loops"] for node in walks) == [0, 5, 5]
    assert not any(node.get("Rows Removed by Filter") for node in walks)
