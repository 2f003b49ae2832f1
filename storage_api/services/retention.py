"""What time does to the store: partitions of the change log come and go by day, events and alarms age."""

from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction
from psycopg2 import sql

from storage_api.query import cursors
from storage_api.services.write_errors import execute

DAYS_AHEAD = 7
LOCK_WAIT = "5s"
KEEP_SECONDS = 600
_PREFIX = "storage_change_"


def _name(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def partitions() -> list[date]:
    """The days that have a partition of their own, oldest first."""
    statement = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'storage_change'::regclass"
    with connection.cursor() as cursor:
        cursor.execute(statement)
        names = [row[0].removeprefix(_PREFIX) for row in cursor.fetchall()]
    return sorted(
        datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC).date()
        for name in names
        if name.isdigit()
    )


def make_partitions(today: date, *, days: int = DAYS_AHEAD) -> list[date]:
    """Make the partitions of today and the coming days that are missing; rows that came before their partition are moved into it."""
    known = set(partitions())
    missing = [
        day for ahead in range(days + 1) if (day := today + timedelta(days=ahead)) not in known
    ]
    for day in missing:
        _make(day)
    return missing


def _make(day: date) -> None:
    bounds = [
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=ahead)
        for ahead in (0, 1)
    ]
    name = sql.Identifier(_name(day))
    statements = (
        sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_WAIT)),
        sql.SQL("LOCK TABLE storage_change_other IN ACCESS EXCLUSIVE MODE"),
        sql.SQL(
            "CREATE TABLE {} (LIKE storage_change INCLUDING DEFAULTS INCLUDING COMPRESSION INCLUDING STORAGE)"
        ).format(name),
        sql.SQL(
            "WITH moved AS (DELETE FROM storage_change_other WHERE at >= {} AND at < {} RETURNING *) INSERT INTO {} SELECT * FROM moved"
        ).format(*map(sql.Literal, bounds), name),
        sql.SQL(
            "ALTER TABLE storage_change ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
        ).format(name, *map(sql.Literal, bounds)),
    )
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


_KEY = "cluster_id, resource_type, namespace, resource_name"
# Of each object that is touched in what goes, the last version before is what the log goes on from; of one that was deleted nothing is.
_SUPERSEDE = f"DELETE FROM storage_base WHERE ({_KEY}) IN (SELECT {_KEY} FROM {{}} WHERE at < %s)"  # noqa: S608  # a constant
_KEEP = f"""
INSERT INTO storage_base
SELECT * FROM (SELECT DISTINCT ON ({_KEY}) * FROM {{}} WHERE at < %s ORDER BY {_KEY}, seq DESC) last WHERE op <> 'delete'
"""  # noqa: S608  # a constant


def drop_partitions(today: date, *, keep_days: int) -> list[date]:
    """Drop the days of the change log that are older than `keep_days` full days; 0 keeps everything.

    The last version of each object from before stays, apart from the log, until a newer one takes its place.
    """
    if keep_days <= 0:
        return []
    oldest = today - timedelta(days=keep_days)
    midnight = datetime(oldest.year, oldest.month, oldest.day, tzinfo=UTC)
    expired = [day for day in partitions() if day < oldest]
    for day in expired:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_WAIT)))
            _keep_last(_name(day), midnight)
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(_name(day))))
    with transaction.atomic(), connection.cursor() as cursor:
        _keep_last("storage_change_other", midnight)
        cursor.execute("DELETE FROM storage_change_other WHERE at < %s", [midnight])
        cursor.execute("DELETE FROM storage_gap WHERE until < %s", [midnight])
    return expired


def _keep_last(table: str, before: datetime) -> None:
    with cursors.long_statement(KEEP_SECONDS), connection.cursor() as cursor:
        for statement in (_SUPERSEDE, _KEEP):
            cursor.execute(sql.SQL(statement).format(sql.Identifier(table)), [before])


def expire(table: str, *, time_column: str, now: datetime, max_days: int, max_count: int) -> int:
    """Delete events or alarms that came more than `max_days` ago; a cluster with more than `max_count` keeps the newest two thirds of that.

    0 switches either rule off. How many went.
    """
    gone = 0
    if max_days > 0:
        gone += execute(
            sql.SQL("DELETE FROM {} WHERE create_time < %s").format(sql.Identifier(table)),
            now - timedelta(days=max_days),
        )
    if max_count > 0:
        crowded = sql.SQL(
            "SELECT cluster_id FROM {} GROUP BY cluster_id HAVING count(*) > %s"
        ).format(sql.Identifier(table))
        with connection.cursor() as cursor:
            cursor.execute(crowded, [max_count])
            clusters = [row[0] for row in cursor.fetchall()]
        beyond = sql.SQL(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE cluster_id = %s ORDER BY {time} DESC, id DESC OFFSET %s)"
        ).format(table=sql.Identifier(table), time=sql.Identifier(time_column))
        gone += sum(execute(beyond, cluster, max_count * 2 // 3) for cluster in clusters)
    return gone
