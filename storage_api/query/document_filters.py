"""The filters of today's Go server on any list or batch delete: `labelSelector`, `updateTimeBefore`, and `path=value` on the document.

A parameter that is neither one of a route's own nor one of these is refused by the views: dropped, it would widen the answer.
"""

import json
from collections.abc import Iterable
from itertools import product

from psycopg2 import sql

from core.errors import Invalid
from storage_api.query import conditions, jsonpaths, paths, selectors, times
from storage_api.query.conditions import ALWAYS, Clause, Context
from storage_api.query.extra import Equals
from storage_api.query.shapes import FREE, JSON_KINDS, Kind, Shape

LABEL_SELECTOR, UPDATE_TIME_BEFORE = "labelSelector", "updateTimeBefore"
MAX_FILTERS = 64


def is_filter(shape: Shape, name: str) -> bool:
    """Whether a parameter of this name filters documents of the shape.

    Paths start at the document's root and name a text column or lie under a JSON column; `_id` and times are not filterable.
    """
    if shape.bare and shape is not FREE:
        return False
    if name == LABEL_SELECTOR:
        return True
    if name == UPDATE_TIME_BEFORE:
        return shape.column("updateTime") is not None
    first, *below = name.split(".")
    column = shape.column(first)
    if shape is FREE:
        # Its members are free, but for those of the store.
        return "" not in (first, *below) and (column is None or column.kind in JSON_KINDS)
    if column is None or "" in below:
        return False
    if column.kind in JSON_KINDS:
        return True
    return not below and column.kind is not Kind.TIME and column.key != "_id"


def clauses(context: Context, filters: Iterable[tuple[str, str]]) -> list[Clause]:
    """The conditions of (name, value) pairs whose names are filters of the context's shape; all must hold.

    Invalid for a value that cannot be read.
    """
    pairs = list(filters)
    if len(pairs) > MAX_FILTERS:
        raise Invalid(f"more than {MAX_FILTERS} filters")
    return [clause for name, value in pairs for clause in _filter(context, name, value)]


def _filter(context: Context, name: str, value: str) -> list[Clause]:
    if name == LABEL_SELECTOR:
        return _labels(context, value)
    if name == UPDATE_TIME_BEFORE:
        bound = times.bound(value, context.zone)
        if bound is None:
            raise Invalid(f"{name} must be unix seconds or RFC 3339")
        return [conditions.compare("update_time", "<", bound.instant)]
    path = paths.parse(name)
    if not value.strip():
        return [exists(context, path)]
    wanted = tuple(conditions.choices(value))
    return conditions.matching(context, [Equals(path, wanted)])


def _labels(context: Context, value: str) -> list[Clause]:
    """Kubernetes' label selector; the Go server's clients write `app+in+(a,b)`, and U+FF0E for a dot of a key."""
    selected = selectors.labels(value.replace("+", " ").replace(paths.DOT_IN_KEY, "."))
    if selected is None or "\0" in value:
        raise Invalid(f"{LABEL_SELECTOR} cannot be read")
    if context.shape is FREE:
        # The object that carries labels stands under `data`.
        inside = sql.SQL("(SELECT {} FROM (SELECT r.data -> 'data' AS data) r)")
        return [Clause(inside.format(item.text), item.params) for item in selected.clauses]
    if not context.roots:
        return list(selected.clauses)
    hints = (
        jsonpaths.reaches(context.roots, ("metadata", "labels", key), [text])
        for key, text in selected.labels
    )
    indexed = [Clause(ALWAYS.text, hint=hint) for hint in hints if hint is not None]
    return [*selected.clauses, *indexed]


def exists(context: Context, path: paths.Path) -> Clause:
    """The path leads somewhere, to null too; a step on an array looks into its elements."""
    if context.shape is FREE:
        return _leads(sql.SQL("r.data"), path)
    column = context.shape.column(path[0])
    if column is None:
        raise Invalid(f"{path[0]} is no key of the document")
    if column.kind is Kind.OPTIONAL:
        return Clause(sql.SQL("{} <> ''").format(sql.Identifier("r", column.name)))
    if column.kind not in JSON_KINDS or len(path) == 1:
        return Clause(sql.SQL("{} IS NOT NULL").format(column.value))
    return _leads(column.value, path[1:])


def _leads(root: sql.Composable, path: paths.Path) -> Clause:
    steps = [_step_choices(step) for step in path]
    if sum(len(choice) > 1 for choice in steps) > jsonpaths.MAX_PLACES:
        raise Invalid("a path has too many steps that are numbers")
    places = tuple("$" + "".join(choice) for choice in product(*steps))
    test = sql.SQL("jsonb_path_exists({}, %s::jsonpath)").format(root)
    return Clause(sql.SQL("({})").format(sql.SQL(" OR ").join([test] * len(places))), places)


def _step_choices(step: str) -> tuple[str, ...]:
    """A step of digits is a key, or a place in an array."""
    key = f".{json.dumps(step)}"
    is_place = step.isascii() and step.isdigit() and len(step) < 10
    return (key, f"[{step}]") if is_place else (key,)
