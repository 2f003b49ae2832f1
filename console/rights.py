"""What the signed-in person may do, as the API tells it: only to leave out buttons that would be refused."""

from typing import Any

from django.http import HttpRequest

from console.gateway import call


def me(request: HttpRequest) -> dict[str, Any]:
    """Who the person is and what they hold, once per request."""
    found: dict[str, Any] | None = getattr(request, "console_me", None)
    if found is None:
        found = call(request, "GET", "/api/v1/auth/me").data
        request.console_me = found  # type: ignore[attr-defined]
    return found


def administers_everything(request: HttpRequest) -> bool:
    """Whether the person is an admin of the whole platform, by themselves or through a group."""
    wide = any(grant["role"] == "admin" and grant["cluster_id"] is None for grant in me(request)["grants"])
    return wide or bool(getattr(request.user, "is_superuser", False))
