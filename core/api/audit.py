"""What a request did, collected until it is answered and then written to the audit trail.

The trail is above this layer: the setting AUDIT_SINK names the function that writes it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string
from rest_framework.request import Request

from core.api.attributes import AccessAttributes
from core.errors import DomainError

log = logging.getLogger(__name__)
# Views see DRF's request, middleware and the admin site Django's.
AnyRequest = Request | HttpRequest
# Where Django's request holds its events.
ATTRIBUTE = "_kubegale_audit_events"


@dataclass(slots=True)
class AuditEvent:
    """One action of a request: whether it was allowed, and what its handler adds (`annotate`)."""

    act: AccessAttributes
    allowed: bool = True
    facts: dict[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """Writes a request's events once it is answered; `error` is what it was answered with."""

    def __call__(
        self,
        request: AnyRequest,
        dialect: str,
        events: Sequence[AuditEvent],
        error: DomainError | None,
    ) -> None: ...


@lru_cache(maxsize=1)
def _sink(dotted: str) -> Sink:
    return cast(Sink, import_string(dotted))


def _pending_events(request: AnyRequest) -> dict[AccessAttributes, AuditEvent]:
    """What the request did so far, oldest first; an apply to many clusters has thousands."""
    # The events belong to Django's request, which all of them share.
    plain = request._request if isinstance(request, Request) else request
    pending: dict[AccessAttributes, AuditEvent] = getattr(plain, ATTRIBUTE, {})
    setattr(plain, ATTRIBUTE, pending)
    return pending


def record(request: AnyRequest, act: AccessAttributes, *, allowed: bool = True) -> AuditEvent:
    """Add an event and return it.

    The same act again is the same event; it stays refused once it was refused.
    """
    event = _pending_events(request).setdefault(act, AuditEvent(act))
    event.allowed = event.allowed and allowed
    return event


def forget_refusals(request: AnyRequest) -> None:
    """Drop the events that were refused, where a lacking right only makes the answer smaller."""
    pending = _pending_events(request)
    for act in [act for act, event in pending.items() if not event.allowed]:
        del pending[act]


def annotate(request: AnyRequest, **facts: Any) -> None:
    """Add facts to the latest event.

    `name`, `before` and `after` (an object's bytes), `username`, `details` (never a secret), and
    `error`, the DomainError of an act that failed within a request that succeeds.
    """
    if pending := _pending_events(request):
        next(reversed(pending.values())).facts.update(facts)


def pending_events(request: AnyRequest) -> list[AuditEvent]:
    """What the request did so far and nobody has written, oldest first."""
    return list(_pending_events(request).values())


def forget(request: AnyRequest) -> None:
    """Drop the request's events, because they were written together with what it did."""
    _pending_events(request).clear()


def report(request: AnyRequest, dialect: str, error: DomainError | None) -> None:
    """Write the request's events, once.

    When that fails the request still succeeds, for what it did is done; the failure is logged.
    """
    pending = _pending_events(request)
    events = list(pending.values())
    pending.clear()
    if not events:
        return
    try:
        _sink(settings.AUDIT_SINK)(request, dialect, events, error)
    except Exception:
        log.exception(
            "the audit trail could not be written",
            extra={"acts": [f"{event.act.verb} {event.act.kind}" for event in events]},
        )
