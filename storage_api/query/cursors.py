"""Reading rows as JSON texts, a bounded amount at a time, through a cursor of the server."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import orjson
from django.db import connection, transaction
from psycopg2 import sql
from psycopg2.extensions import BYTES, register_type

from storage_api import db_retry
from storage_api.protection import shown
from storage_api.query import paths
from storage_api.query.shapes import Selection

FIRST_ROWS = 8
CHUNK_BYTES = 1 << 18
MAX_ROWS = 5000
STALLED_READER = "60s"

_names = count()


def chunks(
    statement: sql.Composable,
    params: Sequence[Any],
    selection: Selection,
    *,
    reveals: bool = False,
) -> Iterator[list[bytes]]:
    """Lists of documents as JSON text, each list about 256 kB; what was read is given out before more is fetched.

    The first list comes with one exchange, and a short answer ends there. A consumer that stops reading for a minute loses its cursor.
    Values of Secrets are masked unless `reveals`.
    """
    name = sql.Identifier(f"storage_{next(_names)}")
    own = not connection.in_atomic_block
    opening = sql.SQL(
        "BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = {};"
    ).format(sql.Literal(STALLED_READER))
    declare = sql.SQL("DECLARE {} NO SCROLL CURSOR FOR {};").format(name, statement)
    first = sql.Composed([*([opening] if own else []), declare, _fetch(name, FIRST_ROWS)])
    cursor = _opened(first, params)
    finished = False
    try:
        yield from _batches(cursor, name, selection, reveals)
        cursor.execute(sql.SQL("CLOSE {};{}").format(name, sql.SQL("COMMIT" if own else "")))
        finished = True
    finally:
        with contextlib.suppress(Exception):
            if own and not finished:
                cursor.execute("ROLLBACK")
            cursor.close()


@db_retry.retried
def _opened(statement: sql.Composable, params: Sequence[Any]) -> Any:
    """A cursor after the statement, whose texts stay bytes: they are only passed on."""
    cursor = connection.cursor()
    register_type(BYTES, cursor.cursor)
    cursor.execute(statement, params)
    return cursor


def _fetch(name: sql.Identifier, rows: int) -> sql.Composable:
    return sql.SQL("FETCH {} FROM {}").format(sql.Literal(rows), name)


def _batches(
    cursor: Any, name: sql.Identifier, selection: Selection, reveals: bool
) -> Iterator[list[bytes]]:
    wanted = FIRST_ROWS
    while True:
        found = cursor.fetchall()
        texts = (
            [shown(row[0], reveals=reveals) for row in found]
            if not selection.reduced
            else [_reduced(row, selection, reveals) for row in found]
        )
        if texts:
            yield texts
        if len(found) < wanted:
            return
        size = sum(map(len, texts)) // len(texts) + 1
        wanted = max(1, min(MAX_ROWS, CHUNK_BYTES // size))
        cursor.execute(_fetch(name, wanted))


def _reduced(row: tuple[bytes, ...], selection: Selection, reveals: bool) -> bytes:
    """The scalar members and the reduced JSON members as one object."""
    head, *values = row
    parts = []
    for (key, tree), value in zip(selection.reduced, values, strict=True):
        part = None if value is None else paths.project(shown(value, reveals=reveals), tree)
        if not key:
            return part or b"{}"
        if part is not None:
            parts.append(b"," + orjson.dumps(key) + b":" + part)
    return head[:-1] + b"".join(parts) + b"}"


@contextlib.contextmanager
def long_statement(seconds: int) -> Iterator[None]:
    """A transaction whose statements may take longer than a request's usually may."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [seconds * 1000])
        yield
