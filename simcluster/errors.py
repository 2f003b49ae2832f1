"""Refusals of the API server: `Status` objects word for word as Kubernetes writes them."""

from typing import Any

from simcluster.resources import Object, Resource


class ApiError(Exception):
    """A refusal: an HTTP status and the `Status` body that goes with it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> Object:
        """The `Status` object."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        body["reason"] = self.reason
        # The order of the members is that of Go's struct.
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def success(*, details: Object | None = None, code: int | None = None) -> Object:
    """The `Status` of a success without an object to show."""
    body: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
    }
    if details is not None:
        body["details"] = details
    if code is not None:
        body["code"] = code
    return body


def _about(resource: Resource, name: str) -> Object:
    # Go's omitempty: the core group is not written.
    group = {"group": resource.group} if resource.group else {}
    return {**({"name": name} if name else {}), **group, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    """404 for an object that does not exist."""
    return ApiError(
        404,
        "NotFound",
        f'{resource.qualified} "{name}" not found',
        details=_about(resource, name),
    )


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 for a name that is taken."""
    return ApiError(
        409,
        "AlreadyExists",
        f'{resource.qualified} "{name}" already exists',
        details=_about(resource, name),
    )


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    """409 for a write that the present state refuses."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_about(resource, name))


def stale(resource: Resource, name: str) -> ApiError:
    """409 for a write on an older resourceVersion."""
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version "
        "and try again",
    )


def bad_request(message: str) -> ApiError:
    """400 for a request that cannot be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403 for a write that admission refuses."""
    return ApiError(
        403,
        "Forbidden",
        f'{resource.qualified} "{name}" is forbidden: {why}',
        details=_about(resource, name),
    )


def expired(what: str) -> ApiError:
    """410 for a resourceVersion that history no longer holds; `what` is `list` or `watch`."""
    return ApiError(410, "Expired", f"The resourceVersion for the provided {what} is too old.")


def unsupported_media_type() -> ApiError:
    """415 for a patch of an unknown content type."""
    return ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})


def method_not_allowed() -> ApiError:
    """405 for a verb that the resource lacks."""
    return ApiError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        details={},
    )


def too_many_requests(message: str, *, retry_after: int = 1) -> ApiError:
    """429 of the server's flow control."""
    return ApiError(
        429,
        "TooManyRequests",
        message,
        details={"retryAfterSeconds": retry_after},
        headers={"Retry-After": str(retry_after)},
    )


def invalid(kind: str, name: str, causes: list[Any], *, group: str = "") -> ApiError:
    """422 naming every bad field; `causes` are `validation.Cause`."""
    qualified = f"{kind}.{group}" if group else kind
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    # As Go's aggregate of errors prints one and several.
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    details: Object = {"name": name} if name else {}
    if group:
        details["group"] = group
    details["kind"] = kind
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    return ApiError(
        422,
        "Invalid",
        f'{qualified} "{name}" is invalid: {text}',
        details=details,
    )
