"""Tables (`as=Table`): the columns and rows that `kubectl get` prints, as the API server does.

The model is `k8s.io/kubernetes/pkg/printers/internalversion`. Everything here works on objects
alone; ages count from a moment that the caller names.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.tables.cluster_kinds import CLUSTER_KINDS
from clusters.tables.columns import DEFAULT, Column
from clusters.tables.network import NETWORK
from clusters.tables.pods import PODS, row_conditions
from clusters.tables.storage import STORAGE
from clusters.tables.values import INVALID
from clusters.tables.workloads import WORKLOADS
from core.errors import SHAPE_ERRORS

_COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "pods": PODS,
    **WORKLOADS,
    **NETWORK,
    **STORAGE,
    **CLUSTER_KINDS,
}
TABLE_VERSION = "meta.k8s.io/v1"


def built_in_columns(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind of the API server's own: its own ones, or name and age."""
    qualified = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    return _COLUMNS.get(qualified, DEFAULT)


def cells(
    obj: Object,
    columns: Sequence[Column],
    now: datetime,
) -> list[Any]:
    """The cells of an object's row."""
    return [_cell(obj, column, now) for column in columns]


def _cell(obj: Object, column: Column, now: datetime) -> Any:
    try:
        value = column.cell(obj, now)
    except SHAPE_ERRORS:
        # Programs may store objects that have not the shape of their kind.
        return INVALID
    # Clients read whole numbers as int64, and an answer takes no longer ones.
    is_too_long = isinstance(value, int) and not -(2**63) <= value < 2**63
    return INVALID if is_too_long else value


def conditions_of_row(kind: Kind, obj: Object) -> list[dict[str, str]]:
    """The conditions of an object's row; kubectl hides none of them by itself."""
    return row_conditions(obj) if kind.plural == "pods" and not kind.group else []


__all__ = [
    "TABLE_VERSION",
    "Column",
    "built_in_columns",
    "cells",
    "conditions_of_row",
]
