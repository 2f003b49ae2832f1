"""The documents of the wire and the columns behind them.

The database itself writes a document as JSON text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from psycopg2 import sql

from storage_api.query.paths import Tree
from storage_api.query.times import TimeStyle


class Kind(Enum):
    """What a column holds.

    OPTIONAL is a text that is absent from the document when it is empty, MAYBE is JSON that is
    absent when it is null.
    """

    TEXT = "text"
    OPTIONAL = "optional"
    TIME = "time"
    JSON = "json"
    MAYBE = "maybe"


JSON_KINDS = (Kind.JSON, Kind.MAYBE)


@dataclass(frozen=True, slots=True)
class Column:
    """One top-level key of a document."""

    key: str
    name: str
    kind: Kind = Kind.TEXT

    @property
    def value(self) -> sql.Composable:
        """The column of the row called r; null where the key is absent."""
        column = sql.Identifier("r", self.name)
        if self.kind is Kind.OPTIONAL:
            return sql.SQL("nullif({}, '')").format(column)
        return column


@dataclass(frozen=True)
class Shape:
    """One family of documents: its table, its keys in order, and the order of its lists.

    `bare`: the JSON column is the document itself, to which the other columns are added.
    """

    table: str
    columns: tuple[Column, ...]
    order: tuple[sql.Composable, ...] = (sql.SQL("r.id"),)
    bare: bool = False

    def column(self, key: str) -> Column | None:
        """The column of a key."""
        return next((column for column in self.columns if column.key == key), None)


ID = Column("_id", "object_id")
CREATED = Column("createTime", "create_time", Kind.TIME)
UPDATED = Column("updateTime", "update_time", Kind.TIME)
DATA = Column("data", "data", Kind.JSON)

RESOURCE = Shape(
    "storage_resource",
    (
        ID,
        Column("clusterId", "cluster_id"),
        Column("namespace", "namespace", Kind.OPTIONAL),
        Column("resourceType", "resource_type"),
        Column("resourceName", "resource_name"),
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
        Column("id", "event_id"),
        *(Column(key, key) for key in ("env", "kind", "level", "component", "type", "describe")),
        Column("clusterId", "cluster_id"),
        Column("extraInfo", "extra_info", Kind.JSON),
        DATA,
        Column("eventTime", "event_time", Kind.TIME),
        CREATED,
    ),
    order=(sql.SQL("r.event_time DESC"), sql.SQL("r.id")),
)
ALARM = Shape(
    "storage_alarm",
    (
        ID,
        Column("clusterId", "cluster_id"),
        *(Column(key, key) for key in ("namespace", "message", "source", "module", "type")),
        Column("receivedTime", "received_time", Kind.TIME),
        DATA,
        CREATED,
    ),
    order=(sql.SQL("r.received_time DESC"), sql.SQL("r.id")),
)
METRIC = Shape(
    "storage_metric",
    (
        ID,
        Column("clusterId", "cluster_id"),
        Column("namespace", "namespace"),
        Column("type", "type"),
        Column("name", "name"),
        DATA,
        CREATED,
        UPDATED,
    ),
)
HOST = Shape(
    "storage_host",
    (
        ID,
        Column("ip", "ip"),
        Column("clusterId", "cluster_id"),
        Column("data", "data", Kind.MAYBE),
        CREATED,
        UPDATED,
    ),
)
WATCH_NODE = Shape("storage_watch_node", (DATA, UPDATED), bare=True)
# A document may have any members; the columns beside `data` are the store's own.
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
        is_time = column.kind is Kind.TIME
        value = style.expression(column.value) if is_time else column.value
        pairs.append(sql.SQL("{}, {}").format(sql.Literal(column.key), value))
    document = sql.SQL("(r.data || jsonb_build_object({}))::text").format(sql.SQL(", ").join(pairs))
    if not fields:
        return Selection(document)
    # Under the key "" the whole document is reduced.
    return Selection(sql.SQL("'}'"), (("", fields),), [document])


def _member(column: Column, style: TimeStyle) -> sql.Composable:
    """SQL for `,"key":value` as JSON text, "" where the key is absent; the id has no comma."""
    comma = "" if column.key == "_id" else ","
    label = sql.Literal(f'{comma}"{column.key}":')
    match column.kind:
        case Kind.TIME:
            return sql.SQL("""{} || '"' || {} || '"'""").format(
                label, style.expression(column.value)
            )
        case Kind.TEXT if column.key == "_id":
            return sql.SQL("""{} || '"' || {} || '"'""").format(label, column.value)
        case Kind.TEXT:
            return sql.SQL("{} || to_json({})::text").format(label, column.value)
        case Kind.JSON:
            return sql.SQL("{} || {}::text").format(label, column.value)
        case Kind.MAYBE:
            return sql.SQL("coalesce({} || {}::text, '')").format(label, column.value)
        case Kind.OPTIONAL:
            return sql.SQL("coalesce({} || to_json({})::text, '')").format(label, column.value)
