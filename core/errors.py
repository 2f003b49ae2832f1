"""What can go wrong, as exceptions: a code, a sentence and details. HTTP is unknown here."""

from collections.abc import Mapping
from typing import Any, ClassVar

# What reading a document raises that has not the shape of its kind: programs may store any JSON.
SHAPE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class DomainError(Exception):
    """A failure with a stable `code`, a sentence for people and details for programs."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details


class Invalid(DomainError):
    """The caller's input cannot be used."""

    code = "invalid"


class UnclearInput(Invalid):
    """A parameter or member that the call does not read, or that has two values.

    `details["field"]` is its name.
    """


class PayloadTooLarge(Invalid):
    """The caller's body is larger than the limit."""

    code = "payload_too_large"


class NotFound(DomainError):
    """The object asked for does not exist."""

    code = "not_found"


class ClusterNotFound(NotFound):
    """No cluster is registered under that id or name."""

    code = "cluster_not_found"


class NamespaceNotFound(NotFound):
    """The namespace asked for does not exist in the cluster."""

    code = "namespace_not_found"


class RouteNotFound(NotFound):
    """No such route."""

    code = "route_not_found"


class MethodNotAllowed(DomainError):
    """The route exists but not for this method."""

    code = "method_not_allowed"


class Rejected(DomainError):
    """The API server refused a well-formed request (422, quota, immutable field …)."""

    code = "rejected"


class Conflict(Rejected):
    """The object exists already, or has changed since it was read."""

    code = "conflict"


class Expired(DomainError):
    """A list position or resource version is too old to continue from."""

    code = "expired"


class Forbidden(DomainError):
    """The caller, or the cluster's own credentials, lack the right."""

    code = "forbidden"


class Unauthenticated(DomainError):
    """Credentials are missing, garbled or revoked."""

    code = "unauthenticated"


class TokenExpired(Unauthenticated):
    """The credentials were good but have run out."""

    code = "token_expired"


class TooManyRequests(DomainError):
    """The caller should slow down; `details["retry_after"]` is in seconds."""

    code = "too_many_requests"


class ConfirmationRequired(DomainError):
    """A guarded operation must be repeated with a confirmation."""

    code = "confirmation_required"


class ClusterUnavailable(DomainError):
    """The cluster cannot be used right now; `details["reason"]` says why in one word.

    `details["cause"]` says more where the failure lies on the way to the cluster: refused, broken,
    timeout, dns, tls, bad_answer, redirect, address_refused, credentials, forbidden, server_error.
    """

    code = "cluster_unavailable"
    # Reason -> cause.
    CAUSES: ClassVar[Mapping[str, str]] = {
        "tcp": "broken",
        "credential_invalid": "credentials",
        "timeout": "timeout",
        "dns": "dns",
        "tls": "tls",
        "bad_answer": "bad_answer",
        "redirect": "redirect",
        "address_refused": "address_refused",
        "forbidden": "forbidden",
        "server_error": "server_error",
    }

    def __init__(self, message: str, **details: Any) -> None:
        if details.get("reason") == "refused":
            # The published reasons know no such word, only what kind of failure it is.
            details |= {"reason": "tcp", "cause": "refused"}
        if cause := self.CAUSES.get(str(details.get("reason", ""))):
            details.setdefault("cause", cause)
        super().__init__(message, **details)


class Internal(DomainError):
    """A fault of KubeGale; the request id leads to the log."""

    code = "internal"
