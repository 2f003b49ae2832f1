"""Lists of one kind in one cluster, answered from the store exactly as the cluster would."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import msgspec
from django.conf import settings
from django.db import DataError, connection
from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.manifests import LAST_APPLIED
from clusters.models import Cluster
from clusters.resource_types import (
    BUILT_IN,
    EVENTS,
    SECRETS,
    resource_type,
)
from core.database.prepared import PreparedStatement
from storage_api.protection import holds_sealed
from storage_api.query import problems, selectors, sorting
from storage_api.query.conditions import Clause, name_contains
from storage_api.query.queries import INDEXED
from storage_api.services import sync
from storage_api.services.resources import index_root
from storage_api.services.sync import CopyState, Coverage

# Lists of the API server's own kinds leave apiVersion and kind out of each item; lists of custom
# kinds do not.
# What an agent has stored may be no object, of which PostgreSQL takes nothing away.
WIRE = {
    True: sql.SQL(
        "CASE WHEN jsonb_typeof(r.data) = 'object'"
        " THEN (r.data - 'kind' - 'apiVersion')::text ELSE '{}' END"
    ),
    False: sql.SQL("CASE WHEN jsonb_typeof(r.data) = 'object' THEN r.data::text ELSE '{}' END"),
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
    where = [
        *scope_clauses(kind, query.namespace, query.keyword, query.namespaces),
        *labels.clauses,
        *fields,
    ]
    if query.troubled:
        where.append(problem_clause(kind))
    is_narrowed = bool(query.keyword or query.troubled or labels.labels or labels.clauses or fields)
    shape = _page_shape(query, is_counted=not is_narrowed and kind != KINDS["namespaces"])
    # A list that has to unpack every document is not begun in vain.
    if shape.reads_documents and _coverage(cluster, kind, query.namespace) is None:
        return None
    read = partial(_read_page, cluster, kind, labels=labels.labels, query=query, shape=shape)
    try:
        return _read_covered(read, where, kind, cluster=cluster, namespace=query.namespace)
    except (DataError, msgspec.ValidationError):
        # What an agent has stored may be no object: then only the cluster has the list.
        return None


def _read_covered(
    read: Callable[[Sequence[Clause]], tuple[ObjectPage, list[CopyState]]],
    where: list[Clause],
    kind: Kind,
    *,
    cluster: Cluster,
    namespace: str,
) -> ObjectPage | None:
    """The page that `read` gives for the conditions; None when the copy is not fresh."""
    rows, states = read(where)
    coverage = _coverage_of(states, cluster, namespace)
    if coverage is not None and coverage.namespaces is not None:
        # Collected namespace by namespace: some may refuse the kind, or remain from before.
        scope = scope_clauses(kind, "", "", coverage.namespaces)
        rows, states = read([*where, *scope])
        again = _coverage_of(states, cluster, namespace)
        if again is None or again.namespaces != coverage.namespaces:
            return None
        coverage = again
    if coverage is None:
        return None
    # In objects other than Secrets the cluster gives out such values, and the store masks them.
    # What an agent has stored may be a list.
    if any(holds_sealed(item) or not item.startswith(b"{") for item in rows.items):
        return None
    return ObjectPage(rows.items, rows.total, coverage.age)


def _coverage(cluster: Cluster, kind: Kind, namespace: str) -> Coverage | None:
    return sync.coverage(cluster, kind, settings.STORE_FRESH_SECONDS, namespace=namespace)


def _coverage_of(states: Sequence[CopyState], cluster: Cluster, namespace: str) -> Coverage | None:
    return sync.coverage_of_copies(
        states,
        cluster.namespaces,
        settings.STORE_FRESH_SECONDS,
        namespace=namespace,
    )


_OBJECT = PreparedStatement(f"""
SELECT states.text, r.data::text, r.omitted
FROM (SELECT {sync.COPY_STATES} AS text) states
LEFT JOIN storage_resource r ON r.cluster_id = %s AND r.resource_type = %s
  AND r.namespace = %s AND r.resource_name = %s
""")  # noqa: S608  # all parts are constants


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as JSON, and how old the copy is in seconds."""

    raw: bytes
    age: float


def get(cluster: Cluster, kind: Kind, name: str, *, namespace: str = "") -> StoredObject | None:
    """One object as the cluster itself would give it, whole, from the store.

    None when the copy is not fresh, when it has no such object (only the cluster can say that it
    does not exist), and for Events and Secrets.
    """
    if (kind.group, kind.plural) in (EVENTS, SECRETS) or "\0" in f"{namespace}{name}":
        return None
    key = [cluster.name, resource_type(kind), namespace, name]
    with connection.cursor() as cursor:
        _OBJECT.execute(cursor, [*sync.copy_state_params(cluster, kind), *key])
        states, text, omitted = cursor.fetchone()
    coverage = _coverage_of(sync.parse_copy_states(states), cluster, namespace)
    if coverage is None or text is None or omitted is None:
        return None
    document = text.encode()
    if holds_sealed(document):
        return None
    return StoredObject(_complete(document, omitted.encode()), coverage.age)


_DOCUMENTS = """
SELECT resource_type, namespace, resource_name, data::text FROM storage_resource
WHERE cluster_id = %s AND (resource_type, namespace, resource_name) IN (
  SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])
)
"""


def read_sealed(
    cluster: Cluster, keys: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str], bytes]:
    """The documents of (type, namespace, name) that the store has, by that key.

    Values of Secrets are sealed. Only for comparing, never for an answer. Whether the copies are
    fresh is for `sync.coverage` to say.
    """
    if not keys:
        return {}
    types, namespaces, names = (list(column) for column in zip(*keys, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_DOCUMENTS, [cluster.name, types, namespaces, names])
        rows = cursor.fetchall()
    return {
        (stored_as, namespace, name): text.encode() for stored_as, namespace, name, text in rows
    }


# Members are passed on as they stand: no number and no text changes.
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _without_kind(document: bytes) -> bytes:
    """The object without its kind and apiVersion, otherwise as the database writes it.

    PostgreSQL would build the whole document anew for it.
    """
    members = _MEMBERS.decode(document)
    members.pop("kind", None)
    members.pop("apiVersion", None)
    parts = [msgspec.json.encode(key) + b": " + raw for key, raw in members.items()]
    return b"{" + b", ".join(parts) + b"}"


def _complete(document: bytes, omitted_text: bytes) -> bytes:
    """The object with what its document leaves out, as JSON."""
    members: dict[str, Any] = _MEMBERS.decode(document)
    metadata: dict[str, Any] = _MEMBERS.decode(members["metadata"])
    omitted = _MEMBERS.decode(omitted_text)
    if "lastApplied" in omitted:
        annotations = _MEMBERS.decode(metadata.get("annotations", b"{}"))
        metadata["annotations"] = annotations | {LAST_APPLIED: omitted["lastApplied"]}
    if "managedFields" in omitted:
        metadata["managedFields"] = omitted["managedFields"]
    members["metadata"] = metadata
    return msgspec.json.encode(members)


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
        clauses.append(Clause(_IN_NAMESPACE, (namespace,)))
    if keyword:
        clauses.append(Clause(name_contains("r.resource_name"), (keyword,)))
    if namespaces is not None and namespace not in namespaces:
        # A Namespace stands in none; it may be seen by who may see what is inside.
        column = "resource_name" if kind == KINDS["namespaces"] else "namespace"
        is_visible = sql.SQL("{} = ANY (%s)").format(sql.Identifier("r", column))
        clauses.append(Clause(is_visible, (sorted(namespaces),)))
    return clauses


def problem_clause(kind: Kind) -> Clause:
    """The condition for objects that have a problem; Invalid for kinds that have no such rule."""
    return Clause(sql.SQL("r.data @? %s::jsonpath"), (problems.problem_rule(kind).path,))


@dataclass(frozen=True, slots=True)
class _PageShape:
    """What the statement of a page looks like, apart from its conditions.

    `by_type_key`: the index of the order begins with the type's key. `reads_documents`: documents
    have to be read to filter or to sort. `is_counted`: no condition goes beyond cluster, type and
    namespaces, for which the database keeps the number of rows.
    """

    columns: tuple[str | sql.Composable, ...]
    descending: bool
    in_namespace: bool
    by_type_key: bool
    reads_documents: bool
    is_counted: bool

    @property
    def counts_by_key(self) -> bool:
        """Whether rows are counted by an index of the type's key.

        Within a namespace, the index of names is shorter still and has no key.
        """
        return not self.is_counted and not self.in_namespace

    def order(self, *, backward: bool = False) -> sql.Composable:
        """What rows are sorted by, or its reverse."""
        return sorting.order_by(self.columns, descending=self.descending != backward)

    def has_one_plan(self, where: Sequence[Clause]) -> bool:
        """Whether an index has the rows in order, whatever cluster, type and namespace are."""
        if not self.is_counted or len(where) != self.in_namespace:
            return False
        orders = (sorting.WITHIN_NAMESPACE,) if self.in_namespace else _INDEXED_ORDERS
        return self.columns in orders


def _page_shape(query: ListQuery, *, is_counted: bool) -> _PageShape:
    """The shape of a query's page; Invalid for an unknown order."""
    columns: tuple[str | sql.Composable, ...] = (sorting.KEY_ORDER,)
    descending = False
    by_type_key = False
    reads_documents = query.troubled
    if query.order:
        order, descending = sorting.parse_order(query.order, query.ranks)
        columns = order.columns
        by_type_key = order.by_type_key
        reads_documents = query.troubled or order.reads_documents
    if query.namespace and columns in _KEY_ORDERS:
        # The same order, and the only one of which an index has the namespace alone.
        columns = sorting.WITHIN_NAMESPACE
    return _PageShape(
        columns,
        descending,
        in_namespace=bool(query.namespace),
        by_type_key=by_type_key,
        reads_documents=reads_documents,
        is_counted=is_counted,
    )


# Orders by namespace and name alone, and those that an index has for a whole kind.
_KEY_ORDERS = (
    (sorting.KEY_ORDER,),
    sorting.ORDERS["name"].columns,
    sorting.ORDERS["namespace"].columns,
)
_INDEXED_ORDERS = (*_KEY_ORDERS, sorting.ORDERS["created"].columns)


_EVERY_ROW = sql.SQL("storage_resource r")
_OF_KIND = sql.SQL("r.cluster_id = %s AND r.resource_type = %s")
_IN_NAMESPACE = sql.SQL("r.namespace = %s")
_OF_KEY = sql.SQL("AND r.type_key = %s")
_ANY_KEY = sql.SQL("")
# By the smallest index, which begins with the type's key.
_COUNT_ROWS = sql.SQL("SELECT count(*) AS n FROM {source} WHERE {condition} {key}")
# What the database keeps count of (migration 0005), as exact as the rows themselves.
_TRIGGER_COUNT = sql.SQL(
    "SELECT coalesce(sum(r.rows), 0)::bigint AS n FROM storage_count r WHERE {condition}"
)
# Without documents, page and total are quicker apart: a short walk, and a count. A page in the
# second half is walked to from the end.
_APART = sql.SQL("""
WITH total AS (
  {total}
), part AS (
  SELECT n, size, skip <= n / 2 AS is_near, least(size, n - skip) AS rest,
         greatest(n - skip - size, 0) AS after
  FROM total, (SELECT %s::bigint AS skip, %s::bigint AS size) query
), chosen AS (
  SELECT near.id, row_number() OVER () AS place FROM (
    SELECT r.id FROM {source} WHERE {condition} {order_key} ORDER BY {order} OFFSET %s
    LIMIT (SELECT CASE WHEN is_near THEN size ELSE 0 END FROM part)
  ) near
  UNION ALL
  SELECT far.id, -row_number() OVER () FROM (
    SELECT r.id FROM {source} WHERE {condition} {order_key} ORDER BY {reverse}
    OFFSET (SELECT after FROM part)
    LIMIT (SELECT CASE WHEN is_near THEN 0 ELSE greatest(rest, 0) END FROM part)
  ) far
)""")
# What has to read documents does so once, for both page and total.
_TOGETHER = sql.SQL("""
WITH matched AS MATERIALIZED (
  SELECT r.id, row_number() OVER (ORDER BY {order}) AS place FROM {source} WHERE {condition}
), total AS (
  SELECT count(*) AS n FROM matched
), chosen AS (
  SELECT id, place FROM matched ORDER BY place OFFSET %s LIMIT %s
)""")
# One row with the total alone when the page is empty. OFFSET 0 has the few chosen documents looked
# up one by one: how many there will be is nothing the planner can know.
_PAGE = sql.SQL("""{parts}
SELECT total.n, page.text, {states} FROM total LEFT JOIN LATERAL (
  SELECT whole.text, chosen.place FROM chosen CROSS JOIN LATERAL (
    SELECT r.data::text AS text FROM storage_resource r WHERE r.id = chosen.id OFFSET 0
  ) whole
) page ON true ORDER BY page.place
""")


def _read_page(
    cluster: Cluster,
    kind: Kind,
    where: Sequence[Clause],
    *,
    labels: tuple[tuple[str, str], ...],
    query: ListQuery,
    shape: _PageShape,
) -> tuple[ObjectPage, list[CopyState]]:
    """(the page, how fresh the copy is), by one statement: both of one moment."""
    stored_as = resource_type(kind)
    type_key = stored_as.lower()
    source, scope = _source(index_root(cluster.name, type_key), labels)
    scope += [cluster.name, stored_as]
    for clause in where:
        scope += clause.params
    part = [query.offset, query.size]
    params = [*scope, *part]
    if not shape.reads_documents:
        count_key = [type_key] if shape.counts_by_key else []
        walk = [*scope, type_key] if shape.by_type_key else scope
        params = [*scope, *count_key, *part, *walk, query.offset, *walk]
    params += sync.copy_state_params(cluster, kind)
    with connection.cursor() as cursor:
        if shape.has_one_plan(where):
            _planned_page(shape).execute(cursor, params)
        else:
            texts = [clause.text for clause in where]
            cursor.execute(_page_statement(source, texts, shape), params)
        rows: list[Any] = cursor.fetchall()
    items = [text.encode() for _, text, _ in rows if text is not None]
    if kind.group in BUILT_IN:
        items = [_without_kind(item) for item in items]
    return ObjectPage(items, int(rows[0][0])), sync.parse_copy_states(rows[0][2])


def _page_statement(
    source: sql.Composable, where: Sequence[sql.Composable], shape: _PageShape
) -> sql.Composable:
    """The statement of a page of the rows in `source` for which all of `where` holds."""
    condition = sql.SQL(" AND ").join([_OF_KIND, *where])
    total = _TRIGGER_COUNT.format(condition=condition)
    if not shape.is_counted:
        key = _OF_KEY if shape.counts_by_key else _ANY_KEY
        total = _COUNT_ROWS.format(source=source, condition=condition, key=key)
    parts = (_TOGETHER if shape.reads_documents else _APART).format(
        source=source,
        condition=condition,
        total=total,
        order=shape.order(),
        reverse=shape.order(backward=True),
        order_key=_OF_KEY if shape.by_type_key else _ANY_KEY,
    )
    return _PAGE.format(parts=parts, states=sql.SQL(sync.COPY_STATES))


@cache
def _planned_page(shape: _PageShape) -> PreparedStatement:
    """The statement of a page of a whole kind, or of one namespace of it."""
    where = [_IN_NAMESPACE] if shape.in_namespace else []
    statement = _page_statement(_EVERY_ROW, where, shape)
    # It has no value that would have to be quoted as a connection does it.
    connectionless: Any = None
    return PreparedStatement(statement.as_string(connectionless))


def _source(
    index_key: str, labels: tuple[tuple[str, str], ...]
) -> tuple[sql.Composable, list[Any]]:
    """(the rows to look at, called r; their parameters)."""
    if not labels:
        return _EVERY_ROW, []
    # OFFSET 0 keeps the index's answer apart: else the planner unpacks every document of the kind.
    rows = sql.SQL("(SELECT * FROM storage_resource WHERE {} @> %s::jsonb OFFSET 0) r")
    return rows.format(INDEXED), [selectors.containment(index_key, labels)]
