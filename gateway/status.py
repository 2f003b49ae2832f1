"""Kubernetes' Status objects, in which the gateway says what it refuses."""

from typing import Any

import orjson

from gateway.messages import Response
from gateway.request_info import RequestInfo

# The reason that an API server gives for a status.
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    431: "BadRequest",
    500: "InternalError",
    501: "BadRequest",
    502: "ServiceUnavailable",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status_object(
    code: int,
    message: str,
    *,
    reason: str = "",
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A `Failure` with an HTTP code; the reason is the usual one of the code."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or REASONS.get(code, "Unknown"),
    }
    if details:
        status["details"] = details
    status["code"] = code
    return status


def refusal(
    code: int,
    message: str,
    *,
    reason: str = "",
    info: RequestInfo | None = None,
    retry_after: int = 0,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """A Status as an answer. With `info` its details name what was asked for.

    `retry_after` is in seconds; client-go waits that long before it asks again.
    """
    details: dict[str, Any] = {}
    if info is not None and info.is_resource:
        details = {"name": info.name, "group": info.group, "kind": info.resource}
        details = {key: value for key, value in details.items() if value}
    more = headers
    if retry_after:
        details["retryAfterSeconds"] = retry_after
        more = (*headers, ("retry-after", str(retry_after)))
    body = orjson.dumps(status_object(code, message, reason=reason, details=details))
    return Response(code, body + b"\n", (("content-type", "application/json"), *more))


def unauthorized() -> Response:
    """401, in the words of an API server."""
    return refusal(401, "Unauthorized", headers=(("www-authenticate", 'Bearer realm="kubegale"'),))


def forbidden(username: str, info: RequestInfo, why: str = "") -> Response:
    """403, in the words of an API server, which kubectl prints.

    `why` says more, e.g. that a right is missing; it follows after a colon.
    """
    reason = f": {why}" if why else ""
    if not info.is_resource:
        message = f'forbidden: User "{username}" cannot {info.verb} path "{info.path}"{reason}'
        return refusal(403, message)
    return refusal(403, _forbidden_sentence(username, info) + reason, info=info)


def _forbidden_sentence(username: str, info: RequestInfo) -> str:
    qualified = f"{info.resource}.{info.group}" if info.group else info.resource
    name = f' "{info.name}"' if info.name else ""
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    where = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    return (
        f'{qualified}{name} is forbidden: User "{username}" cannot {info.verb} resource '
        f'"{resource}" in API group "{info.group}" {where}'
    )


def not_found(info: RequestInfo) -> Response:
    """404 of an object or path, in the words of an API server."""
    if not info.is_resource or not info.name:
        return refusal(404, "the server could not find the requested resource")
    qualified = f"{info.resource}.{info.group}" if info.group else info.resource
    return refusal(404, f'{qualified} "{info.name}" not found', info=info)


def method_not_allowed(message: str, info: RequestInfo | None = None) -> Response:
    """405 with a sentence that says why."""
    return refusal(405, message, info=info)
