"""Bulk writes: many puts and deletes in one transaction, for collectors and the batch endpoint."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from typing import Any

from django.db import IntegrityError, connection, transaction

from core.database.prepared import PreparedStatement, StatementCall, execute_together
from storage_api import objectids
from storage_api.db_retry import retry_on_database_error
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.services.change_log import LOG_DELETED, insert_changes
from storage_api.services.resources import Key
from storage_api.services.write_errors import (
    serialise_writers,
    translate_data_errors,
)


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """One write: the document as JSON text, or None to delete.

    `resource_version` guards a deletion when the batch is guarded. `written_by`: whom the cluster
    names as the last writers, as `history.attribution.newest_writers` gives them. `omitted`: what
    the document leaves out of the object, None when that is not known.
    """

    key: Key
    data: bytes | None
    resource_version: str = ""
    written_by: bytes | None = None
    omitted: bytes | None = None


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a batch did.

    `unchanged` documents only moved their updateTime; `stale` ones were older than the stored.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    stale: int = 0
    deleted: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


# The table lives as long as the connection: a new one for each batch would bloat the catalogue.
_CREATE_BATCH_TABLE = """
CREATE TEMPORARY TABLE IF NOT EXISTS storage_batch (
  object_id text,
  cluster_id text COLLATE "C",
  resource_type text COLLATE "C",
  namespace text COLLATE "C",
  resource_name text COLLATE "C",
  data jsonb,
  written_by text,
  omitted text
) ON COMMIT DELETE ROWS;
DELETE FROM storage_batch;
"""

# Resource versions of one type are comparable numbers. A different uid is another object, and a
# version that is no number is taken as it arrives.
_IS_NEWER = """
WHERE NOT %s
   OR r.uid IS DISTINCT FROM EXCLUDED.uid
   OR r.resource_version IS NULL OR EXCLUDED.resource_version IS NULL
   OR r.resource_version !~ '^[0-9]{1,40}$' OR EXCLUDED.resource_version !~ '^[0-9]{1,40}$'
   OR EXCLUDED.resource_version::numeric >= r.resource_version::numeric
"""

_LOG_WRITTEN = insert_changes(
    at="update_time",
    op="CASE WHEN fresh THEN 'add' ELSE 'change' END",
    rows="written WHERE change_time = update_time",
    written_by="written_by",
)
# Keys are locked in one order, so that two batches wait for each other instead of deadlocking.
# `#> '{}'` unpacks a document once; without it each stored column would do it again.
_PUT_TEMPLATE = f"""
WITH written AS (
  INSERT INTO storage_resource AS r
    (object_id, cluster_id, resource_type, namespace, resource_name, data, written_by, omitted,
     create_time, update_time, change_time)
  SELECT object_id, cluster_id, resource_type, namespace, resource_name,
         data #> '{{}}', written_by, omitted, moment, moment, moment
  FROM {{source}}, date_trunc('milliseconds', clock_timestamp()) AS moment
  ORDER BY cluster_id, resource_type, namespace, resource_name
  ON CONFLICT (cluster_id, resource_type, namespace, resource_name) DO UPDATE SET
    data = EXCLUDED.data,
    written_by = EXCLUDED.written_by,
    omitted = EXCLUDED.omitted,
    update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond'),
    change_time = CASE WHEN r.data IS DISTINCT FROM EXCLUDED.data
      THEN greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
      ELSE r.change_time END
  {_IS_NEWER}
  RETURNING r.*, xmax = 0 AS fresh
), logged AS (
  {_LOG_WRITTEN}
)
SELECT count(*) FILTER (WHERE fresh),
       count(*) FILTER (WHERE NOT fresh AND change_time = update_time),
       count(*) FILTER (WHERE NOT fresh AND change_time <> update_time)
FROM written
"""  # noqa: S608  # all parts are constants
_PUT = _PUT_TEMPLATE.replace("{source}", "storage_batch")
# A few records come with the statement itself: one exchange with the database instead of three.
_PUT_FEW = PreparedStatement(
    _PUT_TEMPLATE.replace(
        "{source}",
        """(
    SELECT object_id, cluster_id, resource_type, namespace, resource_name, data::jsonb AS data,
           written_by, omitted
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                %s::text[]) AS batch (object_id, cluster_id, resource_type, namespace,
                                      resource_name, data, written_by, omitted)
  ) storage_batch""",
    )
)
_FEW = 4

_DRAW_IDS = """
SELECT nextval(pg_get_serial_sequence('storage_resource', 'id')),
       date_trunc('milliseconds', clock_timestamp())::text
FROM generate_series(1, %s)
"""
_COPY = """
COPY storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data, written_by, omitted, id,
   create_time, update_time, change_time)
FROM STDIN
"""
_LOG_ADDED = insert_changes(
    at="update_time",
    op="'add'",
    rows="storage_resource WHERE id = ANY (%s) ORDER BY id",
    written_by="written_by",
)
_EXISTING_KEYS = """
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
  AS batch (cluster_id, resource_type, namespace, resource_name)
JOIN storage_resource r USING (cluster_id, resource_type, namespace, resource_name)
"""
_COPY_BUFFER_BYTES = 1 << 18
# Below so many records, a look for existing rows costs more than COPY saves.
_MIN_FOR_COPY = 20

_DELETE = PreparedStatement(f"""
WITH chosen AS MATERIALIZED (
  SELECT stored.id, batch.version
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS batch (cluster_id, resource_type, namespace, resource_name, version)
  CROSS JOIN LATERAL (
    SELECT r.id FROM storage_resource r
    WHERE r.cluster_id = batch.cluster_id AND r.resource_type = batch.resource_type
      AND r.namespace = batch.namespace AND r.resource_name = batch.resource_name
      AND (NOT %s
           OR batch.version !~ '^[0-9]{{1,40}}$'
           OR r.resource_version IS NULL OR r.resource_version !~ '^[0-9]{{1,40}}$'
           OR r.resource_version::numeric <= batch.version::numeric)
    FOR UPDATE
  ) stored
), gone AS (
  DELETE FROM storage_resource r WHERE r.id = ANY (ARRAY(SELECT id FROM chosen)) RETURNING r.*
), logged AS (
  {LOG_DELETED}
)
SELECT count(*) FROM gone
""")  # noqa: S608  # all parts are constants


@retry_on_database_error
def write(
    records: Iterable[WriteRecord],
    *,
    guard: bool = False,
    in_turn: bool = False,
    savepoint: bool = True,
    statements: Sequence[StatementCall] = (),
) -> BatchCounts:
    """Apply the records, all or nothing; of several for one key the last counts.

    With `guard`, a document or deletion whose resourceVersion is older than the stored one's (of
    the same uid) changes nothing. `in_turn` is for writers that share a cluster with others:
    batches and sweeps of one type then come one after the other. Without `savepoint`, a failure
    inside a caller's transaction is the end of that one. `statements`: what is committed with the
    records, or else not at all.
    Invalid when a key or a document cannot be stored.
    """
    by_key = {record.key: record for record in records}
    for key in by_key:
        key.check()
    puts = [_seal(record) for record in by_key.values() if record.data is not None]
    deletes = [record for record in by_key.values() if record.data is None]
    added = changed = unchanged = deleted = 0
    with translate_data_errors(), transaction.atomic(savepoint=savepoint):
        if in_turn:
            serialise_writers((key.cluster_id, key.resource_type) for key in by_key)
        if puts:
            added, changed, unchanged = _put(puts, guard)
        if deletes:
            deleted = _delete(deletes, guard)
        if statements:
            with connection.cursor() as cursor:
                execute_together(cursor, *statements)
    stale = len(puts) - added - changed - unchanged
    return BatchCounts(added, changed, unchanged, stale, deleted)


def _seal(record: WriteRecord) -> WriteRecord:
    data = record.data or b"null"
    sealed = seal_secrets(DocumentPlace(*record.key.values), data)
    # What a document with a Secret in it leaves out may hold a copy.
    return record if sealed is data else replace(record, data=sealed, omitted=None)


def _put(records: Sequence[WriteRecord], guard: bool) -> tuple[int, int, int]:
    """(added, changed, unchanged)."""
    ordered = sorted(records, key=lambda record: record.key.values)
    new: list[WriteRecord] = []
    rest = ordered
    if len(ordered) >= _MIN_FOR_COPY:
        existing = _existing_keys(ordered)
        new = [record for record in ordered if record.key not in existing]
        rest = [record for record in ordered if record.key in existing]
    if new and not _copy_new(new):
        new = []
        rest = ordered
    if not rest:
        return len(new), 0, 0
    added, changed, unchanged = _upsert(rest, guard)
    return len(new) + added, changed, unchanged


def _existing_keys(records: Sequence[WriteRecord]) -> set[Key]:
    with connection.cursor() as cursor:
        cursor.execute(_EXISTING_KEYS, _key_columns(records))
        return {Key(*row) for row in cursor.fetchall()}


def _copy_new(records: Sequence[WriteRecord]) -> bool:
    """Copy new rows straight into the table.

    False, and nothing is written, when another writer has added one of them meanwhile.
    """
    try:
        # A savepoint: the caller's transaction goes on after the conflict.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_DRAW_IDS, [len(records)])
            ids_and_times = cursor.fetchall()
            # create_time, update_time and change_time.
            times = "\t".join([ids_and_times[0][1]] * 3).encode()
            ids = [row_id for row_id, _ in ids_and_times]
            lines = [
                b"%s\t%d\t%s\n" % (_copy_cells(record), row_id, times)
                for record, row_id in zip(records, ids, strict=True)
            ]
            cursor.copy_expert(_COPY, BytesIO(b"".join(lines)), _COPY_BUFFER_BYTES)
            cursor.execute(_LOG_ADDED, [ids])
    except IntegrityError:
        return False
    return True


def _upsert(records: Sequence[WriteRecord], guard: bool) -> tuple[int, int, int]:
    """(added, changed, unchanged)."""
    if len(records) <= _FEW and all(_is_text(record.data or b"") for record in records):
        return _upsert_few(records, guard)
    lines = b"".join([_copy_cells(record) + b"\n" for record in records])
    with connection.cursor() as cursor:
        cursor.execute(_CREATE_BATCH_TABLE)
        cursor.copy_expert(
            "COPY storage_batch FROM STDIN",
            BytesIO(lines),
            _COPY_BUFFER_BYTES,
        )
        cursor.execute(_PUT, [guard])
        added, changed, unchanged = cursor.fetchone()
        return added, changed, unchanged


def _is_text(data: bytes) -> bool:
    """Whether a parameter can hold it; COPY has PostgreSQL say what is wrong with the rest."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _upsert_few(records: Sequence[WriteRecord], guard: bool) -> tuple[int, int, int]:
    columns: list[list[Any]] = [
        [objectids.new_object_id() for _ in records],
        *_key_columns(records),
        [(record.data or b"null").decode() for record in records],
        [None if record.written_by is None else record.written_by.decode() for record in records],
        [None if record.omitted is None else record.omitted.decode() for record in records],
    ]
    with connection.cursor() as cursor:
        _PUT_FEW.execute(cursor, [*columns, guard])
        added, changed, unchanged = cursor.fetchone()
        return added, changed, unchanged


def _copy_cells(record: WriteRecord) -> bytes:
    """The columns of a line of COPY, from object_id to omitted."""
    texts = (objectids.new_object_id(), *record.key.values)
    cells = [_escape(text.encode()) for text in texts]
    cells.append(_escape(record.data or b"null"))
    # \N is COPY's NULL, and must not be escaped.
    optional = (record.written_by, record.omitted)
    cells += [b"\\N" if cell is None else _escape(cell) for cell in optional]
    return b"\t".join(cells)


def _key_columns(records: Sequence[WriteRecord]) -> list[list[str]]:
    """The keys column by column, as unnest() takes them."""
    keys = [record.key.values for record in records]
    return [list(column) for column in zip(*keys, strict=True)]


def _escape(cell: bytes) -> bytes:
    """COPY's text format: a backslash before itself, and no raw tab or line end."""
    return (
        cell.replace(b"\\", b"\\\\")
        .replace(b"\t", b"\\t")
        .replace(b"\n", b"\\n")
        .replace(b"\r", b"\\r")
    )


def _delete(records: Sequence[WriteRecord], guard: bool) -> int:
    versions = [record.resource_version for record in records]
    with connection.cursor() as cursor:
        _DELETE.execute(cursor, [*_key_columns(records), versions, guard])
        return int(cursor.fetchone()[0])
