"""Free documents: objects of any members under a type, named by the indexes that were declared for the type; no log is kept of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from django.db import connection, transaction
from psycopg2 import sql

from clusters.resource_types import is_secret_type
from core.errors import Invalid
from storage_api import objectids
from storage_api.db_retry import retried
from storage_api.models import FreeIndex
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.query import jsontext, paths
from storage_api.query.conditions import Clause, equals
from storage_api.query.paths import Path
from storage_api.query.queries import Query
from storage_api.query.shapes import FREE
from storage_api.services import resources
from storage_api.services.write_errors import (
    check_key,
    remove,
    serialise_writers,
    translate_data_errors,
)

MAX_INDEXES, MAX_KEYS = 64, 32
# The type under which clusters tell of themselves.
CLUSTER_TYPE = "Cluster"
CLUSTER_KEYS = ("clusterId", "clusterID")
# What the store says itself; clients that put back what they read send it along.
OWN_MEMBERS = frozenset({"_id", "createTime", "updateTime", "_isBcsObjectDeleted"})


@dataclass(frozen=True, slots=True)
class Owner:
    """The cluster, and the namespace in it, that a document says it is about; "" is all of them."""

    cluster: str
    namespace: str = ""


def owners(members: Mapping[str, object]) -> list[Owner]:
    """Whose rights a document needs: those of each cluster that it names, or of all when it names none."""
    named = [members.get(key) for key in CLUSTER_KEYS]
    clusters = list(dict.fromkeys(name for name in named if isinstance(name, str) and name))
    namespace = members.get("namespace")
    within = namespace if isinstance(namespace, str) else ""
    return [Owner(cluster, within) for cluster in clusters] or [Owner("")]


@retried
def put(
    resource_type: str,
    members: Mapping[str, bytes],
    authorise: Callable[[Owner], None],
    *,
    keys: Sequence[Path] = (),
) -> None:
    """Store a document, given as JSON texts by member; where one with the same values of the keys exists, its members are replaced.

    `keys`: the paths that name the document; without any, those of the type's first index; without either the document is a new one.
    `authorise` is asked for the owners of the document that is replaced. Invalid when it cannot be stored, or an index forbids it.
    """
    check_key(resourceType=resource_type)
    if is_secret_type(resource_type):
        raise Invalid("a Secret is put with its clusterId, resourceName and data")
    kept = {key: raw for key, raw in members.items() if key not in OWN_MEMBERS}
    if not kept:
        raise Invalid("the document is empty")
    with translate_data_errors(), transaction.atomic():
        serialise_writers([("", f"free/{resource_type}")])
        indexes = [tuple(keys), *_indexes(resource_type)] if keys else _indexes(resource_type)
        document = jsontext.load(_object(kept))
        same = _rows(resource_type, indexes[0], document) if indexes else []
        for row in same:
            for owner in owners(row.members):
                authorise(owner)
        object_id = same[0].object_id if same else objectids.new_object_id()
        _check_indexes(resource_type, indexes, document, object_id)
        text = seal_secrets(DocumentPlace("", resource_type, "", object_id), _object(kept))
        if any(_value(jsontext.load(text), key) != _value(document, key) for key in _all(indexes)):
            raise Invalid("an index of this type names a value of a Secret")
        with connection.cursor() as cursor:
            cursor.execute(_REPLACE if same else _ADD, [object_id, resource_type, text.decode()])


_ADD = """
INSERT INTO storage_free_document (object_id, resource_type, data, create_time, update_time)
SELECT %s, %s, %s::jsonb, moment, moment FROM date_trunc('milliseconds', clock_timestamp()) AS moment
"""
_REPLACE = """
UPDATE storage_free_document r SET data = r.data || given.data,
  update_time = greatest(date_trunc('milliseconds', clock_timestamp()), r.update_time + interval '1 millisecond')
FROM (SELECT %s AS object_id, %s AS resource_type, %s::jsonb AS data) given
WHERE r.object_id = given.object_id AND r.resource_type = given.resource_type
"""


@retried
def delete(where: Sequence[Clause]) -> int:
    """Delete what matches; how many went."""
    return remove(Query(FREE, tuple(where)))


@retried
def sweep(clusters: Sequence[str], resource_type: str, of_clusters: Query, free: Query) -> None:
    """Delete what the queries match of a type: documents of these clusters, and free ones. All or nothing."""
    with transaction.atomic():
        resources.sweep_clusters(clusters, resource_type, of_clusters)
        remove(free)


def of_type(resource_type: str) -> Clause:
    """The condition of a type, as it is spelled."""
    return equals("resource_type", resource_type)


def exactly(key: str, values: Sequence[str]) -> Clause:
    """A member of the document is a text, one of these."""
    return Clause(
        sql.SQL("(r.data -> %s) = ANY (%s::jsonb[])"),
        (key, [orjson.dumps(value).decode() for value in values]),
    )


# --- indexes ----------------------------------------------------------------------------------------
@retried
def declare_index(resource_type: str, name: str, keys: Sequence[str]) -> None:
    """From here on the values of these paths name a document of the type. The same once more changes nothing.

    Invalid for the name of another index, for too many, and where documents with the same values exist already.
    """
    check_key(resourceType=resource_type, name=name)
    if not 0 < len(keys) <= MAX_KEYS:
        raise Invalid(f"an index has 1 to {MAX_KEYS} keys")
    for key in keys:
        check_key(name=key)
    with translate_data_errors(), transaction.atomic():
        serialise_writers([("", f"free/{resource_type}")])
        known = FreeIndex.objects.filter(resource_type=resource_type)
        same = known.filter(name=name).first()
        if same is not None and same.keys != list(keys):
            raise Invalid(f"index {name[:80]!r} exists already with other keys")
        if same is not None:
            return
        if known.count() >= MAX_INDEXES:
            raise Invalid(f"a type has at most {MAX_INDEXES} indexes")
        if _has_duplicates(resource_type, [paths.parse(key) for key in keys]):
            raise Invalid("several documents have the same values of these keys")
        FreeIndex.objects.create(resource_type=resource_type, name=name, keys=list(keys))


@retried
def drop_index(resource_type: str, name: str) -> None:
    """Forget an index; one that is not there is no failure."""
    check_key(resourceType=resource_type, name=name)
    FreeIndex.objects.filter(resource_type=resource_type, name=name).delete()


def _has_duplicates(resource_type: str, keys: Sequence[Path]) -> bool:
    values = sql.SQL(", ").join(
        [sql.SQL("coalesce(r.data #> %s::text[], 'null'::jsonb)")] * len(keys)
    )
    statement = sql.SQL(
        "SELECT 1 FROM storage_free_document r WHERE resource_type = %s GROUP BY {} HAVING count(*) > 1 LIMIT 1"
    )
    with connection.cursor() as cursor:
        steps: list[Any] = [list(key) for key in keys]
        cursor.execute(statement.format(values), [resource_type, *steps])
        return cursor.fetchone() is not None


def _indexes(resource_type: str) -> list[tuple[Path, ...]]:
    found = FreeIndex.objects.filter(resource_type=resource_type).order_by("pk")
    return [tuple(paths.parse(key) for key in index.keys) for index in found]


def _all(indexes: Sequence[Sequence[Path]]) -> list[Path]:
    return [key for index in indexes for key in index]


def _check_indexes(
    resource_type: str, indexes: Sequence[Sequence[Path]], document: object, object_id: str
) -> None:
    """Invalid when another document has the values of one of the indexes."""
    for index in indexes:
        if any(row.object_id != object_id for row in _rows(resource_type, index, document)):
            raise Invalid("another document of this type has the same values of an index")


@dataclass(frozen=True, slots=True)
class _Row:
    object_id: str
    members: Mapping[str, object]


# Containment is what the index on documents answers; the comparison decides.
_SAME = sql.SQL("coalesce(r.data #> %s::text[], 'null'::jsonb) = %s::jsonb")
_ROWS = sql.SQL("""
SELECT r.object_id, jsonb_build_object('clusterId', r.data -> 'clusterId', 'clusterID', r.data -> 'clusterID',
  'namespace', r.data -> 'namespace')::text
FROM storage_free_document r WHERE r.resource_type = %s AND {} ORDER BY r.id LIMIT 100 FOR UPDATE
""")


def _rows(resource_type: str, keys: Sequence[Path], document: object) -> list[_Row]:
    conditions: list[sql.Composable] = []
    params: list[Any] = []
    for key in keys:
        value = _value(document, key)
        conditions.append(_SAME)
        params += [list(key), msgspec.json.encode(value).decode()]
        if value is not None:
            conditions.append(sql.SQL("r.data @> %s::jsonb"))
            params.append(_nested(key, value))
    statement = _ROWS.format(sql.SQL(" AND ").join(conditions))
    with connection.cursor() as cursor:
        cursor.execute(statement, [resource_type, *params])
        return [_Row(object_id, orjson.loads(text)) for object_id, text in cursor.fetchall()]


def _value(document: object, key: Path) -> object:
    for step in key:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _nested(key: Path, value: object) -> str:
    for step in reversed(key):
        value = {step: value}
    return msgspec.json.encode(value).decode()


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(orjson.dumps(key) + b":" + raw for key, raw in members.items()) + b"}"
