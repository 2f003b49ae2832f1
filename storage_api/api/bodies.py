"""Request bodies as the published server reads them: JSON with any spelling of scalars."""

import re
from collections.abc import Collection
from typing import Any

import orjson

from core.errors import Invalid
from storage_api.query import jsontext, times

_WHOLE = re.compile(rb"-?[0-9]+\Z")


class Body:
    """A JSON object whose members are read by name; missing and null are the zero value."""

    def __init__(self, text: bytes) -> None:
        """Invalid unless the text is a JSON object that may be stored."""
        self.members = jsontext.members(text)

    def refuse_unknown(self, names: Collection[str]) -> None:
        """Invalid when the object has a member that is none of these names."""
        # {"dta": …} must not store an empty document.
        for name in self.members:
            if name not in names:
                raise Invalid(f"unknown member {name[:80]!r}", field=name[:80])

    def text(self, name: str) -> str:
        """A text; a number or boolean counts as its own text."""
        return scalar(self.members.get(name, b"null"), name)

    def whole(self, name: str) -> int:
        """An int64, or the text of one; "" is 0."""
        raw = self.members.get(name, b"null")
        if raw == b"null":
            return 0
        text = None
        if raw[:1] == b'"':
            text = scalar(raw, name) or "0"
        elif _WHOLE.match(raw):
            text = raw.decode()
        number = None if text is None else times.parse_int64(text)
        if number is None:
            raise Invalid(f"{name} must be a whole number")
        return number

    def json(self, name: str) -> str:
        """Any value as JSON text."""
        return self.members.get(name, b"null").decode()

    def object(self, name: str) -> dict[str, Any]:
        """A JSON object."""
        value = orjson.loads(self.members.get(name, b"null"))
        if not isinstance(value, dict | None):
            raise Invalid(f"{name} must be an object")
        return value or {}

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value = orjson.loads(self.members.get(name, b"null")) or []
        is_texts = isinstance(value, list) and all(isinstance(text, str) and text for text in value)
        if not is_texts:
            raise Invalid(f"{name} must be a list of texts")
        return value


def scalar(raw: bytes, name: str) -> str:
    """The text of a JSON scalar; Invalid for arrays and objects."""
    match raw[:1]:
        case b"{" | b"[":
            raise Invalid(f"{name} must not be an array or object")
        case b'"':
            return str(orjson.loads(raw))
        case b"n":
            return ""
    return raw.decode()


def parameters(text: bytes) -> dict[str, str]:
    """The parameters of a query as a flat JSON object; {} for an empty body.

    A member that is null is no parameter.
    """
    if not text.strip():
        return {}
    members = jsontext.members(text)
    return {name: scalar(raw, name) for name, raw in members.items() if raw != b"null"}
