"""Deploying templates, and what became of them: drift, upgrade, rollback, undeploy."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clusters.kinds import KINDS
from clusters.manifests import to_yaml
from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.editing.value_forms import build_form, hide_texts, mask_secrets, read_values
from console.locations import Location
from console.page import is_fragment, name_fields, redirect, render_page, require_sign_in
from console.rendering import diffs, hints
from console.views import operations, templates

SIZE = 50
RUNNING = frozenset({"deploying", "undeploying"})
ACTIONS = {
    "created": (gettext_lazy("would be created"), "good"),
    "configured": (gettext_lazy("would be changed"), "busy"),
    "unchanged": (gettext_lazy("stays as it is"), "idle"),
    "pruned": (gettext_lazy("would be deleted"), "warn"),
    "failed": (gettext_lazy("refused"), "bad"),
    "skipped": (gettext_lazy("not tried"), "idle"),
}
DRIFT = {
    "missing": (gettext_lazy("missing"), "bad"),
    "changed": (gettext_lazy("changed"), "warn"),
}
CONFLICT = 1008
# A page shows so much of a rendered text.
MAX_TEXT = 256 * 1024


# --- deploying ------------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
@require_sign_in
def deploy(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a deployment; `act` says whether it is previewed or done."""
    template = templates.template_context(call(request, "GET", f"templates/{pk}").data)
    version = templates.read_version(request, template, _chosen_version(request))
    clusters = navigation.list_clusters(request)
    context = {
        "template": template,
        "version": version,
        "deployment": None,
        "clusters": clusters,
        "targets": _target_rows(request, clusters),
        "render_address": f"/templates/{pk}/render",
        "name": request.POST.get("name", ""),
    }

    def act(*, dry: bool) -> dict[str, Any]:
        body = {
            "version": version["version"],
            "name": forms.form_text(request, "name"),
            "targets": _read_targets(request),
            "values": read_values(version["schema"], request.POST),
            "dry_run": dry,
        }
        answer: dict[str, Any] = call(
            request,
            "POST",
            f"templates/{pk}/deploy",
            body=body,
        ).data
        return answer

    form = build_form(version["schema"], posted=request.POST or None)
    return _value_form(request, {**context, "form": form}, act)


def _chosen_version(request: HttpRequest) -> str:
    return request.POST.get("version", "") or request.GET.get("version", "")


def _target_rows(
    request: HttpRequest,
    clusters: list[dict[str, Any]],
) -> list[tuple[str, str]]:
    """(cluster, namespace) of each row of the form; at least a single one to fill in."""
    rows = _posted_targets(request)
    chosen = request.GET.get("cluster") or request.COOKIES.get(navigation.LAST_CLUSTER_COOKIE, "")
    if len(clusters) == 1:
        chosen = str(clusters[0]["id"])
    return rows or [(chosen, request.GET.get("namespace", ""))]


def _posted_targets(request: HttpRequest) -> list[tuple[str, str]]:
    clusters = request.POST.getlist("cluster")
    namespaces = [name.strip() for name in request.POST.getlist("namespace")]
    # A browser sends both of each row.
    return list(zip(clusters, namespaces, strict=False))


def _read_targets(request: HttpRequest) -> list[dict[str, Any]]:
    targets = []
    for cluster, namespace in _posted_targets(request):
        # A number too long for an id is the API's to refuse.
        number = int(cluster) if cluster.isascii() and cluster.isdecimal() else None
        if number is None:
            raise ApiRefusal(1001, _("Choose a cluster."), {"field": "targets"}, 400)
        targets.append({"cluster_id": number, "namespace": namespace})
    return targets


def _value_form(
    request: HttpRequest,
    context: dict[str, Any],
    act: Callable[..., dict[str, Any]],
) -> HttpResponse:
    """The page of a form for values, the preview of what it would do, or doing it.

    The script of the page asks for the preview alone and keeps the form; refusals come with the
    path of the value, beside whose field they are shown.
    """
    template = "console/template_deploy.html"
    if request.method != "POST":
        return render_page(request, template, context)
    part = "console/parts/template_outcome.html"
    shown = part if is_fragment(request) else template
    try:
        if request.POST.get("act") != "deploy":
            answer = act(dry=True)
            context |= preview_context(request, answer["documents"])
            return render_page(request, shown, context)
        answer = act(dry=False)
    except ApiRefusal as refusal:
        if is_fragment(request):
            name_fields(request, template, context, refusal)
        context |= refusal_context(refusal)
        return render_page(request, shown, context, status=refusal.status)
    return redirect(request, f"/templates/deployments/{answer['deployment_id']}")


def refusal_context(refusal: ApiRefusal) -> dict[str, Any]:
    """What the page says of a refusal, and at which field."""
    return {
        "refusal": refusal,
        # A conflict says itself what stands in the way, and nothing is wrong with what was sent.
        "hint": "" if refusal.code == CONFLICT else hints.for_code(refusal.code, refusal.details),
        "field_error": str(refusal.details.get("field") or ""),
    }


def preview_context(
    request: HttpRequest,
    documents: list[Mapping[str, Any]],
) -> dict[str, Any]:
    """What an action would do: each object with its difference, targets one after the other."""
    names = _cluster_names(request)
    rows = [document_row(document, names) for document in documents]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["action"]] = counts.get(row["action"], 0) + 1
    return {
        "documents": rows,
        "counts": [(*ACTIONS.get(name, (name, "idle")), count) for name, count in counts.items()],
        "refused": counts.get("failed", 0),
        "previewed": True,
    }


def _cluster_names(request: HttpRequest) -> dict[str, str]:
    return {str(row["id"]): row["name"] for row in navigation.list_clusters(request)}


def document_row(
    document: Mapping[str, Any],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """An object of a preview, with words and the lines of its difference."""
    word, severity = ACTIONS.get(document["action"], (document["action"], "idle"))
    return {
        **document,
        "cluster": names.get(str(document["cluster_id"]), str(document["cluster_id"])),
        "word": word,
        "severity": severity,
        "lines": diffs.diff_lines(document.get("diff") or ""),
    }


@require_POST
@require_sign_in
def render(request: HttpRequest, pk: int) -> HttpResponse:
    """The manifests that the form's values make, with what is missing; beside the form."""
    template = call(request, "GET", f"templates/{pk}").data
    version = templates.read_version(request, template, _chosen_version(request))
    context: dict[str, Any] = {}
    try:
        context = _rendered_context(request, pk, version)
    except ApiRefusal as refusal:
        # The form is being filled in: that it does not fit yet is nothing to interrupt for.
        if refusal.code not in (1001, 1004):
            raise
        context = refusal_context(refusal)
    return render_page(request, "console/parts/template_rendered.html", context)


def _rendered_context(
    request: HttpRequest,
    pk: int,
    version: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifests with masks for secrets, and what is missing and unused."""
    kept = request.POST.getlist("kept")
    values = read_values(version["schema"], request.POST)
    masked, secrets = mask_secrets(version["schema"], values, kept)
    answer = _render(request, pk, version, values)
    text = answer["manifests"]
    if masked != values:
        try:
            text = _render(request, pk, version, masked)["manifests"]
        except ApiRefusal:
            # A pattern that the mask does not have.
            text = hide_texts(text, secrets)
    return {
        "text": text[:MAX_TEXT],
        "shortened": len(text) > MAX_TEXT,
        "missing": [path for path in answer["missing"] if path not in kept],
        "unused": answer["unused"],
    }


def _render(
    request: HttpRequest,
    pk: int,
    version: Mapping[str, Any],
    values: Mapping[str, Any],
) -> Mapping[str, Any]:
    body = {"version": version["version"], "values": values}
    answer: Mapping[str, Any] = call(
        request,
        "POST",
        f"templates/{pk}/render",
        body=body,
    ).data
    return answer


# --- deployments ----------------------------------------------------------------------------------
@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """Deployments of templates, newest first."""
    names = ("state", "cluster_id", "namespace", "keyword", "template")
    chosen = {name: request.GET.get(name, "") for name in names}
    number = forms.query_number(request, "page", least=1)
    query = {**chosen, "page": number, "pageSize": SIZE}
    data = call(
        request,
        "GET",
        "template-deployments",
        query=query,
    ).data
    rest = urlencode({name: value for name, value in chosen.items() if value})
    context = {
        "deployments": [deployment_context(row) for row in data["items"]],
        "total": data["total"],
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "states": [(name, word) for name, (word, _severity) in templates.STATES.items()],
        "previous": f"?{rest}&page={number - 1}" if number > 1 else "",
        "next": f"?{rest}&page={number + 1}" if number * SIZE < data["total"] else "",
    }
    return render_page(request, "console/template_deployments.html", context)


def deployment_context(row: Mapping[str, Any]) -> dict[str, Any]:
    """A deployment with the words for its state."""
    return {
        **row,
        **templates.state_words(row["state"]),
        "targets": [
            {
                **target,
                "word": operations.STATES.get(target["state"], target["state"]),
                "severity": operations.SEVERITIES.get(target["state"], "idle"),
            }
            for target in row["targets"]
        ],
        "is_running": row["state"] in RUNNING,
        "is_over": row["state"] == "undeployed",
    }


@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A deployment: targets, drift, values and revisions; its state follows the store."""
    row = call(request, "GET", f"template-deployments/{pk}").data
    if request.headers.get("HX-Target") == "deployment":
        # The page asks every few seconds, and changes when something else is true.
        if request.GET.get("seen") == _fingerprint(row):
            return HttpResponse(status=204)
        return render_page(
            request, "console/parts/template_deployment.html", _detail_context(request, row)
        )
    return render_page(request, "console/template_deployment.html", _detail_context(request, row))


def _fingerprint(row: Mapping[str, Any]) -> str:
    """Changes exactly when something that the page shows does."""
    return hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _detail_context(
    request: HttpRequest,
    row: Mapping[str, Any],
) -> dict[str, Any]:
    names = _cluster_names(request)
    deployment = deployment_context(row)
    return {
        "deployment": deployment,
        "seen": _fingerprint(row),
        "drift": [_drift_row(item, names) for item in row["drift"]],
        "unknown": row["drift_unknown"],
        "values": to_yaml(row["values"]) if row["values"] else "",
        "earlier": [
            revision for revision in row["revisions"] if revision["revision"] != row["revision"]
        ],
    }


def _drift_row(
    item: Mapping[str, Any],
    names: Mapping[str, str],
) -> dict[str, Any]:
    word, severity = DRIFT.get(item["state"], (item["state"], "warn"))
    kinds = {kind.name: plural for plural, kind in KINDS.items()}
    plural = kinds.get(item["kind"], "")
    address = ""
    if plural and item["state"] != "missing":
        address = Location(
            item["cluster_id"], plural, item["namespace"] or "", item["name"]
        ).address
    return {
        **item,
        "cluster": names.get(str(item["cluster_id"]), str(item["cluster_id"])),
        "word": word,
        "severity": severity,
        "address": address,
        "changes": [_change_row(change) for change in item.get("changes") or []],
    }


def _change_row(change: Mapping[str, Any]) -> dict[str, str]:
    path = change["path"]
    return {
        "path": path if isinstance(path, str) else ".".join(map(str, path)),
        "before": diffs.short_text(change.get("before")),
        "after": diffs.short_text(change.get("after")),
    }


# --- their actions --------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
@require_sign_in
def upgrade(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a deployment's values for another version; previewed, then done."""
    row = call(request, "GET", f"template-deployments/{pk}").data
    template_id = row["template_id"]
    template = templates.template_context(call(request, "GET", f"templates/{template_id}").data)
    version = templates.read_version(request, template, _chosen_version(request))
    form = build_form(
        version["schema"],
        row["values"],
        posted=request.POST or None,
    )
    context = {
        "template": template,
        "version": version,
        "deployment": deployment_context(row),
        "form": form,
        "render_address": f"/templates/{template_id}/render",
    }

    def act(*, dry: bool) -> dict[str, Any]:
        values = read_values(version["schema"], request.POST)
        body = {
            "version": version["version"],
            "values": values,
            "dry_run": dry,
        }
        return _send_action(request, row, "upgrade", body)

    return _value_form(request, context, act)


def _send_action(
    request: HttpRequest,
    row: Mapping[str, Any],
    action: str,
    body: Mapping[str, Any],
) -> dict[str, Any]:
    """Ask for an action; that the objects to be deleted were shown first is its confirmation."""
    path = f"template-deployments/{row['id']}/{action}"
    headers = {} if body.get("dry_run") else {"X-Confirm": str(row["name"])}
    answer: dict[str, Any] = call(
        request,
        "POST",
        path,
        body=body,
        headers=headers,
    ).data
    return answer


@require_http_methods(["GET", "POST"])
@require_sign_in
def rollback(request: HttpRequest, pk: int) -> HttpResponse:
    """What going back to a version would do, and doing it."""
    row = call(request, "GET", f"template-deployments/{pk}").data
    version = request.POST.get("version", "") or request.GET.get("version", "")
    return _act_page(
        request,
        row,
        "rollback",
        {"version": version} if version else {},
        {"act_title": _("Roll back"), "version": version},
    )


@require_http_methods(["GET", "POST"])
@require_sign_in
def undeploy(request: HttpRequest, pk: int) -> HttpResponse:
    """The objects that would be deleted, and deleting them.

    The name has to be typed where one of the clusters is protected.
    """
    row = call(request, "GET", f"template-deployments/{pk}").data
    texts = {"act_title": _("Undeploy"), "needs_name": _is_protected(request, row)}
    return _act_page(request, row, "undeploy", {}, texts)


def _is_protected(request: HttpRequest, row: Mapping[str, Any]) -> bool:
    """Whether one of the deployment's clusters is protected."""
    clusters = call(request, "GET", "clusters", query={"pageSize": 1000}).data["items"]
    protected = {cluster["id"] for cluster in clusters if cluster["protected"]}
    return any(target["cluster_id"] in protected for target in row["targets"])


def _act_page(
    request: HttpRequest,
    row: Mapping[str, Any],
    action: str,
    body: Mapping[str, Any],
    texts: Mapping[str, Any],
) -> HttpResponse:
    """The page of an action: a preview of each object, and the button that does it."""
    context: dict[str, Any] = {
        "deployment": deployment_context(row),
        "action": action,
        **texts,
    }
    status = 200
    if request.method == "POST":
        try:
            if texts.get("needs_name"):
                forms.require_name(request, row["name"])
            _send_action(request, row, action, body)
            return redirect(request, f"/templates/deployments/{row['id']}")
        except ApiRefusal as refusal:
            context |= refusal_context(refusal)
            status = refusal.status
    try:
        answer = _send_action(request, row, action, {**body, "dry_run": True})
        context |= preview_context(request, answer["documents"])
    except ApiRefusal as refusal:
        context |= refusal_context(refusal)
        status = refusal.status
    return render_page(request, "console/template_act.html", context, status=status)
