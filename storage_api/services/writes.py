"""Writing and counting: what the database refuses in the domain's words, deadlocks tried again."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from django.db import DataError, OperationalError, connection
from psycopg2 import sql

from kubegale.errors import Invalid
from storage_api.queries import Query, condition, count

P = ParamSpec("P")
R = TypeVar("R")

MAX_KEY_BYTES = {"clusterId": 256, "namespace": 256, "resourceType": 256, "resourceName": 1024, "type": 256, "name": 1024, "ip": 256}
ATTEMPTS = 5
_TRY_AGAIN = frozenset({"40001", "40P01"})


@contextmanager
def refused_data() -> Iterator[None]:
    """A value that PostgreSQL cannot hold is the caller's error, not ours."""
    try:
        yield
    except DataError as error:
        raise Invalid(f"the document cannot be stored: {str(error).splitlines()[0]}") from error


def check_key(**parts: str) -> None:
    """Invalid when a part of a key is too long for the index or holds a NUL."""
    for name, value in parts.items():
        if "\0" in value:
            raise Invalid(f"{name} holds a NUL")
        if len(value.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES[name]:
            raise Invalid(f"{name} is longer than {MAX_KEY_BYTES[name]} bytes")


def retried(operation: Callable[P, R]) -> Callable[P, R]:
    """Run again what lost a deadlock; inside a caller's transaction the error is the caller's."""

    @functools.wraps(operation)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(ATTEMPTS):
            try:
                return operation(*args, **kwargs)
            except OperationalError as error:
                code = getattr(error.__cause__, "pgcode", None)
                if code not in _TRY_AGAIN or connection.in_atomic_block or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable")

    return run


def execute(statement: str | sql.Composable, *params: Any) -> int:
    """Run one statement; how many rows it touched. Invalid for values that cannot be stored."""
    with refused_data(), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


def remove(query: Query) -> int:
    """Delete what matches of a family that keeps no log; how many went."""
    where, params = condition(query)
    return execute(sql.SQL("DELETE FROM {} r WHERE {}").format(sql.Identifier(query.shape.table), where), *params)


def total(query: Query) -> int:
    """How many documents match, whatever the page."""
    statement, params = count(query)
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.fetchone()[0])
