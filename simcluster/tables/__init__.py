"""Tables (`as=Table`): what `kubectl get` prints."""

from collections.abc import Iterable
from functools import cache

import orjson

from simcluster.resources import Object, Resource
from simcluster.schema import document_v2
from simcluster.tables.cells import Column
from simcluster.tables.kinds import COLUMNS, DEFAULT

__all__ = ["columns_of", "definitions", "partial", "row", "table"]


@cache
def _metadata_docs() -> dict[str, str]:
    meta = orjson.loads(document_v2())["definitions"][
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    ]["properties"]
    return {name: meta[name]["description"] for name in ("name", "creationTimestamp")}


def columns_of(resource: Resource, printer: list[Object] | None = None) -> tuple[Column, ...]:
    """The columns of a kind; `printer` are a custom resource's additionalPrinterColumns."""
    if resource.custom:
        return (DEFAULT[0], *(Column.of_path(column) for column in printer)) if printer else DEFAULT
    return COLUMNS.get(resource.storage, DEFAULT)


def definitions(columns: Iterable[Column]) -> list[Object]:
    """The `columnDefinitions` of a table."""
    docs = _metadata_docs()
    described = {
        "Name": docs["name"],
        "Age": docs["creationTimestamp"],
        "Created At": docs["creationTimestamp"],
    }
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" if column.name == "Name" else column.format,
            "description": column.description or described.get(column.name, ""),
            "priority": column.priority,
        }
        for column in columns
    ]


def partial(obj: Object) -> Object:
    """The object as PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def row(obj: Object, columns: Iterable[Column], include: str) -> Object:
    """One table row; `include` is the query's includeObject: None, Metadata or Object."""
    table_row: Object = {"cells": [column.cell(obj) for column in columns]}
    if include == "Object":
        table_row["object"] = obj
    elif include != "None":
        table_row["object"] = partial(obj)
    return table_row


def table(rows: list[Object], columns: Iterable[Column], metadata: Object) -> Object:
    """A whole table."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions(columns),
        "rows": rows,
    }
