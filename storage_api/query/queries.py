"""A query over one family of documents, and the SQL that answers it."""

from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from storage_api.query import jsonpaths
from storage_api.query.conditions import Clause
from storage_api.query.shapes import Selection, Shape

MAX_BIGINT = 2**63 - 1
# The expression of the document index; it must be spelled exactly as there.
INDEXED = sql.SQL("jsonb_insert('{{}}', ARRAY[cluster_id || '/' || type_key], data)").format()


@dataclass(frozen=True)
class Query:
    """Which documents, and which part of the answer: in the shape's own order, from `offset`, at most `limit` (None is all)."""

    shape: Shape
    where: tuple[Clause, ...] = ()
    offset: int = 0
    limit: int | None = None


def _hints(query: Query) -> list[str]:
    return [clause.hint for clause in query.where if clause.hint is not None]


def source(query: Query) -> tuple[sql.Composable, list[Any]]:
    """The rows to look at, called r. The index's answer is fenced off (OFFSET 0): the planner takes a path expression for as cheap as a
    column, and would sooner unpack every document of the type than use it."""
    table = sql.Identifier(query.shape.table)
    hints = _hints(query)
    if not hints:
        return sql.SQL("{} r").format(table), []
    fenced = sql.SQL("(SELECT * FROM {} WHERE {} @@ %s::jsonpath OFFSET 0) r").format(
        table, INDEXED
    )
    return fenced, [jsonpaths.every(hints)]


def condition(query: Query) -> tuple[sql.Composable, list[Any]]:
    """All conditions as one expression."""
    if not query.where:
        return sql.SQL("true"), []
    return sql.SQL(" AND ").join([clause.text for clause in query.where]), [
        param for clause in query.where for param in clause.params
    ]


def _slice(query: Query) -> tuple[sql.Composable, list[Any]]:
    parts, params = [sql.SQL("ORDER BY {}").format(sql.SQL(", ").join(query.shape.order))], []
    if query.offset > 0:
        parts.append(sql.SQL("OFFSET %s").format())
        params.append(min(query.offset, MAX_BIGINT))
    if query.limit is not None:
        parts.append(sql.SQL("LIMIT %s").format())
        params.append(min(query.limit, MAX_BIGINT))
    return sql.SQL(" ").join(parts), params


def listing(
    query: Query, selection: Selection, *, in_index: bool
) -> tuple[sql.Composable, list[Any]]:
    """Rows of the selection in order. Skipping and sorting move ids only; documents are unpacked one by one for the rows given out.

    `in_index`: the selection needs no document, so an index alone may answer.
    """
    columns = sql.SQL(", ").join([selection.head, *selection.columns])
    rows, row_params = source(query)
    where, where_params = condition(query)
    part, part_params = _slice(query)
    params = [*row_params, *where_params, *part_params]
    if in_index:
        return sql.SQL("SELECT {} FROM {} WHERE {} {}").format(columns, rows, where, part), params
    chosen = sql.SQL("SELECT r.id FROM {} WHERE {} {}").format(rows, where, part)
    return (
        sql.SQL(
            "SELECT d.* FROM ({}) chosen CROSS JOIN LATERAL (SELECT {} FROM {} r WHERE r.id = chosen.id OFFSET 0) d"
        ).format(chosen, columns, sql.Identifier(query.shape.table)),
        params,
    )


def count(query: Query) -> tuple[sql.Composable, list[Any]]:
    """How many match, whatever the slice."""
    rows, row_params = source(query)
    where, where_params = condition(query)
    return sql.SQL("SELECT count(*) FROM {} WHERE {}").format(rows, where), [
        *row_params,
        *where_params,
    ]


def on_target(query: Query) -> tuple[sql.Composable, list[Any]]:
    """The conditions on the table's own row, whatever the slice: a row that another writer has just changed is judged again."""
    where, params = condition(query)
    hints = _hints(query)
    if not hints:
        return where, params
    hinted = sql.SQL("r.id IN (SELECT id FROM {} WHERE {} @@ %s::jsonpath OFFSET 0) AND {}")
    return hinted.format(sql.Identifier(query.shape.table), INDEXED, where), [
        jsonpaths.every(hints),
        *params,
    ]
