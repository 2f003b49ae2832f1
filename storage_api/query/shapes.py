"""The documents of the wire and the columns behind them; a document is written as JSON text by the database itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from psycopg2 import sql

from storage_api.query.paths import Tree
from storage_api.query.times import TimeStyle


class Kind(Enum):
    """What a column holds: OPTIONAL is a text that is absent when empty, MAYBE is JSON that is absent when null."""

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
        return (
            sql.Identifier("r", self.name)
            if self.kind is not Kind.OPTIONAL
            else sql.SQL("nullif({}, '')").format(sql.Identifier("r", self.name))
        )


@dataclass(frozen=True)
class Shape:
    """One family of documents: its table, its keys, and whether its JSON column is the document itself (`bare`)."""

    table: str
    columns: tuple[Column, ...]
    order: tuple[sql.Composable, ...] = (sql.SQL("r.id"),)
    bare: bool = False

    def column(self, key: str) -> Column | None:
        """The column of a key."""
        return next((column for column in self.columns if column.key == key), None)


ID = Column("_id", "object_id")
CREATED, UPDATED = (
    Column("createTime", "create_time", Kind.TIME),
    Column("updateTime", "update_time", Kind.TIME),
)
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
# A document of any members: those beside `data` are the store's own.
FREE = Shape("storage_free_document", (ID, DATA, CREATED, UPDATED), bare=True)


@dataclass(frozen=True)
class Selection:
    """What to read of each row: the text of the scalar members, and JSON members that are reduced after reading."""

    head: sql.Composable
    reduced: tuple[tuple[str, Tree], ...] = ()
    columns: Sequence[sql.Composable] = ()


def selection(shape: Shape, fields: Tree, style: TimeStyle) -> Selection:
    """The SQL of a row's JSON text for a projection ({} is the whole document)."""
    if shape.bare:
        return _bare(shape, fields, style)
    wanted: Mapping[str, Tree | None] = fields or {column.key: None for column in shape.columns}
    whole, reduced, columns = [], [], []
    for column in shape.columns:
        if column.key != "_id" and column.key not in wanted:
            continue
        below = wanted.get(column.key)
        if below is None or column.key == "_id":
            whole.append(_member(column, style))
        elif column.kind in JSON_KINDS:
            reduced.append((column.key, below))
            columns.append(sql.SQL("{}::text").format(column.value))
    return Selection(
        sql.SQL(" || ").join([*_joined(whole), sql.Literal("}")]), tuple(reduced), columns
    )


def _bare(shape: Shape, fields: Tree, style: TimeStyle) -> Selection:
    stamps = [
        sql.SQL("{}, {}").format(
            sql.Literal(column.key),
            style.expression(column.value) if column.kind is Kind.TIME else column.value,
        )
        for column in shape.columns
        if column.kind not in JSON_KINDS
    ]
    stamped = sql.SQL("(r.data || jsonb_build_object({}))::text").format(sql.SQL(", ").join(stamps))
    return Selection(sql.SQL("'}'"), (("", fields),), [stamped]) if fields else Selection(stamped)


def _joined(members: list[sql.Composable]) -> list[sql.Composable]:
    """The id comes first and is never absent, so that each other member may bring its own comma."""
    return [sql.SQL("'{{'").format(), *members]


def _member(column: Column, style: TimeStyle) -> sql.Composable:
    label = sql.Literal(f'"{column.key}":' if column.key == "_id" else f',"{column.key}":')
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
