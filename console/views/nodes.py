"""Draining a node: what happens to every pod under kubectl's flags, and then the operation."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import ApiRefusal, call
from console.locations import locate
from console.page import redirect, require_sign_in
from console.views.actions import needs_name

FLAGS = ("ignore_daemonsets", "delete_emptydir_data", "force", "disable_eviction")
SEVERITIES = {"evict": "busy", "skip": "idle", "refuse": "bad"}


@require_http_methods(["GET", "POST"])
@require_sign_in
def drain(request: HttpRequest, cluster: int, name: str) -> HttpResponse:
    """The fate of every pod under the chosen flags; POST drains."""
    location = locate(cluster, "nodes", "-", name)
    chosen = _flags(request)
    context: dict[str, Any] = {
        "cluster_id": cluster,
        "location": location,
        "flags": chosen,
        "timeout": chosen["timeout"],
    }
    context |= _preview(request, cluster, name, chosen)

    def begin() -> HttpResponse:
        body = {"cluster_id": cluster, **chosen}
        data = forms.call_confirmed(
            request,
            "POST",
            f"nodes/{name}/drain",
            name=name,
            body=body,
        ).data
        return redirect(request, f"/operations/{data['operation_id']}")

    return forms.render_form(request, "console/drain.html", context, begin)


def _flags(request: HttpRequest) -> dict[str, Any]:
    """The flags of the form; without one, those that kubectl's users nearly always give."""
    # A browser does not send unchecked boxes: a missing flag is a flag that is off.
    submitted = request.POST if request.method == "POST" else request.GET
    if not submitted:
        return {
            "ignore_daemonsets": True,
            "delete_emptydir_data": False,
            "force": False,
            "disable_eviction": False,
            "timeout": "300",
        }
    return {
        **{flag: submitted.get(flag) == "1" for flag in FLAGS},
        "timeout": submitted.get("timeout", "").strip() or "300",
    }


def _preview(
    request: HttpRequest,
    cluster: int,
    name: str,
    chosen: dict[str, Any],
) -> dict[str, Any]:
    """What a drain would do, or the reason why that cannot be determined."""
    try:
        trial = call(
            request,
            "POST",
            f"nodes/{name}/drain",
            body={"cluster_id": cluster, "dry_run": True, **chosen},
        ).data
    except ApiRefusal as refusal:
        return {"problem": refusal.message, "pods": []}
    words = {
        "evict": _("evicted"),
        "skip": _("skipped"),
        "refuse": _("blocks the drain"),
    }
    pods = [
        {
            **pod,
            "word": _("waits for a budget")
            if pod["waits_for_budget"]
            else words.get(pod["action"], pod["action"]),
            "severity": "warn"
            if pod["waits_for_budget"]
            else SEVERITIES.get(pod["action"], "idle"),
        }
        for pod in trial["pods"]
    ]
    counts = {action: sum(pod["action"] == action for pod in pods) for action in SEVERITIES}
    return {
        "pods": pods,
        "counts": counts,
        "waiting": sum(pod["waits_for_budget"] for pod in pods),
        "would_fail": trial["would_fail"],
        "needs_name": needs_name(trial["protected"]),
        "warnings": trial["warnings"],
    }
