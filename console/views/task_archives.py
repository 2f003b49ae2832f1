"""Backups: restoring an archive after its difference was read, and two backups compared."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from console import forms
from console.api_client import ApiRefusal, call
from console.page import is_fragment, render_page, require_sign_in
from console.rendering import diffs, hints, html
from console.views.automation import cluster_names, section_context
from console.views.manifests import document_rows
from console.views.template_deployments import preview_context

COMPARED = {
    "create": (gettext_lazy("added"), "good"),
    "configure": (gettext_lazy("changed"), "warn"),
    "delete": (gettext_lazy("removed"), "bad"),
    "unchanged": (gettext_lazy("as before"), "idle"),
}
# Runs of a task among which the other backup is chosen.
MAX_RUNS = 100
# Objects whose difference one page shows.
MAX_DOCUMENTS = 500


@require_http_methods(["GET", "POST"])
@require_sign_in
def restore(request: HttpRequest, pk: int) -> HttpResponse:
    """Where an archive goes; what it would change; then doing it."""
    run = call(request, "GET", f"task-runs/{pk}").data
    archives = call(request, "GET", f"task-runs/{pk}/archives").data["items"]
    archive = _chosen_archive(request, archives)
    # Only a backup of one namespace in a cluster can go to another namespace.
    siblings = [row for row in archives if row["cluster_id"] == archive["cluster_id"]]
    namespace = archive["namespace"]
    if len(siblings) == 1:
        namespace = request.POST.get("into", namespace).strip()
    context = {
        **section_context(request, "runs"),
        "run": run,
        "archives": archives,
        "archive": archive,
        "may_move": len(siblings) == 1,
        "namespace": namespace,
    }
    template = "console/task_restore.html"
    if request.method != "POST":
        return render_page(request, template, context)
    shown = "console/parts/task_restored.html" if is_fragment(request) else template
    is_dry = request.POST.get("act") != "restore"
    body = {
        "cluster_id": archive["cluster_id"],
        "namespace": namespace,
        "dry_run": is_dry,
    }
    try:
        answer = call(request, "POST", f"task-runs/{pk}/restore", body=body).data
    except ApiRefusal as refusal:
        context |= {
            "refusal": refusal,
            "hint": hints.for_code(refusal.code, refusal.details),
        }
        return render_page(request, shown, context, status=refusal.status)
    if is_dry:
        context |= preview_context(request, answer["documents"])
    else:
        context["restored"] = document_rows(answer["documents"], archive["cluster_id"])
    return render_page(request, shown, context)


def _chosen_archive(
    request: HttpRequest,
    archives: list[Mapping[str, Any]],
) -> Mapping[str, Any]:
    """The archive that the form or the address names; ApiRefusal (1004) when there is none."""
    query = request.POST if request.method == "POST" else request.GET
    cluster = query.get("cluster_id", "")
    namespace = query.get("namespace", "")
    for archive in archives:
        is_meant = namespace in ("", archive["namespace"])
        if is_meant and cluster in ("", str(archive["cluster_id"])):
            return archive
    raise ApiRefusal(1004, _("The backup has no such archive."), {}, 404)


@require_GET
@require_sign_in
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    """What this backup has other than an earlier one of its task."""
    run = call(request, "GET", f"task-runs/{pk}").data
    others = _other_backups(request, run)
    other = forms.query_number(request, "with")
    if not other and others:
        other = next((row["id"] for row in others if row["id"] < pk), others[0]["id"])
    context: dict[str, Any] = {
        **section_context(request, "runs"),
        "run": run,
        "others": others,
        "other": other,
    }
    if other:
        answer = call(request, "GET", f"task-runs/{pk}/compare", query={"with": other}).data
        context |= _compared_context(request, answer)
    return render_page(request, "console/task_compare.html", context)


def _other_backups(
    request: HttpRequest,
    run: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Other runs of the same task that ended well, newest first."""
    query = {"state": "succeeded", "pageSize": MAX_RUNS}
    items = call(request, "GET", f"tasks/{run['task_id']}/runs", query=query).data["items"]
    zone = html.zone_of(request)
    rows = []
    for row in items:
        if row["id"] == run["id"] or row["dry_run"]:
            continue
        local = datetime.fromisoformat(row["scheduled_at"]).astimezone(zone)
        rows.append({**row, "local": f"{local:%Y-%m-%d %H:%M}"})
    return rows


def _compared_context(
    request: HttpRequest,
    answer: Mapping[str, Any],
) -> dict[str, Any]:
    names = cluster_names(request)
    documents = answer["documents"]
    counts: dict[str, int] = dict.fromkeys(COMPARED, 0)
    for document in documents:
        counts[document["action"]] = counts.get(document["action"], 0) + 1
    changed = [document for document in documents if document["action"] != "unchanged"]
    return {
        "counts": [(*COMPARED[name], count) for name, count in counts.items() if count],
        "documents": list(_compared_rows(changed[:MAX_DOCUMENTS], names)),
        "more": max(len(changed) - MAX_DOCUMENTS, 0),
        "left_out": answer["left_out"],
        "hidden": answer["hidden"],
        "is_compared": True,
    }


def _compared_rows(
    documents: Iterable[Mapping[str, Any]],
    names: Mapping[int, str],
) -> Iterable[dict[str, Any]]:
    for document in documents:
        word, severity = COMPARED.get(document["action"], (document["action"], "idle"))
        yield {
            **document,
            "cluster": names.get(document["cluster_id"], ""),
            "word": word,
            "severity": severity,
            "lines": diffs.diff_lines(document.get("diff") or ""),
        }
