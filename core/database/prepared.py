"""Statements that PostgreSQL plans once for each connection, and not every time.

Planning a read of one row by its key takes longer than reading it. Only for statements whose plan
is the same whatever the values are.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from psycopg2 import sql

_PLACEHOLDER = re.compile("%(.)")


class PreparedStatement:
    """A statement with `%s` for its values, as for `cursor.execute`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = f"kubegale_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        count = 0

        def replace(match: re.Match[str]) -> str:
            nonlocal count
            if match[1] == "%":
                return "%"
            count += 1
            return f"${count}"

        self._prepare = f"PREPARE {self.name} AS {_PLACEHOLDER.sub(replace, text)}"
        values = ", ".join(["%s"] * count)
        self._execute = f"EXECUTE {self.name} ({values})" if count else f"EXECUTE {self.name}"

    def execute(self, cursor: Any, params: Sequence[Any]) -> None:
        """As `cursor.execute(text, params)` of a cursor of Django."""
        execute_together(cursor, (self, params))

    def call(self, cursor: Any) -> str:
        """The text that runs the statement with its values, once the session knows it."""
        prepared: set[str] = cursor.db.prepared_statements
        if self.name not in prepared:
            cursor.execute(self._prepare)
            prepared.add(self.name)
        return self._execute


# A statement and its values.
StatementCall: TypeAlias = tuple[PreparedStatement, Sequence[Any]]


def execute_together(cursor: Any, *calls: StatementCall) -> None:
    """Run statements in one exchange: PostgreSQL commits all of them or none.

    The cursor has the rows of the last one.
    """
    text = "; ".join([statement.call(cursor) for statement, _ in calls])
    cursor.execute(text, [value for _, params in calls for value in params])


def execute_before(
    cursor: Any,
    calls: Sequence[StatementCall],
    statement: sql.Composable,
    params: Sequence[Any],
) -> None:
    """As `execute_together`, with a last statement that is planned each time."""
    texts = [call.call(cursor) for call, _ in calls]
    texts.append(statement.as_string(cursor.cursor))
    values = [value for _, call_params in calls for value in call_params]
    cursor.execute("; ".join(texts), [*values, *params])
