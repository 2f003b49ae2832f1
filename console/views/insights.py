"""What changed lately, on the overview; why an object fails, on its page."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console.api_client import ApiRefusal, call
from console.locations import Location, page_address
from console.page import object_view, render_page, require_sign_in

# Changes on the overview, and from which harm on (0 to 100) they look how.
MOST_CHANGES = 10
SEVERITIES = ((70, "bad"), (40, "warning"))


@require_GET
@require_sign_in
def recent_changes(request: HttpRequest) -> HttpResponse:
    """The changes of the last hour, the likely most harmful first."""
    try:
        data = call(request, "GET", "insights/what-changed", query={"pageSize": MOST_CHANGES}).data
    except ApiRefusal as refusal:
        return render_page(request, "console/parts/recent_changes.html", {"problem": refusal})
    context = {
        "changes": [_change_context(change) for change in data["items"]],
        "more": data["total"] - len(data["items"]),
    }
    return render_page(request, "console/parts/recent_changes.html", context)


def _change_context(change: Mapping[str, Any]) -> dict[str, Any]:
    who = change["who"] or {}
    severity = next((severity for least, severity in SEVERITIES if change["harm"] >= least), "idle")
    return {
        **change,
        "severity": severity,
        "address": page_address(change["cluster_id"], change),
        "by": who.get("user") or who.get("manager") or "",
        "what": ", ".join(change["reasons"]),
    }


@require_GET
@require_sign_in
@object_view
def why_failing(request: HttpRequest, location: Location) -> HttpResponse:
    """The causes that the cluster names for what is wrong with the object."""
    query = {
        **location.query,
        "kind": _kind_reference(location),
        "name": location.name,
        # The page has a link to logs: reading one stays a choice of its reader.
        "logs": False,
    }
    try:
        context = {"diagnosis": call(request, "GET", "insights/why-failing", query=query).data}
    except ApiRefusal as refusal:
        context = {"problem": refusal}
    return render_page(request, "console/parts/diagnosis.html", {**context, "location": location})


def _kind_reference(location: Location) -> str:
    kind = location.kind
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural
