"""The rights with which a request started work that goes on after it.

They are saved with the operation, and its worker checks them again.
"""

from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string

Credential = Mapping[str, Any]
Requirement = Callable[[Mapping[str, Any]], None]


class Act(Hashable, Protocol):
    """What a caller was allowed; equal acts need the same right."""

    def as_data(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class RequestAuthority:
    """A caller, and the acts that they were allowed, oldest first.

    `origin` is the request.
    """

    origin: object
    credential: Callable[[], Credential]
    acts: dict[Act, None] = field(default_factory=dict)


_current: ContextVar[RequestAuthority | None] = ContextVar("authority", default=None)


def record_allowed_act(
    origin: object,
    credential: Callable[[], Credential],
    act: Act,
) -> None:
    """Record that the caller of a request was allowed an act.

    `credential` returns, as plain data, what they signed in with; it is called only when needed.
    """
    authority = _current.get()
    # A thread serves one request after the other.
    if authority is None or authority.origin is not origin:
        authority = RequestAuthority(origin, credential)
        _current.set(authority)
    authority.acts.setdefault(act)


def clear() -> None:
    """Drop the authority of this thread's previous request."""
    _current.set(None)


def snapshot() -> dict[str, Any]:
    """What to save with an operation of this request: {"credential","acts"}; {} outside of one."""
    authority = _current.get()
    if authority is None:
        return {}
    acts = [act.as_data() for act in authority.acts]
    return {"credential": dict(authority.credential()), "acts": acts}


@lru_cache(maxsize=1)
def _requirement(dotted: str) -> Requirement:
    return cast(Requirement, import_string(dotted))


def require(authority: Mapping[str, Any]) -> None:
    """Raise Unauthenticated or Forbidden when the requester may no longer do the work.

    `authority` is what `snapshot` returned. The platform's own work has none and is always allowed.
    """
    if authority:
        _requirement(settings.AUTHORITY_OF_WORK)(authority)
