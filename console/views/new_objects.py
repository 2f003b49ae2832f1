"""New objects: a text is tried, compared, and created in a cluster, with or without scripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from clusters.kinds import KINDS
from clusters.manifest_text import (
    Document,
    Problem,
    comparison_text,
    problems_of_refusal,
)
from clusters.manifests import Object, to_yaml
from console.api_client import ApiRefusal, call
from console.editing.starters import STARTERS
from console.json_views import json_body, json_response, json_view
from console.locations import Location, collection_path
from console.page import (
    allow_style_attributes,
    redirect,
    render_page,
    require_sign_in,
)
from console.views.editor import INVALID_CODES, MAX_DOCUMENTS, editor_texts, read_documents


@dataclass(frozen=True, slots=True)
class Creation:
    """What became of a text: the problems in it, and the objects that are in the cluster now."""

    problems: list[Problem]
    created: list[tuple[Location, Object]]

    @property
    def names(self) -> list[str]:
        """`Deployment web` of each object."""
        return [f"{obj.get('kind')} {obj['metadata']['name']}" for _location, obj in self.created]

    @property
    def lines(self) -> list[str]:
        """The problems with the lines that they are in."""
        rows = []
        for problem in self.problems:
            place = f"{problem.field}: " if problem.field not in problem.message else ""
            message = f"{place}{problem.message}"
            located = _("Line {line}: {message}").format(line=problem.line, message=message)
            rows.append(located if problem.line else message)
        return rows

    @property
    def notice(self) -> str:
        """What the next page says."""
        text = ngettext(
            "{names} was created.", "{count} objects were created: {names}", len(self.names)
        )
        return text.format(count=len(self.names), names=", ".join(self.names))


@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest, cluster: int) -> HttpResponse:
    """The page for new objects, with a text to begin with for the kinds that people make most.

    Without scripts the page sends the text itself.
    """
    if request.method == "POST":
        made = _create_objects(request, cluster, request.POST.get("text", ""), dry=False)
        if not made.problems:
            return redirect(request, _created_address(made.created), made.notice)
        context = _create_context(request, cluster) | {"failed": made}
        context["config"]["text"] = request.POST.get("text", "")
        response = render_page(request, "console/create.html", context, status=400)
    else:
        context = _create_context(request, cluster)
        response = render_page(request, "console/create.html", context)
    return allow_style_attributes(response)


def _create_context(request: HttpRequest, cluster: int) -> dict[str, Any]:
    kind = request.GET.get("kind", "")
    namespace = request.GET.get("namespace", "") or "default"
    starters = {plural: make(namespace) for plural, make in STARTERS.items()}
    text = starters.get(kind) or _empty_manifest(kind, namespace)
    base = f"/clusters/{cluster}"
    config = {
        "text": text,
        "check": f"{base}/-/create/check",
        "apply": f"{base}/-/create/apply",
        "texts": editor_texts(),
        "blueprints": starters,
    }
    config["lint"] = f"{base}/-/lint"
    config["form"] = f"{base}/-/create/form"
    config["merge"] = f"{base}/-/create/merge"
    config["view"] = "form" if request.GET.get("view") == "form" else "yaml"
    return {
        "cluster_id": cluster,
        "blueprints": [(plural, KINDS[plural].name) for plural in starters],
        "chosen": kind if kind in starters else "",
        "config": config,
        "title": _("Create"),
    }


def _empty_manifest(plural: str, namespace: str) -> str:
    kind = KINDS.get(plural)
    if kind is None:
        return ""
    metadata = {"name": ""}
    if kind.namespaced:
        metadata["namespace"] = namespace
    return to_yaml({"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata})


@require_POST
@json_view
def check(request: HttpRequest, cluster: int) -> HttpResponse:
    """Try each document by a dry run: {"problems": […]} or {"before": "", "after"}."""
    text = str(json_body(request).get("text") or "")
    tried = _create_objects(request, cluster, text, dry=True)
    if tried.problems:
        return json_response({"problems": _problem_rows(tried), "made": []})
    preview = "---\n".join(comparison_text(obj) for _location, obj in tried.created)
    return json_response({"before": "", "after": preview})


@require_POST
@json_view
def apply(request: HttpRequest, cluster: int) -> HttpResponse:
    """Create the documents in their order: {"address"}.

    At the first refusal {"problems", "made"}: the objects created before it stay and are named.
    """
    text = str(json_body(request).get("text") or "")
    made = _create_objects(request, cluster, text, dry=False)
    if made.problems:
        return json_response({"problems": _problem_rows(made), "made": made.names})
    messages.success(request, made.notice)
    return json_response({"address": _created_address(made.created)})


def _problem_rows(creation: Creation) -> list[dict[str, Any]]:
    return [problem.as_json() for problem in creation.problems]


def _create_objects(
    request: HttpRequest,
    cluster: int,
    text: str,
    *,
    dry: bool,
) -> Creation:
    # First the permission to see the cluster: without it the text is not even parsed.
    call(request, "GET", f"clusters/{cluster}")
    parsed = read_documents(text, most=MAX_DOCUMENTS)
    problems = _text_problems(parsed)
    if problems:
        return Creation(problems, [])
    created: list[tuple[Location, Object]] = []
    for document in parsed:
        try:
            created.append(_create_object(request, cluster, document, dry=dry))
        except ApiRefusal as refusal:
            if refusal.code not in (*INVALID_CODES, 1003, 1004):
                raise
            problems += problems_of_refusal(document, refusal.message, refusal.details)
            # A dry run lists the problems of all documents; a real one stops at the first,
            # since later objects may need the one that is missing.
            if not dry:
                break
    return Creation(problems, created)


def _text_problems(parsed: list[Document]) -> list[Problem]:
    """Why the text cannot be sent to the cluster at all."""
    if not parsed:
        return [Problem(0, 0, 0, _("The text is empty."))]
    if len(parsed) > MAX_DOCUMENTS:
        return [Problem(0, 0, 0, _("At most {count} objects at once.").format(count=MAX_DOCUMENTS))]
    return [problem for document in parsed for problem in document.problems]


def _create_object(
    request: HttpRequest,
    cluster: int,
    document: Document,
    *,
    dry: bool,
) -> tuple[Location, Object]:
    location = _document_location(request, cluster, document)
    body = {**location.query, "content": document.obj, "dry_run": dry, "field_validation": "Strict"}
    return location, call(request, "POST", collection_path(location.plural), body=body).data


def _created_address(created: list[tuple[Location, Object]]) -> str:
    """The page of the created object; for several the table of the first one's kind."""
    location, obj = created[0]
    if len(created) > 1:
        return location.table
    # By the answer: with generateName only the API server knows the name.
    return location.other(location.plural, obj["metadata"]["name"]).address


def _document_location(
    request: HttpRequest,
    cluster: int,
    document: Document,
) -> Location:
    """Where a document's object will be, by its apiVersion and kind."""
    obj: Mapping[str, Any] = document.obj or {}
    version = str(obj.get("apiVersion") or "")
    kind = str(obj.get("kind") or "")
    if not version or not kind:
        cause = {"field": "kind" if version else "apiVersion", "message": _("is required")}
        raise ApiRefusal(
            1001,
            _("apiVersion and kind are required."),
            {"details": {"causes": [cause]}},
            400,
        )
    metadata = obj.get("metadata") if isinstance(obj.get("metadata"), Mapping) else {}
    namespace = str((metadata or {}).get("namespace") or "")
    for candidate in KINDS.values():
        if (candidate.name, candidate.api_version) != (kind, version):
            continue
        parent = (namespace or "default") if candidate.namespaced else ""
        return Location(cluster, candidate.plural, parent, "")
    return _custom_location(request, cluster, version, kind, namespace)


def _custom_location(
    request: HttpRequest,
    cluster: int,
    version: str,
    kind: str,
    namespace: str,
) -> Location:
    """The place of a custom kind, out of the cluster's definitions."""
    group, _slash, number = version.partition("/")
    query = {
        "cluster_id": cluster,
        "keyword": group,
        "pageSize": 500,
    }
    for definition in call(request, "GET", "customresourcedefinitions", query=query).data["items"]:
        spec = definition.get("spec") or {}
        names = spec.get("names") or {}
        if spec.get("group") == group and names.get("kind") == kind:
            inside = (namespace or "default") if spec.get("scope") == "Namespaced" else ""
            return Location(cluster, f"{names.get('plural')}.{number}.{group}", inside, "")
    cause = {
        "field": "kind",
        "message": _("this cluster has no {kind} of {version}").format(kind=kind, version=version),
    }
    raise ApiRefusal(1001, cause["message"], {"details": {"causes": [cause]}}, 400)
