"""The documents of the wire and the columns behind them.

The database itself writes a document as JSON text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from psycopg2 import sql

from storage_api.query.paths import Tree
from storage_api.query.times import TimeStyle


class ColumnKind(Enum):
    """What a column holds.

    OPTIONAL is a text that is absent from the document when it is empty, MAYBE is JSON that is
    absent when it is null.
    """

    TEXT = "text"
    OPTIONAL = "optional"
    TIME = "time"
    JSON = "json"
    MAYBE = "maybe"


JSON_KINDS = (ColumnKind.JSON, ColumnKind.MAYBE)


@dataclass(frozen=True, slots=True)
class DocumentColumn:
    """One top-level key of a document."""

    key: str
    name: str
    kind: ColumnKind = ColumnKind.TEXT

    @property
    def value(self) -> sql.Composable:
        """The column of the row called r; null where the key is absent."""
        column = sql.Identifier("r", self.name)
        if self.kind is ColumnKind.OPTIONAL:
            return sql.SQL("nullif({}, '')").format(column)
        return column


@dataclass(frozen=True)
class Shape:
    """One family of documents: its table, its keys in order, and the order of its lists.

    `bare`: the JSON column is the document itself, to which the other columns are added.
    """

    table: str
    columns: tuple[DocumentColumn, ...]
    order: tuple[sql.Composable, ...] = (sql.SQL("r.id"),)
    bare: bool = False

    def column(self, key: str) -> DocumentColumn | None:
        """The column of a key."""
        return next((column for column in self.columns if column.key == key), None)


ID = DocumentColumn("_id", "object_id")
CREATED = DocumentColumn("createTime", "create_time", ColumnKind.TIME)
UPDATED = DocumentColumn("updateTime", "update_time", ColumnKind.TIME)
DATA = DocumentColumn("data", "data", ColumnKind.JSON)

RESOURCE = Shape(
    "storage_resource",
    (
        ID,
        DocumentColumn("clusterId", "cluster_id"),
        DocumentColumn("namespace", "namespace", ColumnKind.OPTIONAL),
        DocumentColumn("resourceType", "resource_type"),
        DocumentColumn("resourceName", "resource_name"),
        DATA,
        CREATED,
        UPDATED,
    ),
    order=(sql.SQL("r.arrival"),),
)
EVENT = Shape(
    "storage_event",
    (
        ID,
        DocumentColumn("id", "event_id"),
        *(
            DocumentColumn(key, key)
            for key in ("env", "kind", "level", "component", "type", "describe")
        ),
        DocumentColumn("clusterId", "cluster_id"),
        DocumentColumn("extraInfo", "extra_info", ColumnKind.JSON),
        DATA,
        DocumentColumn("eventTime", "event_time", ColumnKind.TIME),
        CREATED,
    ),
    order=(sql.SQL("r.event_time DESC"), sql.SQL("r.id")),
)
ALARM = Shape(
    "storage_alarm",
    (
        ID,
        DocumentColumn("clusterId", "cluster_id"),
        *(DocumentColumn(key, key) for key in ("namespace", "message", "source", "module", "type")),
        DocumentColumn("receivedTime", "received_time", ColumnKind.TIME),
        DATA,
        CREATED,
    ),
    order=(sql.SQL("r.received_time DESC"), sql.SQL("r.id")),
)
METRIC = Shape(
    "storage_metric",
    (
        ID,
        DocumentColumn("clusterId", "cluster_id"),
        DocumentColumn("namespace", "namespace"),
        DocumentColumn("type", "type"),
        DocumentColumn("name", "name"),
        DATA,
        CREATED,
        UPDATED,
    ),
)
HOST = Shape(
    "storage_host",
    (
        ID,
        DocumentColumn("ip", "ip"),
        DocumentColumn("clusterId", "cluster_id"),
        DocumentColumn("data", "data", ColumnKind.MAYBE),
        CREATED,
        UPDATED,
    ),
)
WATCH_NODE = Shape("storage_watch_node", (DATA, UPDATED), bare=True)
# A document may have any members; the columns next to `data` are the store's own.
FREE = Shape(
    "storage_free_document",
    (ID, DATA, CREATED, UPDATED),
    bare=True,
)


@dataclass(frozen=True)
class Selection:
    """What to read of each row.

    `head` is SQL for the JSON text of whole members. `columns` are JSON members that are reduced
    after reading, `reduced` their keys and projections in the same order.
    """

    head: sql.Composable
    reduced: tuple[tuple[str, Tree], ...] = ()
    columns: Sequence[sql.Composable] = ()


def selection(shape: Shape, fields: Tree, style: TimeStyle) -> Selection:
    """How to read a row's JSON text for a projection ({} is the whole document)."""
    if shape.bare:
        return _bare(shape, fields, style)
    every_key = {column.key: None for column in shape.columns}
    projection: Mapping[str, Tree | None] = fields or every_key
    # The id comes first and is never absent, so each other member may bring its own comma.
    members: list[sql.Composable] = [sql.SQL("'{{'").format()]
    reduced = []
    columns = []
    for column in shape.columns:
        is_id = column.key == "_id"
        if not is_id and column.key not in projection:
            continue
        below = projection.get(column.key)
        if below is None or is_id:
            members.append(_member(column, style))
        elif column.kind in JSON_KINDS:
            reduced.append((column.key, below))
            columns.append(sql.SQL("{}::text").format(column.value))
    head = sql.SQL(" || ").join([*members, sql.Literal("}")])
    return Selection(head, tuple(reduced), columns)


def _bare(shape: Shape, fields: Tree, style: TimeStyle) -> Selection:
    """The JSON column with the other columns as members."""
    pairs = []
    for column in shape.columns:
        if column.kind in JSON_KINDS:
            continue
        is_time = column.kind is ColumnKind.TIME
        value = style.expression(column.value) if is_time else column.value
        pairs.append(sql.SQL("{}, {}").format(sql.Literal(column.key), value))
    document = sql.SQL("(r.data || jsonb_build_object({}))::text").format(sql.SQL(", ").join(pairs))
    if not fields:
        return Selection(document)
    # Under the key "" the whole document is reduced.
    return Selection(sql.SQL("'}'"), (("", fields),), [document])


def _member(column: DocumentColumn, style: TimeStyle) -> sql.Composable:
    """SQL for `,"key":value` as JSON text, "" where the key is absent; the id has no comma."""
    comma = "" if column.key == "_id" else ","
    label = sql.Literal(f'{comma}"{column.key}":')
    match column.kind:
        case ColumnKind.TIME:
            return sql.SQL("""{} || '"' || {} || '"'""").format(
                label, style.expression(column.value)
            )
        case ColumnKind.TEXT if column.key == "_id":
            return sql.SQL("""{} || '"' || {} || '"'""").format(label, column.value)
        case ColumnKind.TEXT:
            return sql.SQL("{} || to_json({})::text").format(label, column.value)
        case ColumnKind.JSON:
            return sql.SQL("{} || {}::text").format(label, column.value)
        case ColumnKind.MAYBE:
            return sql.SQL("coalesce({} || {}::text, '')").format(label, column.value)
        case ColumnKind.OPTIONAL:
            return sql.SQL("coalesce({} || to_json({})::text, '')").format(label, column.value)
