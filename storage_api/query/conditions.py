"""Conditions on documents as SQL: every value bound, every path parsed, every column out of a table of ours."""

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
from storage_api.query.filters import STORED_TEXT_BYTES, Filter, Op, stored_column
from storage_api.query.shapes import JSON_KINDS, Kind, Shape

MAX_CHOICES = 5000


@dataclass(frozen=True)
class Clause:
    """One condition on the row called r, with its bound values; `hint` is a jsonpath that every accepted document satisfies."""

    text: sql.Composable
    params: tuple[Any, ...] = ()
    hint: str | None = None


NEVER, ALWAYS = Clause(sql.SQL("false")), Clause(sql.SQL("true"))


def choices(text: str) -> list[str]:
    """The elements of a comma list, as they are. Invalid beyond 5,000 or with a NUL."""
    found = text.split(",")
    if len(found) > MAX_CHOICES or "\0" in text:
        raise Invalid(f"a list holds more than {MAX_CHOICES} values or a NUL")
    return found


def equals(column: str, value: str) -> Clause:
    """A text column is exactly this."""
    if "\0" in value:
        raise Invalid("a value holds a NUL")
    return Clause(sql.SQL("{} = %s").format(sql.Identifier("r", column)), (value,))


def among(column: str, values: Sequence[str]) -> Clause:
    """A text column is one of these; an absent one is none of them."""
    present = [value for value in values if value or column != "namespace"]
    if len(present) == 1:
        # An index keeps its order behind an equality, but not behind a list of one.
        return equals(column, present[0])
    return (
        Clause(sql.SQL("{} = ANY (%s)").format(sql.Identifier("r", column)), (present,))
        if present
        else NEVER
    )


def holds_any(column: str, values: Sequence[str]) -> Clause:
    """A text column holds one of these as a part, letter by letter."""
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
    """A time column against an instant; the operator is one of < > <= >=."""
    return Clause(
        sql.SQL("{} {} %s").format(
            sql.Identifier("r", column),
            sql.SQL({"<": "<", ">": ">", "<=": "<=", ">=": ">="}[operator]),
        ),
        (value,),
    )


@dataclass(frozen=True)
class Context:
    """What conditions are read against: the shape, the zone, the lower-case types of a query and their roots in the document index."""

    shape: Shape
    zone: ZoneInfo
    types: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()


def typed(context: Context, filters: Iterable[Filter], values: Mapping[str, str]) -> list[Clause]:
    """The conditions of a typed query's parameters; empty and unreadable ones are ignored, as the published server does."""
    found = (_typed(context, item, values.get(item.param, "")) for item in filters)
    return [clause for clause in found if clause is not None]


def _typed(context: Context, item: Filter, value: str) -> Clause | None:
    if not value:
        return None
    match item.op:
        case Op.TEXT:
            return _text(context, item.path, choices(value))
        case Op.INTEGER:
            number = times.whole_number(value)
            return None if number is None else _exactly(context, item.path, [number])
        case Op.BOOLEAN:
            return _exactly(context, item.path, [value.lower() == "true" or value == "1"])
        case Op.SINCE | Op.UNTIL:
            bound = times.bound(value, context.zone)
            return None if bound is None else _bounded(context, item, bound)


def _text(context: Context, path: str, values: list[str]) -> Clause:
    column = context.shape.column(path)
    if column is not None:
        return among(column.name, values)
    stored = stored_column(path, context.types)
    if (
        stored
        and max(len(value.encode("utf-8", "surrogatepass")) for value in values)
        <= STORED_TEXT_BYTES
    ):
        return among(stored, values)
    return _exactly(context, path, values)


def _exactly(context: Context, path: str, values: Sequence[Any]) -> Clause:
    """The value at the path itself, no array looked into."""
    steps = paths.parse(path)[1:]
    hint = jsonpaths.reaches(context.roots, steps, values) if context.roots else None
    return Clause(
        sql.SQL("(r.data #> %s::text[]) = ANY (%s::jsonb[])"),
        (list(steps), [json.dumps(value) for value in values]),
        hint,
    )


def kind_among(context: Context, kinds: Sequence[str | None]) -> Clause:
    """The value of data.kind is one of these; None stands for absent."""
    hint = (
        jsonpaths.reaches(context.roots, ("kind",), kinds)
        if context.roots and None not in kinds
        else None
    )
    return Clause(
        sql.SQL("coalesce(r.data -> 'kind', 'null') = ANY (%s::jsonb[])"),
        ([json.dumps(kind) for kind in kinds],),
        hint,
    )


def _bounded(context: Context, item: Filter, bound: times.Bound) -> Clause:
    """A side of a range [since, until); a stored instant decides alone unless the caller gave a wall clock."""
    stored = stored_column(item.path, context.types)
    if stored and bound.wall is None:
        return compare(stored, ">=" if item.op is Op.SINCE else "<", bound.instant)
    verdict = sql.SQL("IS TRUE" if item.op is Op.SINCE else "IS FALSE")
    text = sql.SQL("storage_at_or_after(r.data #> %s::text[], %s, %s) {}").format(verdict)
    return Clause(text, (list(paths.parse(item.path)[1:]), bound.seconds, bound.wall))


def matching(context: Context, conditions: Iterable[Equals]) -> list[Clause]:
    """The conditions of an `extra` parameter."""
    return [_extra(context, condition) for condition in conditions]


def _extra(context: Context, condition: Equals) -> Clause:
    wanted = list(condition.wanted)
    if context.shape.bare:
        return _reaches(sql.SQL("r.data"), condition.path, wanted, None)
    column = context.shape.column(condition.path[0])
    below = condition.path[1:]
    if column is None:
        return ALWAYS if None in wanted else NEVER
    if column.kind in JSON_KINDS:
        hint = (
            jsonpaths.reaches(context.roots, below, wanted)
            if context.roots and column.key == "data"
            else None
        )
        return _reaches(column.value, below, wanted, hint)
    if below:
        return ALWAYS if None in wanted else NEVER
    if column.kind is Kind.TIME or column.key == "_id":
        return NEVER
    texts = among(column.name, [value for value in wanted if isinstance(value, str)])
    if column.kind is Kind.OPTIONAL and None in wanted:
        return Clause(
            sql.SQL("({} OR {} = '')").format(texts.text, sql.Identifier("r", column.name)),
            texts.params,
        )
    return texts


def _reaches(root: sql.Composable, path: paths.Path, wanted: list[Any], hint: str | None) -> Clause:
    return Clause(
        sql.SQL("storage_matches({}, %s::text[], %s::jsonb[])").format(root),
        (list(path), [json.dumps(value) for value in wanted]),
        hint,
    )


def contains(context: Context, conditions: Iterable[Contains]) -> list[Clause]:
    """The conditions of an `extra_contain` parameter."""
    return [_contains(context, condition) for condition in conditions]


def _contains(context: Context, condition: Contains) -> Clause:
    column = context.shape.column(condition.path[0])
    below = condition.path[1:]
    if column is None or column.kind is Kind.TIME or column.key == "_id":
        return NEVER
    if column.kind in JSON_KINDS:
        return Clause(
            sql.SQL("storage_contains({}, %s::text[], %s)").format(column.value),
            (list(below), condition.wanted),
        )
    return NEVER if below else holds_any(column.name, [condition.wanted])
