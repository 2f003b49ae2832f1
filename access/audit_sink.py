"""From an answered request to the entries of the audit trail."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from access import audit
from access.models import ApiToken, AuditEntry
from core.api.audit import AuditEvent
from core.api.client_ip import client_address
from core.api.inner_calls import via_of
from core.database.prepared import StatementCall
from core.errors import DomainError

# Who acts through a management command, as in the author of a grant.
COMMAND_LINE = "command line"


def write_entries(
    request: Request | HttpRequest,
    dialect: str,
    events: Sequence[AuditEvent],
    error: DomainError | None,
) -> None:
    """Write an entry for each event that the policy records (settings: AUDIT_SINK)."""
    if entries := _entries(request, dialect, events, error):
        audit.append(entries)


def statements_of_success(
    request: Request | HttpRequest, dialect: str, events: Sequence[AuditEvent]
) -> list[StatementCall]:
    """What writes the entries of a request that is about to succeed.

    To be run together with its work, in one exchange: neither is there without the other.
    """
    now = timezone.now()
    return [
        (audit.INSERT_ONE, audit.column_values(entry, now))
        for entry in _entries(request, dialect, events, None)
    ]


def _entries(
    request: Request | HttpRequest,
    dialect: str,
    events: Sequence[AuditEvent],
    error: DomainError | None,
) -> list[AuditEntry]:
    recorded = [event for event in events if audit.is_recorded(event)]
    if not recorded:
        return []
    plain = request._request if isinstance(request, Request) else request
    if via := via_of(plain):
        for event in recorded:
            event.facts["details"] = {**(event.facts.get("details") or {}), "via": via}
    who = caller(request, dialect)
    return [audit.build_entry(event, who, error) for event in recorded]


def write_entry_of(
    credential: Mapping[str, Any],
    dialect: str,
    event: AuditEvent,
    error: DomainError | None,
    *,
    address: str = "",
    request_id: str = "",
) -> None:
    """Write an entry for an event that was no request of Django's, when the policy records it.

    `credential` is what `access.streams.credential` gives.
    """
    if not audit.is_recorded(event):
        return
    token = ApiToken.objects.filter(pk=credential.get("api_token", 0)).first()
    who = {
        "user_pk": credential["user"],
        "username": credential["username"],
        "token": str(token)[:120] if token else "",
        "address": address or None,
        "request_id": request_id,
        "dialect": dialect,
    }
    audit.append([audit.build_entry(event, who, error)])


def write_entry_of_command(command: str, event: AuditEvent, error: DomainError | None) -> None:
    """Write an entry for an event of a management command, when the policy records it."""
    if not audit.is_recorded(event):
        return
    who = {"username": COMMAND_LINE, "dialect": "command"}
    event.facts["details"] = {**(event.facts.get("details") or {}), "command": command}
    audit.append([audit.build_entry(event, who, error)])


def caller(request: Request | HttpRequest, dialect: str) -> dict[str, Any]:
    """The columns of an entry that say who asked, from where, and with which API token."""
    user = request.user
    token = getattr(request, "auth", None)
    django_request = request._request if isinstance(request, Request) else request
    return {
        "user_pk": user.pk,
        "username": user.get_username() if user.pk else "",
        "token": str(token)[:120] if isinstance(token, ApiToken) else "",
        "address": client_address(request) or None,
        "request_id": getattr(django_request, "id", ""),
        "dialect": dialect,
    }
