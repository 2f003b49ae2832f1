"""Statements that each connection plans once."""

import pytest
from django.db import DatabaseError, connection, transaction

from core.database.prepared import PreparedStatement

pytestmark = pytest.mark.django_db(transaction=True)


def planned() -> set[str]:
    """The statements that PostgreSQL itself has planned ahead for this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements")
        return {row[0] for row in cursor.fetchall()}


def test_a_statement_is_planned_once_and_again_on_a_new_connection() -> None:
    statement = PreparedStatement("SELECT %s::int + 1, 'a %% b' WHERE %s::text <> ''")
    for _ in range(2):
        for value in (1, 2):
            with connection.cursor() as cursor:
                statement.execute(cursor, [value, "x'y"])
                assert cursor.fetchone() == (value + 1, "a % b")
        assert statement.name in planned()
        connection.close()


def test_a_statement_survives_a_transaction_that_fails() -> None:
    statement = PreparedStatement("SELECT 1 / %s::int")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        statement.execute(cursor, [0])
    with connection.cursor() as cursor:
        statement.execute(cursor, [1])
        assert cursor.fetchone() == (1,)
