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
class DocumentQuery:
    """Which documents of a shape, in the shape's order, and which part of them.

    `offset` are skipped, `limit` are read at most (None: all).
    """

    shape: Shape
    where: tuple[Clause, ...] = ()
    offset: int = 0
    limit: int | None = None


def _hints(query: DocumentQuery) -> list[str]:
    return [clause.hint for clause in query.where if clause.hint is not None]


def row_source(query: DocumentQuery) -> tuple[sql.Composable, list[Any]]:
    """The rows to look at, called r, and parameters."""
    table = sql.Identifier(query.shape.table)
    hints = _hints(query)
    if not hints:
        return sql.SQL("{} r").format(table), []
    # OFFSET 0 fences the index's answer off. The planner takes a path expression for as cheap as
    # a column, and would rather unpack every document of the type than use the index.
    fenced = sql.SQL("(SELECT * FROM {} WHERE {} @@ %s::jsonpath OFFSET 0) r").format(
        table, INDEXED
    )
    return fenced, [jsonpaths.conjunction(hints)]


def condition(query: DocumentQuery) -> tuple[sql.Composable, list[Any]]:
    """All conditions as one expression on the row called r, and parameters."""
    if not query.where:
        return sql.SQL("true"), []
    params = [param for clause in query.where for param in clause.params]
    return sql.SQL(" AND ").join([clause.text for clause in query.where]), params


def _slice(query: DocumentQuery) -> tuple[sql.Composable, list[Any]]:
    """ORDER BY, OFFSET and LIMIT, and parameters."""
    order = sql.SQL(", ").join(query.shape.order)
    parts = [sql.SQL("ORDER BY {}").format(order)]
    params = []
    if query.offset > 0:
        parts.append(sql.SQL("OFFSET %s").format())
        params.append(min(query.offset, MAX_BIGINT))
    if query.limit is not None:
        parts.append(sql.SQL("LIMIT %s").format())
        params.append(min(query.limit, MAX_BIGINT))
    return sql.SQL(" ").join(parts), params


# Skipping and sorting move ids only. OFFSET 0 keeps the planner from unpacking documents earlier.
_SELECT_BY_ID = sql.SQL(
    "SELECT d.* FROM ({chosen}) chosen CROSS JOIN LATERAL "
    "(SELECT {columns} FROM {table} r WHERE r.id = chosen.id OFFSET 0) d"
)


def select_statement(
    query: DocumentQuery,
    selection: Selection,
    *,
    in_index: bool,
) -> tuple[sql.Composable, list[Any]]:
    """The statement that reads the selection of the matching rows in order, and parameters.

    Documents are unpacked one by one, for the rows that are read. `in_index`: the selection needs
    no document, so an index may answer alone.
    """
    columns = sql.SQL(", ").join([selection.head, *selection.columns])
    rows, row_params = row_source(query)
    where, where_params = condition(query)
    part, part_params = _slice(query)
    params = [*row_params, *where_params, *part_params]
    if in_index:
        statement = sql.SQL("SELECT {} FROM {} WHERE {} {}").format(
            columns,
            rows,
            where,
            part,
        )
        return statement, params
    statement = _SELECT_BY_ID.format(
        chosen=sql.SQL("SELECT r.id FROM {} WHERE {} {}").format(
            rows,
            where,
            part,
        ),
        columns=columns,
        table=sql.Identifier(query.shape.table),
    )
    return statement, params


def count_statement(query: DocumentQuery) -> tuple[sql.Composable, list[Any]]:
    """The statement that counts all matches, without offset and limit, and parameters."""
    rows, row_params = row_source(query)
    where, where_params = condition(query)
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(rows, where)
    return statement, [*row_params, *where_params]


def target_condition(query: DocumentQuery) -> tuple[sql.Composable, list[Any]]:
    """All conditions on the row of the table itself, for UPDATE and DELETE, and parameters.

    PostgreSQL evaluates them again for a row that another transaction has just changed. It would
    not do so for the rows of a subselect.
    """
    where, params = condition(query)
    hints = _hints(query)
    if not hints:
        return where, params
    hinted = sql.SQL("r.id IN (SELECT id FROM {} WHERE {} @@ %s::jsonpath OFFSET 0) AND {}")
    text = hinted.format(
        sql.Identifier(query.shape.table),
        INDEXED,
        where,
    )
    return text, [jsonpaths.conjunction(hints), *params]
