"""The change log, written and read forward.

Reading can be resumed by sequence number; a change that commits late is never skipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from core.errors import Expired
from storage_api.protection import unseal_or_mask
from storage_api.query.paths import Path
from storage_api.query.shapes import (
    CREATED,
    DATA,
    METRIC,
    RESOURCE,
    ColumnKind,
    DocumentColumn,
    Shape,
    selection,
)
from storage_api.query.times import TimeStyle

# The columns that a line of the log shares with the row that changed.
_ROW_COLUMNS = """object_id, cluster_id, resource_type, namespace, resource_name,
  uid, resource_version, create_time, data"""


def insert_changes(*, at: str, op: str, rows: str, written_by: str = "NULL") -> str:
    """The SQL that adds a line to the log for each of some rows; every argument is SQL.

    `rows`: what follows FROM, with the columns of storage_resource. `at`, `op` (add, change or
    delete) and `written_by` are expressions over one of those rows.
    """
    return f"""
  INSERT INTO storage_change (at, op, {_ROW_COLUMNS}, written_by)
  SELECT {at}, {op}, {_ROW_COLUMNS}, {written_by}
  FROM {rows}
"""  # noqa: S608  # all parts are constants of this app


# For a statement that has deleted rows and returns them as `gone`.
LOG_DELETED = insert_changes(
    at="date_trunc('milliseconds', clock_timestamp())",
    op="'delete'",
    rows="gone",
)


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """A log of changes: its documents, and the columns that hold their type and name."""

    shape: Shape
    type: str = "resource_type"
    name: str = "resource_name"


_UPDATE_TIME = DocumentColumn("updateTime", "at", ColumnKind.TIME)
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
        _UPDATE_TIME,
    ),
)
RESOURCES = ChangeLog(CHANGE)
METRICS = ChangeLog(
    Shape(
        "storage_metric_change",
        (
            *(column for column in METRIC.columns if column.key != "updateTime"),
            _UPDATE_TIME,
        ),
    ),
    type="type",
    name="name",
)
PAGE = 100
PAGE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class ChangeLogEntry:
    """One change: its sequence number, what happened (add, change or delete), the document.

    The document is JSON text.
    """

    seq: int
    op: str
    document: str


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place to read on from.

    `seen`: a PostgreSQL snapshot of what was committed already, though not settled; or "".
    """

    seq: int
    seen: str = ""


_POSITION = "SELECT storage_change_horizon(), pg_current_snapshot()::text"
_NOT_IN_SNAPSHOT = sql.SQL("AND NOT pg_visible_in_snapshot(r.xid, %s::pg_snapshot)")


def horizon() -> int:
    """The sequence number up to which the log is settled.

    Numbers are drawn before their transaction commits: what comes after the number of a running
    transaction is left for the next look. Ask for it before the statement that reads, never
    inside it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT storage_change_horizon()")
        return int(cursor.fetchone()[0])


def current_position() -> LogPosition:
    """The place after which exactly those changes come that commit from here on."""
    with connection.cursor() as cursor:
        cursor.execute(_POSITION)
        seq, snapshot = cursor.fetchone()
        return LogPosition(int(seq), str(snapshot))


_OLDEST = sql.SQL("""
SELECT coalesce((SELECT min(seq) FROM {}), (SELECT last_value + 1 FROM storage_change_seq))
""")


def check_place(after: int, log: ChangeLog = RESOURCES) -> None:
    """Expired when changes after that sequence number may have been dropped already.

    0 always stands for the oldest change that the log still holds.
    """
    if after <= 0:
        return
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST.format(sql.Identifier(log.shape.table)))
        oldest = int(cursor.fetchone()[0])
    if after < oldest - 1:
        raise Expired(
            f"changes after {after} are no longer kept; the oldest is {oldest}",
            oldest=oldest,
        )


# Sizes are looked at before documents are unpacked: a page holds what fits into its bytes, and
# one document always.
_NEXT = sql.SQL("""
SELECT r.seq, r.op, {head} FROM (
  SELECT r.seq,
         sum(pg_column_size(r.data)) OVER (ORDER BY r.seq) - pg_column_size(r.data) AS before
  FROM {table} r
  WHERE r.cluster_id = %s AND r.{type} = %s AND r.seq > %s AND r.seq <= %s {unseen} {differs}
  ORDER BY r.seq LIMIT %s
) chosen JOIN {table} r ON r.seq = chosen.seq
WHERE chosen.before < {bytes} ORDER BY r.seq
""")
# Changes only that differ from the object's line before, at one place of the document.
_DIFFERS = sql.SQL("""
AND (r.op <> 'change' OR (jsonb_build_object('data', r.data) #> %s::text[]) IS DISTINCT FROM (
  SELECT jsonb_build_object('data', p.data) #> %s::text[] FROM {table} p
  WHERE p.cluster_id = r.cluster_id AND p.{type} = r.{type}
    AND p.namespace = r.namespace AND p.{name} = r.{name}
    AND p.seq < r.seq
  ORDER BY p.seq DESC LIMIT 1))
""")


def read_after(
    start: LogPosition,
    cluster_id: str,
    resource_type: str,
    *,
    style: TimeStyle,
    log: ChangeLog = RESOURCES,
    must_differ: Path = (),
    limit: int = PAGE,
    reveals: bool = False,
) -> Sequence[ChangeLogEntry]:
    """The next settled changes of one type in one cluster, at most `limit`.

    With `must_differ`, changes only where the document differs at that path. Values of Secrets
    are masked unless `reveals`.
    """
    settled = horizon()
    if settled <= start.seq:
        return []
    names = {
        "table": sql.Identifier(log.shape.table),
        "type": sql.Identifier(log.type),
        "name": sql.Identifier(log.name),
    }
    unseen = sql.SQL("")
    differs: sql.Composable = sql.SQL("")
    params: list[Any] = [
        cluster_id,
        resource_type,
        start.seq,
        settled,
    ]
    if start.seen:
        unseen = _NOT_IN_SNAPSHOT
        params.append(start.seen)
    if must_differ:
        differs = _DIFFERS.format(**names)
        # Once for the change, once for the line before it.
        params += [list(must_differ), list(must_differ)]
    params.append(limit)
    statement = _NEXT.format(
        **names,
        head=selection(log.shape, {}, style).head,
        unseen=unseen,
        differs=differs,
        bytes=sql.Literal(PAGE_BYTES),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows = cursor.fetchall()
    entries = []
    for seq, op, text in rows:
        document = unseal_or_mask(text.encode(), reveals=reveals).decode()
        entries.append(ChangeLogEntry(seq, op, document))
    return entries
