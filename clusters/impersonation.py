"""The user on whose behalf this thread calls clusters; those with impersonation get the name.

None for the platform's own work.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from clusters import authority
from core.errors import Forbidden

# Names of the cluster's own components: impersonating one would give their rights.
RESERVED = "system:"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and their groups, as a cluster's RBAC knows them."""

    username: str
    groups: tuple[str, ...] = ()


ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))
# Called when a call goes to a cluster with impersonation, which few do: it costs a query.
Source = Callable[[], Identity | None]
_current: ContextVar[Source | None] = ContextVar("identity", default=None)


class _SingleRead:
    """A source that is asked once; `functools.cache` takes long to make, for every right asked."""

    __slots__ = ("_identities", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._identities: list[Identity | None] = []

    def __call__(self) -> Identity | None:
        if not self._identities:
            self._identities.append(self._source())
        return self._identities[0]


def current() -> Identity | None:
    """The current user's identity; None for the platform's own work."""
    source = _current.get()
    return source() if source else None


def set_current(source: Source | None) -> None:
    """Set the current user of this thread, until the next call."""
    _current.set(_SingleRead(source) if source else None)


@contextmanager
def act_as(source: Source | None) -> Iterator[None]:
    """Act on behalf of a user within the block."""
    token = _current.set(_SingleRead(source) if source else None)
    try:
        yield
    finally:
        _current.reset(token)


class ClearIdentityMiddleware:
    """Middleware: each request begins without a user.

    After a streamed answer was begun it is still needed.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Clear the user left by this thread's previous request, and this one's when it is over."""
        _clear()
        response = self.get_response(request)
        if not response.streaming:
            _clear()
        return response


def _clear() -> None:
    set_current(None)
    authority.clear()


def headers(identity: Identity | None) -> list[tuple[str, str]]:
    """The headers Impersonate-User and Impersonate-Group.

    Groups of the cluster itself are left out; Forbidden for a user with a name of that kind.
    """
    if identity is None:
        return []
    groups = identity.groups
    # The anonymous user has names of the cluster itself, which no other identity may have.
    if identity != ANONYMOUS:
        if not _is_sendable(identity.username):
            raise Forbidden("a user of this name cannot act in a cluster with impersonation")
        groups = tuple(group for group in groups if _is_sendable(group))
    return [
        ("Impersonate-User", identity.username),
        *(("Impersonate-Group", group) for group in groups),
    ]


def wire_headers(identity: Identity | None) -> list[tuple[str, str]]:
    """`headers` for urllib3, which writes headers as Latin-1, while names are sent as UTF-8."""
    return [(name, value.encode().decode("latin-1")) for name, value in headers(identity)]


def _is_sendable(name: str) -> bool:
    return bool(name) and name.isprintable() and not name.lower().startswith(RESERVED)
