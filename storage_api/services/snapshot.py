"""Lists of one kind in one cluster, answered from the store exactly as the cluster would."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.models import Cluster
from clusters.resource_types import (
    BUILT_IN,
    EVENTS,
    SECRETS,
    resource_type,
)
from storage_api.protection import holds_sealed
from storage_api.query import problems, selectors, sorting
from storage_api.query.conditions import Clause, name_contains
from storage_api.query.queries import INDEXED
from storage_api.services import sync
from storage_api.services.resources import index_root

# Lists of the API server's own kinds leave apiVersion and kind out of each item; lists of custom
# kinds do not.
WIRE = {
    True: sql.SQL("(r.data - 'kind' - 'apiVersion')::text"),
    False: sql.SQL("r.data::text"),
}


def page(cluster: Cluster, kind: Kind, query: ListQuery) -> ObjectPage | None:
    """The page as the cluster itself would give it, from the store.

    None when the copy is not fresh, or a selector is one that only the cluster can judge.
    """
    # Events are stored as reports, Secrets without their values.
    if (kind.group, kind.plural) in (EVENTS, SECRETS):
        return None
    if "\0" in f"{query.namespace}{query.keyword}":
        # PostgreSQL takes no NUL.
        return None
    labels = selectors.labels(query.label_selector)
    fields = selectors.fields(query.field_selector, kind)
    if labels is None or fields is None:
        return None
    coverage = sync.coverage(
        cluster,
        kind,
        settings.STORE_FRESH_SECONDS,
        namespace=query.namespace,
    )
    if coverage is None:
        return None
    where = [
        *scope_clauses(kind, query.namespace, query.keyword, query.namespaces),
        *scope_clauses(kind, "", "", coverage.namespaces),
        *labels.clauses,
        *fields,
    ]
    if query.troubled:
        where.append(problem_clause(kind))
    part = _PagePart(
        query.order,
        query.offset,
        query.size,
        reads_documents=query.troubled or bool(query.order),
    )
    items, total = _read_page(cluster.name, kind, where, labels.labels, part)
    # In objects other than Secrets the cluster gives out such values, and the store masks them.
    if any(holds_sealed(item) for item in items):
        return None
    return ObjectPage(items, total, coverage.age)


_CENSUS = """
SELECT coalesce(status, ''), coalesce(node_name, ''), count(*) FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND type_key = lower(%s COLLATE "C")
  AND (%s::text[] IS NULL OR namespace = ANY (%s)) GROUP BY 1, 2
"""


def census(cluster: Cluster, kind: Kind) -> tuple[list[tuple[str, str, int]], float] | None:
    """([(status.phase, spec.nodeName, how many) …], age in seconds).

    None when the store is not fresh.
    """
    coverage = sync.coverage(cluster, kind, settings.STORE_FRESH_SECONDS)
    if coverage is None:
        return None
    stored_as = resource_type(kind)
    readable = None if coverage.namespaces is None else sorted(coverage.namespaces)
    with connection.cursor() as cursor:
        cursor.execute(
            _CENSUS,
            [
                cluster.name,
                stored_as,
                stored_as,
                readable,
                readable,
            ],
        )
        rows = cursor.fetchall()
    counts = [(str(phase), str(node), int(count)) for phase, node, count in rows]
    return counts, coverage.age


def scope_clauses(
    kind: Kind,
    namespace: str,
    keyword: str,
    namespaces: frozenset[str] | None,
) -> list[Clause]:
    """The conditions that narrow a list to a namespace, a part of a name, some namespaces.

    `namespaces`: what the caller may see; None is every namespace.
    """
    clauses = []
    if namespace:
        clauses.append(Clause(sql.SQL("r.namespace = %s"), (namespace,)))
    if keyword:
        clauses.append(Clause(name_contains("r.resource_name"), (keyword,)))
    if namespaces is not None:
        # A Namespace stands in none; it may be seen by who may see what is inside.
        column = "resource_name" if kind == KINDS["namespaces"] else "namespace"
        is_visible = sql.SQL("{} = ANY (%s)").format(sql.Identifier("r", column))
        clauses.append(Clause(is_visible, (sorted(namespaces),)))
    return clauses


def problem_clause(kind: Kind) -> Clause:
    """The condition for objects that have a problem; Invalid for kinds that have no such rule."""
    return Clause(sql.SQL("r.data @? %s::jsonpath"), (problems.problem_rule(kind).path,))


@dataclass(frozen=True, slots=True)
class _PagePart:
    """Which part of a list, and in which order.

    `reads_documents`: documents have to be read to filter or to sort.
    """

    order: str
    offset: int
    size: int
    reads_documents: bool

    @property
    def position(self) -> sql.Composable:
        """What rows are sorted by, as one SQL expression."""
        if not self.order:
            return sorting.KEY_ORDER
        order, descending = sorting.parse_order(self.order)
        columns = sorting.order_by(order.columns, descending=descending)
        return sql.SQL("row_number() OVER (ORDER BY {})").format(columns)


# Without documents, page and total are quicker apart: a short sort, and a count by the smallest
# index, which begins with the type's key.
_APART = sql.SQL("""
WITH total AS (
  SELECT count(*) AS n FROM {source} WHERE {condition} AND r.type_key = {key}
), chosen AS (
  SELECT r.id, {order} AS place FROM {source} WHERE {condition}
  ORDER BY place OFFSET %s LIMIT %s
)""")
# What has to read documents does so once, for both page and total.
_TOGETHER = sql.SQL("""
WITH matched AS MATERIALIZED (
  SELECT r.id, {order} AS place FROM {source} WHERE {condition}
), total AS (
  SELECT count(*) AS n FROM matched
), chosen AS (
  SELECT id, place FROM matched ORDER BY place OFFSET %s LIMIT %s
)""")
# One row with the total alone when the page is empty.
_PAGE = sql.SQL("""{parts}
SELECT total.n, page.text FROM total LEFT JOIN LATERAL (
  SELECT {wire} AS text, chosen.place
  FROM chosen JOIN storage_resource r ON r.id = chosen.id
) page ON true ORDER BY page.place
""")


def _read_page(
    cluster_name: str,
    kind: Kind,
    where: Sequence[Clause],
    labels: tuple[tuple[str, str], ...],
    part: _PagePart,
) -> tuple[list[bytes], int]:
    """(the page's objects, how many there are in all), by one statement: both of one moment."""
    stored_as = resource_type(kind)
    type_key = stored_as.lower()
    source, params = _source(index_root(cluster_name, type_key), labels)
    texts: list[sql.Composable] = [sql.SQL("r.cluster_id = %s AND r.resource_type = %s")]
    texts += [clause.text for clause in where]
    params += [cluster_name, stored_as]
    for clause in where:
        params += clause.params
    parts = (_TOGETHER if part.reads_documents else _APART).format(
        source=source,
        condition=sql.SQL(" AND ").join(texts),
        order=part.position,
        key=sql.Literal(type_key),
    )
    statement = _PAGE.format(parts=parts, wire=WIRE[kind.group in BUILT_IN])
    if not part.reads_documents:
        # The condition stands in the statement twice.
        params += params
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, part.offset, part.size])
        rows: list[Any] = cursor.fetchall()
    items = [text.encode() for _, text in rows if text is not None]
    total = int(rows[0][0])
    return items, total


def _source(
    index_key: str, labels: tuple[tuple[str, str], ...]
) -> tuple[sql.Composable, list[Any]]:
    """(the rows to look at, called r; their parameters)."""
    if not labels:
        return sql.SQL("storage_resource r"), []
    # OFFSET 0 keeps the index's answer apart: else the planner unpacks every document of the kind.
    rows = sql.SQL("(SELECT * FROM storage_resource WHERE {} @> %s::jsonb OFFSET 0) r")
    return rows.format(INDEXED), [selectors.containment(index_key, labels)]
