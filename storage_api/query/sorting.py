"""How lists may be sorted: the same orders for the store, as SQL, and for objects at hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid

Key = Callable[[Mapping[str, Any]], Any]
_SPACE, _NAME = 'r.namespace COLLATE "C"', 'r.resource_name COLLATE "C"'
_RESTARTS = (
    "(SELECT coalesce(sum(one::numeric), 0)"
    " FROM jsonb_path_query(r.data, '$.status.containerStatuses[*].restartCount ? (@.type() == \"number\")') AS one)"
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order: columns of the row called r, and the same of an object; namespace and name decide what is equal."""

    columns: tuple[str, ...]
    key: Key


def _restarts(item: Mapping[str, Any]) -> int:
    states = (item.get("status") or {}).get("containerStatuses") or []
    return sum(one["restartCount"] for one in states if isinstance(one.get("restartCount"), int))


ORDERS: Mapping[str, Order] = {
    "name": Order((_NAME, _SPACE), lambda item: ()),
    "namespace": Order((_SPACE, _NAME), lambda item: ()),
    "created": Order(
        ("coalesce(r.created, 'epoch')", _SPACE, _NAME),
        lambda item: (item["metadata"].get("creationTimestamp") or "",),
    ),
    "status": Order(
        ("coalesce(r.data #>> '{status,phase}', '') COLLATE \"C\"", _SPACE, _NAME),
        lambda item: ((item.get("status") or {}).get("phase") or "",),
    ),
    "node": Order(
        ("coalesce(r.data #>> '{spec,nodeName}', '') COLLATE \"C\"", _SPACE, _NAME),
        lambda item: ((item.get("spec") or {}).get("nodeName") or "",),
    ),
    "restarts": Order((_RESTARTS, _SPACE, _NAME), lambda item: (_restarts(item),)),
}


def of(text: str) -> tuple[Order, bool]:
    """(the order, whether backwards) for `name` or `-name`; Invalid for one that there is not."""
    found = ORDERS.get(text.removeprefix("-"))
    if found is None:
        raise Invalid(
            f"orderby must be one of {', '.join(ORDERS)}, or one of these after a minus",
            field="orderby",
        )
    return found, text.startswith("-")


def sorted_objects(items: list[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    """The objects in that order."""
    order, backwards = of(text)
    by_name = text.removeprefix("-") == "name"

    def key(item: Mapping[str, Any]) -> tuple[Any, ...]:
        space, name = item["metadata"].get("namespace") or "", item["metadata"]["name"]
        return (*order.key(item), *((name, space) if by_name else (space, name)))

    return sorted(items, key=key, reverse=backwards)
