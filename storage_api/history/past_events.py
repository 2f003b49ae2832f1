"""The Events of a cluster as they were at a moment: the last report of each until then, as long as Kubernetes would have kept it."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from psycopg2 import sql

from clusters.kinds import KINDS
from clusters.lists import ListQuery, ObjectPage
from clusters.models import Cluster
from core.errors import Expired, Invalid, NotFound
from storage_api.history.as_of import check_moment, require_common
from storage_api.protection import masked
from storage_api.query import selectors
from storage_api.query.conditions import Clause

# What an API server is told by default (--event-ttl).
KEPT = timedelta(hours=1)
# The fields that the API server selects Events by, and the paths of their values.
FIELDS = {
    **{
        f"involvedObject.{name}": ("involvedObject", name)
        for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")
    },
    "involvedObject.fieldPath": ("involvedObject", "fieldPath"),
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "reason": ("reason",),
    "reportingComponent": ("reportingComponent",),
    "source": ("source", "component"),
    "type": ("type",),
}
_REQUIREMENT = re.compile(
    r"(?P<path>[A-Za-z.]+)(?P<op>==|=|!=)(?P<value>(?:[^,\\=!]|\\[,\\=])*)(?:,|\Z)"
)
_FIRST = "SELECT min(create_time) FROM storage_event WHERE cluster_id = %s"
# The id of a report that a collector made is the Event's uid and resourceVersion; others' reports need be no Events at all.
_THEN = sql.SQL("""
WITH reported AS (
  SELECT DISTINCT ON (e.data #>> '{{metadata,uid}}') e.id, e.event_time, e.data FROM storage_event e
  WHERE e.cluster_id = %s AND e.create_time <= %s AND e.event_time > %s
    AND e.event_id = (e.data #>> '{{metadata,uid}}') || '/' || (e.data #>> '{{metadata,resourceVersion}}')
  ORDER BY e.data #>> '{{metadata,uid}}', e.create_time DESC, e.id DESC
)
SELECT (r.data - 'kind' - 'apiVersion')::text, count(*) OVER () FROM reported r WHERE {where} ORDER BY r.event_time DESC, r.id DESC
""")


def page(
    cluster: Cluster,
    query: ListQuery,
    at: datetime,
    *,
    uids: frozenset[str] | None = None,
) -> ObjectPage:
    """A page of Events, newest first; `uids` names the objects that they are about. Expired before the first report, Invalid for
    a selector that is not plain."""
    require_common(cluster)
    check_moment(at)
    if "\0" in f"{query.namespace}{query.keyword}{query.field_selector}":
        raise Invalid("a parameter holds a NUL")
    labels = selectors.labels(query.label_selector)
    if labels is None:
        raise Invalid("a list of the past takes plain selectors only", field="labelSelector")
    _check_beginning(cluster, at)
    where = [
        *labels.clauses,
        *_fields(query.field_selector),
        *_scope(query.namespace, query.keyword, query.namespaces, uids),
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _THEN.format(
                where=sql.SQL(" AND ").join([sql.SQL("true"), *(clause.text for clause in where)])
            ),
            [cluster.name, at, at - KEPT, *(param for clause in where for param in clause.params)],
        )
        rows: list[Any] = cursor.fetchall()
    return ObjectPage(
        [masked(row[0].encode()) for row in rows[query.offset : query.offset + query.size]],
        len(rows),
    )


def get(cluster: Cluster, name: str, *, namespace: str, at: datetime) -> bytes:
    """One Event as it was; NotFound when it was not there."""
    query = ListQuery(namespace=namespace, field_selector=f"metadata.name={_escaped(name)}", size=1)
    events = page(cluster, query, at).items
    if not events:
        raise NotFound(f'events "{name}" was not there at that time', reason="NotFound")
    kind = KINDS["events"]
    return (
        b'{"kind":"%s","apiVersion":"%s",' % (kind.name.encode(), kind.api_version.encode())
        + events[0][1:]
    )


def _escaped(value: str) -> str:
    return re.sub(r"([,\\=])", r"\\\1", value)


def _check_beginning(cluster: Cluster, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, [cluster.name])
        first = cursor.fetchone()[0]
    if first is None or at < first:
        raise Expired(
            "nothing is kept of this cluster's events"
            + (f" before {first:%Y-%m-%dT%H:%M:%SZ}" if first else "")
        )


def _scope(
    namespace: str, keyword: str, namespaces: frozenset[str] | None, uids: frozenset[str] | None
) -> Sequence[Clause]:
    given: list[tuple[str, Any]] = [
        ("r.data #>> '{metadata,namespace}' = %s", namespace or None),
        ("position(lower(%s) IN lower(r.data #>> '{metadata,name}')) > 0", keyword or None),
        (
            "r.data #>> '{metadata,namespace}' = ANY (%s)",
            None if namespaces is None else sorted(namespaces),
        ),
        ("r.data #>> '{involvedObject,uid}' = ANY (%s)", None if uids is None else sorted(uids)),
    ]
    return [Clause(sql.SQL(text), (value,)) for text, value in given if value is not None]


def _fields(text: str) -> list[Clause]:
    clauses, place = [], 0
    while place < len(text):
        found = _REQUIREMENT.match(text, place)
        if found is None or found["path"] not in FIELDS:
            raise Invalid(
                "fieldSelector cannot be read, or names a field that Events are not selected by",
                field="fieldSelector",
            )
        operator = sql.SQL("<>" if found["op"] == "!=" else "=")
        value = re.sub(r"\\(.)", r"\1", found["value"])
        clauses.append(
            Clause(
                sql.SQL("coalesce(r.data #>> %s::text[], '') {} %s").format(operator),
                (list(FIELDS[found["path"]]), value),
            )
        )
        place = found.end()
    return clauses
