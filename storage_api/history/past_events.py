"""The Events of a cluster as they were at a moment.

That is the last report of each until then, as long as Kubernetes keeps events.
"""

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
from storage_api.history.as_of import check_moment, refuse_impersonated
from storage_api.protection import mask_sealed
from storage_api.query import selectors
from storage_api.query.conditions import Clause, name_contains

# The default of kube-apiserver's --event-ttl.
EVENT_TTL = timedelta(hours=1)
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
_FIRST_REPORT = "SELECT min(create_time) FROM storage_event WHERE cluster_id = %s"
# What tells an Event among the reports called r. The id of one that a collector made is the
# Event's uid and resourceVersion; reports by others need not be Events at all.
IS_EVENT = sql.SQL(
    "r.event_id = (r.data #>> '{metadata,uid}') || '/' || (r.data #>> '{metadata,resourceVersion}')"
)
_PAGE = sql.SQL("""
WITH reported AS (
  SELECT DISTINCT ON (r.data #>> '{{metadata,uid}}') r.id, r.event_time, r.data
  FROM storage_event r
  WHERE r.cluster_id = %s AND r.create_time <= %s AND r.event_time > %s AND {is_event}
  ORDER BY r.data #>> '{{metadata,uid}}', r.create_time DESC, r.id DESC
)
SELECT (r.data - 'kind' - 'apiVersion')::text, count(*) OVER ()
FROM reported r WHERE {where} ORDER BY r.event_time DESC, r.id DESC
""")


def page(
    cluster: Cluster,
    query: ListQuery,
    at: datetime,
    *,
    uids: frozenset[str] | None = None,
    message: str = "",
) -> ObjectPage:
    """A page of Events as they were, newest first, values of Secrets masked.

    `uids` are of the objects that the Events are about (None: all), `message` is a part of their
    text, in any case of letters. Raises Expired before the
    first report, Invalid for a selector that the store does not understand or a moment in the
    future, Forbidden as `as_of.refuse_impersonated`.
    """
    refuse_impersonated(cluster)
    check_moment(at)
    if "\0" in f"{query.namespace}{query.keyword}{query.field_selector}":
        raise Invalid("a parameter contains a NUL character")
    labels = selectors.labels(query.label_selector)
    if labels is None:
        raise Invalid("with at only plain selectors are supported", field="labelSelector")
    _check_beginning(cluster, at)
    where = [
        *labels.clauses,
        *_field_clauses(query.field_selector),
        *_scope_clauses(query, uids),
    ]
    if message:
        where.append(Clause(name_contains("r.data #>> '{message}'"), (message,)))
    condition = sql.SQL(" AND ").join([sql.SQL("true"), *(clause.text for clause in where)])
    params: list[Any] = [cluster.name, at, at - EVENT_TTL]
    for clause in where:
        params.extend(clause.params)
    with connection.cursor() as cursor:
        cursor.execute(_PAGE.format(where=condition, is_event=IS_EVENT), params)
        rows: list[Any] = cursor.fetchall()
    end = query.offset + query.size
    items = [mask_sealed(text.encode()) for text, _ in rows[query.offset : end]]
    return ObjectPage(items, len(rows))


def get(
    cluster: Cluster,
    name: str,
    *,
    namespace: str,
    at: datetime,
) -> bytes:
    """One Event as JSON as it was; NotFound when it did not exist, else as `page`."""
    query = ListQuery(
        namespace=namespace,
        field_selector=f"metadata.name={_escape(name)}",
        size=1,
    )
    events = page(cluster, query, at).items
    if not events:
        raise NotFound(f'events "{name}" did not exist at that time', reason="NotFound")
    kind = KINDS["events"]
    # Items of a list are without kind and apiVersion; an object by itself has them first.
    head = b'{"kind":"%s","apiVersion":"%s",' % (kind.name.encode(), kind.api_version.encode())
    return head + events[0][1:]


def _escape(value: str) -> str:
    """The value with the escapes of a field selector."""
    return re.sub(r"([,\\=])", r"\\\1", value)


def _check_beginning(cluster: Cluster, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_REPORT, [cluster.name])
        first = cursor.fetchone()[0]
    if first is None:
        raise Expired("there is no history for this cluster's events")
    if at < first:
        raise Expired(
            f"history for this cluster's events does not go back before {first:%Y-%m-%dT%H:%M:%SZ}"
        )


def _scope_clauses(query: ListQuery, uids: frozenset[str] | None) -> Sequence[Clause]:
    """What narrows the Events to namespace, name, what the caller may see, and their objects."""
    visible = None if query.namespaces is None else sorted(query.namespaces)
    conditions: list[tuple[sql.Composable, Any]] = [
        (sql.SQL("r.data #>> '{metadata,namespace}' = %s"), query.namespace or None),
        (name_contains("r.data #>> '{metadata,name}'"), query.keyword or None),
        (sql.SQL("r.data #>> '{metadata,namespace}' = ANY (%s)"), visible),
        (
            sql.SQL("r.data #>> '{involvedObject,uid}' = ANY (%s)"),
            None if uids is None else sorted(uids),
        ),
    ]
    return [Clause(text, (value,)) for text, value in conditions if value is not None]


def _field_clauses(text: str) -> list[Clause]:
    """The conditions of a field selector of Events; Invalid when it cannot be parsed."""
    clauses = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None or match["path"] not in FIELDS:
            raise Invalid(
                "fieldSelector cannot be parsed, or names a field that Events do not support",
                field="fieldSelector",
            )
        operator = sql.SQL("<>" if match["op"] == "!=" else "=")
        # As in a label selector: an absent field equals an empty value.
        condition = sql.SQL("coalesce(r.data #>> %s::text[], '') {} %s").format(operator)
        value = re.sub(r"\\(.)", r"\1", match["value"])
        clauses.append(Clause(condition, (list(FIELDS[match["path"]]), value)))
        position = match.end()
    return clauses
