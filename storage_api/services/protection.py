"""Sealing the values of Secrets that are stored already, under the first key.

Runs when keys are rotated, and for values that were stored unsealed.
"""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from storage_api.protection import (
    SEALED,
    DocumentPlace,
    holds_sealed,
    seal_secrets,
    unseal_all,
)
from storage_api.query import cursors
from storage_api.services.resources import SWEEP_SECONDS

ROWS_PER_FETCH = 500


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of documents: the columns of its key, and SQL for the parts of a DocumentPlace."""

    name: str
    key: tuple[str, ...]
    place: tuple[str, str, str, str]


_RESOURCE_PLACE = (
    "cluster_id",
    "resource_type",
    "namespace",
    "resource_name",
)
_METRIC_PLACE = ("cluster_id", "type", "namespace", "name")
_REPORT_PLACE = ("cluster_id", "''", "''", "object_id")
_TABLES = (
    _Table("storage_resource", ("id",), _RESOURCE_PLACE),
    _Table("storage_change", ("at", "seq"), _RESOURCE_PLACE),
    _Table("storage_base", _RESOURCE_PLACE, _RESOURCE_PLACE),
    _Table(
        "storage_watch_node",
        ("id",),
        (
            "env || '/' || cluster_id",
            "resource_type",
            "namespace",
            "resource_name",
        ),
    ),
    _Table("storage_metric", ("id",), _METRIC_PLACE),
    _Table("storage_metric_change", ("seq",), _METRIC_PLACE),
    _Table(
        "storage_free_document",
        ("id",),
        ("''", "resource_type", "''", "object_id"),
    ),
    _Table("storage_event", ("id",), _REPORT_PLACE),
    _Table("storage_alarm", ("id",), _REPORT_PLACE),
    _Table("storage_host", ("id",), ("cluster_id", "''", "''", "ip")),
)
# Rows that may hold a Secret, by type or content: what is sealed, what is not yet, and a few that
# are left as they are.
_CANDIDATES = sql.SQL("""
SELECT {place}, data::text, {key} FROM {table}
WHERE {type} ~* 'secret' OR position({mark} IN data::text) > 0
   OR jsonb_path_exists(data, '$.**.kind ? (@ like_regex "^\\\\s*secret" flag "i")')
""")


def reprotect() -> int:
    """Seal every value of a Secret in the store under the first key; how many rows changed.

    ValueError, and nothing is changed, when a value is sealed under a key that is not there.
    """
    with cursors.long_statement(SWEEP_SECONDS):
        # A migration calls this before the younger tables exist.
        return sum(_reprotect_table(table) for table in _TABLES if _exists(table))


def _exists(table: _Table) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table.name])
        return bool(cursor.fetchone()[0])


def _reprotect_table(table: _Table) -> int:
    key = [sql.Identifier(column) for column in table.key]
    table_name = sql.Identifier(table.name)
    candidates = _CANDIDATES.format(
        place=sql.SQL(", ".join(table.place)),
        key=sql.SQL(", ").join(key),
        table=table_name,
        type=sql.SQL(table.place[1]),
        mark=sql.Literal(SEALED),
    )
    update = sql.SQL("UPDATE {} SET data = %s::jsonb WHERE ({}) = ({})").format(
        table_name,
        sql.SQL(", ").join(key),
        sql.SQL(", ").join([sql.Placeholder()] * len(key)),
    )
    count = 0
    with (
        connection.cursor() as reading,
        connection.cursor() as writing,
    ):
        cursor_name = sql.Identifier(f"{table.name}_sealing")
        # INSENSITIVE: rows that are rewritten meanwhile do not come again.
        declare = sql.SQL("DECLARE {} INSENSITIVE NO SCROLL CURSOR FOR {}")
        reading.execute(declare.format(cursor_name, candidates))
        while rows := _fetch(reading, cursor_name):
            for row in rows:
                place = DocumentPlace(*row[:4])
                before = row[4].encode()
                after = _seal_again(place, before)
                if _differs(before, after):
                    writing.execute(update, [after.decode(), *row[5:]])
                    count += 1
        reading.execute(sql.SQL("CLOSE {}").format(cursor_name))
    return count


def _seal_again(place: DocumentPlace, text: bytes) -> bytes:
    plain = unseal_all(text) if holds_sealed(text) else text
    return seal_secrets(place, plain)


def _fetch(reading: Any, cursor_name: sql.Identifier) -> list[Any]:
    count = sql.Literal(ROWS_PER_FETCH)
    reading.execute(sql.SQL("FETCH {} FROM {}").format(count, cursor_name))
    return list(reading.fetchall())


def _differs(before: bytes, after: bytes) -> bool:
    # PostgreSQL writes spaces between members, we do not.
    return before.replace(b" ", b"") != after.replace(b" ", b"")
