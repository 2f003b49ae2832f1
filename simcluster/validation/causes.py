"""Causes: why a field is refused, in the API server's words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Cause:
    """One bad field."""

    reason: str
    message: str
    field: str


def quote(value: Any) -> str:
    """A value as messages quote it."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def required(field: str, why: str = "") -> Cause:
    """The field is missing."""
    return Cause(
        "FieldValueRequired",
        f"Required value: {why}" if why else "Required value",
        field,
    )


def bad_value(field: str, value: Any, why: str) -> Cause:
    """The field's value breaks a rule."""
    return Cause("FieldValueInvalid", f"Invalid value: {quote(value)}: {why}", field)


def forbidden(field: str, why: str) -> Cause:
    """The field must not be set or changed."""
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def duplicate(field: str, value: Any) -> Cause:
    """The value is there twice."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {quote(value)}", field)


def unsupported(field: str, value: Any, choices: Iterable[str]) -> Cause:
    """The value is none of the choices."""
    listed = ", ".join(f'"{choice}"' for choice in sorted(choices))
    return Cause(
        "FieldValueNotSupported",
        f"Unsupported value: {quote(value)}: supported values: {listed}",
        field,
    )


def choice_causes(field: str, value: Any, choices: Iterable[str]) -> Iterator[Cause]:
    """The value must be one of the choices."""
    if value not in choices:
        yield unsupported(field, value, choices)


def missing_reference(field: str, value: Any) -> Cause:
    """The value names something that is not there."""
    return Cause("FieldValueNotFound", f"Not found: {quote(value)}", field)
