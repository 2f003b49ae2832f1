"""Writing and counting: what the database refuses, in the domain's words."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import DataError, connection
from psycopg2 import sql

from core.database.prepared import StatementCall, execute_before
from core.errors import Invalid
from storage_api.query.queries import DocumentQuery, condition, count_statement

MAX_KEY_BYTES = {
    "clusterId": 256,
    "namespace": 256,
    "resourceType": 256,
    "resourceName": 1024,
    "type": 256,
    "name": 1024,
    "ip": 256,
}


@contextmanager
def translate_data_errors() -> Iterator[None]:
    """A value that PostgreSQL cannot hold is the caller's error: Invalid instead of DataError."""
    try:
        yield
    except DataError as error:
        raise Invalid(f"the document cannot be stored: {str(error).splitlines()[0]}") from error


# Names the locks of writers of many rows among the database's advisory locks.
_WRITER_LOCK = 1262965576


def serialise_writers(types: Iterable[tuple[str, str]]) -> None:
    """Wait until no other writer of many rows is at the same (cluster, resource type).

    The turn lasts until the transaction ends. Batches and sweeps lock rows in orders of their
    own; one after the other they cannot deadlock.
    """
    lock_ids = set()
    for cluster, resource_type in types:
        checksum = zlib.crc32(f"{cluster}/{resource_type.lower()}".encode())
        # An advisory lock's number is a signed integer of 32 bits.
        lock_ids.add(checksum - (1 << 31))
    with connection.cursor() as cursor:
        # Sorted: writers of several types must not wait for each other in a circle.
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, place) FROM unnest(%s::int[]) AS place",
            [_WRITER_LOCK, sorted(lock_ids)],
        )


def check_key(**parts: str) -> None:
    """Invalid when a part of a key is too long for the index or contains NUL."""
    for name, value in parts.items():
        if "\0" in value:
            raise Invalid(f"{name} contains a NUL character")
        if len(value.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES[name]:
            raise Invalid(f"{name} is longer than {MAX_KEY_BYTES[name]} bytes")


def execute(statement: str | sql.Composable, *params: Any) -> int:
    """Run one statement; how many rows it touched. Invalid for values that cannot be stored."""
    with translate_data_errors(), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


def delete_rows(query: DocumentQuery, statements: Sequence[StatementCall] = ()) -> int:
    """Delete what a query matches in a table that has no log; how many rows went.

    `statements`: what is committed with it, or else not at all.
    """
    where, params = condition(query)
    table = sql.Identifier(query.shape.table)
    deletion = sql.SQL("DELETE FROM {} r WHERE {}").format(table, where)
    with translate_data_errors(), connection.cursor() as cursor:
        execute_before(cursor, statements, deletion, params)
        return int(cursor.rowcount)


def count_matching(query: DocumentQuery) -> int:
    """How many documents match, whatever the page."""
    statement, params = count_statement(query)
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.fetchone()[0])
