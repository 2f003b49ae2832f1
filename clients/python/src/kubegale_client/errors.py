"""What can go wrong: one class for each failure that a caller may want to handle."""

from collections.abc import Mapping
from typing import Any


class KubeGaleError(Exception):
    """A call that failed.

    `code`, `message` and `details` are the server's. `status` is the HTTP status; `request_id`
    finds the call in the server's log and audit trail.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 0,
        details: Mapping[str, Any] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{message} (code {code})" if code else message)
        self.code = code
        self.message = message
        self.status = status
        self.details = dict(details or {})
        self.request_id = request_id


class InvalidRequest(KubeGaleError):
    """1001: the server does not understand, or does not accept, the request."""


class NotFound(KubeGaleError):
    """1002, 1003, 1004: no such cluster, namespace or object."""


class Forbidden(KubeGaleError):
    """1005: the caller lacks the right."""


class ClusterUnavailable(KubeGaleError):
    """1006: the cluster does not answer; `details["cause"]` says why where that is known."""


class Refused(KubeGaleError):
    """1007, 1008, 1009: the cluster refused to create, change or delete."""


class ConfirmationRequired(KubeGaleError):
    """1010: nothing was done yet; the same call succeeds with `confirm=error.token`.

    A token works once, and for two minutes.
    """

    @property
    def token(self) -> str:
        """The confirmation token."""
        return str(self.details.get("confirm_token", ""))

    @property
    def impact(self) -> Mapping[str, Any]:
        """What would happen: counts of pods, claims and children, and warnings."""
        impact: Mapping[str, Any] = self.details.get("impact") or {}
        return impact


class NotSignedIn(KubeGaleError):
    """2001, 2002: no token, or one that is invalid or expired."""


class ServerError(KubeGaleError):
    """5001, and answers that are not KubeGale's: the fault is not the caller's."""


class NotReachable(KubeGaleError):
    """The server did not answer in time, or could not be reached.

    Whether it did what was asked is not known.
    """


class WaitTimeout(KubeGaleError):
    """The operation goes on, but took longer than `timeout`; `details` is its last state."""


class OperationFailed(KubeGaleError):
    """The operation ended without success; `details` is the operation."""


BY_CODE: Mapping[int, type[KubeGaleError]] = {
    1001: InvalidRequest,
    1002: NotFound,
    1003: NotFound,
    1004: NotFound,
    1005: Forbidden,
    1006: ClusterUnavailable,
    1007: Refused,
    1008: Refused,
    1009: Refused,
    1010: ConfirmationRequired,
    2001: NotSignedIn,
    2002: NotSignedIn,
    5001: ServerError,
}
EXPIRED = 2002
