"""Reading request bodies and parameters: strict JSON for every Content-Type."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, QueryDict
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from core.errors import DomainError, Invalid, PayloadTooLarge
from core.front import BODY_LEFT
from core.jsontext import loads

# Some zeros in front, and what 64 bits can say.
WHOLE_NUMBER = re.compile(r"\s*[-+]?[0-9]{1,400}\s*\Z")
MAX_SEARCH_TEXT = 200
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
    """Allow the request a body of MAX_BODY_BYTES: its caller has credentials, or needs none."""
    request._request.caller_known = True  # type: ignore[attr-defined]


def claimed_size(request: HttpRequest) -> int:
    """How many bytes the request says that its body has; 0 when it does not say."""
    text = str(request.META.get("CONTENT_LENGTH") or "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _is_bare(request: HttpRequest) -> bool:
    """Whether the request came without a body, as most reads do: nothing is to be read or refused.

    A request that was made in process may have its body without a length.
    """
    meta = request.META
    if meta.get("CONTENT_LENGTH") not in (None, "", "0") or meta.get("HTTP_TRANSFER_ENCODING"):
        return False
    return not hasattr(request, "_body")


def raw_body(request: Request) -> bytes:
    """The request's body as bytes; PayloadTooLarge beyond the limit.

    The limit is MAX_BODY_BYTES, or MAX_ANONYMOUS_BODY_BYTES before `know_caller`. Of a body that is
    refused for its size so much is read and dropped that the client, which is still sending, sees
    the refusal.
    """
    plain = request._request
    if _is_bare(plain):
        return b""
    largest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    size = claimed_size(plain)
    # The front leaves bodies unread that show no credentials, and those that are too large for
    # anybody.
    is_left = plain.META.get(BODY_LEFT) and size <= largest
    has_credentials = getattr(plain, "caller_known", False) and not is_left
    limit = largest
    if not has_credentials:
        limit = min(settings.MAX_ANONYMOUS_BODY_BYTES, largest)
    if size > limit:
        _drain(plain, DRAINED_SIZES * largest)
        raise PayloadTooLarge(f"the body is larger than {limit} bytes")
    return bytes(plain.body)


def _drain(stream: HttpRequest, limit: int) -> None:
    left = limit
    while left > 0 and (part := stream.read(min(left, 1 << 16))):
        left -= len(part)


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


def search_text(query: Mapping[str, str], name: str) -> str:
    """A text that rows are searched for; "" without one.

    Invalid when it is longer than MAX_SEARCH_TEXT characters or has a NUL in it.
    """
    text = query.get(name, "")
    if len(text) > MAX_SEARCH_TEXT or "\0" in text:
        raise Invalid(
            f"{name} must be a text of at most {MAX_SEARCH_TEXT} characters",
            field=name,
        )
    return text


def split_words(text: str) -> list[str]:
    """The elements of a comma list, without blanks around them and without empty ones."""
    elements = [element.strip() for element in text.split(",")]
    return [element for element in elements if element]


def query_with_body(request: Request) -> QueryDict:
    """The query of a read together with the plain members of its JSON body.

    The query wins over the body. A body that is no JSON object counts as none.
    """
    try:
        members = json_body(request)
    except DomainError:
        members = {}
    if not members:
        return request._request.GET
    query = request._request.GET.copy()
    for name, value in members.items():
        text = _query_text(value)
        if name not in query and text is not None:
            query[name] = text
    return query


def _query_text(value: object) -> str | None:
    """A plain JSON value as it would stand in a query; None for null, lists and objects."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def boolean(value: object, name: str) -> bool:
    """true/false, 1/0 or yes/no, as JSON or as text; Invalid for anything else."""
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "true" | "1" | "yes":
            return True
        case "false" | "0" | "no" | "":
            return False
    raise Invalid(f"{name} must be true or false", field=name)


def dry_run(value: object) -> bool:
    """Whether to change nothing.

    Kubernetes' `All` is true too. Invalid for a parameter without a value: its sender thinks that
    it is set.
    """
    if value in ("All", ["All"]):
        return True
    if value == "":
        raise Invalid("dry_run must be true or false", field="dry_run")
    return boolean(value, "dry_run")


def integer(
    value: object,
    name: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
) -> int:
    """A whole number within bounds, as JSON or as text; Invalid for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Invalid(f"{name} must be a whole number", field=name)
    # Python reads 1_0 and the digits of every script, too.
    if isinstance(value, str) and not WHOLE_NUMBER.match(value):
        raise Invalid(f"{name} must be a whole number", field=name)
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise Invalid(f"{name} has more than 64 bits", field=name)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise Invalid(f"{name} must be {bounds}", field=name)
    return number


def moment(text: str, name: str) -> datetime | None:
    """A time as RFC 3339 or unix seconds, in UTC; None for nothing, Invalid for anything else."""
    try:
        if not text:
            return None
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        # A plus that was not percent-encoded arrives as a space.
        time = datetime.fromisoformat(text.replace(" ", "+"))
        if time.tzinfo is None:
            return time.replace(tzinfo=UTC)
        # OverflowError: year 1 or 9999 in another zone may lie outside of Python's years in UTC.
        return time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"{name} must be RFC 3339 or unix seconds", field=name) from None
