"""What a cluster was: objects and lists at a moment, the versions of an object, out of the log of changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone
from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.models import Cluster
from clusters.resource_types import BUILT_IN, resource_type
from core.errors import Expired, Forbidden, Invalid, NotFound
from storage_api.protection import masked
from storage_api.query import selectors
from storage_api.query.conditions import Clause
from storage_api.services.retention import partitions
from storage_api.services.snapshot import ORDER, WIRE, scope

_LATEST = """
SELECT op, data::text FROM storage_past
WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s AND at <= %s ORDER BY seq DESC LIMIT 1
"""
_UNCHANGED = """
SELECT data::text FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s AND change_time <= %s
"""
_FIRST = """
SELECT op FROM storage_change WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s ORDER BY seq LIMIT 1
"""
_BEGINNING = """
SELECT (SELECT at FROM storage_change WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s) ORDER BY seq LIMIT 1),
       (SELECT min(listed_at) FROM storage_kind_sync
        WHERE cluster_id = %s AND "group" = %s AND plural = %s AND (%s = '' OR namespace = %s))
"""
_OLDER = """
SELECT 1 FROM storage_resource WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s) AND change_time < %s
UNION ALL SELECT 1 FROM storage_base WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s) LIMIT 1
"""
_BY_NAMESPACE = """
SELECT coalesce(bool_or(namespace <> ''), false) AND NOT coalesce(bool_or(namespace = '' AND listed_at IS NOT NULL), false)
FROM storage_kind_sync WHERE cluster_id = %s AND "group" = %s AND plural = %s
"""
AHEAD = timedelta(minutes=1)


def _one(statement: str, *params: object) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)  # type: ignore[arg-type]
        return cursor.fetchone()


def require_common(cluster: Cluster) -> None:
    """Forbidden for clusters that judge each caller by their own rules: the store was read with other rights."""
    if cluster.impersonate:
        raise Forbidden(
            "this cluster decides by its own rules who sees what; what it was cannot be shown"
        )


def get(cluster: Cluster, kind: Kind, name: str, *, namespace: str, at: datetime) -> bytes:
    """The object as it was, values of Secrets masked. NotFound when it was not there, Expired when the log does not reach back so far."""
    return masked(stored(cluster, kind, name, namespace=namespace, at=at))


def stored(cluster: Cluster, kind: Kind, name: str, *, namespace: str, at: datetime) -> bytes:
    """The same as it stands in the log, values of Secrets sealed: for comparing, never for showing."""
    require_common(cluster)
    check_moment(at)
    if "\0" in f"{namespace}{name}":
        raise Invalid("a name holds a NUL")
    key = (cluster.name, resource_type(kind), namespace, name)
    if found := _one(_LATEST, *key, at):
        if found[0] != "delete":
            return bytes(found[1], "utf-8")
    elif found := _one(_UNCHANGED, *key, at):
        return bytes(found[0], "utf-8")
    elif (first := _one(_FIRST, *key)) and first[0] != "add":
        raise Expired("what this object was then is no longer kept")
    else:
        check_beginning(cluster, kind, at, namespace)
    raise NotFound(f'{kind.plural} "{name}" was not there at that time', reason="NotFound")


def check_moment(at: datetime) -> None:
    """Invalid for a moment that is still to come; clocks may differ by a minute."""
    if at > timezone.now() + AHEAD:
        raise Invalid("at lies in the future", field="at")


def check_beginning(cluster: Cluster, kind: Kind, at: datetime, namespace: str = "") -> None:
    """Expired when nothing is known of the kind so long ago; of a kind that is followed by namespace, in that namespace."""
    stored_as = resource_type(kind)
    kind_key = (cluster.pk, kind.group, kind.plural)
    within = (namespace, namespace) if _one(_BY_NAMESPACE, *kind_key)[0] else ("", "")
    rows_key = (cluster.name, stored_as, *within)
    first, listed = _one(_BEGINNING, *rows_key, *kind_key, *within)
    since = min((known for known in (first, listed) if known is not None), default=None)
    if since is not None and at >= since:
        return
    # Rows older than the log, and the base that its expired days left, were collected before it began.
    days = partitions()
    kept = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC) if days else None
    if kept is None or at < kept or not _one(_OLDER, *rows_key, kept, *rows_key):
        raise Expired(
            "nothing is kept of this kind"
            + (f" before {since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if since else "")
        )


_THEN = sql.SQL("""(
  SELECT p.namespace, p.resource_name, p.data, p.data #>> '{{spec,nodeName}}' AS node_name, p.data #>> '{{status,phase}}' AS status,
         p.data #>> '{{status,podIP}}' AS pod_ip
  FROM (
    SELECT DISTINCT ON (c.namespace, c.resource_name) c.op, c.namespace, c.resource_name, c.data FROM storage_past c
    WHERE c.cluster_id = %s AND c.resource_type = %s AND c.at <= %s ORDER BY c.namespace, c.resource_name, c.seq DESC
  ) p WHERE p.op <> 'delete'
  UNION ALL
  SELECT x.namespace, x.resource_name, x.data, x.node_name, x.status, x.pod_ip FROM storage_resource x
  WHERE x.cluster_id = %s AND x.resource_type = %s AND x.change_time <= %s AND NOT EXISTS (
    SELECT 1 FROM storage_past c WHERE c.cluster_id = x.cluster_id AND c.resource_type = x.resource_type
      AND c.namespace = x.namespace AND c.resource_name = x.resource_name AND c.at <= %s)
) r""")


def page(
    cluster: Cluster,
    kind: Kind,
    query: ListQuery,
    at: datetime,
) -> ObjectPage:
    """A page of a list as it was; Expired before the log's beginning, Invalid for a selector that is not plain."""
    require_common(cluster)
    check_moment(at)
    if "\0" in f"{query.namespace}{query.keyword}":
        raise Invalid("a parameter holds a NUL")
    labels, fields = (
        selectors.labels(query.label_selector),
        selectors.fields(query.field_selector, kind),
    )
    if labels is None or fields is None:
        raise Invalid(
            "a list of the past takes plain selectors only",
            field="labelSelector" if labels is None else "fieldSelector",
        )
    check_beginning(cluster, kind, at, query.namespace)
    return _read(
        cluster,
        kind,
        at,
        [*scope(kind, query.namespace, query.keyword, query.namespaces), *labels.clauses, *fields],
        query.offset,
        query.size,
    )


def _read(
    cluster: Cluster, kind: Kind, at: datetime, where: Sequence[Clause], offset: int, size: int
) -> ObjectPage:
    key = (cluster.name, resource_type(kind), at)
    condition = sql.SQL(" AND ").join([sql.SQL("true"), *(clause.text for clause in where)])
    statement = sql.SQL("""
        WITH then_there AS MATERIALIZED (SELECT r.*, {order} AS place FROM {then} WHERE {condition})
        SELECT total.n, r.text FROM (SELECT count(*) AS n FROM then_there) total
        LEFT JOIN LATERAL (SELECT {wire} AS text, r.place FROM then_there r ORDER BY r.place OFFSET %s LIMIT %s) r ON true ORDER BY r.place
    """).format(order=ORDER, then=_THEN, condition=condition, wire=WIRE[kind.group in BUILT_IN])
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            [*key, *key, at, *(param for clause in where for param in clause.params), offset, size],
        )
        rows: list[Any] = cursor.fetchall()
    items = [masked(row[1].encode()) for row in rows if row[1] is not None]
    return ObjectPage(items, int(rows[0][0]))


# --- versions ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Version:
    """One line of the log, values of Secrets sealed.

    `data` and `before` (None: there was none, or it is no longer kept) only where documents were asked for."""

    seq: int
    at: datetime
    op: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    written_by: str | None
    written_before: str | None
    data: str | None
    before: str | None


_VERSIONS = sql.SQL("""
SELECT c.seq, c.at, c.op, c.namespace, c.resource_name, coalesce(c.uid, ''), coalesce(c.resource_version, ''), c.written_by,
       p.written_by, {document}, p.document
FROM storage_change c LEFT JOIN LATERAL (
  SELECT p.written_by, {before} AS document FROM storage_past p
  WHERE p.cluster_id = c.cluster_id AND p.resource_type = c.resource_type AND p.namespace = c.namespace
    AND p.resource_name = c.resource_name AND p.seq < c.seq AND p.op <> 'delete' AND c.op = 'change' ORDER BY p.seq DESC LIMIT 1
) p ON true
WHERE c.cluster_id = %s AND c.resource_type = %s {where} ORDER BY c.seq DESC LIMIT %s
""")
_GONE = """NOT EXISTS (
  SELECT 1 FROM storage_change n WHERE n.cluster_id = c.cluster_id AND n.resource_type = c.resource_type AND n.namespace = c.namespace
    AND n.resource_name = c.resource_name AND n.seq > c.seq)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which versions: of one object or of all in some namespaces (None is all), of one sort (add, change, delete), in [since, until).

    `deleted`: of each object that is gone the last line alone. `documents`: with the documents themselves.
    """

    namespace: str = ""
    name: str = ""
    keyword: str = ""
    namespaces: frozenset[str] | None = None
    op: str = ""
    deleted: bool = False
    since: datetime | None = None
    until: datetime | None = None
    below: int | None = None
    size: int = 20
    documents: bool = True


def versions(cluster: Cluster, kind: Kind, asked: Asked) -> list[Version]:
    """What happened, newest first; deleted objects too."""
    require_common(cluster)
    column = "resource_name" if kind == KINDS["namespaces"] else "namespace"
    conditions: list[tuple[str, Any]] = [
        ("c.namespace = %s", asked.namespace or None),
        ("c.resource_name = %s", asked.name or None),
        ("position(lower(%s) IN lower(c.resource_name)) > 0", asked.keyword or None),
        (f"c.{column} = ANY (%s)", None if asked.namespaces is None else sorted(asked.namespaces)),
        ("c.op = %s", "delete" if asked.deleted else asked.op or None),
        ("c.at >= %s", asked.since),
        ("c.at < %s", asked.until),
        ("c.seq < %s", asked.below),
    ]
    given = [(text, value) for text, value in conditions if value is not None]
    where = sql.SQL("").join(
        [sql.SQL(f" AND {text}") for text, _ in given]
        + ([sql.SQL(f" AND {_GONE}")] if asked.deleted else [])
    )
    document, before = (
        ("c.data::text", "p.data::text") if asked.documents else ("NULL", "NULL::text")
    )
    statement = _VERSIONS.format(where=where, document=sql.SQL(document), before=sql.SQL(before))
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            [cluster.name, resource_type(kind), *(value for _, value in given), asked.size],
        )
        return [Version(*row) for row in cursor.fetchall()]


_GAPS = """
SELECT since, until FROM storage_gap
WHERE cluster_id = %s AND resource_type = %s
  AND until >= coalesce(%s::timestamptz, '-infinity') AND since < coalesce(%s::timestamptz, 'infinity')
  AND (namespace = '' OR (%s IN ('', namespace) AND (%s::text[] IS NULL OR namespace = ANY (%s))))
ORDER BY until DESC LIMIT 100
"""


def gaps(cluster: Cluster, kind: Kind, asked: Asked) -> list[tuple[datetime, datetime]]:
    """(since, until) of the times of whose changes only the outcome is known, newest first, at most a hundred; `asked` for its times and
    namespaces."""
    readable = None if asked.namespaces is None else sorted(asked.namespaces)
    within = [asked.since, asked.until, asked.namespace, readable, readable]
    with connection.cursor() as cursor:
        cursor.execute(_GAPS, [cluster.name, resource_type(kind), *within])
        return [(row[0], row[1]) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Kept:
    """A version as it is kept: its place in the log, when it was written, the document, values of Secrets sealed."""

    seq: int
    at: datetime
    data: bytes


_BY_SEQ = """
SELECT seq, at, data::text FROM storage_change
WHERE seq = %s AND cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s
"""


def version(cluster: Cluster, kind: Kind, name: str, *, namespace: str, seq: int) -> Kept:
    """One version by its place in the log; of a deletion what was deleted. NotFound for a place that is not this object's."""
    require_common(cluster)
    if "\0" in f"{namespace}{name}":
        raise Invalid("a name holds a NUL")
    found = _one(_BY_SEQ, seq, cluster.name, resource_type(kind), namespace, name)
    if found is None:
        raise NotFound(
            f'{kind.plural} "{name}" has no version {seq}, or it is no longer kept',
            reason="NotFound",
        )
    return Kept(int(found[0]), found[1], found[2].encode())
