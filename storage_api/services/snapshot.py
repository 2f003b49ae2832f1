"""Lists of one kind in one cluster, answered out of the store exactly as the cluster itself would."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.models import Cluster
from clusters.resource_types import BUILT_IN, EVENTS, SECRETS, resource_type
from storage_api.protection import holds_sealed
from storage_api.query import problems, selectors, sorting
from storage_api.query.conditions import Clause
from storage_api.query.queries import INDEXED
from storage_api.services import sync
from storage_api.services.resources import root

ORDER = sql.SQL("(r.namespace || '/' || r.resource_name) COLLATE \"C\"")
# Lists of the API server's own kinds leave these out of each item; lists of custom kinds do not.
WIRE = {True: sql.SQL("(r.data - 'kind' - 'apiVersion')::text"), False: sql.SQL("r.data::text")}


def page(cluster: Cluster, kind: Kind, query: ListQuery) -> ObjectPage | None:
    """The page as the cluster itself would give it, out of the store.

    None when the copy is not fresh, or a selector is one that only the cluster can judge.
    """
    if (kind.group, kind.plural) in (
        EVENTS,
        SECRETS,
    ) or "\0" in f"{query.namespace}{query.keyword}":
        return None
    labels, fields = (
        selectors.labels(query.label_selector),
        selectors.fields(query.field_selector, kind),
    )
    if labels is None or fields is None:
        return None
    known = sync.coverage(cluster, kind, settings.STORE_FRESH_SECONDS, namespace=query.namespace)
    if known is None:
        return None
    where = [
        *scope(kind, query.namespace, query.keyword, query.namespaces),
        *(scope(kind, "", "", known.namespaces)),
        *labels.clauses,
        *fields,
        *([in_trouble(kind)] if query.troubled else []),
    ]
    items, total = _read(
        cluster.name,
        kind,
        where,
        labels.labels,
        _Part(query.order, query.offset, query.size, deep=query.troubled or bool(query.order)),
    )
    # Elsewhere than in Secrets such values are everybody's who may see the object: the cluster gives them out.
    if any(holds_sealed(item) for item in items):
        return None
    return ObjectPage(items, total, known.age)


_CENSUS = """
SELECT coalesce(status, ''), coalesce(node_name, ''), count(*) FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND type_key = lower(%s COLLATE "C")
  AND (%s::text[] IS NULL OR namespace = ANY (%s)) GROUP BY 1, 2
"""


def census(cluster: Cluster, kind: Kind) -> tuple[list[tuple[str, str, int]], float] | None:
    """([(status.phase, spec.nodeName, how many) …], age in seconds); None when the store is not fresh."""
    known = sync.coverage(cluster, kind, settings.STORE_FRESH_SECONDS)
    if known is None:
        return None
    stored_as = resource_type(kind)
    readable = None if known.namespaces is None else sorted(known.namespaces)
    with connection.cursor() as cursor:
        cursor.execute(_CENSUS, [cluster.name, stored_as, stored_as, readable, readable])
        return [
            (str(phase), str(node), int(number)) for phase, node, number in cursor.fetchall()
        ], known.age


def scope(
    kind: Kind, namespace: str, keyword: str, namespaces: frozenset[str] | None
) -> list[Clause]:
    """What narrows a list to a namespace, a part of a name, and what the caller may see."""
    found = []
    if namespace:
        found.append(Clause(sql.SQL("r.namespace = %s"), (namespace,)))
    if keyword:
        found.append(
            Clause(sql.SQL("position(lower(%s) IN lower(r.resource_name)) > 0"), (keyword,))
        )
    if namespaces is not None:
        column = "resource_name" if kind == KINDS["namespaces"] else "namespace"
        found.append(
            Clause(
                sql.SQL("{} = ANY (%s)").format(sql.Identifier("r", column)), (sorted(namespaces),)
            )
        )
    return found


def in_trouble(kind: Kind) -> Clause:
    """What leaves only objects that are in trouble; Invalid for kinds of which that is not known."""
    return Clause(sql.SQL("r.data @? %s::jsonpath"), (problems.of(kind).path,))


@dataclass(frozen=True, slots=True)
class _Part:
    """Which part of a list, and in which order; `deep` says that documents have to be looked into for it."""

    order: str
    offset: int
    size: int
    deep: bool

    @property
    def place(self) -> sql.Composable:
        """Where a row stands, as SQL."""
        if not self.order:
            return ORDER
        order, backwards = sorting.of(self.order)
        columns = sql.SQL(", ").join(
            [sql.SQL(column + (" DESC" if backwards else "")) for column in order.columns]
        )
        return sql.SQL("row_number() OVER (ORDER BY {})").format(columns)


def _read(
    cluster_name: str,
    kind: Kind,
    where: Sequence[Clause],
    labels: tuple[tuple[str, str], ...],
    part: _Part,
) -> tuple[list[bytes], int]:
    """One statement, so that page and total are of one moment."""
    stored_as = resource_type(kind)
    source, params = _source(root(cluster_name, stored_as.lower()), labels)
    condition = sql.SQL(" AND ").join(
        [sql.SQL("r.cluster_id = %s AND r.resource_type = %s"), *(clause.text for clause in where)]
    )
    params += [cluster_name, stored_as, *(param for clause in where for param in clause.params)]
    # What has to look into documents does so once for both page and total; what does not is quicker apart, with a short sort and a
    # count by the smallest index, which begins with the type's key.
    apart = sql.SQL("""
        WITH total AS (SELECT count(*) AS n FROM {source} WHERE {condition} AND r.type_key = {key}),
        chosen AS (SELECT r.id, {order} AS place FROM {source} WHERE {condition} ORDER BY place OFFSET %s LIMIT %s)""")
    once = sql.SQL("""
        WITH matched AS MATERIALIZED (SELECT r.id, {order} AS place FROM {source} WHERE {condition}),
        total AS (SELECT count(*) AS n FROM matched),
        chosen AS (SELECT id, place FROM matched ORDER BY place OFFSET %s LIMIT %s)""")
    statement = sql.SQL("""{parts}
        SELECT total.n, found.text FROM total LEFT JOIN LATERAL (
          SELECT {wire} AS text, chosen.place FROM chosen JOIN storage_resource r ON r.id = chosen.id
        ) found ON true ORDER BY found.place
    """).format(
        parts=(once if part.deep else apart).format(
            source=source, condition=condition, order=part.place, key=sql.Literal(stored_as.lower())
        ),
        wire=WIRE[kind.group in BUILT_IN],
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, *([] if part.deep else params), part.offset, part.size])
        rows: list[Any] = cursor.fetchall()
    return [row[1].encode() for row in rows if row[1] is not None], int(rows[0][0])


def _source(
    indexed_under: str, labels: tuple[tuple[str, str], ...]
) -> tuple[sql.Composable, list[Any]]:
    """The rows to look at. The index's answer is fenced off (OFFSET 0), or the planner would unpack every document of the kind."""
    if not labels:
        return sql.SQL("storage_resource r"), []
    fenced = sql.SQL("(SELECT * FROM storage_resource WHERE {} @> %s::jsonb OFFSET 0) r").format(
        INDEXED
    )
    return fenced, [selectors.containment(indexed_under, labels)]
