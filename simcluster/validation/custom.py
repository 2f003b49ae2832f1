"""Custom resources against their structural schema: defaults, then every rule that is broken."""

import re
from collections.abc import Iterator
from typing import Any

from simcluster.resources import Object
from simcluster.validation.causes import Cause, bad_value, required, unsupported

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
_WORDS = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
}


def fill_defaults(value: Any, schema: Object) -> None:
    """Write the schema's defaults into an object, in place."""
    if isinstance(value, dict):
        for key, child in (schema.get("properties") or {}).items():
            # Parents first: a default object may lack members with defaults of their own.
            if key not in value and "default" in child:
                value[key] = child["default"]
            if key in value:
                fill_defaults(value[key], child)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for key, item in value.items():
                if key not in (schema.get("properties") or {}):
                    fill_defaults(item, extra)
    elif isinstance(value, list):
        for item in value:
            fill_defaults(item, schema.get("items") or {})


def causes(value: Any, schema: Object, field: str = "") -> Iterator[Cause]:
    """Every broken rule of types, required fields, choices and bounds."""
    kind = schema.get("type")
    # Such a field allows two types, so the schema names none that could be checked.
    if schema.get("x-kubernetes-int-or-string"):
        kind = None
    if kind in _TYPES and (
        not isinstance(value, _TYPES[kind])
        # In Python a bool is an int; in JSON it is not.
        or (isinstance(value, bool) and kind in ("integer", "number"))
    ):
        type_name = _WORDS.get(type(value), "null")
        yield Cause(
            "FieldValueTypeInvalid",
            f'Invalid value: "{type_name}": {field} in body must be of type {kind}: "{type_name}"',
            field,
        )
        return
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(field, value, [str(choice) for choice in schema["enum"]])
    yield from _bounds(value, schema, field)
    if isinstance(value, dict):
        yield from _members(value, schema, field)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from causes(item, schema.get("items") or {}, f"{field}[{index}]")


def _members(value: Object, schema: Object, field: str) -> Iterator[Cause]:
    for key in schema.get("required") or ():
        if key not in value:
            yield required(f"{field}.{key}" if field else key)
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for key, item in value.items():
        # `additionalProperties: true` allows members of any form.
        child = properties.get(key) or (extra if isinstance(extra, dict) else None)
        if child is not None:
            yield from causes(item, child, f"{field}.{key}" if field else key)


def _bounds(value: Any, schema: Object, field: str) -> Iterator[Cause]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            yield bad_value(
                field,
                value,
                f"{field} in body should be greater than or equal to {schema['minimum']}",
            )
        if "maximum" in schema and value > schema["maximum"]:
            yield bad_value(
                field,
                value,
                f"{field} in body should be less than or equal to {schema['maximum']}",
            )
    elif isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield bad_value(
                field,
                value,
                f"{field} in body should match '{schema['pattern']}'",
            )
        if len(value) < schema.get("minLength", 0):
            yield bad_value(
                field,
                value,
                f"{field} in body should be at least {schema['minLength']} chars long",
            )
        if len(value) > schema.get("maxLength", len(value)):
            yield Cause(
                "FieldValueTooLong",
                f"Too long: may not be more than {schema['maxLength']} bytes",
                field,
            )
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield bad_value(
                field,
                len(value),
                f"{field} in body should have at least {schema['minItems']} items",
            )
        if len(value) > schema.get("maxItems", len(value)):
            yield Cause(
                "FieldValueTooMany",
                f"Too many: {len(value)}: must have at most {schema['maxItems']} items",
                field,
            )
