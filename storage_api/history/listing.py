"""Lists of one kind in one cluster, read piece by piece: at a position of the log or a moment.

Every piece of a list is of the same state, however long its reader takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from psycopg2 import sql

from clusters.kinds import Kind
from clusters.resource_types import resource_type
from storage_api.protection import mask_sealed
from storage_api.query.as_of_rows import rows_as_of, rows_at_position
from storage_api.query.conditions import Clause
from storage_api.query.sorting import KEY_ORDER
from storage_api.services.multicluster import ClusterScope
from storage_api.services.snapshot import scope_clauses

# A piece ends at so many rows or bytes, as they are stored, but has one row at least.
ROWS = 500
BYTES = 1 << 21


@dataclass(frozen=True, slots=True)
class Moment:
    """When a list is of: `at` a time of the past, or, without one, after the change `seq`."""

    seq: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object of a list: the key that orders the list, and its JSON, values of Secrets masked."""

    key: str
    data: bytes


# Sizes are looked at before documents are unpacked.
_PIECE = sql.SQL("""
SELECT c.key, c.data::text, c.rows FROM (
  SELECT q.key, q.data, count(*) OVER () AS rows,
         sum(pg_column_size(q.data)) OVER (ORDER BY q.key) - pg_column_size(q.data) AS before
  FROM (
    SELECT {key} AS key, r.data FROM {rows} r
    WHERE {key} > %s AND {condition} ORDER BY {key} LIMIT %s
  ) q
) c WHERE c.before < {bytes} ORDER BY c.key
""")


def read_piece(
    place: ClusterScope,
    kind: Kind,
    moment: Moment,
    *,
    namespace: str = "",
    clauses: Sequence[Clause] = (),
    after: str = "",
    size: int = ROWS,
) -> tuple[list[ListedObject], bool]:
    """(the next objects behind the key `after`, whether more follow them).

    `place` says which namespaces the caller may see. Whether the log tells of a moment of the past
    is for `as_of.check_beginning` to say.
    """
    size = min(size, ROWS)
    where = [
        *scope_clauses(
            kind,
            namespace,
            "",
            place.namespaces,
        ),
        *clauses,
    ]
    if moment.at is None:
        rows, params = rows_at_position(
            place.name,
            resource_type(kind),
            moment.seq,
        )
    else:
        rows, params = rows_as_of(
            [place.name],
            resource_type(kind),
            moment.at,
        )
    params = [*params, after]
    for clause in where:
        params += clause.params
    statement = _PIECE.format(
        rows=rows,
        key=sql.SQL(KEY_ORDER),
        condition=sql.SQL(" AND ").join([sql.SQL("true"), *(clause.text for clause in where)]),
        bytes=sql.Literal(BYTES),
    )
    with connection.cursor() as cursor:
        # One row more than the piece shows whether anything follows.
        cursor.execute(statement, [*params, size + 1])
        piece: list[Any] = cursor.fetchall()
    objects = [
        ListedObject(
            key,
            mask_sealed(text.encode()),
        )
        for key, text, _ in piece[:size]
    ]
    return objects, bool(piece) and int(piece[0][2]) > len(objects)
