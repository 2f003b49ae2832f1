"""Operations: the list, one operation with its steps while it runs, cancelling it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from clusters.kinds import KINDS as BUILT_IN_KINDS
from console import forms, navigation
from console.api_client import call
from console.locations import Location, resolve_reference
from console.page import redirect, render_page, require_sign_in
from console.views.actions import VERBS
from console.views.manifests import document_rows

SIZE = 50
# Objects of all targets that the page of an operation lists.
MAX_RESULTS = 2000
SEVERITIES = {
    "pending": "idle",
    "running": "busy",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "idle",
    "interrupted": "warn",
    "skipped": "idle",
}
STATES = {
    "pending": gettext_lazy("waiting"),
    "running": gettext_lazy("running"),
    "succeeded": gettext_lazy("succeeded"),
    "failed": gettext_lazy("failed"),
    "cancelled": gettext_lazy("cancelled"),
    "interrupted": gettext_lazy("interrupted"),
    "skipped": gettext_lazy("skipped"),
}
KINDS = {
    "rollout": gettext_lazy("Rollout"),
    "drain": gettext_lazy("Drain"),
    "recreate": gettext_lazy("Recreate"),
    "apply": gettext_lazy("Apply"),
    "bulk": gettext_lazy("Bulk action"),
    "file_digest": gettext_lazy("Checksum of a file"),
    "file_upload": gettext_lazy("Upload of files"),
    "template_deploy": gettext_lazy("Deployment of a template"),
    "template_undeploy": gettext_lazy("Removal of a deployment"),
    "vkube_deploy": gettext_lazy("Deploy of an order"),
}
FINAL = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


def operation_context(
    request: HttpRequest,
    operation: dict[str, Any],
) -> dict[str, Any]:
    """An operation with what a page needs: words, severities, its target's address, progress."""
    names = {str(cluster["id"]): cluster["name"] for cluster in navigation.list_clusters(request)}
    target = operation["target"]
    location = None
    if operation["cluster_id"] and target["name"]:
        cluster = Location(operation["cluster_id"], "", "", "")
        location = resolve_reference(cluster, target)
    done = operation["progress"]["done"]
    total = operation["progress"]["total"]
    return {
        **operation,
        "word": STATES.get(operation["state"], operation["state"]),
        "severity": SEVERITIES.get(operation["state"], "idle"),
        "kind_title": KINDS.get(operation["kind"], operation["kind"]),
        "title": _title(operation),
        "cluster_name": names.get(str(operation["cluster_id"]), ""),
        "address": location.address if location else "",
        "is_final": operation["state"] in FINAL,
        "done": done,
        "total": total,
        "steps": [
            {
                **step,
                "address": _step_address(operation, step["name"]),
                "word": STATES.get(step["state"], step["state"]),
                "severity": SEVERITIES.get(step["state"], "idle"),
            }
            for step in operation["steps"]
        ],
        "targets": _target_results(operation, names),
    }


def _title(operation: Mapping[str, Any]) -> str:
    """What is done to what, as `Scale web 3 → 5`; the kind of work for other operations."""
    kind = str(KINDS.get(operation["kind"], operation["kind"]))
    action = operation["action"] or {}
    verb = VERBS.get(action.get("name", ""))
    name = operation["target"]["name"]
    if not name and operation["kind"] == "bulk":
        name = _object_count(operation)
    parts = [str(verb.title) if verb else kind, name]
    if action.get("to") is not None:
        before = "" if action["from"] is None else f"{action['from']} "
        parts.append(f"{before}→ {action['to']}")
    return " ".join(part for part in parts if part)


def _object_count(operation: Mapping[str, Any]) -> str:
    """`3 Deployments`: what a bulk action works on."""
    kind = operation["target"]["kind"]
    plural = next((row.plural for row in BUILT_IN_KINDS.values() if row.name == kind), "")
    count = operation["progress"]["total"]
    return navigation.kind_count(plural, count) if plural and count else ""


def _step_address(operation: Mapping[str, Any], name: str) -> str:
    """The page of the object that a step of a bulk action or a drain names; "" for other steps."""
    kind = {"bulk": operation["target"]["kind"], "drain": "Pod"}.get(operation["kind"])
    if not kind or not operation["cluster_id"]:
        return ""
    namespace, _slash, object_name = name.rpartition("/")
    reference = {"kind": kind, "namespace": namespace, "name": object_name}
    location = resolve_reference(Location(operation["cluster_id"], "", "", ""), reference)
    return location.address if location else ""


def _target_results(
    operation: dict[str, Any],
    names: dict[str, str],
) -> list[dict[str, Any]]:
    """What became of each object in each target, for operations that apply manifests."""
    targets = (operation["result"] or {}).get("targets") or []
    rest = MAX_RESULTS
    results = []
    for target in targets:
        documents = target.get("documents") or []
        shown = documents[:rest]
        rest -= len(shown)
        place = (names.get(str(target["cluster_id"]), ""), target["namespace"])
        results.append(
            {
                "name": "/".join(filter(None, place)),
                "failed": target["state"] == "failed",
                "documents": document_rows(shown, target["cluster_id"]),
                "count": len(documents),
                "more": len(documents) - len(shown),
            }
        )
    return [result for result in results if result["count"]]


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """Operations, newest first; the rows follow what goes on."""
    chosen = {name: request.GET.get(name, "") for name in ("state", "kind", "cluster_id")}
    number = forms.query_number(request, "page", least=1)
    listing = call(
        request,
        "GET",
        "operations",
        query={**chosen, "page": number, "pageSize": SIZE},
    ).data
    rest = urlencode({name: value for name, value in chosen.items() if value})
    context = {
        "operations": [operation_context(request, operation) for operation in listing["items"]],
        "total": listing["total"],
        "chosen": chosen,
        "states": [(state, word) for state, word in STATES.items() if state != "skipped"],
        "operation_kinds": KINDS.items(),
        "page_number": number,
        "previous": f"?{rest}&page={number - 1}" if number > 1 else "",
        "next": f"?{rest}&page={number + 1}" if number * SIZE < listing["total"] else "",
    }
    return render_page(request, "console/operations.html", context)


@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One operation; asked for again by the page every second until it is over."""
    operation = operation_context(request, call(request, "GET", f"operations/{pk}").data)
    counts: dict[str, int] = {}
    for step in operation["steps"]:
        counts[step["state"]] = counts.get(step["state"], 0) + 1
    context = {
        "operation": operation,
        "cluster_id": operation["cluster_id"],
        "counts": [(STATES[state], number) for state, number in counts.items()],
    }
    # While it runs, its page replaces this part of itself every second.
    part = request.headers.get("HX-Target") == "operation"
    return render_page(
        request, "console/parts/operation.html" if part else "console/operation.html", context
    )


@require_POST
@require_sign_in
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask it to stop before its next step."""
    call(request, "POST", f"operations/{pk}/cancel")
    return redirect(request, f"/operations/{pk}", _("It stops before its next step."))
