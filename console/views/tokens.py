"""One's own API tokens: made and shown once, listed, revoked."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import call
from console.page import go, page, signed_in
from console.rendering.html import parsed

PATH = "/api/v1/auth/tokens"
SCOPES: dict[str, str | Promise] = {
    "read": gettext_lazy("read objects"),
    "read:cluster": gettext_lazy("read what belongs to no namespace"),
    "logs": gettext_lazy("read logs"),
    "storage:read": gettext_lazy("read the store"),
    "write": gettext_lazy("change objects"),
    "terminal": gettext_lazy("open terminals"),
    "files": gettext_lazy("read and write files"),
    "secrets": gettext_lazy("see values of Secrets"),
    "admin": gettext_lazy("administer"),
    "storage:write": gettext_lazy("write to the store"),
}


@require_http_methods(["GET", "POST"])
@signed_in
def room(request: HttpRequest) -> HttpResponse:
    """The tokens, the form for another, and revoking one."""
    now = datetime.now(UTC)
    found = [
        {**one, "expired": bool((end := parsed(one["expires_at"])) and end <= now)}
        for one in call(request, "GET", PATH).data["items"]
    ]
    return forms.shown(
        request,
        "console/tokens.html",
        {"tokens": found, "scopes": SCOPES.items(), "days": settings.API_TOKEN_DAYS or ""},
        lambda: _act(request),
    )


def _act(request: HttpRequest) -> HttpResponse:
    if revoked := forms.text(request, "revoke"):
        call(request, "DELETE", f"{PATH}/{revoked}")
        return go(request, "/tokens", _("The token is no good from now on."))
    body: dict[str, Any] = {
        "name": forms.text(request, "name"),
        # Nothing chosen is no limit: an empty list would be refused.
        "scopes": request.POST.getlist("scopes") or None,
        "clusters": request.POST.getlist("clusters") or None,
    }
    if "days" in request.POST:
        # Emptied on purpose: the field holds the settings' number at first.
        body["expires_in_days"] = forms.number(request, "days")
    made = call(request, "POST", PATH, body=body).data
    return page(request, "console/token_made.html", {"token": made})
