"""Reading request bodies and parameters: strict JSON whatever the Content-Type says."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson
from django.conf import settings
from django.http import HttpRequest
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from kubegale.errors import Invalid, PayloadTooLarge
from kubegale.front import BODY_LEFT

MAX_DEPTH = 100
# More values than any object of a cluster has, and few enough to be read within a second.
MAX_MEMBERS = 500_000
# Up to so many commas and brackets nothing has to be looked at twice.
SAFE_MARKS = 10_000
STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# A sign and what 64 bits can say.
MAX_DIGITS = 20
LONG_NUMBER = re.compile(rb"[0-9]{18}|[eE][-+]?[0-9]{3}")
# How many times the largest body is still read from a client that sends too much.
DRAINED_SIZES = 4


class BodyParser(BaseParser):
    """Takes any Content-Type and leaves the bytes alone; `json_body` reads them."""

    media_type = "*/*"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The raw body."""
        return stream.read() if stream is not None else b""


def know_caller(request: Request) -> None:
    """From here on the request's body may be as large as MAX_BODY_BYTES: its caller is known, or need not be."""
    request._request.caller_known = True  # type: ignore[attr-defined]


def claimed_size(request: HttpRequest) -> int:
    """How many bytes the request says that its body has; 0 when it does not say."""
    text = str(request.META.get("CONTENT_LENGTH") or "")
    return int(text) if text.isascii() and text.isdigit() else 0


def raw_body(request: Request) -> bytes:
    """The request's body as bytes; PayloadTooLarge beyond MAX_BODY_BYTES, or MAX_ANONYMOUS_BODY_BYTES while nobody is known.

    Of a body that is refused for its size so much is read and dropped that the client, which is still sending, sees the refusal.
    """
    plain = request._request
    largest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    limit = min(settings.MAX_ANONYMOUS_BODY_BYTES, largest)
    if getattr(plain, "caller_known", False) and not plain.META.get(BODY_LEFT):
        limit = largest
    if claimed_size(plain) > limit:
        _drain(plain, DRAINED_SIZES * largest)
        raise PayloadTooLarge(f"the body is larger than {limit} bytes")
    return bytes(plain.body)


def _drain(stream: HttpRequest, limit: int) -> None:
    left = limit
    while left > 0 and (part := stream.read(min(left, 1 << 16))):
        left -= len(part)


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
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]


def check_shape(body: bytes, *, nodes: int = MAX_MEMBERS) -> None:
    """Invalid when JSON holds more values or nests deeper than is read; looks at the text alone, before it is parsed."""
    bare = body
    if body.count(b",") + body.count(b"{") + body.count(b"[") > min(nodes, SAFE_MARKS):
        # What stands inside of texts does not count.
        bare = STRINGS.sub(b"", body)
        if bare.count(b",") + bare.count(b"{") + bare.count(b"[") > nodes:
            raise Invalid(f"the body holds more than {nodes} values")
    elif body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        bare = STRINGS.sub(b"", body)
    else:
        return
    level = deepest = 0
    for bracket in bare.translate(None, NO_BRACKETS):
        # [ and { are the ones whose second bit is set: 0x5b, 0x7b; ] and } are 0x5d, 0x7d.
        level += 1 if bracket & 2 else -1
        deepest = max(deepest, level)
    if deepest > MAX_DEPTH:
        raise Invalid(f"the body nests deeper than {MAX_DEPTH} levels")


def loads(body: bytes | str) -> Any:
    """Strict JSON: no NaN, no Infinity, no integer beyond 64 bits, no lone surrogates, at most 100 levels.

    Size and depth are limited before anything is parsed.
    """
    try:
        raw = body.encode() if isinstance(body, str) else body
    except UnicodeEncodeError:
        raise Invalid("the body is not valid JSON: it holds half of a surrogate pair") from None
    check_shape(raw)
    if not LONG_NUMBER.search(raw):
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            # Read once more by the one that says what is wrong, and that takes byte order marks and UTF-16.
            value = _slowly(raw)
    else:
        value = _slowly(raw)
    check_depth([value])
    return value


def _slowly(raw: bytes) -> Any:
    try:
        value = json.loads(
            raw, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole
        )
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise Invalid(f"the body nests deeper than {MAX_DEPTH} levels") from None
    except UnicodeEncodeError:
        raise Invalid("the body is not valid JSON: it holds half of a surrogate pair") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is not valid JSON: {error}") from None
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"{text[:60]} has more than 64 bits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"{text[:60]} is too large a number")
    return number


def json_body(request: Request, *, empty_ok: bool = True) -> dict[str, Any]:
    """The body as a JSON object; an empty body is {} unless forbidden."""
    body = raw_body(request)
    if not body.strip():
        if empty_ok:
            return {}
        raise Invalid("the body is empty")
    value = loads(body)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object")
    return value


def boolean(value: object, name: str) -> bool:
    """true/false, 1/0, as JSON or as text."""
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "true" | "1" | "yes":
            return True
        case "false" | "0" | "no" | "":
            return False
    raise Invalid(f"{name} must be true or false")


def integer(
    value: object, name: str, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    """A whole number within bounds, as JSON or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Invalid(f"{name} must be a whole number")
    try:
        number = int(value)
    except ValueError:
        raise Invalid(f"{name} must be a whole number") from None
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise Invalid(
            f"{name} must be {'at least ' + str(minimum) if maximum is None else f'from {minimum} to {maximum}'}"
        )
    return number


def moment(text: str, name: str) -> datetime | None:
    """A time as RFC 3339 or unix seconds, None for nothing; Invalid for anything else."""
    try:
        if not text:
            return None
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        # A plus that was not percent-encoded arrives as a space.
        found = datetime.fromisoformat(text.replace(" ", "+"))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"{name} must be RFC 3339 or unix seconds", field=name) from None
