"""Calls the KubeGale API in process, for a caller who came another way: console or agents.

The view behind the address answers, so permissions, audit, confirmation, limits and errors are
those of every other caller.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Any

import orjson
from django.http import Http404, HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import resolve

from core.api.long_lived import share_authority
from core.api.rendering import dumps
from core.front import BEHIND_FRONT
from core.sockets.exchanges import ON_EVENT_LOOP, TransferResponse

BASE = "/api/v1/kubernetes/"
# An attribute of Django's request: by which other way the call came, "" for none.
_VIA = "_kubegale_via"
# The way of agents (Model Context Protocol); values of Secrets never leave by it.
AGENTS = "mcp"
# The outer request tells the API who called: audit lines and rate limits need the client's address,
# links in answers need the host and scheme under which KubeGale was reached.
FORWARDED_META = (
    "REMOTE_ADDR",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_HOST",
    "HTTP_USER_AGENT",
    "SERVER_NAME",
    "SERVER_PORT",
    BEHIND_FRONT,
)


class ApiRefusal(Exception):
    """The API refused a call.

    `code` is the API's error code, `details` the error's data, `status` an HTTP status for pages.
    """

    def __init__(
        self,
        code: int,
        message: str,
        details: Mapping[str, Any],
        status: int,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.status = status


@dataclass(frozen=True, slots=True)
class ApiResult:
    """The API's answer: the envelope's `data`, or the bytes of an answer without envelope."""

    data: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    response: HttpResponseBase | None = None


class InnerRequest(HttpRequest):
    """A request that was never on a wire; its scheme is that of the outer request."""

    outer_scheme: str | None = "http"

    def _get_scheme(self) -> str | None:
        return self.outer_scheme


def call(
    request: HttpRequest,
    method: str,
    path: str,
    *,
    query: Mapping[str, Any] | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    session: object = None,
    via: str = "",
) -> ApiResult:
    """Call the API and return its answer.

    `path` is under /api/v1/kubernetes/ unless it begins with a slash. `query` values may be lists;
    None and "" are left out. `body` is a mapping, bytes or text. The caller is who `session` (of
    the console) or the Authorization in `headers` says; `via` goes to the audit trail.
    Raises ApiRefusal for every failure.
    """
    address = path if path.startswith("/") else BASE + path
    inner = _build_request(request, method, address, query or {}, body, headers or {})
    inner.console_session = session  # type: ignore[attr-defined]
    setattr(inner, _VIA, via)
    try:
        match = resolve(address)
    except Http404:
        raise ApiRefusal(1004, f"no such route: {address}", {}, 404) from None
    inner.resolver_match = match
    response = match.func(inner, *match.args, **match.kwargs)
    if isinstance(response, TransferResponse):
        # The transfer checks again, while it lasts, what the inner request was allowed.
        share_authority(inner, request)
    return _read_response(response)


def via_of(request: HttpRequest) -> str:
    """By which other way than the wire a call came: AGENTS, or "" for none."""
    return str(getattr(request, _VIA, ""))


def require_segment(name: str) -> str:
    """Return a name that is one segment of `path`; ApiRefusal (404) for one that is not.

    The address is resolved as it is, without unquoting, so only separators are refused.
    """
    if "/" in name or name in ("", ".", ".."):
        raise ApiRefusal(1004, f"{name!r} is not a name", {}, 404)
    return name


def _encode_json(body: Any) -> bytes:
    """The body as JSON."""
    try:
        return dumps(body)
    except TypeError:
        # orjson refuses numbers of more than 64 bits; the API itself has to refuse them.
        return json.dumps(body).encode()


def _encode_body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return _encode_json(body)


def _build_request(
    request: HttpRequest,
    method: str,
    address: str,
    query: Mapping[str, Any],
    body: Any,
    headers: Mapping[str, str],
) -> InnerRequest:
    inner = InnerRequest()
    inner.method = method
    inner.path = address
    inner.path_info = address
    inner.outer_scheme = request.scheme
    inner.GET = _query_dict(query)  # type: ignore[assignment]
    content = _encode_body(body)
    inner.META = {name: request.META[name] for name in FORWARDED_META if name in request.META}
    inner.META |= {
        "REQUEST_METHOD": method,
        "PATH_INFO": address,
        "QUERY_STRING": inner.GET.urlencode(),
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        # WSGI has this header without the prefix.
        inner.META[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    inner._body = content
    inner._stream = BytesIO(content)
    inner.id = getattr(request, "id", "")  # type: ignore[attr-defined]
    if getattr(request, ON_EVENT_LOOP, False):
        setattr(inner, ON_EVENT_LOOP, True)
    return inner


def _query_dict(query: Mapping[str, Any]) -> QueryDict:
    parameters = QueryDict(mutable=True)
    for name, value in query.items():
        elements = value if isinstance(value, list | tuple) else [value]
        texts = [_query_text(element) for element in elements if element not in (None, "")]
        if texts:
            parameters.setlist(name, texts)
    return parameters


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _read_response(response: HttpResponseBase) -> ApiResult:
    if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
        response = response.render()
    content_type = str(response.get("Content-Type", ""))
    # Downloads, CSV and streamed answers have no envelope.
    has_envelope = content_type.startswith("application/json") and not response.streaming
    if not has_envelope or response.has_header("Content-Disposition"):
        _raise_for_status(response)
        content = b"" if response.streaming else response.content  # type: ignore[attr-defined]
        return ApiResult(content, dict(response.items()), response)
    envelope = orjson.loads(response.content)  # type: ignore[attr-defined]
    if envelope.get("code") != 0:
        raise ApiRefusal(
            envelope.get("code", 5001),
            envelope.get("msg", ""),
            envelope.get("data") or {},
            _http_status(response, envelope),
        )
    return ApiResult(envelope["data"], dict(response.items()), response)


def _raise_for_status(response: HttpResponseBase) -> None:
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        raise ApiRefusal(5001, response.reason_phrase, {}, response.status_code)


# HTTP status of each code of the KubeGale API, when HTTP_STATUS_MODE is semantic.
STATUS_OF_CODE = {
    1001: 400,
    1002: 404,
    1003: 404,
    1004: 404,
    1005: 403,
    1006: 502,
    1007: 422,
    1008: 422,
    1009: 422,
    1010: 409,
}


def _http_status(
    response: HttpResponseBase,
    envelope: Mapping[str, Any],
) -> int:
    """The HTTP status of a failure: the API's document answers most of them with 200."""
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        return response.status_code
    return STATUS_OF_CODE.get(int(envelope.get("code", 0)), 500)
