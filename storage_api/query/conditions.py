"""Conditions on stored documents as SQL.

Every value is bound, every path parsed, every column one of a table of ours.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg2 import sql

from core.errors import Invalid
from storage_api.query import jsonpaths, paths, times
from storage_api.query.extra import Contains, Equals
from storage_api.query.filters import STORED_TEXT_BYTES, Op, ParameterFilter, stored_column
from storage_api.query.shapes import JSON_KINDS, ColumnKind, Shape

MAX_CHOICES = 5000


@dataclass(frozen=True)
class Clause:
    """One condition on the row called r, with its bound values.

    `hint` is a jsonpath that is true for every document that the condition accepts; it is for the
    index on documents, which may then narrow the rows.
    """

    text: sql.Composable
    params: tuple[Any, ...] = ()
    hint: str | None = None


MATCH_NONE = Clause(sql.SQL("false"))
MATCH_ALL = Clause(sql.SQL("true"))


def split_choices(text: str) -> list[str]:
    """The elements of a comma list, not stripped. Invalid beyond 5,000 or with a NUL."""
    elements = text.split(",")
    if len(elements) > MAX_CHOICES or "\0" in text:
        raise Invalid(f"a list has more than {MAX_CHOICES} values or a NUL character")
    return elements


def check_values(values: Iterable[str]) -> None:
    """Invalid for a text that no column can hold."""
    if any("\0" in value for value in values):
        raise Invalid("a value contains a NUL character")


def equals(column: str, value: str) -> Clause:
    """The text column equals the value."""
    check_values((value,))
    return Clause(sql.SQL("{} = %s").format(sql.Identifier("r", column)), (value,))


def equals_any(column: str, values: Sequence[str]) -> Clause:
    """The text column equals one of the values; an absent namespace equals none."""
    # Cluster-scoped documents have "" as their namespace: on the wire it is absent.
    present = [value for value in values if value or column != "namespace"]
    if not present:
        return MATCH_NONE
    if len(present) == 1:
        # An index keeps its order behind an equality, but not behind a list of one.
        return equals(column, present[0])
    condition = sql.SQL("{} = ANY (%s)").format(sql.Identifier("r", column))
    return Clause(condition, (present,))


def contains_any(column: str, values: Sequence[str]) -> Clause:
    """The text column contains one of the values; upper and lower case differ."""
    place = sql.SQL("position(%s IN {}) > 0").format(sql.Identifier("r", column))
    return Clause(
        sql.SQL("({})").format(sql.SQL(" OR ").join([place] * len(values))), tuple(values)
    )


def name_contains(column: str) -> sql.Composable:
    """SQL that is true where the column holds the bound text (one %s), in any case of letters.

    `column` is an SQL expression, never a caller's text.
    """
    return sql.SQL("position(lower(%s) IN lower({})) > 0").format(sql.SQL(column))


def compare(column: str, operator: str, value: datetime) -> Clause:
    """The time column against an instant; the operator is one of < > <= >=."""
    # Looked up, so that nothing but these four can become SQL.
    sql_operator = {"<": "<", ">": ">", "<=": "<=", ">=": ">="}[operator]
    condition = sql.SQL("{} {} %s").format(
        sql.Identifier("r", column),
        sql.SQL(sql_operator),
    )
    return Clause(condition, (value,))


@dataclass(frozen=True)
class Context:
    """What conditions are read against.

    `types` are the lower-case types of a query and `roots` their keys in the document index; both
    are empty where there is no such index.
    """

    shape: Shape
    zone: ZoneInfo
    types: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()


def typed_clauses(
    context: Context,
    filters: Iterable[ParameterFilter],
    values: Mapping[str, str],
) -> list[Clause]:
    """The conditions of a typed query's parameters, by parameter name.

    Empty and unreadable values are ignored, as the published server does.
    """
    clauses = (_typed_clause(context, rule, values.get(rule.param, "")) for rule in filters)
    return [clause for clause in clauses if clause is not None]


def _typed_clause(
    context: Context,
    rule: ParameterFilter,
    value: str,
) -> Clause | None:
    if not value:
        return None
    match rule.op:
        case Op.TEXT:
            return _text(context, rule.path, split_choices(value))
        case Op.INTEGER:
            number = times.parse_int64(value)
            return None if number is None else _value_in(context, rule.path, [number])
        case Op.BOOLEAN:
            is_true = value.lower() == "true" or value == "1"
            return _value_in(context, rule.path, [is_true])
        case Op.SINCE | Op.UNTIL:
            bound = times.parse_bound(value, context.zone)
            return None if bound is None else _range_side(context, rule, bound)


def _text(context: Context, path: str, values: list[str]) -> Clause:
    column = context.shape.column(path)
    if column is not None:
        return equals_any(column.name, values)
    stored = stored_column(path, context.types)
    if stored:
        # Longer texts are cut in the stored column: only the document itself can answer.
        longest = max(len(value.encode("utf-8", "surrogatepass")) for value in values)
        if longest <= STORED_TEXT_BYTES:
            return equals_any(stored, values)
    return _value_in(context, path, values)


def _value_in(
    context: Context,
    path: str,
    values: Sequence[Any],
) -> Clause:
    """The value at the path itself equals one of these; no array is looked into."""
    steps = paths.parse(path)[1:]
    hint = jsonpaths.value_predicate(context.roots, steps, values) if context.roots else None
    return Clause(
        sql.SQL("(r.data #> %s::text[]) = ANY (%s::jsonb[])"),
        (list(steps), [json.dumps(value) for value in values]),
        hint,
    )


def kind_among(context: Context, kinds: Sequence[str | None]) -> Clause:
    """The value of data.kind is one of these; None stands for absent."""
    hint = None
    # The index knows no absent members.
    if context.roots and None not in kinds:
        hint = jsonpaths.value_predicate(context.roots, ("kind",), kinds)
    return Clause(
        sql.SQL("coalesce(r.data -> 'kind', 'null') = ANY (%s::jsonb[])"),
        ([json.dumps(kind) for kind in kinds],),
        hint,
    )


def _range_side(
    context: Context,
    rule: ParameterFilter,
    bound: times.Bound,
) -> Clause:
    """One side of a range [since, until)."""
    is_since = rule.op is Op.SINCE
    stored = stored_column(rule.path, context.types)
    # A stored instant decides by itself, unless the caller sent a wall clock: documents may hold
    # wall clocks too, and these are compared as they are written.
    if stored and bound.wall is None:
        return compare(stored, ">=" if is_since else "<", bound.instant)
    verdict = sql.SQL("IS TRUE" if is_since else "IS FALSE")
    text = sql.SQL("storage_at_or_after(r.data #> %s::text[], %s, %s) {}").format(verdict)
    steps = list(paths.parse(rule.path)[1:])
    return Clause(text, (steps, bound.seconds, bound.wall))


def equality_clauses(context: Context, conditions: Iterable[Equals]) -> list[Clause]:
    """The conditions of an `extra` parameter."""
    return [_equality(context, condition) for condition in conditions]


def _equality(context: Context, condition: Equals) -> Clause:
    values = list(condition.values)
    if context.shape.bare:
        return _reaches(sql.SQL("r.data"), condition.path, values, None)
    column = context.shape.column(condition.path[0])
    below = condition.path[1:]
    # As in Mongo, an absent value equals null.
    absent = MATCH_ALL if None in values else MATCH_NONE
    if column is None:
        return absent
    if column.kind in JSON_KINDS:
        hint = None
        if context.roots and column.key == "data":
            hint = jsonpaths.value_predicate(context.roots, below, values)
        return _reaches(column.value, below, values, hint)
    if below:
        return absent
    if column.kind is ColumnKind.TIME or column.key == "_id":
        # In Mongo these are dates and ObjectIds, which no JSON value equals.
        return MATCH_NONE
    texts = equals_any(column.name, [value for value in values if isinstance(value, str)])
    if column.kind is ColumnKind.OPTIONAL and None in values:
        empty = sql.SQL("({} OR {} = '')")
        return Clause(
            empty.format(texts.text, sql.Identifier("r", column.name)),
            texts.params,
        )
    return texts


def _reaches(
    root: sql.Composable,
    path: paths.Path,
    values: list[Any],
    hint: str | None,
) -> Clause:
    """The path leads from the root to one of the values, through arrays too, as in Mongo."""
    return Clause(
        sql.SQL("storage_matches({}, %s::text[], %s::jsonb[])").format(root),
        (list(path), [json.dumps(value) for value in values]),
        hint,
    )


def containment_clauses(context: Context, conditions: Iterable[Contains]) -> list[Clause]:
    """The conditions of an `extra_contain` parameter."""
    return [_containment(context, condition) for condition in conditions]


def _containment(context: Context, condition: Contains) -> Clause:
    column = context.shape.column(condition.path[0])
    below = condition.path[1:]
    if column is None or column.kind is ColumnKind.TIME or column.key == "_id":
        return MATCH_NONE
    if column.kind in JSON_KINDS:
        return Clause(
            sql.SQL("storage_contains({}, %s::text[], %s)").format(column.value),
            (list(below), condition.text),
        )
    return MATCH_NONE if below else contains_any(column.name, [condition.text])
