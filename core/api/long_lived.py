"""What lasts longer than its request: with what right it goes on, looked at again while it does.

Every streamed answer of a `DialectView` passes through `guard`; sockets do the same in `core.sockets.handshake`, operations between
their steps.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.request import Request

from core.errors import ClusterUnavailable, DomainError, Forbidden, Unauthenticated

if TYPE_CHECKING:
    from core.api.auth import Act, Scope

ATTRIBUTE = "_kubegale_authority"


class StreamPolicy(Protocol):
    """What lasts longer than a request: noting a caller's credentials, and looking at them and the right again later."""

    def credential(self, request: Request) -> dict[str, Any]: ...

    def still_allowed(self, credential: Mapping[str, Any], act: "Act | None") -> None: ...

    def scopes(
        self, credential: Mapping[str, Any], acts: "Sequence[Act]"
    ) -> "list[Scope | None]": ...

    def require_cluster(self, act: "Act") -> None: ...

    def sign_in(self, bearer: str) -> dict[str, Any]: ...


def stream_policy() -> StreamPolicy:
    """The module named by STREAM_POLICY."""
    return cast(StreamPolicy, _stream_policy(settings.STREAM_POLICY))


@lru_cache(maxsize=1)
def _stream_policy(dotted: str) -> object:
    return import_module(dotted)


# --- with what right ------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Authority:
    """A request's caller, the acts that they were let do, and those of them whose answers show values of Secrets."""

    request: Request
    acts: "list[Act]" = field(default_factory=list)
    revealing: "set[Act]" = field(default_factory=set)

    def credential(self) -> dict[str, Any]:
        """What to look at later, as the stream policy notes it; empty for the caller of an open dialect."""
        if not self.request.user.is_authenticated:
            return {}
        return stream_policy().credential(self.request)


def allow(request: Request, act: "Act", scope: "Scope") -> None:
    """Note that the request's caller was let do an act, and whether it shows them values of Secrets."""
    plain = request._request
    authority: Authority | None = getattr(plain, ATTRIBUTE, None)
    if authority is None:
        authority = Authority(request)
        setattr(plain, ATTRIBUTE, authority)
    if act not in authority.acts:
        authority.acts.append(act)
    if scope.reveals:
        authority.revealing.add(act)


def recheck(
    credential: Mapping[str, Any], acts: "Sequence[Act]", revealing: "Set[Act]" = frozenset()
) -> None:
    """Unauthenticated when the credential is no good any more, Forbidden when a right is gone, or the cluster.

    So is the right to see values of Secrets, for the acts that are `revealing` them.

    The caller of an open dialect has no credential and nothing to lose.
    """
    if not credential:
        return
    scopes = stream_policy().scopes(credential, acts)
    for act, scope in zip(acts, scopes, strict=True):
        if scope is None:
            raise Forbidden(f"you may no longer {act.verb} {act.kind or 'this'} here")
        if act in revealing and not scope.reveals:
            raise Forbidden("you may no longer see the values of secrets here")
        stream_policy().require_cluster(act)


# --- answers that last ----------------------------------------------------------------------------------------------
Check = Callable[[], None]
Farewell = Callable[[DomainError], bytes]


def check_of(request: Request | HttpRequest) -> Check:
    """Looks again at all that the request was let do."""
    plain = request._request if isinstance(request, Request) else request
    authority: Authority | None = getattr(plain, ATTRIBUTE, None)
    if authority is None:
        return lambda: None
    credential = authority.credential()
    acts = tuple(authority.acts)
    revealing = frozenset(authority.revealing)
    return lambda: recheck(credential, acts, revealing)


def guard(response: StreamingHttpResponse, check: Check, farewell: Farewell) -> None:
    """End a streamed answer, with some last words, soon after its caller lost the right to it."""
    parts = response.streaming_content
    response.streaming_content = Guarded(cast(Iterable[bytes], parts), check, farewell)


class Guarded:
    """Parts of an answer until they end or the right does, looked at every STREAM_REAUTHORISE_SECONDS.

    A source that can be silent has to give an empty part now and then: those are not passed on, but give the time to look.
    """

    def __init__(self, parts: Iterable[bytes], check: Check, farewell: Farewell) -> None:
        self._parts = parts
        self._check = check
        self._farewell = farewell

    def __iter__(self) -> Iterator[bytes]:
        checked = time.monotonic()
        for part in self._parts:
            if time.monotonic() - checked >= settings.STREAM_REAUTHORISE_SECONDS:
                if lost := self._lost():
                    if words := self._farewell(lost):
                        yield words
                    return
                checked = time.monotonic()
            if part:
                yield part

    def _lost(self) -> DomainError | None:
        """Why it has to end, if it has to. A cluster that does not answer takes no right away; its streams end by themselves."""
        try:
            self._check()
        except ClusterUnavailable:
            return None
        except (Forbidden, Unauthenticated) as error:
            return error
        finally:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
        return None
