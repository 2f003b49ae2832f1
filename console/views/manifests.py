"""Apply: a text of many objects is validated, compared, and applied to one or many clusters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from console import navigation
from console.api_client import ApiRefusal, call
from console.json_views import json_body, json_response, json_view
from console.locations import page_address
from console.page import allow_style_attributes, render_page, require_sign_in
from console.rendering import diffs
from console.views.editor import editor_texts

# What was or would be done to an object: its word and severity.
ACTIONS = {
    "create": (gettext_lazy("would be created"), "good"),
    "configure": (gettext_lazy("would be changed"), "busy"),
    "unchanged": (gettext_lazy("unchanged"), "idle"),
    "error": (gettext_lazy("refused"), "bad"),
    "created": (gettext_lazy("created"), "good"),
    "configured": (gettext_lazy("changed"), "good"),
    "pruned": (gettext_lazy("deleted"), "warn"),
    "failed": (gettext_lazy("failed"), "bad"),
    "skipped": (gettext_lazy("not sent"), "idle"),
}
# After these actions the object is in the cluster.
THERE = frozenset({"configure", "unchanged", "created", "configured"})
# A column beyond the end of any line.
LINE_END = 1_000_000
# Lines of one comparison that a page shows.
MAX_LINES = 2000
# Targets in which the page looks for what pruning would delete, before it asks.
MAX_PRUNE_PREVIEWS = 5
OPTIONS = ("dry_run", "force_conflicts", "wait")


@require_GET
@require_sign_in
def page(request: HttpRequest) -> HttpResponse:
    """The page; `cluster_id` and `namespace` of the address choose the first target."""
    clusters = navigation.list_clusters(request)
    last = request.COOKIES.get(navigation.LAST_CLUSTER_COOKIE, "")
    chosen = request.GET.get("cluster_id") or last
    ids = [str(cluster["id"]) for cluster in clusters]
    config = {
        "text": "",
        "validate": "/apply/validate",
        "diff": "/apply/diff",
        "run": "/apply/run",
        "texts": {**editor_texts(), **_script_texts()},
    }
    context = {
        "targets": clusters,
        "chosen": chosen if chosen in ids else next(iter(ids), ""),
        "namespace": request.GET.get("namespace", ""),
        "config": config,
        "title": _("Apply"),
    }
    return allow_style_attributes(render_page(request, "console/apply.html", context))


@require_POST
@json_view
def validate(request: HttpRequest) -> HttpResponse:
    """{"problems": […]} of a text, at the lines that the API names."""
    body = json_body(request)
    answer = call(request, "POST", "manifests/validate", body=_checked_text(body)).data
    return json_response({"problems": _problems(answer["documents"])})


@require_POST
@json_view
def diff(request: HttpRequest) -> HttpResponse:
    """{"documents": […]}: each object beside what the chosen cluster has."""
    body = json_body(request)
    answer = call(request, "POST", "manifests/diff", body=_checked_text(body)).data
    return _documents_response(answer, body.get("cluster_id"))


@require_POST
@json_view
def run(request: HttpRequest) -> HttpResponse:
    """{"documents": […]} of a single target, {"address"} of the operation for several.

    With a selector for pruning {"confirm": {"selector", "objects", "more"}} until it was typed.
    """
    body = json_body(request)
    targets = _targets(body)
    apply_body = {"content": _text(body, "text"), "targets": targets, **_options(body)}
    selector = apply_body.get("prune_selector", "")
    headers = {}
    if selector and not apply_body["dry_run"]:
        typed = _text(body, "typed")
        if typed != selector:
            return _ask_before_pruning(request, apply_body, typed)
        headers["X-Confirm"] = selector
    answer = call(request, "POST", "manifests/apply", body=apply_body, headers=headers).data
    if operation := answer.get("operation_id"):
        return json_response({"address": f"/operations/{operation}"})
    return _documents_response(answer, targets[0]["cluster_id"], dry=apply_body["dry_run"])


def _documents_response(
    answer: Mapping[str, Any],
    cluster: Any,
    *,
    dry: bool = False,
) -> HttpResponse:
    rows = document_rows(answer["documents"], int(cluster))
    if dry:
        # What a dry run says was created is not there.
        rows = [{**row, "address": ""} for row in rows]
    return json_response({"documents": rows})


def document_rows(
    documents: Iterable[Mapping[str, Any]],
    cluster: int,
) -> list[dict[str, Any]]:
    """[{"title","address","word","severity","message","lines","more"}] of the API's documents.

    `address` is the object's page, "" for objects that are not there.
    """
    rows = []
    for document in documents:
        word, severity = ACTIONS.get(document["action"], (document["action"], "idle"))
        lines = diffs.diff_lines(document.get("diff") or "")
        is_there = document["action"] in THERE
        message = document.get("error") or document.get("msg") or ""
        rows.append(
            {
                "title": _title(document),
                "address": page_address(cluster, document) if is_there else "",
                "word": str(word),
                "severity": severity,
                # The API's word for what needs no more words.
                "message": "" if message == "success" else message,
                "lines": [list(line) for line in lines[:MAX_LINES]],
                "more": max(len(lines) - MAX_LINES, 0),
            }
        )
    return rows


def _title(document: Mapping[str, Any]) -> str:
    """`Deployment shop/web`; the place in the text for what has no name."""
    name = "/".join(part for part in (document["namespace"], document["name"]) if part)
    title = f"{document['kind']} {name}".strip()
    return title or _("Document {number}").format(number=document["index"] + 1)


def _problems(documents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The API's errors as the editor marks them: columns count from 0."""
    return [
        {
            "line": error["line"],
            "column": max(error["column"] - 1, 0),
            # The API names where a problem begins; the rest of the line is marked.
            "end": LINE_END,
            "message": error["message"],
        }
        for document in documents
        for error in document["errors"]
    ]


# --- what the script sends ------------------------------------------------------------------------
def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise ApiRefusal(1001, _("The request was not understood."), {}, 400)
    return value.strip() if name != "text" else value


def _checked_text(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cluster_id": body.get("cluster_id"),
        "namespace": _text(body, "namespace"),
        "content": _text(body, "text"),
    }


def _targets(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A target for each namespace of each chosen cluster; the common one where none is given."""
    chosen = body.get("targets")
    chosen = chosen if isinstance(chosen, list) else []
    common = _text(body, "namespace")
    targets = []
    for row in chosen:
        if not isinstance(row, dict):
            raise ApiRefusal(1001, _("The request was not understood."), {}, 400)
        parts = [part.strip() for part in _text(row, "namespaces").split(",")]
        namespaces = list(dict.fromkeys(filter(None, parts))) or [common]
        targets += [
            {"cluster_id": row.get("cluster_id"), "namespace": namespace}
            for namespace in namespaces
        ]
    if not targets:
        raise ApiRefusal(1001, _("Choose at least one cluster."), {"field": "targets"}, 400)
    return targets


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {name: body.get(name) is True for name in OPTIONS}
    options["on_failure"] = "continue" if body.get("go_on") is True else "stop"
    if selector := _text(body, "prune_selector"):
        options["prune_selector"] = selector
    return options


def _ask_before_pruning(
    request: HttpRequest,
    apply_body: Mapping[str, Any],
    typed: str,
) -> HttpResponse:
    selector = apply_body["prune_selector"]
    if typed:
        raise ApiRefusal(
            1001,
            _("Type %(name)s to confirm; nothing was changed.") % {"name": selector},
            {"field": "typed"},
            400,
        )
    targets: Sequence[Mapping[str, Any]] = apply_body["targets"]
    names = {str(cluster["id"]): cluster["name"] for cluster in navigation.list_clusters(request)}
    objects = []
    for target in targets[:MAX_PRUNE_PREVIEWS]:
        trial = {**apply_body, "targets": [target], "dry_run": True, "wait": False}
        answer = call(request, "POST", "manifests/apply", body=trial).data
        cluster = names.get(str(target["cluster_id"]), "")
        for document in answer["documents"]:
            # Pruned objects stand in no text.
            if document["index"] < 0:
                refusal = f" ({document['msg']})" if document["action"] == "failed" else ""
                objects.append(f"{cluster}: {_title(document)}{refusal}")
    more = max(len(targets) - MAX_PRUNE_PREVIEWS, 0)
    return json_response({"confirm": {"selector": selector, "objects": objects, "more": more}})


def _script_texts() -> dict[str, str]:
    """What the script says."""
    return {
        "valid": _("Valid in this cluster."),
        "validating": _("Validating…"),
        "comparing": _("Comparing with the cluster…"),
        "compared": _("Objects: {count}. This is what would change."),
        "nothing": _("Objects: {count}. Nothing would change."),
        "refused": _("Objects that the cluster refuses: {count}."),
        "applied": _("Done."),
        "changes": _("What changes"),
        "results": _("What was done"),
        "tried": _("A dry run: nothing was changed."),
        "not_applied": _("Not everything was applied."),
        "address": _("That is an address. Open it, then paste its content: KubeGale reads none."),
        "too_large": _("{name} is larger than 3 MiB."),
        "more_lines": _("Lines that are not shown: {count}"),
        "prune": _("Objects that would be deleted: {count}"),
        "prune_more": _("Clusters and namespaces that were not looked into: {count}"),
        "prune_type": _("Type {selector} to confirm."),
    }
