"""The Events of many clusters that were reported in the last hour, newest first.

That is as long as Kubernetes keeps them. Of each Event the last report counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from psycopg2 import sql

from storage_api.history.past_events import EVENT_TTL, IS_EVENT
from storage_api.protection import mask_sealed
from storage_api.query.conditions import Clause, name_contains
from storage_api.services.multicluster import ClusterScope

# So many of the newest reports that the other filters accept are searched for a text.
MAX_REPORTS = 20_000
_NAMESPACE = "e.data #>> '{metadata,namespace}'"
_PAGE = sql.SQL("""
WITH recent AS (
  SELECT e.id, e.cluster_id, e.event_id, e.event_time, e.create_time, e.describe, e.data
  FROM storage_event e WHERE {where} ORDER BY e.event_time DESC, e.id LIMIT %s
), reported AS (
  SELECT DISTINCT ON (r.cluster_id, r.data #>> '{{metadata,uid}}') r.*
  FROM recent r WHERE {is_event}
  ORDER BY r.cluster_id, r.data #>> '{{metadata,uid}}', r.create_time DESC, r.id DESC
), matching AS (
  SELECT r.id, r.cluster_id, r.event_time, r.data FROM reported r WHERE {message}
), page AS (
  SELECT * FROM matching ORDER BY event_time DESC, id DESC OFFSET %s LIMIT %s
)
SELECT (SELECT count(*) FROM recent), (SELECT count(*) FROM matching),
  (SELECT coalesce(array_agg(ARRAY[p.cluster_id, p.data::text]
    ORDER BY p.event_time DESC, p.id DESC), '{{}}') FROM page p)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSearch:
    """Which Events are searched for, in which clusters.

    `kind` and `name` are of the object that they are about, `source` the component that reported
    them. `keyword` is a part of the Event's own name, `message` one of its text, in any case of
    letters. What is empty narrows nothing.
    """

    places: Sequence[ClusterScope]
    namespaces: Sequence[str] = ()
    event_type: str = ""
    reason: str = ""
    source: str = ""
    kind: str = ""
    name: str = ""
    keyword: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class EventPage:
    """(cluster's name, Event as JSON) …, how many match, and whether older ones were left out."""

    items: Sequence[tuple[str, bytes]]
    total: int
    truncated: bool


def page(
    search: EventSearch,
    now: datetime,
    *,
    offset: int,
    size: int,
    max_reports: int = MAX_REPORTS,
) -> EventPage:
    """A page of what the search matches; values of Secrets are masked.

    Of the newest `max_reports` reports, each of which is a count of an Event.
    """
    clauses = _clauses(search, now)
    message = Clause(sql.SQL("true"))
    if search.message:
        message = Clause(name_contains("r.describe"), (search.message,))
    statement = _PAGE.format(
        where=sql.SQL(" AND ").join([clause.text for clause in clauses]),
        is_event=IS_EVENT,
        message=message.text,
    )
    params = [value for clause in clauses for value in clause.params]
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, max_reports, *message.params, offset, size])
        looked_at, total, rows = cursor.fetchone()
    items = [(name, mask_sealed(text.encode())) for name, text in rows]
    return EventPage(items, int(total), int(looked_at) >= max_reports)


def _clauses(search: EventSearch, now: datetime) -> list[Clause]:
    """The conditions on the reports called e that need no look at their texts."""
    clauses = [
        Clause(sql.SQL("e.event_time > %s"), (now - EVENT_TTL,)),
        _visible_clause(search.places),
    ]
    columns = {
        "e.level": search.event_type,
        "e.type": search.reason,
        "e.component": search.source,
        "e.kind": search.kind,
        "e.extra_info ->> 'name'": search.name,
    }
    for column, value in columns.items():
        if value:
            clauses.append(Clause(sql.SQL(f"{column} = %s"), (value,)))
    if search.namespaces:
        text = sql.SQL(f"{_NAMESPACE} = ANY (%s)")
        clauses.append(Clause(text, (list(search.namespaces),)))
    if search.keyword:
        name = name_contains("e.data #>> '{metadata,name}'")
        clauses.append(Clause(name, (search.keyword,)))
    return clauses


def _visible_clause(places: Sequence[ClusterScope]) -> Clause:
    whole = [place.name for place in places if place.namespaces is None]
    parts = ["e.cluster_id = ANY (%s)"]
    params: list[Any] = [whole]
    for place in places:
        if place.namespaces is not None:
            parts.append(f"(e.cluster_id = %s AND {_NAMESPACE} = ANY (%s))")
            params += [place.name, sorted(place.namespaces)]
    return Clause(sql.SQL(f"({' OR '.join(parts)})"), tuple(params))
