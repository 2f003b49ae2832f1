"""Writing and counting: what the database refuses, in the domain's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DataError, connection
from psycopg2 import sql

from kubegale.errors import Invalid
from storage_api.queries import Query, condition, count

MAX_KEY_BYTES = {"clusterId": 256, "namespace": 256, "resourceType": 256, "resourceName": 1024, "type": 256, "name": 1024, "ip": 256}


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
