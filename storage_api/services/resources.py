"""Dynamic resources: put, delete, sweep and read.

Every write that changes something is logged in `Change` by the same statement.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import connection
from psycopg2 import sql

from core.database.prepared import (
    PreparedStatement,
    StatementCall,
    execute_before,
    execute_together,
)
from storage_api import objectids
from storage_api.db_retry import retry_on_database_error
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.query import cursors
from storage_api.query.conditions import (
    Clause,
    Context,
    check_values,
    compare,
    equals,
    equals_any,
)
from storage_api.query.filters import TypedQuery
from storage_api.query.paths import Tree
from storage_api.query.queries import (
    DocumentQuery,
    condition,
    row_source,
    select_statement,
    target_condition,
)
from storage_api.query.shapes import RESOURCE, DocumentColumn, selection
from storage_api.query.times import TimeStyle
from storage_api.services.change_log import LOG_DELETED, insert_changes
from storage_api.services.write_errors import (
    check_key,
    serialise_writers,
    translate_data_errors,
)

SWEEP_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Key:
    """Names a resource; `namespace` is "" for cluster scope."""

    cluster_id: str
    resource_type: str
    namespace: str
    resource_name: str

    @property
    def values(self) -> tuple[str, str, str, str]:
        """The parts in the order of the index."""
        return self.cluster_id, self.resource_type, self.namespace, self.resource_name

    def check(self) -> None:
        """Invalid when a part cannot be stored."""
        check_key(
            clusterId=self.cluster_id,
            resourceType=self.resource_type,
            namespace=self.namespace,
            resourceName=self.resource_name,
        )

    def clauses(self) -> tuple[Clause, ...]:
        """The conditions that name exactly this resource."""
        return (
            *type_clauses(self.cluster_id, self.resource_type),
            equals("namespace", self.namespace),
            equals("resource_name", self.resource_name),
        )


_LOG_WRITTEN = insert_changes(
    at="update_time",
    op="CASE WHEN fresh THEN 'add' ELSE 'change' END",
    rows="written WHERE change_time = update_time",
)
# update_time always moves, by a millisecond at least. change_time follows it only when the
# document differs, and the log gets a line only where both are the same.
_PUT = PreparedStatement(f"""
WITH written AS (
  INSERT INTO storage_resource AS r
    (object_id, cluster_id, resource_type, namespace, resource_name, data,
     create_time, update_time, change_time)
  SELECT %s, %s, %s, %s, %s, %s::jsonb, moment, moment, moment
  FROM date_trunc('milliseconds', clock_timestamp()) AS moment
  ON CONFLICT (cluster_id, resource_type, namespace, resource_name) DO UPDATE SET
    data = EXCLUDED.data,
    written_by = NULL,
    omitted = NULL,
    update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond'),
    change_time = CASE WHEN r.data IS DISTINCT FROM EXCLUDED.data
      THEN greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
      ELSE r.change_time END
  RETURNING r.*, xmax = 0 AS fresh
)
{_LOG_WRITTEN}
""")  # noqa: S608  # all parts are constants

_DELETE = sql.SQL(
    f"""
WITH gone AS (DELETE FROM storage_resource r WHERE {{condition}} RETURNING r.*),
logged AS (
  {LOG_DELETED}
)
SELECT count(*) FROM gone
"""  # noqa: S608  # all parts are constants
)


_NAMED = """
r.cluster_id = %s AND r.resource_type = %s AND r.namespace = %s AND r.resource_name = %s
"""
_DELETE_ONE = PreparedStatement(_DELETE.string.format(condition=_NAMED))


@retry_on_database_error
def put(key: Key, data: str, statements: Sequence[StatementCall] = ()) -> None:
    """Create the resource or replace its document (JSON text); the last writer wins.

    `_id` and createTime stay, updateTime always moves. Invalid when it cannot be stored.
    `statements`: what is committed with it, or else not at all.
    """
    key.check()
    sealed = seal_secrets(DocumentPlace(*key.values), data.encode())
    values = (objectids.new_object_id(), *key.values, sealed.decode())
    with translate_data_errors(), connection.cursor() as cursor:
        # The row is locked last.
        execute_together(cursor, *statements, (_PUT, values))


def type_clauses(cluster_id: str, resource_type: str) -> tuple[Clause, ...]:
    """The conditions of one type in one cluster, spelled as stored."""
    exact_type = equals("resource_type", resource_type)
    # The indexes begin with the key in lower case.
    key_text = sql.SQL('r.type_key = lower(%s COLLATE "C")')
    type_key = Clause(key_text, (resource_type,))
    return equals("cluster_id", cluster_id), type_key, exact_type


def query_type_clauses(cluster_id: str, query: TypedQuery) -> tuple[Clause, ...]:
    """The conditions of a typed query's types in one cluster, however spelled."""
    return equals("cluster_id", cluster_id), equals_any("type_key", query.types)


def lower_ascii(text: str) -> str:
    """Lower case of ASCII letters alone, as the database's column `type_key` has it."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def index_root(cluster_id: str, type_key: str) -> str:
    """The key of the document index for a cluster's documents of a type."""
    return f"{cluster_id}/{type_key}"


def condition_context(cluster_id: str, types: Sequence[str], style: TimeStyle) -> Context:
    """What conditions on a cluster's documents of some types are read against."""
    roots = tuple(index_root(cluster_id, type_key) for type_key in types)
    return Context(RESOURCE, style.info, tuple(types), roots)


def read_chunks(
    query: DocumentQuery,
    fields: Tree,
    style: TimeStyle,
    *,
    reveals: bool = False,
) -> Iterator[list[bytes]]:
    """Lists of JSON texts of a query's documents, in its order; read lazily through a cursor.

    `reveals`: with the values of Secrets, which are masked otherwise.
    """
    columns = selection(query.shape, fields, style)
    statement, params = select_statement(query, columns, in_index=_is_index_only(query, fields))
    return cursors.read_chunks(statement, params, columns, reveals=reveals)


def _is_index_only(query: DocumentQuery, fields: Tree) -> bool:
    """Whether an index holds every field that is asked for."""
    if not fields or query.shape.bare:
        return False
    return all(_is_scalar(query.shape.column(key)) for key in fields)


def _is_scalar(column: DocumentColumn | None) -> bool:
    return column is None or column.key not in ("data", "extraInfo")


def read_first(
    query: DocumentQuery,
    fields: Tree,
    style: TimeStyle,
    *,
    reveals: bool = False,
) -> bytes | None:
    """The JSON text of the first document of a query; None when there is none."""
    columns = selection(query.shape, fields, style)
    statement, params = select_statement(
        replace(query, limit=1), columns, in_index=_is_index_only(query, fields)
    )
    return cursors.read_row(statement, params, columns, reveals=reveals)


# By how times are written: the text depends on nothing else.
_statements: dict[TimeStyle, PreparedStatement] = {}
_BY_KEY = sql.SQL(f"SELECT {{head}} FROM storage_resource r WHERE {_NAMED}")  # noqa: S608


@retry_on_database_error
def read_by_key(
    key: Key,
    style: TimeStyle,
    *,
    reveals: bool = False,
) -> bytes | None:
    """As `read_first`, for the whole document of a key; planned once for each connection."""
    check_values(key.values)
    with connection.cursor() as cursor:
        statement = _statements.get(style)
        if statement is None:
            document = _BY_KEY.format(head=selection(RESOURCE, {}, style).head)
            statement = PreparedStatement(document.as_string(cursor.cursor))
            _statements[style] = statement
        return cursors.read_prepared(cursor, statement, key.values, reveals=reveals)


@retry_on_database_error
def sweep(
    cluster_id: str,
    resource_type: str,
    query: DocumentQuery,
    statements: Sequence[StatementCall] = (),
) -> int:
    """Delete what a query matches of one type; how many rows went.

    One sweep or batch of the type runs after the other; it may take SWEEP_SECONDS.
    `statements`: as for `put`.
    """
    with cursors.long_statement(SWEEP_SECONDS):
        serialise_writers([(cluster_id, resource_type)])
        return delete(query, statements)


# One index look-up per cluster, however many rows it has. The names end with a null.
ALL_CLUSTERS = """
WITH RECURSIVE names AS (
  (SELECT cluster_id FROM storage_resource ORDER BY cluster_id LIMIT 1)
  UNION ALL
  SELECT (
    SELECT r.cluster_id FROM storage_resource r
    WHERE r.cluster_id > names.cluster_id ORDER BY r.cluster_id LIMIT 1
  )
  FROM names WHERE names.cluster_id IS NOT NULL
) SELECT cluster_id FROM names WHERE cluster_id IS NOT NULL
"""
_WITH_TYPE = f"""{ALL_CLUSTERS} AND EXISTS (
  SELECT 1 FROM storage_resource r WHERE r.cluster_id = names.cluster_id AND r.type_key = %s
)
"""  # noqa: S608  # a constant


@retry_on_database_error
def clusters_with_type(resource_type: str) -> list[str]:
    """The clusters that have documents of a type, however spelled; sorted."""
    with connection.cursor() as cursor:
        cursor.execute(_WITH_TYPE, [lower_ascii(resource_type)])
        return [row[0] for row in cursor.fetchall()]


def clusters_type_clauses(clusters: Sequence[str], resource_type: str) -> tuple[Clause, ...]:
    """The conditions of one type in several clusters, spelled as stored."""
    return (
        equals_any("cluster_id", clusters),
        equals("type_key", lower_ascii(resource_type)),
        equals("resource_type", resource_type),
    )


@retry_on_database_error
def sweep_clusters(clusters: Sequence[str], resource_type: str, query: DocumentQuery) -> int:
    """As `sweep`, in several clusters."""
    with cursors.long_statement(SWEEP_SECONDS):
        serialise_writers((cluster, resource_type) for cluster in clusters)
        return delete(query)


@retry_on_database_error
def delete(query: DocumentQuery, statements: Sequence[StatementCall] = ()) -> int:
    """Delete what a query matches and log each deletion, all or nothing; how many rows went.

    `statements`: as for `put`.
    """
    where, params = target_condition(query)
    with translate_data_errors(), connection.cursor() as cursor:
        execute_before(cursor, statements, _DELETE.format(condition=where), params)
        return int(cursor.fetchone()[0])


@retry_on_database_error
def delete_by_key(key: Key, statements: Sequence[StatementCall] = ()) -> None:
    """As `delete`, for the document of a key, if there is one."""
    check_values(key.values)
    with translate_data_errors(), connection.cursor() as cursor:
        execute_together(cursor, *statements, (_DELETE_ONE, key.values))


def update_time_range(begin: datetime | None, end: datetime | None) -> tuple[Clause, ...]:
    """Conditions of a sweep: updateTime after `begin` and before `end`, both excluded."""
    clauses: list[Clause] = []
    if begin is not None:
        clauses.append(compare("update_time", ">", begin))
    if end is not None:
        clauses.append(compare("update_time", "<", end))
    return tuple(clauses)


def namespaces(
    cluster_id: str,
    types: Sequence[str],
    narrowed: Sequence[Clause] = (),
) -> list[str]:
    """The namespaces in which a cluster has documents of the types, sorted.

    Only documents that meet the further conditions count.
    """
    clauses = (
        equals("cluster_id", cluster_id),
        equals_any("type_key", types),
        *narrowed,
    )
    query = DocumentQuery(RESOURCE, clauses)
    rows, row_params = row_source(query)
    where, where_params = condition(query)
    statement = sql.SQL(
        "SELECT DISTINCT r.namespace FROM {} WHERE {} AND r.namespace <> '' ORDER BY 1"
    ).format(rows, where)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*row_params, *where_params])
        return [row[0] for row in cursor.fetchall()]
