"""Checking rights again for what outlasts its request.

Every streamed answer of a `DialectView` passes through `guard`. Sockets do the same in
`core.sockets.handshake`, operations between their steps.
"""

import time
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, cast

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.request import Request

from core.api.attributes import AccessAttributes, Scope
from core.errors import (
    ClusterUnavailable,
    DomainError,
    Forbidden,
    Unauthenticated,
)

# Where Django's request holds its Authority.
ATTRIBUTE = "_kubegale_authority"


class StreamPolicy(Protocol):
    """Notes a caller's credential, as JSON, and checks it and the caller's rights again later."""

    def credential(self, request: Request) -> dict[str, Any]: ...

    def console_session(self, credential: Mapping[str, Any]) -> str | None: ...

    def still_allowed(
        self, credential: Mapping[str, Any], act: AccessAttributes | None
    ) -> None: ...

    def scopes(
        self, credential: Mapping[str, Any], acts: Sequence[AccessAttributes]
    ) -> list[Scope | None]: ...

    def require_cluster(self, act: AccessAttributes) -> None: ...

    def sign_in(self, bearer: str) -> dict[str, Any]: ...


def stream_policy() -> StreamPolicy:
    """The module named by STREAM_POLICY."""
    return cast(StreamPolicy, _stream_policy(settings.STREAM_POLICY))


@lru_cache(maxsize=1)
def _stream_policy(dotted: str) -> object:
    return import_module(dotted)


# --- what a request was allowed -------------------------------------------------------------------
@dataclass(slots=True)
class Authority:
    """A request's caller and the acts that were allowed.

    `revealing` are those of them whose answers show values of Secrets.
    """

    request: Request
    acts: list[AccessAttributes] = field(default_factory=list)
    revealing: set[AccessAttributes] = field(default_factory=set)

    def credential(self) -> dict[str, Any]:
        """What the stream policy checks later; {} for the anonymous caller of an open dialect."""
        if not self.request.user.is_authenticated:
            return {}
        return stream_policy().credential(self.request)


def allow(request: Request, act: AccessAttributes, scope: Scope) -> None:
    """Note that an act was allowed, and whether it shows values of Secrets."""
    plain = request._request
    authority: Authority | None = getattr(plain, ATTRIBUTE, None)
    if authority is None:
        authority = Authority(request)
        setattr(plain, ATTRIBUTE, authority)
    if act not in authority.acts:
        authority.acts.append(act)
    if scope.reveals:
        authority.revealing.add(act)


def drop(request: Request) -> None:
    """Forget what the request was allowed, when it is over."""
    vars(request._request).pop(ATTRIBUTE, None)


def share_authority(source: HttpRequest, target: HttpRequest) -> None:
    """Note on one request what another one, made for it in process, was allowed."""
    if hasattr(source, ATTRIBUTE):
        setattr(target, ATTRIBUTE, getattr(source, ATTRIBUTE))


def recheck(
    credential: Mapping[str, Any],
    acts: Sequence[AccessAttributes],
    revealing: Set[AccessAttributes] = frozenset(),
) -> None:
    """Return when all acts are still allowed, and those in `revealing` may still show Secrets.

    Unauthenticated when the credential is no longer valid, Forbidden when a right is lost or the
    cluster was removed.
    """
    if not credential:
        # An anonymous caller of an open dialect has no right that could be lost.
        return
    scopes = stream_policy().scopes(credential, acts)
    for act, scope in zip(acts, scopes, strict=True):
        if scope is None:
            raise Forbidden(f"you may no longer {act.verb} {act.kind or 'this'} here")
        if act in revealing and not scope.reveals:
            raise Forbidden("you may no longer see the values of secrets here")
        stream_policy().require_cluster(act)


# --- streamed answers -----------------------------------------------------------------------------
Check = Callable[[], None]
Farewell = Callable[[DomainError], bytes]


def recheck_of_request(request: Request | HttpRequest) -> Check:
    """A function that runs `recheck` for all that the request was allowed."""
    plain = request._request if isinstance(request, Request) else request
    authority: Authority | None = getattr(plain, ATTRIBUTE, None)
    if authority is None:
        return lambda: None
    # Taken now: the stream runs on in another thread, where the request is no longer.
    credential = authority.credential()
    acts = tuple(authority.acts)
    revealing = frozenset(authority.revealing)
    return lambda: recheck(credential, acts, revealing)


def guard(response: StreamingHttpResponse, check: Check, farewell: Farewell) -> None:
    """End a streamed answer soon after its caller lost the right; `farewell` gives its end."""
    parts = response.streaming_content
    response.streaming_content = ReauthorisedParts(cast(Iterable[bytes], parts), check, farewell)


class ReauthorisedParts:
    """Parts of an answer, until they end or its caller loses the right.

    The right is checked every STREAM_REAUTHORISE_SECONDS, between two parts. A source that can be
    silent has to yield an empty part now and then: it is not passed on, but gives the opportunity
    to check.
    """

    def __init__(self, parts: Iterable[bytes], check: Check, farewell: Farewell) -> None:
        self._parts = parts
        self._check = check
        self._farewell = farewell

    def __iter__(self) -> Iterator[bytes]:
        checked = time.monotonic()
        for part in self._parts:
            if time.monotonic() - checked >= settings.STREAM_REAUTHORISE_SECONDS:
                if refusal := self._refusal():
                    if last_part := self._farewell(refusal):
                        yield last_part
                    return
                checked = time.monotonic()
            if part:
                yield part

    def _refusal(self) -> DomainError | None:
        """Why the answer has to end, or None."""
        try:
            self._check()
        except ClusterUnavailable:
            # A cluster that does not answer takes no right away; its streams end by themselves.
            return None
        except (Forbidden, Unauthenticated) as error:
            return error
        finally:
            # The stream runs outside of the request, where Django closes old connections.
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
        return None
