"""The console's only way to clusters, tenants and the rest: the KubeGale API, called in process as the person who is signed in.

The very view behind the address answers, so that rights, audit, confirmation, limits and errors are those of every other caller.
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

from access.authentication import ConsoleSession
from core.api.rendering import dumps
from core.front import BEHIND_FRONT

BASE = "/api/v1/kubernetes/"
# What of the page's request the API is to know: where it came from, and under which name and scheme it reached us.
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
    """The API said no: its `code`, its sentence, what else it said (`details`) and the HTTP status that fits."""

    def __init__(self, code: int, message: str, details: Mapping[str, Any], status: int) -> None:
        super().__init__(message)
        self.code, self.message, self.details, self.status = code, message, details, status


@dataclass(frozen=True, slots=True)
class ApiResult:
    """What the API answered: the envelope's `data`, or the bytes of an answer that has no envelope."""

    data: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    response: HttpResponseBase | None = None


class InnerRequest(HttpRequest):
    """A request that never was on a wire; it is as secure as the one that it was made for."""

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
) -> ApiResult:
    """Ask the API; `path` is under /api/v1/kubernetes/ unless it begins with a slash, `body` a mapping, bytes or text.

    `query` values may be lists; None and "" are left out. Raises Refused for every failure.
    """
    address = path if path.startswith("/") else BASE + path
    inner = _build_request(request, method, address, query or {}, body, headers or {})
    try:
        inner.resolver_match = match = resolve(address)
    except Http404:
        raise ApiRefusal(1004, f"no such route: {address}", {}, 404) from None
    response = match.func(inner, *match.args, **match.kwargs)
    return _read_response(response)


def require_segment(name: str) -> str:
    """A name as one segment of `path`: the address is looked up as it is, so only what would divide it is refused."""
    if "/" in name or name in ("", ".", ".."):
        raise ApiRefusal(1004, f"{name!r} is not a name", {}, 404)
    return name


def _encode_json(body: Any) -> bytes:
    """The body as JSON; numbers of more than 64 bits as well, so that the API says what is wrong with them."""
    try:
        return dumps(body)
    except TypeError:
        return json.dumps(body).encode()


def _build_request(
    request: HttpRequest,
    method: str,
    address: str,
    query: Mapping[str, Any],
    body: Any,
    headers: Mapping[str, str],
) -> InnerRequest:
    inner = InnerRequest()
    inner.method, inner.path, inner.path_info = method, address, address
    inner.outer_scheme = request.scheme
    inner.GET = _query_dict(query)  # type: ignore[assignment]
    content = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else b""
        if body is None
        else _encode_json(body)
    )
    inner.META = {name: request.META[name] for name in FORWARDED_META if name in request.META}
    inner.META |= {
        "REQUEST_METHOD": method,
        "PATH_INFO": address,
        "QUERY_STRING": inner.GET.urlencode(),
    }
    inner.META |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(content))}
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        inner.META[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    inner._body, inner._stream = content, BytesIO(content)
    inner.id = getattr(request, "id", "")  # type: ignore[attr-defined]
    inner.console_session = ConsoleSession.of(request)  # type: ignore[attr-defined]
    return inner


def _query_dict(query: Mapping[str, Any]) -> QueryDict:
    parameters = QueryDict(mutable=True)
    for name, value in query.items():
        values = value if isinstance(value, list | tuple) else [value]
        if texts := [
            _query_text(element) for element in values if element is not None and element != ""
        ]:
            parameters.setlist(name, texts)
    return parameters


def _query_text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _read_response(response: HttpResponseBase) -> ApiResult:
    if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
        response = response.render()
    if response.streaming or not str(response.get("Content-Type", "")).startswith(
        "application/json"
    ):
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


def _http_status(response: HttpResponseBase, envelope: Mapping[str, Any]) -> int:
    """The document answers most failures with 200; a page does not."""
    code = response.status_code
    return (
        code
        if code >= HTTPStatus.BAD_REQUEST
        else STATUS_OF_CODE.get(int(envelope.get("code", 0)), 500)
    )
