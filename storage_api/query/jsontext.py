"""JSON that may enter the store: strict, of bounded depth, exact in its numbers.

Objects are cut into raw members without building these.
"""

import re
from typing import Any, Final

import msgspec
import orjson

from core.errors import Invalid
from core.jsontext import check_shape

MAX_DEPTH: Final = 200

# An escaped NUL, and not a backslash followed by u0000.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def check(text: bytes) -> Any:
    """The parsed value of strict JSON of at most 200 levels.

    Invalid for anything else, also for NaN, Infinity, NUL or a lone surrogate.
    """
    check_shape(text, depth=MAX_DEPTH)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not valid JSON: {error}") from None
    # PostgreSQL's jsonb cannot store it. The expression is slow, so it only runs when it may match.
    if b"\\u0000" in text and _NUL.search(text):
        raise Invalid("JSON contains a NUL character")
    return value


def load(text: bytes) -> Any:
    """As `check`, for small texts whose numbers matter: whole numbers stay exact beyond 64 bits."""
    check(text)
    return msgspec.json.decode(text)


def members(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each as its own JSON text; Invalid when the text is not one."""
    if not isinstance(check(text), dict):
        raise Invalid("the body must be a JSON object")
    return {key: bytes(raw) for key, raw in _members.decode(text).items()}
