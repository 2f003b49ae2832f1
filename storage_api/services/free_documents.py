"""Free documents: objects of any members under a type; no log is kept of them.

A type may declare indexes: paths whose values name a document of the type.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from django.db import connection, transaction
from psycopg2 import sql

from clusters.resource_types import is_secret_type
from core.database.prepared import StatementCall, execute_before
from core.errors import Invalid
from storage_api import objectids
from storage_api.db_retry import retry_on_database_error
from storage_api.models import FreeIndex
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.query import jsontext, paths
from storage_api.query.conditions import Clause, equals
from storage_api.query.paths import Path
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import FREE
from storage_api.services import resources
from storage_api.services.write_errors import (
    check_key,
    delete_rows,
    serialise_writers,
    translate_data_errors,
)

MAX_INDEXES = 64
MAX_KEYS = 32
# The type under which clusters report themselves.
CLUSTER_TYPE = "Cluster"
CLUSTER_KEYS = ("clusterId", "clusterID")
# Members that the store adds itself; clients that put back what they read send them along.
OWN_MEMBERS = frozenset({"_id", "createTime", "updateTime", "_isBcsObjectDeleted"})


@dataclass(frozen=True, slots=True)
class DocumentOwner:
    """The cluster, and the namespace in it, that a document says it is about; "" is all."""

    cluster: str
    namespace: str = ""


def owners(members: Mapping[str, object]) -> list[DocumentOwner]:
    """Whose rights a document needs: those of each cluster that it names, or of all for none."""
    names = [members.get(key) for key in CLUSTER_KEYS]
    clusters = list(dict.fromkeys(name for name in names if isinstance(name, str) and name))
    namespace = members.get("namespace")
    if not isinstance(namespace, str):
        namespace = ""
    return [DocumentOwner(cluster, namespace) for cluster in clusters] or [DocumentOwner("")]


# With the parameters object id, type and document.
_ADD = """
INSERT INTO storage_free_document (object_id, resource_type, data, create_time, update_time)
SELECT %s, %s, %s::jsonb, moment, moment
FROM date_trunc('milliseconds', clock_timestamp()) AS moment
"""
_REPLACE = """
UPDATE storage_free_document r SET data = r.data || incoming.data,
  update_time = greatest(
    date_trunc('milliseconds', clock_timestamp()), r.update_time + interval '1 millisecond')
FROM (SELECT %s AS object_id, %s AS resource_type, %s::jsonb AS data) incoming
WHERE r.object_id = incoming.object_id AND r.resource_type = incoming.resource_type
"""


@retry_on_database_error
def put(
    resource_type: str,
    members: Mapping[str, bytes],
    authorise: Callable[[DocumentOwner], None],
    *,
    keys: Sequence[Path] = (),
    statements: Callable[[], Sequence[StatementCall]] = tuple,
) -> None:
    """Store a document, given as JSON texts by member.

    Where a document with the same values of the keys exists, its members are replaced.
    `keys`: the paths that name the document; without any, those of the type's first index;
    without either the document is a new one. `authorise` is called with the owners of the
    document that is replaced, and raises Forbidden. `statements`: what is committed with it, or
    else not at all; asked for after that.
    Invalid when the document cannot be stored, or an index forbids it.
    """
    check_key(resourceType=resource_type)
    if is_secret_type(resource_type):
        raise Invalid("a Secret is put with its clusterId, resourceName and data")
    members = {key: raw for key, raw in members.items() if key not in OWN_MEMBERS}
    if not members:
        raise Invalid("the document is empty")
    with translate_data_errors(), transaction.atomic():
        # Unique values are checked by reading: no other writer may add one meanwhile.
        _serialise(resource_type)
        indexes = _indexes(resource_type)
        if keys:
            indexes.insert(0, tuple(keys))
        document = jsontext.load(_encode_object(members))
        replaced = _matching_rows(resource_type, indexes[0], document) if indexes else []
        for row in replaced:
            for owner in owners(row.members):
                authorise(owner)
        object_id = replaced[0].object_id if replaced else objectids.new_object_id()
        _check_indexes(resource_type, indexes, document, object_id)
        place = DocumentPlace("", resource_type, "", object_id)
        sealed = seal_secrets(place, _encode_object(members))
        _check_sealed(indexes, document, sealed)
        statement = sql.SQL(_REPLACE if replaced else _ADD)
        values = [object_id, resource_type, sealed.decode()]
        with connection.cursor() as cursor:
            execute_before(cursor, statements(), statement, values)


def _serialise(resource_type: str) -> None:
    """Wait until no other writer is at the type's free documents and indexes."""
    serialise_writers([("", f"free/{resource_type}")])


@retry_on_database_error
def delete(where: Sequence[Clause], statements: Sequence[StatementCall] = ()) -> int:
    """Delete what the conditions match; how many documents went.

    `statements`: what is committed with it, or else not at all.
    """
    return delete_rows(DocumentQuery(FREE, tuple(where)), statements)


@retry_on_database_error
def sweep(
    clusters: Sequence[str],
    resource_type: str,
    of_clusters: DocumentQuery,
    free: DocumentQuery,
    *,
    statements: Sequence[StatementCall] = (),
) -> None:
    """Delete what the queries match of a type, all or nothing.

    `of_clusters`: documents of these clusters; `free`: free documents. `statements`: what is
    committed with it, or else not at all.
    """
    with transaction.atomic():
        resources.sweep_clusters(clusters, resource_type, of_clusters)
        delete_rows(free, statements)


def free_type_clause(resource_type: str) -> Clause:
    """The condition of a type, as it is spelled."""
    return equals("resource_type", resource_type)


def text_member_clause(key: str, values: Sequence[str]) -> Clause:
    """The condition that a member of the document is one of these texts."""
    json_texts = [orjson.dumps(value).decode() for value in values]
    return Clause(
        sql.SQL("(r.data -> %s) = ANY (%s::jsonb[])"),
        (key, json_texts),
    )


# --- indexes ------------------------------------------------------------------------------------
@retry_on_database_error
def declare_index(resource_type: str, name: str, keys: Sequence[str]) -> None:
    """Have the values of these paths name a document of the type; again it changes nothing.

    Invalid for the name of another index, for too many, and where several documents have the
    same values already.
    """
    check_key(resourceType=resource_type, name=name)
    if not 0 < len(keys) <= MAX_KEYS:
        raise Invalid(f"an index has 1 to {MAX_KEYS} keys")
    for key in keys:
        check_key(name=key)
    with translate_data_errors(), transaction.atomic():
        _serialise(resource_type)
        indexes = FreeIndex.objects.filter(resource_type=resource_type)
        existing = indexes.filter(name=name).first()
        if existing is not None:
            if existing.keys != list(keys):
                raise Invalid(f"index {name[:80]!r} exists already with other keys")
            return
        if indexes.count() >= MAX_INDEXES:
            raise Invalid(f"a type has at most {MAX_INDEXES} indexes")
        if _has_duplicates(resource_type, [paths.parse(key) for key in keys]):
            raise Invalid("several documents have the same values of these keys")
        FreeIndex.objects.create(resource_type=resource_type, name=name, keys=list(keys))


@retry_on_database_error
def drop_index(resource_type: str, name: str) -> None:
    """Delete an index, if it exists."""
    check_key(resourceType=resource_type, name=name)
    FreeIndex.objects.filter(resource_type=resource_type, name=name).delete()


# A missing value counts as null, as in the indexes of MongoDB.
_VALUE = "coalesce(r.data #> %s::text[], 'null'::jsonb)"
_DUPLICATES = sql.SQL("""
SELECT 1 FROM storage_free_document r
WHERE resource_type = %s GROUP BY {} HAVING count(*) > 1 LIMIT 1
""")


def _has_duplicates(resource_type: str, keys: Sequence[Path]) -> bool:
    values = sql.SQL(", ").join([sql.SQL(_VALUE)] * len(keys))
    steps = [list(key) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(_DUPLICATES.format(values), [resource_type, *steps])
        return cursor.fetchone() is not None


def _indexes(resource_type: str) -> list[tuple[Path, ...]]:
    """The paths of each index of a type, the oldest index first."""
    indexes = FreeIndex.objects.filter(resource_type=resource_type).order_by("pk")
    return [tuple(paths.parse(key) for key in index.keys) for index in indexes]


def _check_indexes(
    resource_type: str,
    indexes: Sequence[Sequence[Path]],
    document: object,
    object_id: str,
) -> None:
    """Invalid when another document has the values of one of the indexes."""
    for keys in indexes:
        for row in _matching_rows(resource_type, keys, document):
            if row.object_id != object_id:
                raise Invalid("another document of this type has the same values of an index")


def _check_sealed(
    indexes: Sequence[Sequence[Path]],
    document: object,
    sealed: bytes,
) -> None:
    """Invalid when an index names a value that is sealed: it could not be looked up."""
    if not indexes:
        return
    sealed_document = jsontext.load(sealed)
    for keys in indexes:
        for key in keys:
            if _value_at(sealed_document, key) != _value_at(document, key):
                raise Invalid("an index of this type names a value of a Secret")


@dataclass(frozen=True, slots=True)
class _Row:
    object_id: str
    # Those that say who owns the document.
    members: Mapping[str, object]


_ROWS = sql.SQL("""
SELECT r.object_id,
       jsonb_build_object(
         'clusterId', r.data -> 'clusterId',
         'clusterID', r.data -> 'clusterID',
         'namespace', r.data -> 'namespace')::text
FROM storage_free_document r WHERE r.resource_type = %s AND {} ORDER BY r.id LIMIT 100 FOR UPDATE
""")


def _matching_rows(resource_type: str, keys: Sequence[Path], document: object) -> list[_Row]:
    """The stored documents that have the same values of the keys as the document, locked."""
    conditions: list[sql.Composable] = []
    params: list[Any] = []
    for key in keys:
        value = _value_at(document, key)
        conditions.append(sql.SQL(f"{_VALUE} = %s::jsonb"))
        params += [list(key), msgspec.json.encode(value).decode()]
        if value is not None:
            # The comparison decides; containment is what the index on documents can answer.
            conditions.append(sql.SQL("r.data @> %s::jsonb"))
            params.append(_nest(key, value))
    statement = _ROWS.format(sql.SQL(" AND ").join(conditions))
    with connection.cursor() as cursor:
        cursor.execute(statement, [resource_type, *params])
        return [_Row(object_id, orjson.loads(text)) for object_id, text in cursor.fetchall()]


def _value_at(document: object, path: Path) -> object:
    """The value at a path of a document; None where there is none."""
    value = document
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _nest(path: Path, value: object) -> str:
    """The JSON text of a document with nothing but the value at that path."""
    nested = value
    for step in reversed(path):
        nested = {step: nested}
    return msgspec.json.encode(nested).decode()


def _encode_object(members: Mapping[str, bytes]) -> bytes:
    """The JSON text of an object, from the JSON texts of its members."""
    parts = [orjson.dumps(key) + b":" + raw for key, raw in members.items()]
    return b"{" + b",".join(parts) + b"}"
