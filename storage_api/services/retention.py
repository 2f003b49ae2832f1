"""What time does to the store.

Partitions of the change log come and go by day; events and alarms expire.
"""

from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction
from psycopg2 import sql

from storage_api.query import cursors
from storage_api.services.write_errors import execute

DAYS_AHEAD = 7
# Partitions lock the whole log: rather fail, and try again within the hour, than hold writers up.
LOCK_TIMEOUT = "5s"
KEEP_SECONDS = 600
_PREFIX = "storage_change_"


def _partition_name(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def _midnight(day: date) -> datetime:
    """When a day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


_PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'storage_change'::regclass
"""


def partitions() -> list[date]:
    """The days that have a partition of their own, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS)
        suffixes = [row[0].removeprefix(_PREFIX) for row in cursor.fetchall()]
    # The default partition has a name and no day.
    return sorted(_parse_day(suffix) for suffix in suffixes if suffix.isdigit())


def _parse_day(suffix: str) -> date:
    return datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC).date()


def create_partitions(today: date, *, days: int = DAYS_AHEAD) -> list[date]:
    """Create the missing partitions of today and the coming days; the days that were missing.

    Rows that came before their partition are moved into it.
    """
    existing = set(partitions())
    coming = [today + timedelta(days=ahead) for ahead in range(days + 1)]
    missing = [day for day in coming if day not in existing]
    for day in missing:
        _create_partition(day)
    return missing


_CREATE_TABLE = sql.SQL("""
CREATE TABLE {}
  (LIKE storage_change INCLUDING DEFAULTS INCLUDING COMPRESSION INCLUDING STORAGE)
""")
_MOVE_ROWS = sql.SQL("""
WITH moved AS (DELETE FROM storage_change_other WHERE at >= {} AND at < {} RETURNING *)
INSERT INTO {} SELECT * FROM moved
""")
_ATTACH = sql.SQL("ALTER TABLE storage_change ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})")


def _create_partition(day: date) -> None:
    first = sql.Literal(_midnight(day))
    last = sql.Literal(_midnight(day + timedelta(days=1)))
    name = sql.Identifier(_partition_name(day))
    statements = (
        _lock_timeout(),
        # ATTACH fails while the default partition holds rows of the day: none may come meanwhile.
        sql.SQL("LOCK TABLE storage_change_other IN ACCESS EXCLUSIVE MODE"),
        _CREATE_TABLE.format(name),
        _MOVE_ROWS.format(first, last, name),
        _ATTACH.format(name, first, last),
    )
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _lock_timeout() -> sql.Composable:
    return sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT))


_KEY = "cluster_id, resource_type, namespace, resource_name"
# storage_base holds the last version of each object from before the log begins. An object that a
# dropped part of the log mentions gets its last version from there; a deleted one gets none.
_REMOVE_OLD_BASE = f"""
DELETE FROM storage_base WHERE ({_KEY}) IN (SELECT {_KEY} FROM {{}} WHERE at < %s)
"""  # noqa: S608  # a constant
_SAVE_BASE = f"""
INSERT INTO storage_base
SELECT * FROM (
  SELECT DISTINCT ON ({_KEY}) * FROM {{}} WHERE at < %s ORDER BY {_KEY}, seq DESC
) last
WHERE op <> 'delete'
"""  # noqa: S608  # a constant


def drop_partitions(today: date, *, keep_days: int) -> list[date]:
    """Drop the days of the change log that are older than `keep_days` full days; which days.

    0 keeps everything. The last version of each object from before stays, apart from the log,
    until a newer one takes its place.
    """
    if keep_days <= 0:
        return []
    oldest = today - timedelta(days=keep_days)
    expired = [day for day in partitions() if day < oldest]
    for day in expired:
        name = _partition_name(day)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_lock_timeout())
            _save_last_versions(name, _midnight(oldest))
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    with transaction.atomic(), connection.cursor() as cursor:
        _save_last_versions("storage_change_other", _midnight(oldest))
        cursor.execute(
            "DELETE FROM storage_change_other WHERE at < %s",
            [_midnight(oldest)],
        )
        cursor.execute(
            "DELETE FROM storage_gap WHERE until < %s",
            [_midnight(oldest)],
        )
    return expired


def _save_last_versions(table: str, before: datetime) -> None:
    with (
        cursors.long_statement(KEEP_SECONDS),
        connection.cursor() as cursor,
    ):
        for statement in (_REMOVE_OLD_BASE, _SAVE_BASE):
            cursor.execute(
                sql.SQL(statement).format(sql.Identifier(table)),
                [before],
            )


_DELETE_OLD = sql.SQL("DELETE FROM {} WHERE create_time < %s")
_CROWDED_CLUSTERS = sql.SQL("""
SELECT cluster_id FROM {} GROUP BY cluster_id HAVING count(*) > %s
""")
_DELETE_BEYOND = sql.SQL("""
DELETE FROM {table} WHERE id IN (
  SELECT id FROM {table} WHERE cluster_id = %s ORDER BY {time} DESC, id DESC OFFSET %s
)
""")


def expire(
    table: str,
    *,
    time_column: str,
    now: datetime,
    max_days: int,
    max_count: int,
) -> int:
    """Delete events or alarms that came more than `max_days` ago; how many rows went.

    A cluster with more than `max_count` keeps the newest two thirds of that. 0 switches either
    rule off.
    """
    name = sql.Identifier(table)
    deleted = 0
    if max_days > 0:
        deleted += execute(_DELETE_OLD.format(name), now - timedelta(days=max_days))
    if max_count > 0:
        with connection.cursor() as cursor:
            cursor.execute(_CROWDED_CLUSTERS.format(name), [max_count])
            clusters = [row[0] for row in cursor.fetchall()]
        beyond = _DELETE_BEYOND.format(table=name, time=sql.Identifier(time_column))
        # Fewer than allowed: else every new row of a crowded cluster would cost a deletion.
        remaining = max_count * 2 // 3
        for cluster in clusters:
            deleted += execute(beyond, cluster, remaining)
    return deleted


# Both sides are of one snapshot, so that writers may go on meanwhile.
_CORRECT_COUNTS = """
INSERT INTO storage_count
SELECT cluster_id, resource_type, namespace, sum(rows) FROM (
  SELECT cluster_id, resource_type, namespace, 1 AS rows FROM storage_resource
  UNION ALL SELECT cluster_id, resource_type, namespace, -rows FROM storage_count
) r GROUP BY 1, 2, 3 HAVING sum(rows) <> 0
"""
_DROP_EMPTY_COUNTS = """
DELETE FROM storage_count WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM storage_count WHERE rows = 0 FOR UPDATE SKIP LOCKED
))
"""
_COUNT_LOCK = 1262965577


def correct_counts() -> int:
    """Compare the kept numbers of objects with the objects; how many had to be corrected.

    Triggers keep them exact. They are wrong only after rows came in or went past the triggers, as
    with a restore of the data alone.
    """
    with cursors.long_statement(KEEP_SECONDS), connection.cursor() as cursor:
        # Two corrections at once would be one too many.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_COUNT_LOCK])
        cursor.execute(_DROP_EMPTY_COUNTS)
        cursor.execute(_CORRECT_COUNTS)
        return int(cursor.rowcount)
