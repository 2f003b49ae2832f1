"""How lists may be sorted: in the store, as SQL, and for objects in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from psycopg2 import sql

from core.errors import Invalid

SortKey: TypeAlias = Callable[[Mapping[str, Any]], Any]

# The API server's own order: that of etcd's keys, byte by byte.
KEY_ORDER = "(r.namespace || '/' || r.resource_name) COLLATE \"C\""

_NAMESPACE = 'r.namespace COLLATE "C"'
_NAME = 'r.resource_name COLLATE "C"'
# The same within one namespace.
WITHIN_NAMESPACE = (_NAME,)
_RESTARTS = (
    "(SELECT coalesce(sum(one::numeric), 0) FROM jsonb_path_query(r.data, "
    "'$.status.containerStatuses[*].restartCount ? (@.type() == \"number\")') AS one)"
)


def _number(path: str) -> str:
    """SQL for the number at a path of the document; NULL when there is none."""
    query = f"""'{path} ? (@.type() == "number")'"""
    return f"jsonb_path_query_first(r.data, {query})::numeric"


def _share(part: str, total: str) -> str:
    """SQL for part of total, to six digits; nothing of nothing is all of it."""
    return f"coalesce(round(({part})::numeric / nullif({total}, 0), 6), 1)"


# A pod's ready containers of all, a workload's ready pods of those that it should have.
_CONTAINERS = "r.data #> '{spec,containers}'"
_READY_CONTAINERS = (
    "jsonb_array_length(jsonb_path_query_array(r.data, "
    "'$.status.containerStatuses[*] ? (@.ready == true)'))"
)
_READY = (
    f"(CASE WHEN jsonb_typeof({_CONTAINERS}) = 'array' THEN "
    + _share(_READY_CONTAINERS, f"jsonb_array_length({_CONTAINERS})")
    + " WHEN r.data #> '{status,desiredNumberScheduled}' IS NOT NULL THEN "
    + _share(
        f"coalesce({_number('$.status.numberReady')}, 0)",
        _number("$.status.desiredNumberScheduled"),
    )
    + " ELSE "
    + _share(
        f"coalesce({_number('$.status.readyReplicas')}, 0)",
        f"coalesce({_number('$.spec.replicas')}, 1)",
    )
    + " END)"
)
_STATUS = "coalesce(r.status, '') COLLATE \"C\""
_NODE = "coalesce(r.node_name, '') COLLATE \"C\""
# Spelled as in the index, which has what has no time first.
_BY_TIME = "r.created"
_CREATED = "coalesce(r.created, 'epoch')"

# Over several clusters. Each list of columns ends with what makes a row unique, so that a page
# can begin after the last row of the page before.
MULTICLUSTER_ORDERS: Mapping[str, tuple[str, ...]] = {
    "name": ("r.resource_name", "r.namespace", "r.cluster_id", "r.id"),
    "namespace": ("r.namespace", "r.resource_name", "r.cluster_id", "r.id"),
    "cluster": ("r.cluster_id", "r.namespace", "r.resource_name", "r.id"),
    "created": (_CREATED, "r.id"),
    **{
        order: (column, "r.namespace", "r.resource_name", "r.cluster_id", "r.id")
        for order, column in (
            ("status", _STATUS),
            ("node", _NODE),
            ("restarts", _RESTARTS),
            ("ready", _READY),
        )
    },
}
# Types of those columns, for values that come back in a cursor as texts; the others are texts.
MULTICLUSTER_CASTS: Mapping[str, str] = {
    "r.id": "bigint",
    _CREATED: "timestamptz",
    _RESTARTS: "numeric",
    _READY: "numeric",
}


@dataclass(frozen=True, slots=True)
class SortOrder:
    """One order of a cluster's list.

    `columns` are of the row called r; `key` gives the same of an object, without namespace and
    name, which decide between equals. `reads_documents`: no column holds what is sorted by.
    `by_type_key`: the index of the order begins with cluster and type_key.
    """

    columns: tuple[str | sql.Composable, ...]
    key: SortKey
    reads_documents: bool = False
    by_type_key: bool = False


def _restarts(manifest: Mapping[str, Any]) -> int:
    statuses = (manifest.get("status") or {}).get("containerStatuses") or []
    counts = [status.get("restartCount") for status in statuses]
    return sum(number for number in counts if isinstance(number, int))


def _ready_share(manifest: Mapping[str, Any]) -> float:
    """As `_READY`: 1.0 when everything is ready."""
    spec = manifest.get("spec") or {}
    status = manifest.get("status") or {}
    containers = spec.get("containers")
    if isinstance(containers, list):
        states = status.get("containerStatuses") or []
        ready = sum(state.get("ready") is True for state in states)
        total = len(containers)
    elif status.get("desiredNumberScheduled") is not None:
        ready = status.get("numberReady") or 0
        total = status["desiredNumberScheduled"]
    else:
        ready = status.get("readyReplicas") or 0
        replicas = spec.get("replicas")
        total = 1 if replicas is None else replicas
    return float(round(ready / total, 6)) if total else 1.0


ORDERS: Mapping[str, SortOrder] = {
    "name": SortOrder((_NAME, _NAMESPACE), lambda manifest: ()),
    "namespace": SortOrder((_NAMESPACE, _NAME), lambda manifest: ()),
    "created": SortOrder(
        (_BY_TIME, _NAMESPACE, _NAME),
        lambda manifest: (manifest["metadata"].get("creationTimestamp") or "",),
        by_type_key=True,
    ),
    "status": SortOrder(
        (_STATUS, _NAMESPACE, _NAME),
        lambda manifest: ((manifest.get("status") or {}).get("phase") or "",),
    ),
    "node": SortOrder(
        (_NODE, _NAMESPACE, _NAME),
        lambda manifest: ((manifest.get("spec") or {}).get("nodeName") or "",),
    ),
    "restarts": SortOrder(
        (_RESTARTS, _NAMESPACE, _NAME),
        lambda manifest: (_restarts(manifest),),
        reads_documents=True,
    ),
    "ready": SortOrder(
        (_READY, _NAMESPACE, _NAME),
        lambda manifest: (_ready_share(manifest),),
        reads_documents=True,
    ),
}


# The order by numbers that come with the query (`ListQuery.ranks`).
RANK = "rank"
# What objects without a number count as: numbers are of use, never negative.
UNRANKED = -1.0


def _rank_order(ranks: Mapping[str, float]) -> SortOrder:
    text = sql.Literal(orjson.dumps(ranks).decode())
    # The document is a constant, parsed once; looking up a key in it is a binary search.
    column = sql.SQL(
        "coalesce(({} ::jsonb ->> (r.namespace || '/' || r.resource_name))::float8, -1)"
    ).format(text)

    def rank(manifest: Mapping[str, Any]) -> tuple[float]:
        metadata = manifest["metadata"]
        return (ranks.get(f"{metadata.get('namespace') or ''}/{metadata['name']}", UNRANKED),)

    return SortOrder((column, _NAMESPACE, _NAME), rank)


def parse_order(text: str, ranks: Mapping[str, float] | None = None) -> tuple[SortOrder, bool]:
    """(the order, whether descending) of `name` or `-name`; Invalid for an unknown order.

    With `ranks`, `rank` is an order as well.
    """
    word = text.removeprefix("-")
    if ranks is not None and word == RANK:
        return _rank_order(ranks), text.startswith("-")
    order = ORDERS.get(word)
    if order is None:
        raise _unknown_order(ORDERS)
    return order, text.startswith("-")


def multicluster_columns(text: str) -> tuple[str, ...]:
    """The SQL columns that an order over several clusters sorts by; Invalid for an unknown one.

    The order is one of MULTICLUSTER_ORDERS, with `-` in front when it is descending.
    """
    columns = MULTICLUSTER_ORDERS.get(text.removeprefix("-"))
    if columns is None:
        raise _unknown_order(MULTICLUSTER_ORDERS)
    return columns


def _unknown_order(orders: Mapping[str, object]) -> Invalid:
    return Invalid(
        f"orderby must be one of {', '.join(orders)}, or one of these after a minus",
        field="orderby",
    )


def order_by(columns: Sequence[str | sql.Composable], *, descending: bool) -> sql.Composable:
    """The columns as they stand behind ORDER BY, all in the same direction."""
    terms = []
    for column in columns:
        expression = sql.SQL(column) if isinstance(column, str) else column
        terms.append(expression + sql.SQL(direction(column, descending=descending)))
    return sql.SQL(", ").join(terms)


def direction(column: str | sql.Composable, *, descending: bool) -> str:
    """What stands behind a column in ORDER BY."""
    if column != _BY_TIME:
        return " DESC" if descending else ""
    return " DESC NULLS LAST" if descending else " NULLS FIRST"


def sorted_objects(
    objects: list[Mapping[str, Any]],
    text: str,
    ranks: Mapping[str, float] | None = None,
) -> list[Mapping[str, Any]]:
    """The objects sorted as the store would: `text` and `ranks` as for `parse_order`."""
    order, descending = parse_order(text, ranks)
    by_name = text.removeprefix("-") == "name"

    def sort_key(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
        namespace = manifest["metadata"].get("namespace") or ""
        name = manifest["metadata"]["name"]
        ties = (name, namespace) if by_name else (namespace, name)
        return (*order.key(manifest), *ties)

    return sorted(objects, key=sort_key, reverse=descending)
