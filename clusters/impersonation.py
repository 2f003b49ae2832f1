"""On whose behalf this thread works: what clusters with impersonation are told. Nobody is the platform's own work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from clusters import authority
from core.errors import Forbidden

# Names that belong to a cluster itself: to impersonate one would be to take the cluster's own power.
RESERVED = "system:"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and their groups, as a cluster's RBAC knows them."""

    username: str
    groups: tuple[str, ...] = ()


ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))
# Looked up when a cluster wants to know, which few do.
Source = Callable[[], Identity | None]
_current: ContextVar[Source | None] = ContextVar("identity", default=None)


def current() -> Identity | None:
    """Who it is, or nobody."""
    source = _current.get()
    return source() if source else None


def become(source: Source | None) -> None:
    """From here on, in this thread, until somebody else is named."""
    _current.set(cache(source) if source else None)


@contextmanager
def acting(source: Source | None) -> Iterator[None]:
    """Somebody for the length of a block."""
    before = _current.set(cache(source) if source else None)
    try:
        yield
    finally:
        _current.reset(before)


class Nobody:
    """Middleware: every request begins as nobody. It is not cleared afterwards: a streamed answer still runs then."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Forget whom this thread served last."""
        become(None)
        authority.forget()
        return self.get_response(request)


def headers(identity: Identity | None) -> list[tuple[str, str]]:
    """Impersonate-User and -Group. Groups that belong to the cluster itself are left out; Forbidden for a user of such a name."""
    if identity is None:
        return []
    if identity == ANONYMOUS:
        groups: tuple[str, ...] = identity.groups
    else:
        if not _is_sendable(identity.username):
            raise Forbidden("a user of this name cannot act in a cluster that is asked in its name")
        groups = tuple(group for group in identity.groups if _is_sendable(group))
    return [
        ("Impersonate-User", identity.username),
        *(("Impersonate-Group", group) for group in groups),
    ]


def wire_headers(identity: Identity | None) -> list[tuple[str, str]]:
    """The same for a library that writes headers as Latin-1: names go over the wire as UTF-8."""
    return [(name, value.encode().decode("latin-1")) for name, value in headers(identity)]


def _is_sendable(name: str) -> bool:
    return bool(name) and name.isprintable() and not name.lower().startswith(RESERVED)
