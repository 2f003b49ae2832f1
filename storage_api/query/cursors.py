"""Reading documents as JSON texts, a bounded amount at a time, through a server-side cursor."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import orjson
from django.db import connection, transaction
from psycopg2 import sql
from psycopg2.extensions import BYTES, register_type

from core.database.prepared import PreparedStatement
from storage_api import db_retry
from storage_api.protection import unseal_or_mask
from storage_api.query import paths
from storage_api.query.shapes import Selection

# Most answers are short: they come with one exchange.
FIRST_ROWS = 8
CHUNK_BYTES = 1 << 18
MAX_ROWS = 5000
# PostgreSQL ends the transaction of a consumer that reads nothing for so long.
STALLED_READER = "60s"

_names = count()


def read_chunks(
    statement: sql.Composable,
    params: Sequence[Any],
    selection: Selection,
    *,
    reveals: bool = False,
) -> Iterator[list[bytes]]:
    """Lists of documents as JSON text, each list about 256 kB.

    A list is yielded before more is fetched. The first comes with one exchange, and a short answer
    ends with it. A consumer that stops reading for a minute loses its cursor. Values of Secrets
    are masked unless `reveals`.
    """
    name = sql.Identifier(f"storage_{next(_names)}")
    # A cursor lives in a transaction: in a caller's, else in one of our own.
    is_own = not connection.in_atomic_block
    opening = sql.SQL(
        "BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = {};"
    ).format(sql.Literal(STALLED_READER))
    declare = sql.SQL("DECLARE {} NO SCROLL CURSOR FOR {};").format(name, statement)
    first = sql.Composed([*([opening] if is_own else []), declare, _fetch(name, FIRST_ROWS)])
    cursor = _open_cursor(first, params)
    finished = False
    try:
        yield from _read_batches(cursor, name, selection, reveals)
        commit = sql.SQL("COMMIT" if is_own else "")
        cursor.execute(sql.SQL("CLOSE {};{}").format(name, commit))
        finished = True
    finally:
        # The consumer may have gone away, or the connection: there is no reader left.
        with contextlib.suppress(Exception):
            if is_own and not finished:
                cursor.execute("ROLLBACK")
            cursor.close()


@db_retry.retry_on_database_error
def read_row(
    statement: sql.Composable,
    params: Sequence[Any],
    selection: Selection,
    *,
    reveals: bool = False,
) -> bytes | None:
    """The one document that the statement gives at most, as `read_chunks` gives documents.

    One exchange with the database, without a cursor or transaction of its own.
    """
    with connection.cursor() as cursor:
        register_type(BYTES, cursor.cursor)
        cursor.execute(statement, params)
        row = cursor.fetchone()
    return None if row is None else _document(row, selection, reveals)


def read_prepared(
    cursor: Any,
    statement: PreparedStatement,
    values: Sequence[Any],
    *,
    reveals: bool = False,
) -> bytes | None:
    """As `read_row`, of a statement whose rows are whole documents."""
    register_type(BYTES, cursor.cursor)
    statement.execute(cursor, values)
    row = cursor.fetchone()
    return None if row is None else unseal_or_mask(row[0], reveals=reveals)


def _document(row: tuple[bytes, ...], selection: Selection, reveals: bool) -> bytes:
    if selection.reduced:
        return _reduce_row(row, selection, reveals)
    return unseal_or_mask(row[0], reveals=reveals)


@db_retry.retry_on_database_error
def _open_cursor(statement: sql.Composable, params: Sequence[Any]) -> Any:
    """A cursor that has executed the statement."""
    cursor = connection.cursor()
    # Texts stay bytes: they are only passed on.
    register_type(BYTES, cursor.cursor)
    cursor.execute(statement, params)
    return cursor


def _fetch(name: sql.Identifier, rows: int) -> sql.Composable:
    return sql.SQL("FETCH {} FROM {}").format(sql.Literal(rows), name)


def _read_batches(
    cursor: Any, name: sql.Identifier, selection: Selection, reveals: bool
) -> Iterator[list[bytes]]:
    fetch_size = FIRST_ROWS
    while True:
        rows = cursor.fetchall()
        texts = [_document(row, selection, reveals) for row in rows]
        if texts:
            yield texts
        if len(rows) < fetch_size:
            return
        # As many rows as make up a chunk, if they are like those before.
        row_bytes = sum(map(len, texts)) // len(texts) + 1
        fetch_size = max(1, min(MAX_ROWS, CHUNK_BYTES // row_bytes))
        cursor.execute(_fetch(name, fetch_size))


def _reduce_row(
    row: tuple[bytes, ...],
    selection: Selection,
    reveals: bool,
) -> bytes:
    """One object of the row's scalar members and its reduced JSON members."""
    head, *values = row
    parts = []
    for (key, tree), value in zip(selection.reduced, values, strict=True):
        part = (
            None if value is None else paths.project(unseal_or_mask(value, reveals=reveals), tree)
        )
        if not key:
            # A bare document is its JSON column itself.
            return part or b"{}"
        if part is not None:
            parts.append(b"," + orjson.dumps(key) + b":" + part)
    return head[:-1] + b"".join(parts) + b"}"


@contextlib.contextmanager
def long_statement(seconds: int) -> Iterator[None]:
    """A transaction whose statements may take longer than is usual in a request."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [seconds * 1000])
        yield
