"""The change log read forward: resumable by sequence, never a change skipped that commits late."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from core.errors import Expired
from storage_api.protection import shown
from storage_api.query.paths import Path
from storage_api.query.shapes import CREATED, DATA, METRIC, RESOURCE, Column, Kind, Shape, selection
from storage_api.query.times import TimeStyle


@dataclass(frozen=True, slots=True)
class Log:
    """A log of changes: its documents, and the columns that hold their type and name."""

    shape: Shape
    type: str = "resource_type"
    name: str = "resource_name"


CHANGE = Shape(
    "storage_change",
    (
        *(
            column
            for column in RESOURCE.columns
            if column not in (DATA, CREATED) and column.key != "updateTime"
        ),
        DATA,
        CREATED,
        Column("updateTime", "at", Kind.TIME),
    ),
)
RESOURCES = Log(CHANGE)
METRICS = Log(
    Shape(
        "storage_metric_change",
        (
            *(column for column in METRIC.columns if column.key != "updateTime"),
            Column("updateTime", "at", Kind.TIME),
        ),
    ),
    type="type",
    name="name",
)
PAGE = 100
PAGE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class ChangeLogEntry:
    """One change: its place in the log, what happened (add, change, delete), the document as JSON text."""

    seq: int
    op: str
    document: str


@dataclass(frozen=True, slots=True)
class Start:
    """A place to read on from. `seen` (a PostgreSQL snapshot, or empty) names what was there already, though not settled by then."""

    seq: int
    seen: str = ""


_NOW = "SELECT storage_change_horizon(), pg_current_snapshot()::text"
_UNSEEN = sql.SQL("AND NOT pg_visible_in_snapshot(r.xid, %s::pg_snapshot)")


def horizon() -> int:
    """The place up to which the log is settled: numbers are drawn before their transaction commits, and what a running one may still
    precede is left for the next look. To be asked before the statement that reads, never in it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT storage_change_horizon()")
        return int(cursor.fetchone()[0])


def now() -> Start:
    """The place after which everything is new that commits from here on, and nothing else."""
    with connection.cursor() as cursor:
        cursor.execute(_NOW)
        seq, seen = cursor.fetchone()
        return Start(int(seq), str(seen))


_OLDEST = sql.SQL(
    "SELECT coalesce((SELECT min(seq) FROM {}), (SELECT last_value + 1 FROM storage_change_seq))"
)


def check_place(after: int, log: Log = RESOURCES) -> None:
    """Expired when changes after that place may have been dropped already; 0 always stands for the oldest that is kept."""
    if after <= 0:
        return
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST.format(sql.Identifier(log.shape.table)))
        oldest = int(cursor.fetchone()[0])
    if after < oldest - 1:
        raise Expired(
            f"changes after {after} are no longer kept; the oldest is {oldest}", oldest=oldest
        )


# Sizes are looked at before documents are unpacked: a page holds what fits, and one document always.
_NEXT = sql.SQL("""
SELECT r.seq, r.op, {head} FROM (
  SELECT r.seq, sum(pg_column_size(r.data)) OVER (ORDER BY r.seq) - pg_column_size(r.data) AS before FROM {table} r
  WHERE r.cluster_id = %s AND r.{type} = %s AND r.seq > %s AND r.seq <= %s {unseen} {differs}
  ORDER BY r.seq LIMIT %s
) chosen JOIN {table} r ON r.seq = chosen.seq
WHERE chosen.before < {bytes} ORDER BY r.seq
""")


def after(
    start: Start,
    cluster_id: str,
    resource_type: str,
    *,
    style: TimeStyle,
    log: Log = RESOURCES,
    must_differ: Path = (),
    limit: int = PAGE,
    reveals: bool = False,
) -> Sequence[ChangeLogEntry]:
    """The next settled changes of one type in one cluster; with `must_differ`, changes only where the document differs there.

    Values of Secrets are masked unless `reveals`.
    """
    if (settled := horizon()) <= start.seq:
        return []
    names = {
        "table": sql.Identifier(log.shape.table),
        "type": sql.Identifier(log.type),
        "name": sql.Identifier(log.name),
    }
    statement = _NEXT.format(
        **names,
        head=selection(log.shape, {}, style).head,
        unseen=_UNSEEN if start.seen else sql.SQL(""),
        differs=_DIFFERS.format(**names) if must_differ else sql.SQL(""),
        bytes=sql.Literal(PAGE_BYTES),
    )
    params: list[Any] = [
        cluster_id,
        resource_type,
        start.seq,
        settled,
        *([start.seen] if start.seen else []),
        *([list(must_differ)] * 2 if must_differ else []),
    ]
    params.append(limit)
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [
            ChangeLogEntry(seq, op, shown(document.encode(), reveals=reveals).decode())
            for seq, op, document in cursor.fetchall()
        ]


_DIFFERS = sql.SQL("""
AND (r.op <> 'change' OR (jsonb_build_object('data', r.data) #> %s::text[]) IS DISTINCT FROM (
  SELECT jsonb_build_object('data', p.data) #> %s::text[] FROM {table} p
  WHERE p.cluster_id = r.cluster_id AND p.{type} = r.{type} AND p.namespace = r.namespace AND p.{name} = r.{name}
    AND p.seq < r.seq
  ORDER BY p.seq DESC LIMIT 1))
""")
