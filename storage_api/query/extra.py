"""The `extra` parameter: base64 of a JSON object {"dotted.path": value}.

Every spelling that clients send is decoded.
"""

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
    """The path leads to a value that equals one of `values`, by Mongo's rules."""

    path: Path
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """The path leads to a text that contains `text`."""

    path: Path
    text: str


def decode(text: str) -> dict[str, Any]:
    """The JSON object behind the parameter; Invalid when it is not base64 of one.

    Standard and URL-safe alphabets, with or without padding.
    """
    letters = text.strip("\r\n").rstrip("=")
    # A plus that was not percent-encoded arrives as a space.
    letters = letters.replace(" ", "+").replace("-", "+").replace("_", "/")
    padding = "=" * (-len(letters) % 4)
    try:
        raw = base64.b64decode(letters + padding, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("extra is not base64") from None
    value = jsontext.load(raw)
    if not isinstance(value, dict):
        raise Invalid("extra is not a JSON object")
    if len(value) > MAX_CONDITIONS:
        raise Invalid(f"extra has more than {MAX_CONDITIONS} conditions")
    return value


def equalities(
    text: str,
    *,
    any_of: bool,
    fixed: Collection[str] = (),
) -> list[Equals]:
    """The conditions of an `extra` parameter; Invalid as `decode`.

    `any_of`: an array means any of its elements (typed queries, events), else the array itself.
    `fixed` names the document keys that the URL fixes; conditions on those are dropped.
    """
    if not text:
        return []
    conditions = []
    for key, value in decode(text).items():
        if key in fixed:
            continue
        is_choice = any_of and isinstance(value, list)
        conditions.append(Equals(paths.parse(key), tuple(value) if is_choice else (value,)))
    return conditions


def containments(text: str) -> list[Contains]:
    """The conditions of an `extra_contain` parameter, whose values are strings."""
    if not text:
        return []
    texts = decode(text)
    if not all(isinstance(value, str) for value in texts.values()):
        raise Invalid("extra_contain takes strings only")
    return [Contains(paths.parse(key), value) for key, value in texts.items()]
