"""The audit trail: who did what, where, with which result."""

from typing import Any
from urllib.parse import urlencode

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from console.api_client import call
from console.page import page, signed_in
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
TONES = {"success": "good", "denied": "warn", "failed": "bad"}
RESULTS = {"success": _("success"), "denied": _("denied"), "failed": _("failed")}
SIZE = 50


def _chosen(request: HttpRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "").strip() for name in FILTERS}


@require_GET
@signed_in
def listed(request: HttpRequest) -> HttpResponse:
    """Entries, newest first; a cursor leads on."""
    chosen, cursor = _chosen(request), request.GET.get("cursor", "")
    data = call(request, "GET", "audit", query={**chosen, "cursor": cursor, "pageSize": SIZE}).data
    rest = {name: value for name, value in chosen.items() if value}
    context = {
        "entries": [_shown(one) for one in data["items"]],
        "total": data["total"],
        "chosen": chosen,
        "filtered": bool(rest),
        "results": RESULTS.items(),
        "rest": urlencode(rest),
        "following": urlencode({**rest, "cursor": data["next_cursor"]})
        if data["next_cursor"]
        else "",
    }
    return page(request, "console/audit.html", context)


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    return {
        **one,
        "tone": TONES.get(one["result"], "idle"),
        "word": RESULTS.get(one["result"], one["result"]),
        "changes": [change for change in one["diff"] if isinstance(change, dict)],
        "told": diffs.as_yaml(one["details"]).strip() if one["details"] else "",
        "differs": orjson.dumps(one["diff"], option=orjson.OPT_INDENT_2).decode()
        if one["diff"]
        else "",
    }


@require_GET
@signed_in
def export(request: HttpRequest) -> HttpResponseBase:
    """All entries that fit, one JSON object a line."""
    return call(request, "GET", "audit/export", query=_chosen(request)).response or HttpResponse(
        status=204
    )
