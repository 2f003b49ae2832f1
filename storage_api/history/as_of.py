"""What a cluster was, out of the log of changes: objects and lists at a moment, and versions."""

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
from storage_api.protection import mask_sealed
from storage_api.query import selectors
from storage_api.query.as_of_rows import rows_as_of
from storage_api.query.conditions import Clause, name_contains
from storage_api.query.sorting import KEY_ORDER
from storage_api.services.retention import partitions
from storage_api.services.snapshot import WIRE, scope_clauses

_LATEST = """
SELECT op, data::text FROM storage_past
WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s
  AND at <= %s
ORDER BY seq DESC LIMIT 1
"""
_UNCHANGED = """
SELECT data::text FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s
  AND change_time <= %s
"""
_FIRST_OP = """
SELECT op FROM storage_change
WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s
ORDER BY seq LIMIT 1
"""
_BEGINNING = """
SELECT (SELECT at FROM storage_change
        WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s)
        ORDER BY seq LIMIT 1),
       (SELECT min(listed_at) FROM storage_kind_sync
        WHERE cluster_id = %s AND "group" = %s AND plural = %s AND (%s = '' OR namespace = %s))
"""
_OLDER = """
SELECT 1 FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s) AND change_time < %s
UNION ALL
SELECT 1 FROM storage_base
WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s)
LIMIT 1
"""
_BY_NAMESPACE = """
SELECT coalesce(bool_or(namespace <> ''), false)
   AND NOT coalesce(bool_or(namespace = '' AND listed_at IS NOT NULL), false)
FROM storage_kind_sync WHERE cluster_id = %s AND "group" = %s AND plural = %s
"""
# Clocks of callers and of this host may differ by so much.
CLOCK_SKEW = timedelta(minutes=1)


def _fetch_row(statement: str, *params: object) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)  # type: ignore[arg-type]
        return cursor.fetchone()


def refuse_impersonated(cluster: Cluster) -> None:
    """Forbidden for clusters that decide per caller (impersonation).

    The store was read with the collector's rights, so its history could show more than the
    caller may see.
    """
    if cluster.impersonate:
        raise Forbidden(
            "this cluster authorizes each user by its own rules; its history cannot be shown"
        )


def get(
    cluster: Cluster,
    kind: Kind,
    name: str,
    *,
    namespace: str,
    at: datetime,
) -> bytes:
    """The object as JSON as it was at the moment, values of Secrets masked.

    Raises NotFound when it did not exist, Expired when the log does not go back that far, Invalid
    for a moment in the future, Forbidden as `refuse_impersonated`.
    """
    return mask_sealed(
        read_sealed(
            cluster,
            kind,
            name,
            namespace=namespace,
            at=at,
        )
    )


def read_sealed(
    cluster: Cluster,
    kind: Kind,
    name: str,
    *,
    namespace: str,
    at: datetime,
) -> bytes:
    """As `get`, but as it stands in the log, values of Secrets sealed.

    Only for comparing and restoring, never for an answer.
    """
    refuse_impersonated(cluster)
    check_moment(at)
    if "\0" in f"{namespace}{name}":
        raise Invalid("a name contains a NUL character")
    key = (cluster.name, resource_type(kind), namespace, name)
    latest = _fetch_row(_LATEST, *key, at)
    if latest is None:
        return _read_unlogged(cluster, kind, key, at)
    op, document = latest
    # The line of a deletion has the document as it last was, yet the object is gone.
    if op == "delete":
        raise _absence_error(kind, name)
    return bytes(document, "utf-8")


def _read_unlogged(
    cluster: Cluster, kind: Kind, key: tuple[str, str, str, str], at: datetime
) -> bytes:
    """The object when the log has no version of it until the moment."""
    unchanged = _fetch_row(_UNCHANGED, *key, at)
    if unchanged is not None:
        return bytes(unchanged[0], "utf-8")
    first = _fetch_row(_FIRST_OP, *key)
    # An object whose first version in the log is no "add" existed before the log began.
    if first is not None and first[0] != "add":
        raise Expired("history for this object does not go back that far")
    # Absence is certain only where the kind was collected at that time.
    _, _, namespace, name = key
    check_beginning(cluster, kind, at, namespace)
    raise _absence_error(kind, name)


def _absence_error(kind: Kind, name: str) -> NotFound:
    return NotFound(f'{kind.plural} "{name}" did not exist at that time', reason="NotFound")


def check_moment(at: datetime) -> None:
    """Invalid for a moment that is still to come; clocks may differ by a minute."""
    if at > timezone.now() + CLOCK_SKEW:
        raise Invalid("at is in the future", field="at")


def check_beginning(
    cluster: Cluster,
    kind: Kind,
    at: datetime,
    namespace: str = "",
) -> None:
    """Expired when the history of the kind in this cluster does not go back to the moment.

    A kind that is collected namespace by namespace has a beginning in each of them; `namespace`
    is looked at only then.
    """
    stored_as = resource_type(kind)
    kind_key = (cluster.pk, kind.group, kind.plural)
    is_by_namespace = _fetch_row(_BY_NAMESPACE, *kind_key)[0]
    within = (namespace, namespace) if is_by_namespace else ("", "")
    rows_key = (cluster.name, stored_as, *within)
    beginnings = _fetch_row(_BEGINNING, *rows_key, *kind_key, *within)
    since = min((moment for moment in beginnings if moment is not None), default=None)
    if since is not None and at >= since:
        return
    # Rows older than the log, and the base that its expired days left, were collected before it
    # began: they show that the kind was collected, and how far back the days go.
    oldest_day = _oldest_day()
    if (
        oldest_day is None
        or at < oldest_day
        or not _fetch_row(_OLDER, *rows_key, oldest_day, *rows_key)
    ):
        if since is None:
            raise Expired("there is no history for this kind")
        raise Expired(
            "history for this kind does not go back before "
            f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )


def _oldest_day() -> datetime | None:
    """The beginning of the oldest daily partition of the log."""
    days = partitions()
    if not days:
        return None
    return datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)


def page(
    cluster: Cluster,
    kind: Kind,
    query: ListQuery,
    at: datetime,
) -> ObjectPage:
    """A page of a list as it was, values of Secrets masked.

    Raises Expired before the log's beginning, Invalid for a selector that the store does not
    understand or a moment in the future, Forbidden as `refuse_impersonated`.
    """
    refuse_impersonated(cluster)
    check_moment(at)
    if "\0" in f"{query.namespace}{query.keyword}":
        raise Invalid("a parameter contains a NUL character")
    labels = selectors.labels(query.label_selector)
    fields = selectors.fields(query.field_selector, kind)
    # The past has no API server that could evaluate the rest.
    if labels is None or fields is None:
        raise Invalid(
            "with at only plain selectors are supported",
            field="labelSelector" if labels is None else "fieldSelector",
        )
    check_beginning(cluster, kind, at, query.namespace)
    visibility = scope_clauses(
        kind,
        query.namespace,
        query.keyword,
        query.namespaces,
    )
    where = [*visibility, *labels.clauses, *fields]
    return _read_page(cluster, kind, at, where, query.offset, query.size)


# One statement, so that page and total are of the same moment of the database, too. The join from
# the total makes sure that there is a row even when the page is empty.
_PAGE = sql.SQL("""
WITH matching AS MATERIALIZED (
  SELECT r.data, {order} AS place FROM {rows} r WHERE {condition}
)
SELECT total.n, r.text FROM (SELECT count(*) AS n FROM matching) total
LEFT JOIN LATERAL (
  SELECT {wire} AS text, r.place FROM matching r ORDER BY r.place OFFSET %s LIMIT %s
) r ON true
ORDER BY r.place
""")


def _read_page(
    cluster: Cluster, kind: Kind, at: datetime, where: Sequence[Clause], offset: int, size: int
) -> ObjectPage:
    rows, params = rows_as_of([cluster.name], resource_type(kind), at)
    for clause in where:
        params.extend(clause.params)
    statement = _PAGE.format(
        order=sql.SQL(KEY_ORDER),
        rows=rows,
        condition=sql.SQL(" AND ").join([sql.SQL("true"), *(clause.text for clause in where)]),
        wire=WIRE[kind.group in BUILT_IN],
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, offset, size])
        page_rows: list[Any] = cursor.fetchall()
    items = [mask_sealed(text.encode()) for _, text in page_rows if text is not None]
    return ObjectPage(items, int(page_rows[0][0]))


# --- versions -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Version:
    """One line of the log, values of Secrets sealed.

    `op` is add, change or delete. `data` and `before` are JSON, and only there when documents
    were asked for; `before` is None when there was no version before, or it has expired.
    `written_by` and `written_before` are managedFields as `attribution.newest_writers` keeps them.
    """

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
SELECT c.seq, c.at, c.op, c.namespace, c.resource_name, coalesce(c.uid, ''),
       coalesce(c.resource_version, ''), c.written_by, p.written_by, {document}, p.document
FROM {source} c
LEFT JOIN LATERAL (
  SELECT p.written_by, p.data, {before} AS document FROM storage_past p
  WHERE p.cluster_id = c.cluster_id AND p.resource_type = c.resource_type
    AND p.namespace = c.namespace AND p.resource_name = c.resource_name
    AND p.seq < c.seq AND p.op <> 'delete' AND c.op = 'change'
  ORDER BY p.seq DESC LIMIT 1
) p ON true
WHERE c.cluster_id = %s AND c.resource_type = %s {where}
ORDER BY c.seq DESC LIMIT %s
""")
# More differs from the version before than what the cluster itself keeps writing. A version whose
# predecessor has expired counts.
_WRITTEN_BY_CLUSTER = (
    " - 'status' #- '{metadata,resourceVersion}' #- '{metadata,generation}'"
    " #- '{metadata,managedFields}' #- '{metadata,annotations,deployment.kubernetes.io/revision}'"
)
# An agent may have stored any JSON. What is no object has no such parts, and the operators refuse
# to look for them. `#> '{}'` unpacks a document once for both.
_INTENT = (
    "(SELECT CASE WHEN jsonb_typeof(d) <> 'object'"  # noqa: S608  # all parts are constants
    " OR jsonb_typeof(d -> 'metadata') = 'array'"
    " OR jsonb_typeof(d #> '{metadata,annotations}') = 'array' THEN d"
    f" ELSE d{_WRITTEN_BY_CLUSTER} END FROM (SELECT %s.data #> '{{}}' AS d OFFSET 0) AS whole)"
)
_INTENDED = sql.SQL(
    f" AND (c.op <> 'change' OR p.data IS NULL OR {_INTENT % 'c'} IS DISTINCT FROM {_INTENT % 'p'})"
)
# Comparing unpacks two documents for each version: so many of the newest are looked at.
INTENDED_SCAN = 5000
_NEWEST = sql.SQL("""(
  SELECT * FROM storage_change c WHERE c.cluster_id = %s AND c.resource_type = %s {where}
  ORDER BY c.seq DESC LIMIT {scan}
)""")
_BEYOND_SCAN = sql.SQL("""
SELECT 1 FROM storage_change c WHERE c.cluster_id = %s AND c.resource_type = %s {where}
ORDER BY c.seq DESC OFFSET {scan} LIMIT 1
""")
# The object has not been created again since.
_STILL_DELETED = sql.SQL(""" AND NOT EXISTS (
  SELECT 1 FROM storage_change n
  WHERE n.cluster_id = c.cluster_id AND n.resource_type = c.resource_type
    AND n.namespace = c.namespace AND n.resource_name = c.resource_name AND n.seq > c.seq)""")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuery:
    """Which versions: of one object, or of all in some namespaces (None is all).

    `op` is "" or one of add, change, delete; `since` and `until` are [since, until); `below` is a
    seq. `deleted`: only objects that do not exist any more, of each the last line. `intended`:
    without changes of nothing but the status, among the newest INTENDED_SCAN. `documents`: with
    the documents themselves.
    """

    namespace: str = ""
    name: str = ""
    keyword: str = ""
    namespaces: frozenset[str] | None = None
    op: str = ""
    deleted: bool = False
    intended: bool = False
    since: datetime | None = None
    until: datetime | None = None
    below: int | None = None
    size: int = 20
    documents: bool = True


def versions(
    cluster: Cluster,
    kind: Kind,
    query: VersionQuery,
) -> list[Version]:
    """The versions that match, newest first; those of deleted objects too.

    Raises Forbidden as `refuse_impersonated`.
    """
    refuse_impersonated(cluster)
    clauses = _version_clauses(kind, query)
    conditions: list[sql.Composable] = [sql.SQL(" AND ") + clause.text for clause in clauses]
    if query.deleted:
        # An object that was created again is not gone.
        conditions.append(_STILL_DELETED)
    source: sql.Composable = sql.SQL("storage_change")
    params: list[Any] = [cluster.name, resource_type(kind)]
    for clause in clauses:
        params.extend(clause.params)
    if query.intended:
        scan = sql.Literal(INTENDED_SCAN)
        source = _NEWEST.format(where=sql.Composed(conditions), scan=scan)
        conditions.append(_INTENDED)
        params += params
    statement = _VERSIONS.format(
        source=source,
        where=sql.Composed(conditions),
        document=sql.SQL("c.data::text" if query.documents else "NULL"),
        before=sql.SQL("p.data::text" if query.documents else "NULL::text"),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, query.size])
        return [Version(*row) for row in cursor.fetchall()]


def has_more_than_scanned(cluster: Cluster, kind: Kind, query: VersionQuery) -> bool:
    """Whether more than INTENDED_SCAN versions match, of which `intended` leaves out the oldest."""
    clauses = _version_clauses(kind, query)
    where = sql.Composed([sql.SQL(" AND ") + clause.text for clause in clauses])
    params: list[Any] = [cluster.name, resource_type(kind)]
    for clause in clauses:
        params.extend(clause.params)
    statement = _BEYOND_SCAN.format(where=where, scan=sql.Literal(INTENDED_SCAN))
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone() is not None


def _version_clauses(kind: Kind, query: VersionQuery) -> list[Clause]:
    """Conditions on the row of the log, called c."""
    # A Namespace is visible to those who may see what is in it.
    namespace_column = "resource_name" if kind == KINDS["namespaces"] else "namespace"
    visible = None if query.namespaces is None else sorted(query.namespaces)
    conditions: list[tuple[sql.Composable, Any]] = [
        (sql.SQL("c.namespace = %s"), query.namespace or None),
        (sql.SQL("c.resource_name = %s"), query.name or None),
        (name_contains("c.resource_name"), query.keyword or None),
        (sql.SQL("{} = ANY (%s)").format(sql.Identifier("c", namespace_column)), visible),
        (sql.SQL("c.op = %s"), "delete" if query.deleted else query.op or None),
        (sql.SQL("c.at >= %s"), query.since),
        (sql.SQL("c.at < %s"), query.until),
        (sql.SQL("c.seq < %s"), query.below),
    ]
    return [Clause(text, (value,)) for text, value in conditions if value is not None]


_GAPS = """
SELECT since, until FROM storage_gap
WHERE cluster_id = %s AND resource_type = %s
  AND until >= coalesce(%s::timestamptz, '-infinity')
  AND since < coalesce(%s::timestamptz, 'infinity')
  AND (namespace = ''
       OR (%s IN ('', namespace) AND (%s::text[] IS NULL OR namespace = ANY (%s))))
ORDER BY until DESC LIMIT 100
"""


def gaps(
    cluster: Cluster,
    kind: Kind,
    query: VersionQuery,
) -> list[tuple[datetime, datetime]]:
    """[(since, until), …]: times within which changes may be missing from the log.

    Only the outcome of such a time is certain. Newest first, at most 100. Of the query its times
    and namespaces count.
    """
    visible = None if query.namespaces is None else sorted(query.namespaces)
    within = [query.since, query.until, query.namespace, visible, visible]
    with connection.cursor() as cursor:
        cursor.execute(_GAPS, [cluster.name, resource_type(kind), *within])
        return [(row[0], row[1]) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version as it is stored: its seq in the log, when it was written, the JSON document.

    Values of Secrets are sealed.
    """

    seq: int
    at: datetime
    data: bytes


_BY_SEQ = """
SELECT seq, at, data::text FROM storage_change
WHERE seq = %s AND cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s
"""


def version(
    cluster: Cluster,
    kind: Kind,
    name: str,
    *,
    namespace: str,
    seq: int,
) -> StoredVersion:
    """One version by its seq; of a deletion the object that was deleted.

    Raises NotFound for a seq that is not this object's or has expired, Forbidden as
    `refuse_impersonated`.
    """
    refuse_impersonated(cluster)
    if "\0" in f"{namespace}{name}":
        raise Invalid("a name contains a NUL character")
    row = _fetch_row(
        _BY_SEQ,
        seq,
        cluster.name,
        resource_type(kind),
        namespace,
        name,
    )
    if row is None:
        raise NotFound(
            f'{kind.plural} "{name}" has no version {seq}, or it has expired',
            reason="NotFound",
        )
    return StoredVersion(int(row[0]), row[1], row[2].encode())
