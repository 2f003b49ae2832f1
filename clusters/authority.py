"""With what right work was ordered that goes on after its request: noted with an operation, asked again by its worker."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.utils.module_loading import import_string

Credential = Mapping[str, Any]
Requirement = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class Authority:
    """A caller, and the acts (as plain data) that they were let do; `origin` is the request."""

    origin: object
    credential: Callable[[], Credential]
    acts: list[Mapping[str, Any]] = field(default_factory=list)


_current: ContextVar[Authority | None] = ContextVar("authority", default=None)


def allow(origin: object, credential: Callable[[], Credential], act: Mapping[str, Any]) -> None:
    """Note that the caller of a request was let do an act."""
    held = _current.get()
    if held is None or held.origin is not origin:
        held = Authority(origin, credential)
        _current.set(held)
    if act not in held.acts:
        held.acts.append(act)


def forget() -> None:
    """Another request begins."""
    _current.set(None)


def noted() -> dict[str, Any]:
    """What to keep with work that this request orders: {"credential","acts"}; empty outside of requests."""
    held = _current.get()
    if held is None:
        return {}
    return {"credential": dict(held.credential()), "acts": list(held.acts)}


@lru_cache(maxsize=1)
def _requirement(dotted: str) -> Requirement:
    return cast(Requirement, import_string(dotted))


def require(authority: Mapping[str, Any]) -> None:
    """Unauthenticated or Forbidden when whoever ordered the work may no longer do it; the platform's own work is always allowed."""
    if authority:
        _requirement(settings.AUTHORITY_OF_WORK)(authority)
