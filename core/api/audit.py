"""What a request did, kept until it is answered and then handed to the audit trail (a dotted string in settings: AUDIT_SINK)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework.request import Request

from core.errors import DomainError

if TYPE_CHECKING:
    from core.api.auth import Act

log = logging.getLogger(__name__)
ATTRIBUTE = "_kubegale_deeds"


@dataclass(slots=True)
class Deed:
    """One act of a request: whether the caller was let, and what the handler noted about it (name, before, after, details …)."""

    act: "Act"
    allowed: bool = True
    facts: dict[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """Takes a request's deeds once it is answered; `error` is what the caller was told, if anything."""

    def __call__(
        self,
        request: Request | HttpRequest,
        dialect: str,
        deeds: Sequence[Deed],
        error: DomainError | None,
    ) -> None: ...


@lru_cache(maxsize=1)
def _sink(dotted: str) -> Sink:
    return cast(Sink, import_string(dotted))


def deeds(request: Request | HttpRequest) -> list[Deed]:
    """What the request did so far."""
    plain = request._request if isinstance(request, Request) else request
    found: list[Deed] = getattr(plain, ATTRIBUTE, [])
    setattr(plain, ATTRIBUTE, found)
    return found


def record(request: Request | HttpRequest, act: "Act", *, allowed: bool = True) -> Deed:
    """Keep an act; the same act again is the same deed."""
    kept = deeds(request)
    for deed in kept:
        if deed.act == act:
            deed.allowed = deed.allowed and allowed
            return deed
    kept.append(Deed(act, allowed))
    return kept[-1]


def note(request: Request | HttpRequest, **facts: Any) -> None:
    """Say more about the latest act: `name`, `before` and `after` (an object's bytes), `username`, `details` (never a secret)."""
    if kept := deeds(request):
        kept[-1].facts |= facts


def report(request: Request | HttpRequest, dialect: str, error: DomainError | None) -> None:
    """Hand the deeds over, once. An audit trail that cannot be written is shouted about, but what was done is done."""
    kept = deeds(request)
    handed, kept[:] = list(kept), []
    if not handed:
        return
    try:
        _sink(settings.AUDIT_SINK)(request, dialect, handed, error)
    except Exception:
        log.exception(
            "the audit trail could not be written",
            extra={"acts": [f"{deed.act.verb} {deed.act.kind}" for deed in handed]},
        )
