"""The log of changes of many clusters read forward: what a caller may see of it, in order, resumable by sequence."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from django.db import connection
from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from clusters.resource_types import resource_type
from core.errors import Expired
from storage_api.protection import masked
from storage_api.query.conditions import Clause
from storage_api.query.selectors import Selected
from storage_api.services import change_log
from storage_api.services.change_log import PAGE, PAGE_BYTES, Start
from storage_api.services.multicluster import Place

ADDED, MODIFIED, DELETED, GAP = "ADDED", "MODIFIED", "DELETED", "GAP"
TYPES = {"add": ADDED, "change": MODIFIED, "delete": DELETED}


@dataclass(frozen=True, slots=True)
class View:
    """What is followed: kinds with the places in which they may be seen, in some namespaces (none named: all), with some labels."""

    scopes: Sequence[tuple[Kind, Sequence[Place]]]
    namespaces: Sequence[str] = ()
    labels: Selected = field(default_factory=Selected)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as it is told: `type` as a watch of Kubernetes names it, `data` the object as JSON text (of a deletion as it last was).

    A GAP stands after the outcomes of what could not be seen happening, and has no data.
    """

    seq: int
    type: str
    at: datetime
    cluster: str
    resource_type: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    data: str


class CachedHorizon:
    """How far the log is settled, asked at most every so many seconds however many streams this process has."""

    def __init__(self) -> None:
        self._lock, self._asked, self._known = Lock(), 0.0, 0

    def within(self, seconds: float) -> int:
        """The place, at most so many seconds old; an old one is only too low."""
        with self._lock:
            if time.monotonic() - self._asked >= seconds:
                self._known, self._asked = change_log.horizon(), time.monotonic()
            return self._known


horizon = CachedHorizon()


def check_place(after: int) -> None:
    """Expired, with `oldest` and `latest`, when changes after that place were dropped already, or when it was never reached."""
    latest = change_log.horizon()
    try:
        change_log.check_place(after)
    except Expired as error:
        raise Expired(
            _advice(error.message), oldest=error.details["oldest"], latest=latest
        ) from None
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM storage_change_seq")
        drawn = int(cursor.fetchone()[0])
    if after > drawn:
        raise Expired(
            _advice(f"the log has not reached {after}, so that place is of another log"),
            oldest=0,
            latest=latest,
        )


def _advice(problem: str) -> str:
    return (
        f"{problem}. What happened in between cannot be told: list again, then watch after `latest`"
    )


def _reach(view: View) -> Clause:
    """The rows that the view may show; kinds that are seen in the same places share a condition."""
    groups: dict[tuple[bool, tuple[Place, ...]], list[str]] = {}
    for kind, places in view.scopes:
        if places:
            groups.setdefault((kind == KINDS["namespaces"], tuple(places)), []).append(
                resource_type(kind)
            )
    parts = [_group(types, places, by_name) for (by_name, places), types in groups.items()]
    if not parts:
        return Clause(sql.SQL("false"))
    texts = sql.SQL(" OR ").join([part.text for part in parts])
    return Clause(
        sql.SQL("({})").format(texts), tuple(param for part in parts for param in part.params)
    )


def _group(types: list[str], places: Iterable[Place], by_name: bool) -> Clause:
    column = sql.Identifier("r", "resource_name" if by_name else "namespace")
    found = list(places)
    parts: list[sql.Composable] = [sql.SQL("r.cluster_id = ANY (%s)")]
    params: list[Any] = [types, [place.name for place in found if place.namespaces is None]]
    for place in found:
        if place.namespaces is not None:
            parts.append(sql.SQL("(r.cluster_id = %s AND {} = ANY (%s))").format(column))
            params += [place.name, sorted(place.namespaces)]
    return Clause(
        sql.SQL("(r.resource_type = ANY (%s) AND ({}))").format(sql.SQL(" OR ").join(parts)),
        tuple(params),
    )


_NAMESPACES = sql.SQL(
    "(r.namespace = ANY (%s) OR (r.resource_type = 'Namespace' AND r.resource_name = ANY (%s)))"
)
# Sizes are looked at before documents are unpacked: a page holds what fits, and one document always.
_NEXT = sql.SQL("""
SELECT c.seq, c.op, c.at, c.cluster_id, c.resource_type, c.namespace, c.resource_name, coalesce(c.uid, ''),
       coalesce(c.resource_version, ''), c.data::text, {fits}, {fitted}
FROM (
  SELECT r.seq, sum(pg_column_size(r.data)) OVER (ORDER BY r.seq) - pg_column_size(r.data) AS before FROM storage_change r
  WHERE {where} ORDER BY r.seq LIMIT %s
) chosen JOIN storage_change c ON c.seq = chosen.seq
WHERE chosen.before < {bytes} ORDER BY c.seq
""")
_FITTED = sql.SQL("""CASE WHEN c.op = 'change' THEN (
  SELECT {labels} FROM storage_change r WHERE r.cluster_id = c.cluster_id AND r.resource_type = c.resource_type
    AND r.namespace = c.namespace AND r.resource_name = c.resource_name AND r.seq < c.seq ORDER BY r.seq DESC LIMIT 1) END""")


def read(view: View, start: Start, settled: int) -> tuple[list[Entry], int]:
    """(the next changes up to the settled place, the place that was reached with them)."""
    if settled <= start.seq:
        return [], start.seq
    with connection.cursor() as cursor:
        cursor.execute(*_statement(view, start, settled))
        rows: list[Any] = cursor.fetchall()
    told = [(row, _told(view, row[1], row[10], row[11])) for row in rows]
    entries = [
        Entry(row[0], type_, *[*row[2:9], masked(row[9].encode()).decode()])
        for row, type_ in told
        if type_
    ]
    reached = int(rows[-1][0]) if rows else settled
    return sorted(
        [*entries, *_gaps(view, start.seq, reached)], key=lambda entry: entry.seq
    ), reached


_GAPS = "SELECT seq, until, cluster_id, resource_type, to_version, namespace FROM storage_gap WHERE seq > %s AND seq <= %s ORDER BY seq"


def _gaps(view: View, after: int, upto: int) -> list[Entry]:
    """The marks between two places of kinds and clusters that the view shows anything of."""
    with connection.cursor() as cursor:
        cursor.execute(_GAPS, [after, upto])
        rows: list[Any] = cursor.fetchall()
    if not rows:
        return []
    shown = {
        (place.name, resource_type(kind)): place.namespaces
        for kind, places in view.scopes
        for place in places
    }

    def is_shown(cluster: str, stored_as: str, namespace: str) -> bool:
        if (cluster, stored_as) not in shown:
            return False
        readable = shown[cluster, stored_as]
        chosen = not view.namespaces or namespace in view.namespaces
        return not namespace or (chosen and (readable is None or namespace in readable))

    return [
        Entry(seq, GAP, at, cluster, stored_as, namespace, "", "", version, "")
        for seq, at, cluster, stored_as, version, namespace in rows
        if is_shown(cluster, stored_as, namespace)
    ]


def _statement(view: View, start: Start, settled: int) -> tuple[sql.Composable, list[Any]]:
    clauses = [Clause(sql.SQL("r.seq > %s AND r.seq <= %s"), (start.seq, settled)), _reach(view)]
    if start.seen:
        clauses.append(
            Clause(sql.SQL("NOT pg_visible_in_snapshot(r.xid, %s::pg_snapshot)"), (start.seen,))
        )
    if view.namespaces:
        clauses.append(Clause(_NAMESPACES, (list(view.namespaces), list(view.namespaces))))
    labels = view.labels.clauses
    fits = sql.SQL(" AND ").join([sql.SQL("true"), *(clause.text for clause in labels)])
    wanted = [param for clause in labels for param in clause.params]
    statement = _NEXT.format(
        fits=sql.SQL("(SELECT {} FROM (SELECT c.data AS data) r)").format(fits),
        fitted=_FITTED.format(labels=fits) if labels else sql.SQL("NULL"),
        where=sql.SQL(" AND ").join([clause.text for clause in clauses]),
        bytes=sql.Literal(PAGE_BYTES),
    )
    return statement, [
        *wanted,
        *(wanted if labels else []),
        *(param for clause in clauses for param in clause.params),
        PAGE,
    ]


def _told(view: View, op: str, fits: bool, fitted: bool | None) -> str:
    """What a change is to somebody who sees objects with some labels only; nothing when it is none.

    `fitted` is None when the version before is no longer kept: what no longer fits may have fitted.
    """
    if not view.labels.clauses or op != "change":
        return TYPES[op] if fits else ""
    if fits:
        return MODIFIED if fitted is not False else ADDED
    return DELETED if fitted is not False else ""
