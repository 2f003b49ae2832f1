"""One kind, one name, or everything, over many clusters at once: read from the store alone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q
from psycopg2 import sql

from clusters.kinds import (
    KINDS,
    Kind,
    is_place_of,
    lookup_kind,
    parse_reference,
)
from clusters.models import Cluster
from clusters.resource_types import EVENTS, resource_type
from core.errors import Invalid, NotFound
from storage_api.models import KindSync
from storage_api.protection import mask_sealed
from storage_api.query import sorting
from storage_api.query.as_of_rows import rows_as_of
from storage_api.query.conditions import Clause, name_contains

# How far owners are followed, and how many objects below an owner are looked at.
MAX_DEPTH = 10
MAX_OWNED = 100_000
# How much of a caller's text an error repeats.
QUOTED_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ClusterScope:
    """One cluster as a caller may see it; `namespaces` None is all of them."""

    cluster: int
    name: str
    namespaces: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which objects of a kind are searched for, in which clusters.

    `owner`: the uid of an owner, direct or through others. `since` and `before` bound the time of
    creation; `before` is excluded. `at`: the objects as they were then; the log knows no owners.
    """

    places: Sequence[ClusterScope]
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
    """Which part of the objects that a search matches.

    `order`: one of `sorting.MULTICLUSTER_ORDERS`, with `-` in front when descending. `after`: the
    position behind which the part begins, as `page` returned it.
    """

    order: str = "name"
    after: Sequence[str] = ()
    offset: int = 0
    size: int = 20

    @property
    def columns(self) -> tuple[str, ...]:
        """The SQL columns of the order; Invalid for an unknown order."""
        return sorting.multicluster_columns(self.order)


def find_kind(
    text: str,
    *,
    within: Collection[int] | None = None,
    cluster: str = "",
) -> Kind:
    """The kind that a plural, singular, short name, or name in any case means.

    `.group` or `.version.group` may follow it. Looks at what is collected in the clusters of
    `within` (ids; None is all), first in `cluster` (an id as text).
    NotFound for a kind that is neither built in nor collected; Invalid, naming the groups, for a
    kind of several groups.
    """
    built_in = lookup_kind(text)
    name, _ = parse_reference(text)
    if built_in and name in built_in.names:
        return built_in
    collected = _collected_as_named(text, within)
    in_cluster = [kind for pk, kind in collected if str(pk) == cluster]
    kinds = in_cluster or [kind for _, kind in collected]
    # As for kubectl, a name counts for more than a short name.
    by_name = [kind for kind in kinds if name in (kind.plural, kind.name.lower())]
    if built_in and not by_name:
        return built_in
    # Reversed: of a kind in several versions the first stays.
    choices = {(kind.group, kind.plural): kind for kind in reversed(by_name or kinds)}
    if not choices:
        raise NotFound(
            f"no cluster has objects of kind {text[:QUOTED_CHARACTERS]!r}"
            f"{_other_version(text, within)}"
        )
    if len(choices) > 1:
        references = sorted(f"{plural}.{group}" for group, plural in choices)
        raise Invalid(
            f"kind {text[:QUOTED_CHARACTERS]!r} is in several groups:"
            f" name one of {', '.join(references)}",
            field="kind",
            kinds=references,
        )
    return next(iter(choices.values()))


def _other_version(text: str, within: Collection[int] | None) -> str:
    """The end of a sentence: in which version the kind is stored, when the text names another."""
    name, _, version_and_group = text.strip().partition(".")
    group = version_and_group.partition(".")[2]
    if not group:
        return ""
    kinds = [kind for _, kind in _collected_as_named(f"{name}.{group}", within)]
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
    matches = []
    for row in rows.order_by("group", "id"):
        kind = Kind(
            row.kind,
            row.plural,
            row.group,
            row.version,
            row.namespaced,
            tuple(row.aliases),
        )
        if is_place_of(kind, place):
            matches.append((row.cluster_id, kind))
    return matches


def _kind_of_row(row: KindSync) -> Kind:
    return Kind(row.kind, row.plural, row.group, row.version, row.namespaced)


def collected_version(cluster: Cluster, kind: Kind) -> Kind:
    """The kind in the version in which it is collected in one cluster; itself when it is not."""
    rows = KindSync.objects.filter(cluster=cluster, group=kind.group, plural=kind.plural)
    row = rows.order_by("namespace").first()
    return _kind_of_row(row) if row else kind


def collected_kinds() -> list[Kind]:
    """Every kind that is collected in any registered cluster, each once; Events left out."""
    rows = KindSync.objects.filter(cluster__deleted_at=None)
    # The newest row of each: a thousand clusters have a thousand rows of the same kind.
    newest = rows.order_by("group", "plural", "-id").distinct("group", "plural")
    kinds = [_kind_of_row(row) for row in newest]
    return [kind for kind in kinds if (kind.group, kind.plural) != EVENTS]


def kind_rows(places: Sequence[ClusterScope], kind: Kind) -> Clause:
    """The condition for the rows of one kind that a caller may see."""
    is_type = Clause(sql.SQL("r.resource_type = %s"), (resource_type(kind),))
    return visible_rows(places, is_type, by_name=kind == KINDS["namespaces"])


def visible_rows(places: Iterable[ClusterScope], is_type: Clause, *, by_name: bool) -> Clause:
    """The condition for the rows of some types that a caller may see.

    `is_type`: the condition for the types. `by_name`: they are Namespaces, which stand in none
    and are seen by their own name.
    """
    column = sql.Identifier("r", "resource_name" if by_name else "namespace")
    in_namespaces = sql.SQL("(r.cluster_id = %s AND {} = ANY (%s))").format(column)
    whole_clusters: list[str] = []
    parts: list[sql.Composable] = [sql.SQL("r.cluster_id = ANY (%s)")]
    params: list[Any] = []
    for place in places:
        if place.namespaces is None:
            whole_clusters.append(place.name)
        else:
            parts.append(in_namespaces)
            params += [place.name, sorted(place.namespaces)]
    text = sql.SQL("({} AND ({}))").format(is_type.text, sql.SQL(" OR ").join(parts))
    return Clause(text, (*is_type.params, whole_clusters, *params))


def rows_of_kinds(scopes: Iterable[tuple[Kind, Sequence[ClusterScope]]]) -> Clause:
    """The condition for the rows of several kinds that a caller may see."""
    # Most kinds come with the very same list, which is then compared once and not for each.
    by_list: dict[tuple[bool, int], tuple[Sequence[ClusterScope], list[str]]] = {}
    for kind, places in scopes:
        if places:
            list_key = (kind == KINDS["namespaces"], id(places))
            _, types = by_list.setdefault(list_key, (places, []))
            types.append(resource_type(kind))
    # Kinds that are seen in the same places share a condition.
    groups: dict[tuple[bool, tuple[ClusterScope, ...]], list[str]] = {}
    for (by_name, _), (places, types) in by_list.items():
        groups.setdefault((by_name, tuple(places)), []).extend(types)
    if not groups:
        return Clause(sql.SQL("false"))
    texts: list[sql.Composable] = []
    params: list[Any] = []
    for (by_name, places), types in groups.items():
        is_type = Clause(sql.SQL("r.resource_type = ANY (%s)"), (types,))
        rows = visible_rows(places, is_type, by_name=by_name)
        texts.append(rows.text)
        params += rows.params
    return Clause(
        sql.SQL("({})").format(sql.SQL(" OR ").join(texts)),
        tuple(params),
    )


# The first owner is a column; the rare objects with more have an index of their own. Its
# expression must be spelled exactly as in the index.
_OWNED = sql.SQL("""r.id IN (
  WITH RECURSIVE owned (id, cluster_id, uid, depth) AS (
    SELECT 0::bigint, place.name COLLATE "C", %s::text COLLATE "C", 0
    FROM unnest(%s::text[]) AS place (name)
    UNION ALL
    SELECT o.id, o.cluster_id, o.uid, owned.depth + 1 FROM owned CROSS JOIN LATERAL (
      SELECT d.id, d.cluster_id, d.uid FROM storage_resource d
      WHERE d.cluster_id = owned.cluster_id AND d.owner_uid = owned.uid
      UNION ALL
      SELECT d.id, d.cluster_id, d.uid FROM storage_resource d
      WHERE d.cluster_id = owned.cluster_id
        AND d.data #> '{metadata,ownerReferences,1}' IS NOT NULL
        AND jsonb_path_query_array(d.data, '$.metadata.ownerReferences[1 to last].uid') ? owned.uid
    ) o WHERE owned.depth < %s
  ) SELECT id FROM owned LIMIT %s)""")


def _where(search: Search) -> tuple[sql.Composable, list[Any]]:
    """(what follows WHERE, its parameters)."""
    clauses = [kind_rows(search.places, search.kind), *search.clauses]
    if search.namespaces:
        clauses.append(
            Clause(
                sql.SQL("r.namespace = ANY (%s)"),
                (list(search.namespaces),),
            )
        )
    if search.keyword:
        clauses.append(Clause(name_contains("r.resource_name"), (search.keyword,)))
    if search.owner:
        cluster_names = [place.name for place in search.places]
        params = (search.owner, cluster_names, MAX_DEPTH, MAX_OWNED)
        clauses.append(Clause(_OWNED, params))
    if search.since:
        clauses.append(Clause(sql.SQL("r.created >= %s"), (search.since,)))
    if search.before:
        clauses.append(Clause(sql.SQL("r.created < %s"), (search.before,)))
    text = sql.SQL(" AND ").join([clause.text for clause in clauses])
    return text, [param for clause in clauses for param in clause.params]


# Rows are chosen by their keys first: only the documents of the page are unpacked.
_PAGE = sql.SQL("""
WITH chosen AS (
  SELECT r.id, row_number() OVER (ORDER BY {order}) AS place, ARRAY[{keys}] AS position
  FROM {source} WHERE {where} ORDER BY {order} OFFSET %s LIMIT %s
)
SELECT r.cluster_id, r.data::text, chosen.position
FROM chosen JOIN storage_resource r ON r.id = chosen.id ORDER BY chosen.place
""")
_PAST_PAGE = sql.SQL("""
SELECT r.cluster_id, r.data::text, ARRAY[{keys}]
FROM {source} WHERE {where} ORDER BY {order} OFFSET %s LIMIT %s
""")
# Rows of the past get the numbers that rows of the present have as their id.
_NUMBERED = sql.SQL("""(
  SELECT row_number() OVER (ORDER BY v.cluster_id, v.namespace, v.resource_name) AS id, v.*,
         storage_moment(v.data #> '{{metadata,creationTimestamp}}') AS created
  FROM {rows} v
) r""")


def _source(search: Search) -> tuple[sql.Composable, list[Any]]:
    """(the rows to look at, called r; their parameters)."""
    if search.at is None:
        return sql.SQL("storage_resource r"), []
    cluster_names = [place.name for place in search.places]
    rows, params = rows_as_of(cluster_names, resource_type(search.kind), search.at)
    return _NUMBERED.format(rows=rows), params


def page(search: Search, part: Slice) -> tuple[list[tuple[str, str]], tuple[str, ...] | None]:
    """([(cluster's name, object as JSON text) …], the position after the page).

    The position is None when nothing follows. Values of Secrets are masked.
    Invalid for an unknown order, or a position of another order.
    """
    columns = part.columns
    descending = part.order.startswith("-")
    where, params = _where(search)
    if part.after:
        if len(part.after) != len(columns):
            raise Invalid("cursor belongs to another order", field="cursor")
        where = sql.SQL("{} AND {}").format(where, _is_behind(columns, descending=descending))
        params = [*params, *part.after]
    source, source_params = _source(search)
    template = _PAGE if search.at is None else _PAST_PAGE
    statement = template.format(
        source=source,
        order=sorting.order_by(columns, descending=descending),
        keys=sql.SQL(", ").join([sql.SQL(f"({column})::text") for column in columns]),
        where=where,
    )
    with connection.cursor() as cursor:
        # One row more than the page shows whether anything follows.
        limits = [part.offset, part.size + 1]
        cursor.execute(statement, [*source_params, *params, *limits])
        rows: list[Any] = cursor.fetchall()
    objects = []
    for cluster_name, text, _ in rows[: part.size]:
        objects.append((cluster_name, mask_sealed(text.encode()).decode()))
    if len(rows) <= part.size:
        return objects, None
    return objects, tuple(rows[part.size - 1][2])


def _is_behind(columns: Sequence[str], *, descending: bool) -> sql.Composable:
    """SQL that is true for rows behind a position; its values are bound as texts."""
    casts = []
    for column in columns:
        type_name = sorting.MULTICLUSTER_CASTS.get(column, 'text COLLATE "C"')
        casts.append(sql.SQL(f"%s::{type_name}"))
    return sql.SQL("({}) {} ({})").format(
        sql.SQL(", ").join([sql.SQL(column) for column in columns]),
        sql.SQL("<" if descending else ">"),
        sql.SQL(", ").join(casts),
    )


def total(search: Search) -> int:
    """How many objects the search matches."""
    where, params = _where(search)
    source, source_params = _source(search)
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(source, where)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*source_params, *params])
        return int(cursor.fetchone()[0])


# SQL for the state that objects of a kind are counted by; other kinds have none.
_STATES = {
    "pods": "lower(coalesce(r.status, 'unknown'))",
    "nodes": (
        """CASE WHEN r.data @? '$.status.conditions[*]"""
        """ ? (@.type == "Ready" && @.status == "True")'"""
        """ THEN 'ready' ELSE 'not_ready' END"""
    ),
}


_COUNT = sql.SQL("""
SELECT {number}, r.cluster_id, {state}, count(*) FROM storage_resource r WHERE {rows} GROUP BY 2, 3
""")


def counts(
    places_by_kind: Mapping[Kind, Sequence[ClusterScope]],
) -> dict[Kind, dict[str, dict[str, int]]]:
    """Kind -> cluster's name -> {"total": …, and for pods each phase, for nodes "ready", …}."""
    kinds = [kind for kind, places in places_by_kind.items() if places]
    by_kind: dict[Kind, dict[str, dict[str, int]]] = {}
    for kind in kinds:
        by_kind[kind] = {place.name: {"total": 0} for place in places_by_kind[kind]}
    if not kinds:
        return by_kind
    parts: list[sql.Composable] = []
    params: list[Any] = []
    for number, kind in enumerate(kinds):
        rows = kind_rows(places_by_kind[kind], kind)
        state = sql.SQL(_STATES.get(kind.plural, "''"))
        parts.append(_COUNT.format(number=sql.Literal(number), state=state, rows=rows.text))
        params += rows.params
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("UNION ALL").join(parts), params)
        for number, name, state, count in cursor.fetchall():
            cluster_counts = by_kind[kinds[number]][name]
            cluster_counts["total"] += count
            if state:
                cluster_counts[state] = count
    return by_kind
