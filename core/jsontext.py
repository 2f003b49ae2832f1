"""JSON from outside: strict, and of bounded size and depth before it is parsed."""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from core.errors import Invalid, UnclearInput

MAX_DEPTH = 100
# More values than any object of a cluster has, and few enough to be read within a second.
MAX_MEMBERS = 500_000
# With fewer commas and brackets than this a body cannot hold too many values: it is not scanned.
SAFE_MARKS = 10_000
STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# A sign and the digits of a 64-bit number.
MAX_DIGITS = 20
HALF_PAIR = "{what} is not valid JSON: it holds half of a surrogate pair"
# How gzip and zstd begin.
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")


class Unrepresentable(Invalid):
    """A number or text that another reader of the same JSON would change silently."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def check_depth(value: object, limit: int = MAX_DEPTH) -> None:
    """Invalid when containers nest deeper than the limit."""
    layer: list[object] = [value]
    for _ in range(limit + 1):
        layer = [child for item in layer for child in _children(item)]
        if not layer:
            return
    raise Invalid(f"the body nests deeper than {limit} levels")


def _children(item: object) -> list[object]:
    """The containers directly inside a container."""
    members: Iterable[object] = ()
    if isinstance(item, dict):
        members = item.values()
    elif isinstance(item, list):
        members = item
    return [child for child in members if isinstance(child, dict | list)]


def check_shape(
    body: bytes,
    *,
    nodes: int = MAX_MEMBERS,
    depth: int = MAX_DEPTH,
) -> None:
    """Invalid when JSON holds more values or nests deeper than is read.

    It scans the text alone, before anything is parsed.
    """
    brackets = body.count(b"{") + body.count(b"[")
    marks = brackets + body.count(b",")
    if marks <= min(nodes, SAFE_MARKS) and brackets <= depth:
        return
    # Commas and brackets inside of strings do not count.
    bare = STRINGS.sub(b"", body)
    if bare.count(b",") + bare.count(b"{") + bare.count(b"[") > nodes:
        raise Invalid(f"the body holds more than {nodes} values")
    level = 0
    deepest = 0
    for bracket in bare.translate(None, NO_BRACKETS):
        # [ and { are the brackets whose second bit is set: 0x5b, 0x7b; ] and } are 0x5d, 0x7d.
        level += 1 if bracket & 2 else -1
        deepest = max(deepest, level)
    if deepest > depth:
        raise Invalid(f"the body nests deeper than {depth} levels")


def loads(
    body: bytes | str,
    *,
    last_wins: bool = False,
    what: str = "the body",
) -> Any:
    """Parse strict JSON; Invalid, Unrepresentable or UnclearInput when it is not.

    No NaN, no Infinity, no integer beyond 64 bits, no lone surrogates, at most MAX_DEPTH levels. A
    member that stands there twice with different values is refused, unless `last_wins`. Size and
    depth are limited before anything is parsed. `what` is the text's name in errors.
    """
    raw = _utf8(body, what)
    check_shape(raw)
    try:
        value = json.loads(
            raw,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=dict if last_wins else _members,
        )
        # Half of a surrogate pair can only be written as an escape, or as invalid UTF-8.
        if b"\\u" in raw or not raw.isascii():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise Invalid(f"the body nests deeper than {MAX_DEPTH} levels") from None
    except UnicodeEncodeError:
        raise Unrepresentable(HALF_PAIR.format(what=what)) from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} is not valid JSON: {_undecodable(error)}") from None
    except ValueError as error:
        raise Invalid(f"{what} is not valid JSON: {error}") from None
    check_depth([value])
    return value


def _utf8(body: bytes | str, what: str) -> bytes:
    """JSON text as UTF-8 without a byte order mark; UTF-16 and UTF-32 are converted.

    So every check of its bytes sees what the parser reads. Invalid for bytes that are no text.
    """
    if isinstance(body, bytes) and body.startswith(COMPRESSED):
        raise Invalid(f"{what} is compressed; send it without Content-Encoding")
    try:
        if isinstance(body, str):
            return body.encode()
        encoding = json.detect_encoding(body)
        if encoding == "utf-8":
            # Whether these are UTF-8 is seen when they are parsed; to decode them twice would be
            # dear.
            return body
        return body.decode(encoding).encode()
    except UnicodeEncodeError:
        raise Unrepresentable(HALF_PAIR.format(what=what)) from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} is not valid JSON: {_undecodable(error)}") from None


def _undecodable(error: UnicodeDecodeError) -> str:
    return f"byte {error.start + 1} is not {error.encoding.upper()} text"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; UnclearInput when a member stands in it twice with different values.

    A check could read one of them and the operation the other.
    """
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    for name, value in pairs:
        if members[name] != value:
            short = name[:100]
            raise UnclearInput(
                f"{short} is given twice with different values",
                field=short,
            )
    return members


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS or not -(2**63) <= int(text) < 2**64:
        raise Unrepresentable(f"the body is not valid JSON: {text[:60]} has more than 64 bits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"{text[:60]} is too large a number")
    return number
