"""From an answered request to the lines of the audit trail."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request

from access import audit
from access.models import ApiToken
from core.api.audit import Deed
from core.api.client_ip import client_address
from core.errors import DomainError


def write(
    request: Request | HttpRequest, dialect: str, deeds: Sequence[Deed], error: DomainError | None
) -> None:
    """Settings' AUDIT_SINK: one line for each deed that the policy wants kept."""
    kept = [deed for deed in deeds if audit.is_recorded(deed)]
    if kept:
        who = caller(request, dialect)
        audit.append([audit.build_entry(deed, who, error) for deed in kept])


def caller(request: Request | HttpRequest, dialect: str) -> dict[str, Any]:
    """Who asked, from where, by what."""
    user, token = request.user, getattr(request, "auth", None)
    plain = request._request if isinstance(request, Request) else request
    return {
        "user_pk": user.pk,
        "username": user.get_username() if user.pk else "",
        "token": str(token)[:120] if isinstance(token, ApiToken) else "",
        "address": client_address(request) or None,
        "request_id": getattr(plain, "id", ""),
        "dialect": dialect,
    }
