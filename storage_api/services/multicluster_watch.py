"""The change log of many clusters read forward: what a caller may see of it, in order.

Reading can be resumed by sequence number.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from django.db import connection
from psycopg2 import sql

from clusters.kinds import Kind
from clusters.resource_types import resource_type
from core.errors import Expired
from storage_api.protection import mask_sealed
from storage_api.query.conditions import Clause
from storage_api.query.selectors import LabelSelection
from storage_api.services import change_log
from storage_api.services.change_log import PAGE, PAGE_BYTES, LogPosition
from storage_api.services.multicluster import ClusterScope, rows_of_kinds

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
GAP = "GAP"
TYPES = {"add": ADDED, "change": MODIFIED, "delete": DELETED}


@dataclass(frozen=True, slots=True)
class WatchView:
    """What is watched: kinds with the places in which they may be seen.

    Narrowed to some namespaces (empty: all), to some labels and some fields.
    """

    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]]
    namespaces: Sequence[str] = ()
    labels: LabelSelection = field(default_factory=LabelSelection)
    fields: Sequence[Clause] = ()

    @property
    def selection(self) -> tuple[Clause, ...]:
        """The conditions on one version of an object, which it may come to fulfil or lose."""
        return (*self.labels.clauses, *self.fields)


@dataclass(frozen=True, slots=True)
class WatchEntry:
    """One change as the watcher gets it.

    `type`: as a watch of Kubernetes names it. `data`: the object as JSON text; of a deletion as
    it last was. A GAP has no data: it says that of the changes before it only outcomes are known.
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
    """How far the log is settled, asked for once however many streams this process has."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read_at = 0.0
        self._horizon = 0

    def within(self, seconds: float) -> int:
        """The horizon, at most so many seconds old; an old one is only too low."""
        with self._lock:
            if time.monotonic() - self._read_at >= seconds:
                self._horizon = change_log.horizon()
                self._read_at = time.monotonic()
            return self._horizon


horizon = CachedHorizon()


def check_place(after: int) -> None:
    """Expired when a watch cannot go on after that sequence number.

    Either changes behind it were dropped already, or the log never reached it. The error has
    `oldest` and `latest`.
    """
    latest = change_log.horizon()
    try:
        change_log.check_place(after)
    except Expired as error:
        raise Expired(
            _advise_new_list(error.message),
            oldest=error.details["oldest"],
            latest=latest,
        ) from None
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM storage_change_seq")
        last_number = int(cursor.fetchone()[0])
    if after > last_number:
        # The database was restored from a copy, or the client came from another installation.
        raise Expired(
            _advise_new_list(
                f"the log has not reached {after}: that position belongs to another log"
            ),
            oldest=0,
            latest=latest,
        )


def _advise_new_list(problem: str) -> str:
    return (
        f"{problem}. What happened in between cannot be told: list again, then watch after `latest`"
    )


# A Namespace itself belongs to the namespace of its name.
_IN_NAMESPACES = sql.SQL("""(
  r.namespace = ANY (%s) OR (r.resource_type = 'Namespace' AND r.resource_name = ANY (%s))
)""")
# Sizes are looked at before documents are unpacked: a page holds what fits into its bytes, and
# one document always.
_NEXT = sql.SQL("""
SELECT c.seq, c.op, c.at, c.cluster_id, c.resource_type, c.namespace, c.resource_name,
       coalesce(c.uid, ''), coalesce(c.resource_version, ''), c.data::text,
       {matches}, {matched_before}
FROM (
  SELECT r.seq,
         sum(pg_column_size(r.data)) OVER (ORDER BY r.seq) - pg_column_size(r.data) AS before
  FROM storage_change r
  WHERE {where} ORDER BY r.seq LIMIT %s
) chosen JOIN storage_change c ON c.seq = chosen.seq
WHERE chosen.before < {bytes} ORDER BY c.seq
""")
# A version of an object with the columns that conditions may name; they are about a row called r.
_VERSION = sql.SQL("""
SELECT {version}.namespace, {version}.resource_name, {version}.data,
       {version}.data #>> '{{spec,nodeName}}' AS node_name,
       {version}.data #>> '{{status,phase}}' AS status,
       {version}.data #>> '{{status,podIP}}' AS pod_ip
""")
_MATCHED_BEFORE = sql.SQL("""CASE WHEN c.op = 'change' THEN (
  SELECT coalesce(({selection}), false) FROM (
    {version} FROM storage_change v
    WHERE v.cluster_id = c.cluster_id AND v.resource_type = c.resource_type
      AND v.namespace = c.namespace AND v.resource_name = c.resource_name AND v.seq < c.seq
    ORDER BY v.seq DESC LIMIT 1
  ) r
) END""")


def read_changes(view: WatchView, start: LogPosition, settled: int) -> tuple[list[WatchEntry], int]:
    """(the next changes up to the settled sequence number, the number reached with them)."""
    if settled <= start.seq:
        return [], start.seq
    with connection.cursor() as cursor:
        cursor.execute(*_statement(view, start, settled))
        rows: list[Any] = cursor.fetchall()
    entries: list[WatchEntry] = []
    for seq, op, *columns, text, matches, matched_before in rows:
        event_type = _event_type(
            view,
            op,
            matches=matches,
            matched_before=matched_before,
        )
        if event_type:
            at, cluster, stored_as, namespace, name, uid, version = columns
            entries.append(
                WatchEntry(
                    seq=seq,
                    type=event_type,
                    at=at,
                    cluster=cluster,
                    resource_type=stored_as,
                    namespace=namespace,
                    name=name,
                    uid=uid,
                    resource_version=version,
                    data=mask_sealed(text.encode()).decode(),
                )
            )
    # Without rows, everything up to the settled number was looked at.
    reached = int(rows[-1][0]) if rows else settled
    entries += _gaps(view, start.seq, reached)
    return sorted(entries, key=lambda entry: entry.seq), reached


_CHANGED_TYPES = """
SELECT DISTINCT resource_type FROM storage_change WHERE seq > %s AND seq <= %s
"""


def changed_types(after: int, upto: int) -> frozenset[str]:
    """The resource types with changes between two settled sequence numbers."""
    with connection.cursor() as cursor:
        cursor.execute(_CHANGED_TYPES, [after, upto])
        return frozenset(row[0] for row in cursor.fetchall())


_GAPS = """
SELECT seq, until, cluster_id, resource_type, to_version, namespace FROM storage_gap
WHERE seq > %s AND seq <= %s ORDER BY seq
"""


def _gaps(view: WatchView, after: int, upto: int) -> list[WatchEntry]:
    """The gaps between two sequence numbers, of kinds and clusters that the view shows."""
    with connection.cursor() as cursor:
        cursor.execute(_GAPS, [after, upto])
        rows: list[Any] = cursor.fetchall()
    if not rows:
        return []
    readable_namespaces: dict[tuple[str, str], frozenset[str] | None] = {}
    for kind, places in view.scopes:
        for place in places:
            readable_namespaces[place.name, resource_type(kind)] = place.namespaces

    def is_visible(cluster: str, stored_as: str, namespace: str) -> bool:
        if (cluster, stored_as) not in readable_namespaces:
            return False
        if not namespace:
            # A gap of the whole cluster concerns everybody who sees anything of the kind.
            return True
        if view.namespaces and namespace not in view.namespaces:
            return False
        readable = readable_namespaces[cluster, stored_as]
        return readable is None or namespace in readable

    return [
        WatchEntry(
            seq,
            GAP,
            at,
            cluster,
            stored_as,
            namespace,
            "",
            "",
            version,
            "",
        )
        for seq, at, cluster, stored_as, version, namespace in rows
        if is_visible(cluster, stored_as, namespace)
    ]


def _statement(
    view: WatchView, start: LogPosition, settled: int
) -> tuple[sql.Composable, list[Any]]:
    """(the SELECT of the next changes, its parameters)."""
    in_range = Clause(sql.SQL("r.seq > %s AND r.seq <= %s"), (start.seq, settled))
    clauses = [in_range, rows_of_kinds(view.scopes)]
    if start.seen:
        unseen = sql.SQL("NOT pg_visible_in_snapshot(r.xid, %s::pg_snapshot)")
        clauses.append(Clause(unseen, (start.seen,)))
    if view.namespaces:
        names = list(view.namespaces)
        clauses.append(Clause(_IN_NAMESPACES, (names, names)))
    selection = sql.SQL(" AND ").join(
        [sql.SQL("true"), *(clause.text for clause in view.selection)]
    )
    selection_params = [param for clause in view.selection for param in clause.params]
    matched_before: sql.Composable = sql.SQL("NULL")
    params = list(selection_params)
    if view.selection:
        matched_before = _MATCHED_BEFORE.format(
            selection=selection,
            version=_VERSION.format(version=sql.Identifier("v")),
        )
        params += selection_params
    for clause in clauses:
        params += clause.params
    params.append(PAGE)
    statement = _NEXT.format(
        matches=sql.SQL("(SELECT {} FROM ({}) r)").format(
            selection, _VERSION.format(version=sql.Identifier("c"))
        ),
        matched_before=matched_before,
        where=sql.SQL(" AND ").join([clause.text for clause in clauses]),
        bytes=sql.Literal(PAGE_BYTES),
    )
    return statement, params


def _event_type(
    view: WatchView,
    op: str,
    *,
    matches: bool,
    matched_before: bool | None,
) -> str:
    """What a change is to a watcher of some labels or fields; "" when it is none of theirs.

    As for a watch of Kubernetes, an object that comes to match is ADDED, and one that ceases to is
    DELETED. `matched_before` is None when the version before is no longer stored: what no longer
    matches may have matched.
    """
    if not view.selection or op != "change":
        return TYPES[op] if matches else ""
    if matches:
        return ADDED if matched_before is False else MODIFIED
    return "" if matched_before is False else DELETED
