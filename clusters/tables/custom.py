"""The columns of custom kinds: the additionalPrinterColumns of their definition."""

from datetime import datetime
from typing import Any

import orjson

from clusters.manifests import Object
from clusters.tables import jsonpath
from clusters.tables.columns import DEFAULT, NAME, Column
from clusters.tables.values import INVALID, format_age, mappings_at


def columns_of_definition(
    definition: Object,
    version: str,
) -> tuple[Column, ...]:
    """The columns that a CustomResourceDefinition gives one of its versions."""
    for entry in mappings_at(definition, "spec.versions"):
        if entry.get("name") == version:
            columns = mappings_at(entry, "additionalPrinterColumns")
            return (NAME, *(_column(column) for column in columns)) if columns else DEFAULT
    return DEFAULT


def _column(entry: Object) -> Column:
    path = str(entry.get("jsonPath", ""))
    value_type = str(entry.get("type", "string"))

    def cell(obj: Object, now: datetime) -> Any:
        values = jsonpath.find(obj, path)
        return _cell(values[0], value_type, now) if values else None

    return Column(
        str(entry.get("name", "")),
        cell,
        type=value_type,
        format=str(entry.get("format", "")),
        priority=int(entry.get("priority") or 0),
        description=str(
            entry.get("description")
            or f"Custom resource definition column (in JSONPath format): {path}"
        ),
    )


def _cell(value: Any, value_type: str, now: datetime) -> Any:
    """A value as the API server prints it in a column of the type; None where it does not fit."""
    is_number = isinstance(
        value,
        int | float,
    ) and not isinstance(value, bool)
    match value_type:
        case "string":
            return _text(value)
        case "date" if isinstance(value, str):
            try:
                return format_age(value, now)
            except ValueError:
                return INVALID
        case "integer" if is_number:
            return int(value)
        case "number" if is_number:
            return float(value)
        case "boolean" if isinstance(value, bool):
            return value
    return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return orjson.dumps(value).decode()
    return str(value)
