"""What the gateway reads of a request, and what it answers where it answers itself."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters.cluster_fields import FLEET
from gateway.request_info import RequestInfo


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: `/kube/{cluster}` or `/kube/fleet`, each perhaps with `@{time}`.

    `cluster` is the name as the client wrote it, decoded; "fleet" for the fleet. `time` is the text
    after the `@`, not checked yet; None for now.
    """

    cluster: str
    time: str | None = None

    @property
    def is_fleet(self) -> bool:
        """Whether all visible clusters are meant."""
        return self.cluster == FLEET

    @property
    def is_live(self) -> bool:
        """Whether the cluster itself answers, not the store."""
        return not self.is_fleet and self.time is None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `credential` is what `access.streams.credential` gives: it is asked again later.

    `address` is the client's, "" where it is not known.
    """

    credential: Mapping[str, Any]
    address: str = ""

    @property
    def username(self) -> str:
        """The user's name in KubeGale."""
        return str(self.credential["username"])

    @property
    def user(self) -> int:
        """The user's id."""
        return int(self.credential["user"])


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body.

    `path` is below the target, decoded and checked, e.g. `/api/v1/pods`; `raw_target` is the same
    with its query as the client sent it, e.g. `/api/v1/pods?limit=500`. Names of headers are in
    lower case. `query` is decoded, in the client's order; a name may stand in it several times.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    raw_target: str
    http_version: str = "1.1"

    def header(self, name: str) -> str:
        """The first header of the (lower-case) name, "" without one."""
        return next((value for key, value in self.headers if key == name), "")

    def parameter(self, name: str) -> str | None:
        """The first query parameter of the name, None without one."""
        return next((value for key, value in self.query if key == name), None)


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose caller is known; whether they may do it is not decided yet.

    `request_id` is that of the answer's X-Request-Id and of the audit trail.
    """

    head: RequestHead
    info: RequestInfo
    target: Target
    caller: Caller
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the gateway itself.

    Bytes are sent with their length, chunks of an iterator as they come: each is flushed at once.
    """

    status: int
    body: bytes | AsyncIterator[bytes]
    headers: tuple[tuple[str, str], ...] = field(
        default=(("content-type", "application/json"),),
    )
