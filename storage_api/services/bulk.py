"""The bulk door: many puts and deletes of one cluster in one transaction, for collectors and the batch endpoint."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO

from django.db import IntegrityError, connection, transaction

from storage_api import objectids
from storage_api.db_retry import retried
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.services.resources import Key
from storage_api.services.write_errors import serialise_writers, translate_data_errors


@dataclass(frozen=True, slots=True)
class Record:
    """One write: the document as JSON text, or None to delete. `resource_version` guards a deletion when the batch is guarded.

    `written_by` tells whom the cluster names as the last writers (see `authors`).
    """

    key: Key
    data: bytes | None
    resource_version: str = ""
    written_by: bytes | None = None


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a batch did. `unchanged` documents only moved their updateTime; `stale` ones were older than what is stored."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    stale: int = 0
    deleted: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


# Kept for the life of the connection: making it anew for each batch would bloat the catalogue.
_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS storage_batch (
  object_id text, cluster_id text COLLATE "C", resource_type text COLLATE "C", namespace text COLLATE "C", resource_name text COLLATE "C",
  data jsonb, written_by text
) ON COMMIT DELETE ROWS;
DELETE FROM storage_batch;
"""

# Resource versions of one type are comparable numbers; a different uid is another object, and one that is no number is taken as it arrives.
_NEWER = """
WHERE NOT %s OR r.uid IS DISTINCT FROM EXCLUDED.uid OR r.resource_version IS NULL OR EXCLUDED.resource_version IS NULL
   OR r.resource_version !~ '^[0-9]{1,40}$' OR EXCLUDED.resource_version !~ '^[0-9]{1,40}$'
   OR EXCLUDED.resource_version::numeric >= r.resource_version::numeric
"""

# Keys are locked in one order, so that two batches wait for each other instead of deadlocking. `#> '{}'` unpacks a document once; without
# it each stored column would do it again.
_PUT = f"""
WITH written AS (
  INSERT INTO storage_resource AS r
    (object_id, cluster_id, resource_type, namespace, resource_name, data, written_by, create_time, update_time, change_time)
  SELECT object_id, cluster_id, resource_type, namespace, resource_name, data #> '{{}}', written_by, moment, moment, moment
  FROM storage_batch, date_trunc('milliseconds', clock_timestamp()) AS moment
  ORDER BY cluster_id, resource_type, namespace, resource_name
  ON CONFLICT (cluster_id, resource_type, namespace, resource_name) DO UPDATE SET
    data = EXCLUDED.data,
    written_by = EXCLUDED.written_by,
    update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond'),
    change_time = CASE WHEN r.data IS DISTINCT FROM EXCLUDED.data
                  THEN greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond') ELSE r.change_time END
  {_NEWER}
  RETURNING r.*, xmax = 0 AS fresh
), logged AS (
  INSERT INTO storage_change
    (at, op, object_id, cluster_id, resource_type, namespace, resource_name, uid, resource_version, create_time, data, written_by)
  SELECT update_time, CASE WHEN fresh THEN 'add' ELSE 'change' END, object_id, cluster_id, resource_type, namespace, resource_name, uid,
         resource_version, create_time, data, written_by
  FROM written WHERE change_time = update_time
)
SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh AND change_time = update_time),
       count(*) FILTER (WHERE NOT fresh AND change_time <> update_time) FROM written
"""  # noqa: S608  # both parts are constants

_FRESH_IDS = """
SELECT nextval(pg_get_serial_sequence('storage_resource', 'id')), date_trunc('milliseconds', clock_timestamp())::text
FROM generate_series(1, %s)
"""
_COPY = """
COPY storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data, written_by, id, create_time, update_time, change_time)
FROM STDIN
"""
_LOG_ADDED = """
INSERT INTO storage_change
  (at, op, object_id, cluster_id, resource_type, namespace, resource_name, uid, resource_version, create_time, data, written_by)
SELECT update_time, 'add', object_id, cluster_id, resource_type, namespace, resource_name, uid, resource_version, create_time, data,
       written_by
FROM storage_resource WHERE id = ANY (%s) ORDER BY id
"""
_KNOWN = """
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS wanted (cluster_id, resource_type, namespace, resource_name)
JOIN storage_resource r USING (cluster_id, resource_type, namespace, resource_name)
"""
_SENT_TOGETHER = 1 << 18
# Below this, looking first costs more than it saves.
_MANY = 20

_DELETE = """
WITH chosen AS MATERIALIZED (
  SELECT found.id, wanted.version FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS wanted (cluster_id, resource_type, namespace, resource_name, version)
  CROSS JOIN LATERAL (
    SELECT r.id FROM storage_resource r
    WHERE r.cluster_id = wanted.cluster_id AND r.resource_type = wanted.resource_type
      AND r.namespace = wanted.namespace AND r.resource_name = wanted.resource_name
      AND (NOT %s OR wanted.version !~ '^[0-9]{1,40}$' OR r.resource_version IS NULL OR r.resource_version !~ '^[0-9]{1,40}$'
           OR r.resource_version::numeric <= wanted.version::numeric)
    FOR UPDATE
  ) found
), gone AS (
  DELETE FROM storage_resource r WHERE r.id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING r.*
), logged AS (
  INSERT INTO storage_change
    (at, op, object_id, cluster_id, resource_type, namespace, resource_name, uid, resource_version, create_time, data)
  SELECT date_trunc('milliseconds', clock_timestamp()), 'delete', object_id, cluster_id, resource_type, namespace, resource_name, uid,
         resource_version, create_time, data
  FROM gone
)
SELECT count(*) FROM gone
"""


@retried
def write(records: Iterable[Record], *, guard: bool = False, in_turn: bool = False) -> BatchCounts:
    """Apply the records, all or nothing; of several for one key the last counts.

    With `guard`, a document or deletion whose resourceVersion is older than the stored one's (of the same uid) changes nothing.
    `in_turn` is for writers that share a cluster with others: batches and sweeps of one type then come one after the other.
    Invalid when a key or a document cannot be stored.
    """
    last = {record.key: record for record in records}
    for key in last:
        key.check()
    puts = [_protected(record) for record in last.values() if record.data is not None]
    deletes = [record for record in last.values() if record.data is None]
    with translate_data_errors(), transaction.atomic():
        if in_turn:
            serialise_writers((key.cluster_id, key.resource_type) for key in last)
        added, changed, unchanged = _put(puts, guard) if puts else (0, 0, 0)
        deleted = _delete(deletes, guard) if deletes else 0
    return BatchCounts(added, changed, unchanged, len(puts) - added - changed - unchanged, deleted)


def _protected(record: Record) -> Record:
    data = record.data or b"null"
    sealed = seal_secrets(DocumentPlace(*_texts(record.key)), data)
    return record if sealed is data else replace(record, data=sealed)


def _put(records: Sequence[Record], guard: bool) -> tuple[int, int, int]:
    ordered = sorted(records, key=lambda record: _texts(record.key))
    known = _known(ordered) if len(ordered) >= _MANY else {record.key for record in ordered}
    fresh, rest = (
        [record for record in ordered if record.key not in known],
        [record for record in ordered if record.key in known],
    )
    if fresh and not _add(fresh):
        fresh, rest = [], ordered
    added, changed, unchanged = _upsert(rest, guard) if rest else (0, 0, 0)
    return len(fresh) + added, changed, unchanged


def _known(records: Sequence[Record]) -> set[Key]:
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, _columns(records))
        return {Key(*row) for row in cursor.fetchall()}


def _add(records: Sequence[Record]) -> bool:
    """Copy rows that are new straight into the table; False, and nothing done, when another writer was quicker with one of them."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FRESH_IDS, [len(records)])
            drawn = cursor.fetchall()
            moments = "\t".join([drawn[0][1]] * 3).encode()
            lines = [
                b"%s\t%d\t%s\n" % (_cells(record), row[0], moments)
                for record, row in zip(records, drawn, strict=True)
            ]
            cursor.copy_expert(_COPY, BytesIO(b"".join(lines)), _SENT_TOGETHER)
            cursor.execute(_LOG_ADDED, [[row[0] for row in drawn]])
    except IntegrityError:
        return False
    return True


def _upsert(records: Sequence[Record], guard: bool) -> tuple[int, int, int]:
    with connection.cursor() as cursor:
        cursor.execute(_STAGE)
        cursor.copy_expert(
            "COPY storage_batch FROM STDIN",
            BytesIO(b"".join([_cells(record) + b"\n" for record in records])),
            _SENT_TOGETHER,
        )
        cursor.execute(_PUT, [guard])
        added, changed, unchanged = cursor.fetchone()
        return added, changed, unchanged


def _cells(record: Record) -> bytes:
    """The columns of a line of COPY, from object_id to written_by."""
    cells = (
        *(text.encode() for text in (objectids.new_object_id(), *_texts(record.key))),
        record.data or b"null",
    )
    written_by = b"\\N" if record.written_by is None else _escaped(record.written_by)
    return b"\t".join([*map(_escaped, cells), written_by])


def _texts(key: Key) -> tuple[str, str, str, str]:
    return key.cluster_id, key.resource_type, key.namespace, key.resource_name


def _columns(records: Sequence[Record]) -> list[list[str]]:
    keys = [_texts(record.key) for record in records]
    return [list(column) for column in zip(*keys, strict=True)]


def _escaped(cell: bytes) -> bytes:
    """COPY's text format: a backslash before itself, and no raw tab or line end."""
    return (
        cell.replace(b"\\", b"\\\\")
        .replace(b"\t", b"\\t")
        .replace(b"\n", b"\\n")
        .replace(b"\r", b"\\r")
    )


def _delete(records: Sequence[Record], guard: bool) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            _DELETE, [*_columns(records), [record.resource_version for record in records], guard]
        )
        return int(cursor.fetchone()[0])
