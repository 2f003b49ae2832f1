"""One kind, one name, or everything, over many clusters at once: read from the store alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q
from psycopg2 import sql

from clusters.kinds import KINDS, Kind, is_place_of, known_kind, parse_reference
from clusters.models import Cluster
from clusters.resource_types import EVENTS, resource_type
from core.errors import Invalid, NotFound
from storage_api.models import KindSync
from storage_api.protection import masked
from storage_api.query.conditions import Clause

MAX_DEPTH = 10
MAX_OWNED = 100_000
_SORTS: Mapping[str, tuple[str, ...]] = {
    "name": ("r.resource_name", "r.namespace", "r.cluster_id", "r.id"),
    "namespace": ("r.namespace", "r.resource_name", "r.cluster_id", "r.id"),
    "cluster": ("r.cluster_id", "r.namespace", "r.resource_name", "r.id"),
    "created": ("coalesce(r.created, 'epoch')", "r.id"),
}
_CASTS = {"r.id": "bigint", "coalesce(r.created, 'epoch')": "timestamptz"}


@dataclass(frozen=True, slots=True)
class Place:
    """One cluster as a caller may see it: `namespaces` None is all of them."""

    cluster: int
    name: str
    namespaces: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for: conditions, owner (uid, at any depth), creation from `since` to before `before`; `at`: as it was then.

    Of the past no owners are known.
    """

    places: Sequence[Place]
    kind: Kind
    clauses: Sequence[Clause] = ()
    namespaces: Sequence[str] = ()
    keyword: str = ""
    owner: str = ""
    since: datetime | None = None
    before: datetime | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Which part: sorted by `order` (name, namespace, cluster or created, with `-` backwards), after a position or from an offset."""

    order: str = "name"
    after: Sequence[str] = ()
    offset: int = 0
    size: int = 20

    @property
    def columns(self) -> tuple[str, ...]:
        """The SQL of the sort; Invalid for an order that there is not."""
        try:
            return _SORTS[self.order.removeprefix("-")]
        except KeyError:
            raise Invalid(
                f"orderby must be one of {', '.join(_SORTS)}, or one of these after a minus",
                field="orderby",
            ) from None


def find_kind(text: str, *, within: Collection[int] | None = None, cluster: str = "") -> Kind:
    """A kind by plural, singular, name in any case or short name, with `.group` or `.version.group` behind it where that is not unique.

    Looks at what is collected in the clusters of `within` (ids; None is all), first in `cluster` (its id) when it is there.
    NotFound for a kind that is neither known nor collected, Invalid, naming the groups, for one of several groups.
    """
    known = known_kind(text)
    name, _ = parse_reference(text)
    if known and name in known.names:
        return known
    candidates = _collected_as_named(text, within)
    here = [kind for pk, kind in candidates if str(pk) == cluster]
    kinds = here or [kind for _, kind in candidates]
    # A short name is worth less than a name, as for kubectl.
    named = [kind for kind in kinds if name in (kind.plural, kind.name.lower())]
    if known and not named:
        return known
    kinds = named or kinds
    choices = {(kind.group, kind.plural): kind for kind in reversed(kinds)}
    if not choices:
        raise NotFound(
            f"no cluster has objects of kind {text[:80]!r}{_other_version(text, within)}"
        )
    if len(choices) > 1:
        references = sorted(f"{plural}.{group}" for group, plural in choices)
        raise Invalid(
            f"kind {text[:80]!r} is in several groups: name one of {', '.join(references)}",
            field="kind",
            kinds=references,
        )
    return next(iter(choices.values()))


def _other_version(text: str, within: Collection[int] | None) -> str:
    """Says in which version the kind is kept, when the text names another one; "" otherwise."""
    name, _, place = text.strip().partition(".")
    group = place.partition(".")[2]
    kinds = [kind for _, kind in _collected_as_named(f"{name}.{group}", within)] if group else []
    if not kinds:
        return ""
    return f"; they are kept as {kinds[0].plural}.{kinds[0].version}.{kinds[0].group}"


def _collected_as_named(text: str, within: Collection[int] | None) -> list[tuple[int, Kind]]:
    """(cluster's id, kind) of every collected kind that the text may mean."""
    name, place = parse_reference(text)
    if not name or "\0" in text:
        return []
    rows = KindSync.objects.filter(cluster__deleted_at=None).filter(
        Q(plural=name) | Q(kind__iexact=name) | Q(aliases__contains=[name])
    )
    if within is not None:
        rows = rows.filter(cluster__in=within)
    kinds = [
        (
            row.cluster_id,
            Kind(row.kind, row.plural, row.group, row.version, row.namespaced, tuple(row.aliases)),
        )
        for row in rows.order_by("group", "id")
    ]
    return [(pk, kind) for pk, kind in kinds if is_place_of(kind, place)]


def collected_as(cluster: Cluster, kind: Kind) -> Kind:
    """The kind in the version in which it is collected in one cluster."""
    rows = KindSync.objects.filter(cluster=cluster, group=kind.group, plural=kind.plural)
    row = rows.order_by("namespace").first()
    return Kind(row.kind, row.plural, row.group, row.version, row.namespaced) if row else kind


def collected_kinds() -> list[Kind]:
    """Every kind that is collected in any registered cluster, each once."""
    rows = KindSync.objects.filter(cluster__deleted_at=None).order_by("group", "plural", "id")
    found = {
        (row.group, row.plural): Kind(row.kind, row.plural, row.group, row.version, row.namespaced)
        for row in rows
    }
    return [kind for key, kind in found.items() if key != EVENTS]


def visible_rows(places: Sequence[Place], kind: Kind) -> Clause:
    """The rows of one kind that the places allow."""
    column = sql.Identifier("r", "resource_name" if kind == KINDS["namespaces"] else "namespace")
    whole = [place.name for place in places if place.namespaces is None]
    parts: list[sql.Composable] = [sql.SQL("r.cluster_id = ANY (%s)")]
    params: list[Any] = [whole]
    for place in places:
        if place.namespaces is not None:
            parts.append(sql.SQL("(r.cluster_id = %s AND {} = ANY (%s))").format(column))
            params += [place.name, sorted(place.namespaces)]
    text = sql.SQL("(r.resource_type = %s AND ({}))").format(sql.SQL(" OR ").join(parts))
    return Clause(text, (resource_type(kind), *params))


# The first owner is a column; the rare objects with more have an index of their own. Its expression must be spelled exactly as there.
_OWNED = sql.SQL("""r.id IN (
  WITH RECURSIVE owned (id, cluster_id, uid, depth) AS (
    SELECT 0::bigint, place.name COLLATE "C", %s::text COLLATE "C", 0 FROM unnest(%s::text[]) AS place (name)
    UNION ALL
    SELECT o.id, o.cluster_id, o.uid, owned.depth + 1 FROM owned CROSS JOIN LATERAL (
      SELECT d.id, d.cluster_id, d.uid FROM storage_resource d WHERE d.cluster_id = owned.cluster_id AND d.owner_uid = owned.uid
      UNION ALL
      SELECT d.id, d.cluster_id, d.uid FROM storage_resource d
      WHERE d.cluster_id = owned.cluster_id AND d.data #> '{metadata,ownerReferences,1}' IS NOT NULL
        AND jsonb_path_query_array(d.data, '$.metadata.ownerReferences[1 to last].uid') ? owned.uid
    ) o WHERE owned.depth < %s
  ) SELECT id FROM owned LIMIT %s)""")


def _where(search: Search) -> tuple[sql.Composable, list[Any]]:
    clauses = [visible_rows(search.places, search.kind), *search.clauses]
    if search.namespaces:
        clauses.append(Clause(sql.SQL("r.namespace = ANY (%s)"), (list(search.namespaces),)))
    if search.keyword:
        clauses.append(
            Clause(sql.SQL("position(lower(%s) IN lower(r.resource_name)) > 0"), (search.keyword,))
        )
    if search.owner:
        clauses.append(
            Clause(
                _OWNED,
                (search.owner, [place.name for place in search.places], MAX_DEPTH, MAX_OWNED),
            )
        )
    if search.since:
        clauses.append(Clause(sql.SQL("r.created >= %s"), (search.since,)))
    if search.before:
        clauses.append(Clause(sql.SQL("r.created < %s"), (search.before,)))
    return sql.SQL(" AND ").join([clause.text for clause in clauses]), [
        param for clause in clauses for param in clause.params
    ]


_NOW = sql.SQL("""
WITH chosen AS (SELECT r.id, row_number() OVER (ORDER BY {order}) AS place, ARRAY[{keys}] AS position
                FROM {source} WHERE {where} ORDER BY {order} OFFSET %s LIMIT %s)
SELECT r.cluster_id, r.data::text, chosen.position FROM chosen JOIN storage_resource r ON r.id = chosen.id ORDER BY chosen.place
""")
_PAST = sql.SQL("""
SELECT r.cluster_id, r.data::text, ARRAY[{keys}] FROM {source} WHERE {where} ORDER BY {order} OFFSET %s LIMIT %s
""")
# The last version of each object until then; what the log does not hold has not changed since.
_THEN = sql.SQL("""(
  SELECT row_number() OVER (ORDER BY f.cluster_id, f.namespace, f.resource_name) AS id, f.*, f.data #>> '{{spec,nodeName}}' AS node_name,
         f.data #>> '{{status,phase}}' AS status, f.data #>> '{{status,podIP}}' AS pod_ip,
         storage_moment(f.data #> '{{metadata,creationTimestamp}}') AS created
  FROM (
    SELECT p.cluster_id, p.resource_type, p.namespace, p.resource_name, p.data FROM (
      SELECT DISTINCT ON (c.cluster_id, c.namespace, c.resource_name) c.* FROM storage_past c
      WHERE c.cluster_id = ANY (%s) AND c.resource_type = %s AND c.at <= %s
      ORDER BY c.cluster_id, c.namespace, c.resource_name, c.seq DESC
    ) p WHERE p.op <> 'delete'
    UNION ALL
    SELECT x.cluster_id, x.resource_type, x.namespace, x.resource_name, x.data FROM storage_resource x
    WHERE x.cluster_id = ANY (%s) AND x.resource_type = %s AND x.change_time <= %s AND NOT EXISTS (
      SELECT 1 FROM storage_past c WHERE c.cluster_id = x.cluster_id AND c.resource_type = x.resource_type
        AND c.namespace = x.namespace AND c.resource_name = x.resource_name AND c.at <= %s)
  ) f
) r""")


def _source(search: Search) -> tuple[sql.Composable, list[Any]]:
    """The rows to look at, called r."""
    if search.at is None:
        return sql.SQL("storage_resource r"), []
    key = [[place.name for place in search.places], resource_type(search.kind), search.at]
    return _THEN.format(), [*key, *key, search.at]


def page(search: Search, part: Slice) -> tuple[list[tuple[str, str]], tuple[str, ...] | None]:
    """((cluster's name, object as JSON text) …, the position after which more follows, None at the end)."""
    where, params = _where(search)
    backwards, columns = part.order.startswith("-"), part.columns
    casts = [sql.SQL("%s::" + _CASTS.get(column, 'text COLLATE "C"')) for column in columns]
    if part.after:
        if len(part.after) != len(columns):
            raise Invalid("cursor belongs to another order", field="cursor")
        comparison = sql.SQL("({}) {} ({})").format(
            _list(columns), sql.SQL("<" if backwards else ">"), sql.SQL(", ").join(casts)
        )
        where, params = sql.SQL("{} AND {}").format(where, comparison), [*params, *part.after]
    order = sql.SQL(", ").join(
        [sql.SQL(column + (" DESC" if backwards else "")) for column in columns]
    )
    keys = sql.SQL(", ").join([sql.SQL(f"({column})::text") for column in columns])
    source, source_params = _source(search)
    statement = (_NOW if search.at is None else _PAST).format(
        source=source, order=order, keys=keys, where=where
    )
    params = [*source_params, *params]
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, part.offset, part.size + 1])
        rows: list[Any] = cursor.fetchall()
    more = tuple(rows[part.size - 1][2]) if len(rows) > part.size else None
    return [(row[0], masked(row[1].encode()).decode()) for row in rows[: part.size]], more


def _list(columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join([sql.SQL(column) for column in columns])


def total(search: Search) -> int:
    """How many there are in all."""
    where, params = _where(search)
    source, source_params = _source(search)
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE {}").format(source, where),
            [*source_params, *params],
        )
        return int(cursor.fetchone()[0])


_NAMED = sql.SQL("""
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name, r.uid, r.created, r.status,
       NULL::timestamptz AS deleted, NULL::bigint AS seq
FROM storage_resource r WHERE position(lower(%s) IN lower(r.resource_name)) > 0 AND ({reach})
""")
# Of what is gone the last line of the log.
_GONE = sql.SQL("""
UNION ALL
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name, r.uid, storage_moment(r.data #> '{{metadata,creationTimestamp}}'),
       r.data #>> '{{status,phase}}', r.at, r.seq
FROM storage_change r WHERE r.op = 'delete' AND position(lower(%s) IN lower(r.resource_name)) > 0 AND ({reach}) AND NOT EXISTS (
  SELECT 1 FROM storage_change n WHERE n.cluster_id = r.cluster_id AND n.resource_type = r.resource_type AND n.namespace = r.namespace
    AND n.resource_name = r.resource_name AND n.seq > r.seq)
""")


def _named(
    scopes: Sequence[tuple[Kind, Sequence[Place]]], text: str, deleted: bool
) -> tuple[sql.Composable, list[Any]]:
    reaches = [visible_rows(places, kind) for kind, places in scopes if places] or [
        Clause(sql.SQL("false"))
    ]
    allowed = sql.SQL(" OR ").join([clause.text for clause in reaches])
    params = [text, *(param for clause in reaches for param in clause.params)]
    if not deleted:
        return _NAMED.format(reach=allowed), params
    return sql.Composed([_NAMED.format(reach=allowed), _GONE.format(reach=allowed)]), [
        *params,
        *params,
    ]


def named(
    scopes: Sequence[tuple[Kind, Sequence[Place]]], text: str, size: int, *, deleted: bool = False
) -> list[dict[str, Any]]:
    """Objects of any of the kinds whose names hold the text: equal ones first, then those that begin with it; what is gone last."""
    source, params = _named(scopes, text, deleted)
    statement = sql.SQL("""
        SELECT * FROM ({}) r
        ORDER BY lower(r.resource_name) <> lower(%s), r.deleted IS NOT NULL, position(lower(%s) IN lower(r.resource_name)) > 1,
                 r.resource_name, r.resource_type, r.cluster_id, r.namespace
        LIMIT %s
    """).format(source)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, text, text, size])
        names = (
            "cluster",
            "type",
            "namespace",
            "name",
            "uid",
            "created",
            "status",
            "deleted",
            "seq",
        )
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def count_named(
    scopes: Sequence[tuple[Kind, Sequence[Place]]], text: str, *, deleted: bool = False
) -> int:
    """How many there are of them in all."""
    source, params = _named(scopes, text, deleted)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM ({}) r").format(source), params)
        return int(cursor.fetchone()[0])


_READY = """r.data @? '$.status.conditions[*] ? (@.type == "Ready" && @.status == "True")'"""


def counts(places: Sequence[Place], kind: Kind) -> dict[str, dict[str, int]]:
    """Cluster's name -> {"total": …, and for pods each phase, for nodes "ready"}."""
    where = visible_rows(places, kind)
    state = {
        "pods": "lower(coalesce(r.status, 'unknown'))",
        "nodes": f"CASE WHEN {_READY} THEN 'ready' ELSE 'not_ready' END",
    }
    statement = sql.SQL(
        "SELECT r.cluster_id, {}, count(*) FROM storage_resource r WHERE {} GROUP BY 1, 2"
    ).format(sql.SQL(state.get(kind.plural, "''")), where.text)
    found: dict[str, dict[str, int]] = {place.name: {"total": 0} for place in places}
    with connection.cursor() as cursor:
        cursor.execute(statement, where.params)
        for name, word, number in cursor.fetchall():
            found[name]["total"] += number
            if word:
                found[name][word] = number
    return found
