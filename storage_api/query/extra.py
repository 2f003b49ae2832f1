"""The `extra` parameter: base64 of a JSON object {"dotted.path": value}, decoded with every spelling that clients send."""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from storage_api.query import jsontext, paths
from storage_api.query.paths import Path

MAX_CONDITIONS = 64


@dataclass(frozen=True, slots=True)
class Equals:
    """The path reaches a value equal to any of the wanted ones, by Mongo's rules."""

    path: Path
    wanted: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """The path reaches a text that holds the wanted one."""

    path: Path
    wanted: str


def decode(text: str) -> dict[str, Any]:
    """The JSON object behind the parameter; Invalid when it is not base64 of one.

    Standard and URL-safe alphabets, with or without padding; a space stands for a `+` that was not percent-encoded.
    """
    letters = text.strip("\r\n").replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        raw = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("extra is not base64") from None
    value = jsontext.load(raw)
    if not isinstance(value, dict):
        raise Invalid("extra is not a JSON object")
    if len(value) > MAX_CONDITIONS:
        raise Invalid(f"extra has more than {MAX_CONDITIONS} conditions")
    return value


def conditions(text: str, *, any_of: bool, given: Collection[str] = ()) -> list[Equals]:
    """The conditions of an `extra` parameter. `any_of`: an array means any of its elements (typed queries, events), else the array itself.

    `given` names the document keys that the URL fixes; conditions on those are dropped, the URL wins.
    """
    if not text:
        return []
    return [
        Equals(paths.parse(key), tuple(value) if any_of and isinstance(value, list) else (value,))
        for key, value in decode(text).items()
        if key not in given
    ]


def contained(text: str) -> list[Contains]:
    """The conditions of an `extra_contain` parameter, whose values are texts."""
    if not text:
        return []
    found = decode(text)
    if not all(isinstance(value, str) for value in found.values()):
        raise Invalid("extra_contain takes texts only")
    return [Contains(paths.parse(key), value) for key, value in found.items()]
