"""JSON that may enter the store: strict, of bounded depth, exact in its numbers, cut into raw members without building them."""

import re
from typing import Any, Final

import msgspec
import orjson

from kubegale.errors import Invalid

MAX_DEPTH: Final = 200

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def check(text: bytes) -> Any:
    """The parsed value; Invalid unless the text is strict JSON of at most 200 levels without NaN, Infinity, NUL or a lone surrogate."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not valid JSON: {error}") from None
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and too_deep(text):
        raise Invalid(f"JSON nests deeper than {MAX_DEPTH} levels")
    if b"\\u0000" in text and _NUL.search(text):
        raise Invalid("JSON holds a NUL character")
    return value


def load(text: bytes) -> Any:
    """As `check`, for small texts whose numbers matter: whole numbers stay exact beyond 64 bits."""
    check(text)
    return msgspec.json.decode(text)


def too_deep(text: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether the brackets of a valid JSON text nest deeper than the limit; each round takes the innermost level away."""
    brackets = _STRING.sub(b"", text).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(limit):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def members(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each as its own JSON text; Invalid when the text is not one."""
    if not isinstance(check(text), dict):
        raise Invalid("the body must be a JSON object")
    return {key: bytes(raw) for key, raw in _members.decode(text).items()}
