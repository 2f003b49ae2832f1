"""The condition trees of today's Go server, and what its clients sort documents by.

A tree is {"Op", "Value", "Children"}, as its clients encode it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from psycopg2 import sql

from core.errors import Invalid
from storage_api.query import conditions, document_filters, paths, times
from storage_api.query.conditions import MATCH_ALL, Clause, Context
from storage_api.query.extra import Contains, Equals
from storage_api.query.shapes import JSON_KINDS, ColumnKind, DocumentColumn

MAX_DEPTH: Final = 16
MAX_LEAVES: Final = 200
MAX_ORDERS: Final = 4
_COMPARED: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
# Texts without a sign of regular expressions; but for the dot, which addresses contain.
_PLAIN: Final = re.compile(r"[\w.:/-]*")


def clauses(context: Context, sent: object) -> list[Clause]:
    """The conditions of a JSON list of trees; all must hold. Invalid for unknown syntax."""
    if sent is None:
        return []
    if not isinstance(sent, list):
        raise Invalid("conditions must be a list")
    reader = _Reader(context)
    return [reader.tree(node, 0) for node in sent]


class _Reader:
    """Reads trees against one context, and counts their leaves."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._leaves = 0
        self._by_value: Mapping[str, Callable[[paths.Path, Any], Clause]] = {
            "eq": self._equal,
            "ne": self._not_equal,
            # Clients write a leaf with it for "is not".
            "not": self._not_equal,
            "in": self._among,
            "nin": self._not_among,
            "con": self._contains,
            "exists": self._exists,
            **{name: self._compared(sign) for name, sign in _COMPARED.items()},
        }

    def tree(self, sent: object, depth: int) -> Clause:
        """One condition: a leaf, or a branch of others."""
        if depth > MAX_DEPTH:
            raise Invalid(f"conditions are nested deeper than {MAX_DEPTH}")
        members = _members(sent)
        operator = members.get("op")
        children = members.get("children") or []
        if not isinstance(operator, str) or not isinstance(children, list):
            raise Invalid("a condition has Op, and Value or Children")
        if not children:
            return self._leaf(operator, members.get("value"))
        if members.get("value") is not None:
            raise Invalid("a condition has Value or Children, not both")
        return _join(operator, [self.tree(child, depth + 1) for child in children])

    def _leaf(self, operator: str, value: object) -> Clause:
        if operator == "tr":
            return MATCH_ALL
        read = self._by_value.get(operator)
        if read is None:
            raise Invalid(f"unknown operator {operator[:40]!r}")
        if not isinstance(value, dict) or not value:
            raise Invalid("the Value of a condition is an object of paths")
        self._leaves += len(value)
        if self._leaves > MAX_LEAVES:
            raise Invalid(f"more than {MAX_LEAVES} conditions")
        leaves = [read(self._path(name), operand) for name, operand in value.items()]
        return _join("and", leaves)

    def _path(self, name: str) -> paths.Path:
        path = paths.parse(name)
        column = self._context.shape.column(path[0])
        if column is None or "" in path:
            raise Invalid(f"{name[:80]!r} is not a path of a document")
        return path

    def _equal(self, path: paths.Path, value: Any) -> Clause:
        if isinstance(value, dict) and any(key.startswith("$") for key in value):
            return self._element(path, value)
        return self._matching(path, (value,))

    def _not_equal(self, path: paths.Path, value: Any) -> Clause:
        return _negate(self._equal(path, value))

    def _matching(
        self,
        path: paths.Path,
        values: Sequence[Any],
    ) -> Clause:
        equality = Equals(path, tuple(values))
        clauses = conditions.equality_clauses(self._context, [equality])
        return _join("and", clauses)

    def _element(
        self,
        path: paths.Path,
        value: Mapping[str, Any],
    ) -> Clause:
        """Two of Mongo's operators: $elemMatch with one member, and $regex of a plain text."""
        if value.keys() == {"$elemMatch"}:
            inner = value["$elemMatch"]
            if isinstance(inner, dict) and inner.keys() == {"$regex"}:
                return self._element(path, inner)
            # Several members would have to match in one element, which clauses cannot express.
            if isinstance(inner, dict) and len(inner) == 1:
                key, member = next(iter(inner.items()))
                return self._equal((*path, *self._steps(key)), member)
        if value.keys() == {"$regex"}:
            pattern = value["$regex"]
            if isinstance(pattern, str) and _PLAIN.fullmatch(pattern):
                return self._contains(path, pattern)
        return _unknown(value)

    def _steps(self, key: str) -> paths.Path:
        if key.startswith("$"):
            raise Invalid(f"{key[:40]!r} is not supported")
        return paths.parse(key)

    def _among(self, path: paths.Path, value: Any) -> Clause:
        if not isinstance(value, list) or len(value) > conditions.MAX_CHOICES:
            raise Invalid("in and nin take a list of values")
        if not value:
            return conditions.MATCH_NONE
        return self._matching(path, value)

    def _not_among(self, path: paths.Path, value: Any) -> Clause:
        return _negate(self._among(path, value))

    def _contains(self, path: paths.Path, value: Any) -> Clause:
        if not isinstance(value, str) or "\0" in value:
            raise Invalid("con takes a string")
        clauses = conditions.containment_clauses(self._context, [Contains(path, value)])
        return _join("and", clauses)

    def _exists(self, path: paths.Path, value: Any) -> Clause:
        present = document_filters.exists(self._context, path)
        # To Mongo an empty text is true.
        if value in (None, False, 0):
            return _negate(present)
        return present

    def _compared(self, sign: str) -> Callable[[paths.Path, Any], Clause]:
        def compare(path: paths.Path, value: Any) -> Clause:
            column = self._context.shape.column(path[0])
            below = path[1:]
            if column is not None and column.kind is ColumnKind.TIME and not below:
                bound = times.parse_bound(str(value), self._context.zone)
                if bound is None:
                    raise Invalid(f"{path[0]} is compared with unix seconds or RFC 3339")
                return conditions.compare(column.name, sign, bound.instant)
            if column is not None and column.kind in JSON_KINDS and below:
                return _compare_json(column, below, sign, value)
            raise Invalid(f"{'.'.join(path)[:80]!r} cannot be compared")

        return compare


def _compare_json(
    column: DocumentColumn,
    path: paths.Path,
    sign: str,
    value: Any,
) -> Clause:
    """A value in a JSON column against one of the same type: texts byte by byte, numbers as such.

    Values of other types do not match: CASE gives null for them, before a cast could fail.
    """
    place = sql.SQL("{} #>> %s::text[]").format(column.value)
    kind = sql.SQL("jsonb_typeof({} #> %s::text[])").format(column.value)
    if isinstance(value, str) and "\0" not in value:
        text = "CASE WHEN {} = 'string' THEN ({}) COLLATE \"C\" {} %s END"
        operand: Any = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = "CASE WHEN {} = 'number' THEN ({})::numeric {} %s::numeric END"
        operand = str(value)
    else:
        raise Invalid("only strings and numbers can be compared")
    steps = list(path)
    return Clause(
        sql.SQL(text).format(kind, place, sql.SQL(sign)),
        (steps, steps, operand),
    )


def _unknown(value: Mapping[str, Any]) -> Clause:
    raise Invalid(f"{', '.join(value)[:80]!r} is not supported as a value")


def _members(sent: object) -> dict[str, Any]:
    """A condition's members by lower-case name: Go writes a capital letter and reads either."""
    if not isinstance(sent, dict):
        raise Invalid("a condition is an object of Op, Value and Children")
    members = {str(name).lower(): value for name, value in sent.items()}
    if len(members) < len(sent) or not members.keys() <= {"op", "value", "children"}:
        raise Invalid("a condition is an object of Op, Value and Children")
    return members


def _negate(clause: Clause) -> Clause:
    """NOT, where null counts as false."""
    return Clause(sql.SQL("({}) IS NOT TRUE").format(clause.text), clause.params)


def _join(operator: str, parts: Sequence[Clause]) -> Clause:
    if operator == "and" and len(parts) == 1:
        return parts[0]
    if operator == "not" and len(parts) != 1:
        raise Invalid("not takes one child")
    if operator not in ("and", "or", "nor", "not"):
        raise Invalid(f"operator {operator[:40]!r} cannot join conditions")
    word = sql.SQL(" AND " if operator == "and" else " OR ")
    joined = word.join([part.text for part in parts])
    text = sql.SQL("({})").format(joined)
    params = tuple(param for part in parts for param in part.params)
    if operator in ("nor", "not"):
        return _negate(Clause(text, params))
    # Only AND keeps hints: each of them is true for every document that all parts accept.
    hints = [part.hint for part in parts if part.hint is not None]
    if operator == "and" and hints:
        return Clause(
            text,
            params,
            " && ".join(f"({hint})" for hint in hints),
        )
    return Clause(text, params)


# --- sort orders --------------------------------------------------------------------------------
def orders(context: Context, sent: Mapping[str, Any]) -> tuple[sql.Composable, ...]:
    """The columns of ORDER BY for {"path": 1 or -1}, the first member first.

    Ties are broken by arrival, newest first; so is {}. Missing and null come before numbers,
    numbers before texts, as in Mongo.
    """
    if len(sent) > MAX_ORDERS:
        raise Invalid(f"more than {MAX_ORDERS} paths to sort by")
    columns: list[sql.Composable] = []
    for name, direction in sent.items():
        if isinstance(direction, bool) or direction not in (1, -1):
            raise Invalid("sort takes 1 and -1", field="sort")
        keyword = sql.SQL("ASC" if direction == 1 else "DESC")
        expressions = _sort_expressions(context, name)
        columns += [sql.SQL("{} {}").format(expression, keyword) for expression in expressions]
    return (*columns, sql.SQL("r.arrival DESC"))


def _sort_expressions(context: Context, name: str) -> list[sql.Composable]:
    path = paths.parse(name)
    column = context.shape.column(path[0])
    is_json = column is not None and column.kind in JSON_KINDS
    # The statement is executed with parameters: a percent sign in a literal would count as one.
    is_path = "" not in path and "%" not in name
    if column is None or not is_path or (len(path) > 1 and not is_json):
        raise Invalid(
            f"{name[:80]!r} cannot be sorted by",
            field="sort",
        )
    if column.key == "_id":
        return [sql.SQL("r.arrival")]
    if not is_json:
        return [sql.Identifier("r", column.name)]
    literals = [sql.Literal(step) for step in path[1:]]
    steps = sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(literals))
    kind = sql.SQL("jsonb_typeof({} #> {})").format(column.value, steps)
    text = sql.SQL("({} #>> {})").format(column.value, steps)
    return [
        sql.SQL(
            "coalesce(array_position(ARRAY['null', 'number', 'string', 'object', 'array'], {}), 1)"
        ).format(kind),
        sql.SQL("CASE WHEN {} = 'number' THEN {}::numeric END").format(kind, text),
        sql.SQL("CASE WHEN {} <> 'number' THEN {} END COLLATE \"C\"").format(kind, text),
    ]
