"""The user's own API tokens: created and shown once, listed, revoked."""

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
from console.page import redirect, render_page, require_sign_in
from console.rendering.html import parse_time

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
    "nodes": gettext_lazy("cordon and drain nodes"),
    "admin": gettext_lazy("administer"),
    "storage:write": gettext_lazy("write to the store"),
    "agent-read": gettext_lazy("all that an agent needs to read"),
    "agent-act": gettext_lazy("all that an agent needs to read and to change objects"),
}


@require_http_methods(["GET", "POST"])
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The tokens, the form for another, and revoking one."""
    now = datetime.now(UTC)
    tokens = [
        {**token, "expired": bool((end := parse_time(token["expires_at"])) and end <= now)}
        for token in call(request, "GET", PATH).data["items"]
    ]
    return forms.render_form(
        request,
        "console/tokens.html",
        {"tokens": tokens, "scopes": SCOPES.items(), "days": settings.API_TOKEN_DAYS or ""},
        lambda: _submit(request),
    )


def _submit(request: HttpRequest) -> HttpResponse:
    if revoked := forms.form_text(request, "revoke"):
        call(request, "DELETE", f"{PATH}/{revoked}")
        return redirect(request, "/tokens", _("The token was revoked."))
    body: dict[str, Any] = {
        "name": forms.form_text(request, "name"),
        # Nothing chosen is no limit: an empty list would be refused.
        "scopes": request.POST.getlist("scopes") or None,
        "clusters": request.POST.getlist("clusters") or None,
    }
    if "days" in request.POST:
        # Emptied on purpose: the field holds the settings' number at first.
        body["expires_in_days"] = forms.form_number(request, "days")
    token = call(request, "POST", PATH, body=body).data
    return render_page(request, "console/token_made.html", {"token": token})
