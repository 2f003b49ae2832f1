"""The form beside the YAML of a new object: two views of one manifest, exchanged by the page."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from clusters.manifest_text import documents
from clusters.manifests import to_yaml
from console.api_client import ApiRefusal, call
from console.editing import manifest_forms
from console.editing.form_parts import Form
from console.editing.manifest_inputs import Manifest
from console.json_views import json_body, json_response, json_view
from core.errors import Invalid


@require_POST
@json_view
def show(request: HttpRequest, cluster: int) -> HttpResponse:
    """The form of a text of one object: {"html"}, or {"problems"} when it has none."""
    manifest, form, problem = _read_manifest(request, cluster, json_body(request))
    if form is None:
        return json_response({"problems": [problem]})
    context = {
        "sections": manifest_forms.show_form(form, manifest),
        "kind": form.kind,
        "containers": manifest_forms.show_containers(form, manifest),
    }
    html = render_to_string("console/parts/manifest_form.html", context, request)
    return json_response({"html": html})


@require_POST
@json_view
def merge(request: HttpRequest, cluster: int) -> HttpResponse:
    """The text with what was entered in the form: {"text"}, or {"fields": [{name, message}]}.

    With `renumbered` the form has to be shown again: its containers are other ones.
    `fields` of the request are [name, value] in the order of the form.
    """
    body = json_body(request)
    manifest, form, problem = _read_manifest(request, cluster, body)
    if form is None:
        return json_response({"problems": [problem]})
    entered = _entries(body)
    merged, problems = manifest_forms.merge_form(form, manifest, entered)
    if problems:
        rows = [{"name": name, "message": message} for name, message in problems]
        return json_response({"fields": rows})
    # What nobody changed keeps its comments.
    text = str(body.get("text") or "")
    return json_response(
        {
            "text": text if merged == manifest else to_yaml(merged),
            "renumbered": manifest_forms.is_renumbered(form, manifest, entered),
        }
    )


def _entries(body: Mapping[str, Any]) -> dict[str, list[str]]:
    entered: dict[str, list[str]] = {}
    pairs = body.get("fields")
    for pair in pairs if isinstance(pairs, list) else []:
        match pair:
            case [str(name), str(value)]:
                entered.setdefault(name, []).append(value)
            case _:
                raise ApiRefusal(1001, _("The request was not understood."), {}, 400)
    return entered


def _read_manifest(
    request: HttpRequest, cluster: int, body: Mapping[str, Any]
) -> tuple[Manifest, Form | None, dict[str, Any]]:
    """(the object of the text, its form, why there is none)."""
    # First the permission to see the cluster: without it the text is not even parsed.
    call(request, "GET", f"clusters/{cluster}")
    try:
        parsed = documents(str(body.get("text") or ""), most=2)
    except Invalid as error:
        raise ApiRefusal(1001, error.message, {}, 400) from None
    if len(parsed) != 1:
        message = _("The form shows one object; the YAML has several or none.")
        return {}, None, _whole_problem(message)
    document = parsed[0]
    if document.problems or document.obj is None:
        return {}, None, document.problems[0].as_json() if document.problems else _whole_problem("")
    manifest = dict(document.obj)
    form = manifest_forms.form_of(manifest)
    message = _("There is no form for this kind and version; it can be written as YAML.")
    return manifest, form, _whole_problem(message)


def _whole_problem(message: str) -> dict[str, Any]:
    return {"line": 0, "column": 0, "end": 0, "message": message, "field": ""}
