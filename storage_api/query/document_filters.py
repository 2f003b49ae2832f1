"""The filters of today's Go server on any list or batch delete.

`labelSelector`, `updateTimeBefore`, and `path=value` on the document. A parameter that is neither
a route's own nor one of these is refused by the views: dropped, it would widen the answer.
"""

import json
from collections.abc import Iterable
from itertools import product

from psycopg2 import sql

from core.errors import Invalid
from storage_api.query import conditions, jsonpaths, paths, selectors, times
from storage_api.query.conditions import MATCH_ALL, Clause, Context
from storage_api.query.extra import Equals
from storage_api.query.shapes import FREE, JSON_KINDS, ColumnKind, Shape

LABEL_SELECTOR = "labelSelector"
UPDATE_TIME_BEFORE = "updateTimeBefore"
MAX_FILTERS = 64


def is_filter(shape: Shape, name: str) -> bool:
    """Whether a parameter of this name filters documents of the shape.

    Paths start at the document's root. They name a text column or lead into a JSON column; `_id`
    and times are not filterable.
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
        if "" in (first, *below):
            return False
        # Any member but those of the store itself.
        return column is None or column.kind in JSON_KINDS
    if column is None or "" in below:
        return False
    if column.kind in JSON_KINDS:
        return True
    is_text = column.kind is not ColumnKind.TIME and column.key != "_id"
    return is_text and not below


def clauses(context: Context, filters: Iterable[tuple[str, str]]) -> list[Clause]:
    """The conditions of (name, value) pairs; all must hold.

    The names are filters of the context's shape (`is_filter`). Invalid for a value that cannot be
    parsed, and beyond 64 pairs.
    """
    pairs = list(filters)
    if len(pairs) > MAX_FILTERS:
        raise Invalid(f"more than {MAX_FILTERS} filters")
    return [clause for name, value in pairs for clause in _filter(context, name, value)]


def _filter(context: Context, name: str, value: str) -> list[Clause]:
    if name == LABEL_SELECTOR:
        return _labels(context, value)
    if name == UPDATE_TIME_BEFORE:
        bound = times.parse_bound(value, context.zone)
        if bound is None:
            raise Invalid(f"{name} must be unix seconds or RFC 3339")
        return [conditions.compare("update_time", "<", bound.instant)]
    path = paths.parse(name)
    if not value.strip():
        # As the Go server: a path without a value asks that it exists.
        return [exists(context, path)]
    values = tuple(conditions.split_choices(value))
    return conditions.equality_clauses(context, [Equals(path, values)])


def _labels(context: Context, value: str) -> list[Clause]:
    """The conditions of Kubernetes' label selector."""
    # The Go server's clients write `app+in+(a,b)`, and U+FF0E for a dot of a key.
    selector = value.replace("+", " ").replace(paths.DOT_IN_KEY, ".")
    selected = selectors.labels(selector)
    if selected is None or "\0" in value:
        raise Invalid(f"{LABEL_SELECTOR} cannot be read")
    if context.shape is FREE:
        # The object with the labels is the member `data` of a free document.
        inside = sql.SQL("(SELECT {} FROM (SELECT r.data -> 'data' AS data) r)")
        return [Clause(inside.format(clause.text), clause.params) for clause in selected.clauses]
    if not context.roots:
        return list(selected.clauses)
    hints = (
        jsonpaths.value_predicate(
            context.roots,
            ("metadata", "labels", key),
            [label],
        )
        for key, label in selected.labels
    )
    # The conditions of the selector decide; these only bring the index in.
    indexed = [Clause(MATCH_ALL.text, hint=hint) for hint in hints if hint is not None]
    return [*selected.clauses, *indexed]


def exists(context: Context, path: paths.Path) -> Clause:
    """The path leads to a value, or to null; a step on an array looks into its elements."""
    if context.shape is FREE:
        return _leads(sql.SQL("r.data"), path)
    column = context.shape.column(path[0])
    if column is None:
        raise Invalid(f"{path[0]} is not a key of the document")
    if column.kind is ColumnKind.OPTIONAL:
        text = sql.Identifier("r", column.name)
        return Clause(sql.SQL("{} <> ''").format(text))
    if column.kind not in JSON_KINDS or len(path) == 1:
        return Clause(sql.SQL("{} IS NOT NULL").format(column.value))
    return _leads(column.value, path[1:])


def _leads(root: sql.Composable, path: paths.Path) -> Clause:
    choices = [_step_choices(step) for step in path]
    ambiguous = [choice for choice in choices if len(choice) > 1]
    # Each of them doubles the number of jsonpaths.
    if len(ambiguous) > jsonpaths.MAX_PLACES:
        raise Invalid("a path has too many steps that are numbers")
    alternatives = tuple("$" + "".join(steps) for steps in product(*choices))
    test = sql.SQL("jsonb_path_exists({}, %s::jsonpath)").format(root)
    tests = sql.SQL(" OR ").join([test] * len(alternatives))
    return Clause(sql.SQL("({})").format(tests), alternatives)


def _step_choices(step: str) -> tuple[str, ...]:
    """The jsonpath steps for a step of a path; one of digits is a key, or an index."""
    key = f".{json.dumps(step)}"
    # A longer number is no index that PostgreSQL can parse.
    if step.isascii() and step.isdigit() and len(step) < 10:
        return (key, f"[{step}]")
    return (key,)
