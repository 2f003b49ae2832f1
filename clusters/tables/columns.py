"""What a column of a table is, and the columns that many kinds share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clusters.manifests import Object
from clusters.tables.values import (
    format_age,
    format_labels,
    format_selector,
    get,
    join_fields,
    mappings_at,
    number_at,
    text_at,
)

Cell = Callable[[Object, datetime], Any]
NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some "
    "resources may allow a client to request the generation of an appropriate name automatically. "
    "Name is primarily intended for creation idempotence and configuration definition. Cannot be "
    "updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
AGE_DESCRIPTION = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. "
    "It is not guaranteed to be set in happens-before order across separate operations. Clients "
    "may not set this value. It is represented in RFC3339 form and is in UTC.\n\n"
    "Populated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its definition as a Table has it, and what fills it.

    `cell` gets the object and the moment that ages count from. Columns with a `priority` are shown
    by `-o wide` only.
    """

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    @property
    def definition(self) -> dict[str, Any]:
        """The TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def text_column(
    name: str,
    path: str,
    default: str = "",
    *,
    wide: bool = False,
) -> Column:
    """A column of the text at a dotted path."""
    return Column(
        name,
        lambda obj, now: text_at(obj, path, default),
        priority=int(wide),
    )


def number_column(
    name: str,
    path: str,
    default: int = 0,
    *,
    type: str = "integer",
) -> Column:
    """A column of the number at a dotted path."""
    return Column(
        name,
        lambda obj, now: number_at(obj, path, default),
        type=type,
    )


def count_column(
    name: str,
    path: str,
    *,
    type: str = "integer",
) -> Column:
    """A column of how many members a list or mapping has."""
    return Column(
        name,
        lambda obj, now: len(get(obj, path) or ()),
        type=type,
    )


def labels_column(
    name: str,
    path: str,
    *,
    wide: bool = False,
) -> Column:
    """A column of the labels at a dotted path."""
    return Column(
        name,
        lambda obj, now: format_labels(get(obj, path)),
        priority=int(wide),
    )


def selector_column(
    name: str,
    path: str,
    default: str = "",
    *,
    wide: bool = True,
) -> Column:
    """A column of the LabelSelector at a dotted path."""
    return Column(
        name,
        lambda obj, now: format_selector(get(obj, path)) or default,
        priority=int(wide),
    )


def template_columns(path: str) -> tuple[Column, Column]:
    """The names and images of the containers of the pod template at a dotted path."""
    containers = f"{path}.spec.containers"
    return (
        Column(
            "Containers",
            lambda obj, now: join_fields(
                mappings_at(obj, containers),
                "name",
            ),
            priority=1,
            description="Names of each container in the template.",
        ),
        Column(
            "Images",
            lambda obj, now: join_fields(
                mappings_at(obj, containers),
                "image",
            ),
            priority=1,
            description="Images referenced by each container in the template.",
        ),
    )


NAME = Column(
    "Name",
    lambda obj, now: text_at(obj, "metadata.name"),
    format="name",
    description=NAME_DESCRIPTION,
)
AGE = Column(
    "Age",
    lambda obj, now: format_age(
        get(obj, "metadata.creationTimestamp"),
        now,
    ),
    description=AGE_DESCRIPTION,
)
CREATED_AT = Column(
    "Created At",
    lambda obj, now: text_at(obj, "metadata.creationTimestamp"),
    description=AGE_DESCRIPTION,
)
DEFAULT = (NAME, AGE)
