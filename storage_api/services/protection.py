"""Values of Secrets that are stored already: sealed where they are not yet, and under the first key."""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from storage_api.protection import SEALED, DocumentPlace, holds_sealed, seal_secrets, unseal_all
from storage_api.query import cursors
from storage_api.services.resources import SWEEP_SECONDS

ROWS_PER_FETCH = 500


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of documents: the columns that name a row, and SQL for the four parts of its place."""

    name: str
    key: tuple[str, ...]
    place: tuple[str, str, str, str]


_OBJECT = ("cluster_id", "resource_type", "namespace", "resource_name")
_TABLES = (
    _Table("storage_resource", ("id",), _OBJECT),
    _Table("storage_change", ("at", "seq"), _OBJECT),
    _Table("storage_base", _OBJECT, _OBJECT),
    _Table("storage_watch_node", ("id",), ("env || '/' || cluster_id", *_OBJECT[1:])),
    _Table("storage_metric", ("id",), ("cluster_id", "type", "namespace", "name")),
    _Table("storage_metric_change", ("seq",), ("cluster_id", "type", "namespace", "name")),
    _Table("storage_free_document", ("id",), ("''", "resource_type", "''", "object_id")),
    _Table("storage_event", ("id",), ("cluster_id", "''", "''", "object_id")),
    _Table("storage_alarm", ("id",), ("cluster_id", "''", "''", "object_id")),
    _Table("storage_host", ("id",), ("cluster_id", "''", "''", "ip")),
)
# Rows that may hold a Secret, by type or content: what is sealed, what will be, and a few that are left as they are.
_CANDIDATES = sql.SQL("""
SELECT {place}, data::text, {key} FROM {table}
WHERE {type} ~* 'secret' OR position({mark} IN data::text) > 0
   OR jsonb_path_exists(data, '$.**.kind ? (@ like_regex "^\\\\s*secret" flag "i")')
""")


def reprotect() -> int:
    """Seal every value of a Secret in the store under the first key; how many rows were rewritten.

    ValueError, and nothing changed, when a value is sealed under a key that is not there.
    """
    with cursors.long_statement(SWEEP_SECONDS):
        # A migration calls this before the younger tables are made.
        return sum(_reprotect(table) for table in _TABLES if _exists(table))


def _exists(table: _Table) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table.name])
        return bool(cursor.fetchone()[0])


def _reprotect(table: _Table) -> int:
    names = [sql.Identifier(name) for name in table.key]
    candidates = _CANDIDATES.format(
        place=sql.SQL(", ".join(table.place)),
        key=sql.SQL(", ").join(names),
        table=sql.Identifier(table.name),
        type=sql.SQL(table.place[1]),
        mark=sql.Literal(SEALED),
    )
    update = sql.SQL("UPDATE {} SET data = %s::jsonb WHERE ({}) = ({})").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(names),
        sql.SQL(", ").join([sql.Placeholder()] * len(names)),
    )
    count = 0
    with connection.cursor() as reading, connection.cursor() as writing:
        cursor = sql.Identifier(f"{table.name}_sealing")
        reading.execute(
            sql.SQL("DECLARE {} INSENSITIVE NO SCROLL CURSOR FOR {}").format(cursor, candidates)
        )
        while candidates_read := _next(reading, cursor):
            for row in candidates_read:
                before = row[4].encode()
                after = seal_secrets(
                    DocumentPlace(*row[:4]), unseal_all(before) if holds_sealed(before) else before
                )
                if _differs(before, after):
                    writing.execute(update, [after.decode(), *row[5:]])
                    count += 1
        reading.execute(sql.SQL("CLOSE {}").format(cursor))
    return count


def _next(reading: Any, cursor: sql.Identifier) -> list[Any]:
    reading.execute(sql.SQL("FETCH {} FROM {}").format(sql.Literal(ROWS_PER_FETCH), cursor))
    return list(reading.fetchall())


def _differs(before: bytes, after: bytes) -> bool:
    return before.replace(b" ", b"") != after.replace(b" ", b"")
