"""The audit trail: who did what, where, with which result."""

from typing import Any
from urllib.parse import urlencode

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from console import choice_labels
from console.api_client import call
from console.page import render_page, require_sign_in
from console.rendering import diffs

FILTERS = (
    "user",
    "verb",
    "kind",
    "namespace",
    "name",
    "cluster",
    "result",
    "dialect",
    "request_id",
    "since",
    "until",
)
SEVERITIES = {
    "success": "good",
    "denied": "warn",
    "failed": "bad",
}
RESULTS = {
    "success": _("success"),
    "denied": _("denied"),
    "failed": _("failed"),
}
SIZE = 50


def _chosen_filters(request: HttpRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "").strip() for name in FILTERS}


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """Entries, newest first; a cursor leads on."""
    chosen = _chosen_filters(request)
    query = {**chosen, "cursor": request.GET.get("cursor", ""), "pageSize": SIZE}
    data = call(request, "GET", "audit", query=query).data
    rest = {name: value for name, value in chosen.items() if value}
    context = {
        "entries": [_entry_context(entry) for entry in data["items"]],
        "total": data["total"],
        "chosen": chosen,
        "filtered": bool(rest),
        "results": RESULTS.items(),
        "rest": urlencode(rest),
        "following": urlencode({**rest, "cursor": data["next_cursor"]})
        if data["next_cursor"]
        else "",
    }
    return render_page(request, "console/audit.html", context)


def _entry_context(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        **entry,
        "severity": SEVERITIES.get(entry["result"], "idle"),
        "word": RESULTS.get(entry["result"], entry["result"]),
        "reason_word": choice_labels.error_code(entry["reason"] or ""),
        "changes": [change for change in entry["diff"] if isinstance(change, dict)],
        "details_text": diffs.as_yaml(entry["details"]).strip() if entry["details"] else "",
        "diff_text": orjson.dumps(entry["diff"], option=orjson.OPT_INDENT_2).decode()
        if entry["diff"]
        else "",
    }


@require_GET
@require_sign_in
def export(request: HttpRequest) -> HttpResponseBase:
    """All entries that fit, one JSON object a line."""
    return call(
        request,
        "GET",
        "audit/export",
        query=_chosen_filters(request),
    ).response or HttpResponse(status=204)
