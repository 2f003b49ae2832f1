"""What an API server's refusal, or no answer at all, means in the errors of this project."""

from typing import Any

import orjson

from clusters.manifests import Object
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Expired,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NamespaceNotFound,
    NotFound,
    Rejected,
    TooManyRequests,
)

# A Status message is cut to so many characters: an admission webhook may write any length.
MAX_MESSAGE = 4000

_REFUSALS: dict[int, type[DomainError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    410: Expired,
    413: Rejected,
    415: Invalid,
    422: Rejected,
    429: TooManyRequests,
}


class AnswerTimeout(ClusterUnavailable):
    """Connected, but no whole answer in time."""


def not_an_api_server() -> ClusterUnavailable:
    """The error for an address where something else than an API server answers."""
    return ClusterUnavailable(
        "the address does not answer like a Kubernetes API server",
        reason="bad_answer",
    )


def redirect_error() -> ClusterUnavailable:
    """The error for a redirect: following it would send the credentials elsewhere."""
    return ClusterUnavailable(
        "the cluster's address redirects elsewhere; redirects are not followed",
        reason="redirect",
    )


def unreachable(reason: str, sentence: str, fault: str) -> ClusterUnavailable:
    """The error for a failed connection; arguments as `network_causes.describe` returns them."""
    details = {"reason": reason.removesuffix("_read")}
    if fault:
        details["tls"] = fault
    return ClusterUnavailable(f"the cluster cannot be reached: {sentence}", **details)


def status_error(status: int, data: bytes) -> DomainError:
    """The error for an answer with an HTTP status of 400 or more.

    `data` is the answer's body. The details of the error hold "status", and "reason" and "details"
    of the Status that the API server sent.
    """
    body = _status_body(data)
    message = str(body.get("message") or f"the API server answered HTTP {status}")[:MAX_MESSAGE]
    details: dict[str, Any] = {
        "reason": body.get("reason") or "",
        "status": status,
        "details": body.get("details") or {},
    }
    if status == 401:
        return _unauthorized(body, details)
    # Go's router says this, without a Status, for a group or version that is not served.
    if not body and status == 404 and data.strip() == b"404 page not found":
        details["reason"] = "NotFound"
        return NotFound("the cluster does not serve this kind of resource", **details)
    if not body and status < 500:
        details["reason"] = "bad_answer"
        return ClusterUnavailable(
            f"the address answers HTTP {status}, but not like a Kubernetes API server",
            **details,
        )
    if status == 404 and details["details"].get("kind") == "namespaces":
        return NamespaceNotFound(message, **details)
    if status in _REFUSALS:
        return _REFUSALS[status](message, **details)
    if status >= 500:
        details["reason"] = details["reason"] or "server_error"
        return ClusterUnavailable(message, **details)
    return Rejected(message, **details)


def _unauthorized(body: Object, details: dict[str, Any]) -> ClusterUnavailable:
    if body:
        sentence = "the cluster refuses the kubeconfig's credentials"
    else:
        sentence = (
            "the kubeconfig's credentials are refused with HTTP 401,"
            " but not as a Kubernetes API server does it: a proxy may stand before it"
        )
    return ClusterUnavailable(sentence, **{**details, "reason": "credential_invalid"})


def _status_body(data: bytes) -> Object:
    """The Status object in a body, {} when it holds anything else."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) and body.get("kind") == "Status" else {}
