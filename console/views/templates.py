"""Templates: the gallery, one template with its versions, making, importing and exporting them."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clusters.kinds import KINDS
from console import forms, permissions
from console.api_client import ApiRefusal, call, require_segment
from console.locations import find_kind
from console.page import allow_style_attributes, redirect, render_page, require_sign_in
from console.views.actions import needs_name
from console.views.tenants import list_own_tenants
from core.errors import Invalid
from core.jsontext import loads

SIZE = 60
# A gallery offers the categories and tags of at most so many templates.
MAX_FACETS = 200
MAX_FILE_BYTES = 4 * 1024 * 1024
SCOPES = {
    "all": gettext_lazy("For everybody"),
    "tenant": gettext_lazy("For one tenant"),
}
STATES = {
    "deploying": (gettext_lazy("deploying"), "busy"),
    "deployed": (gettext_lazy("deployed"), "good"),
    "failed": (gettext_lazy("failed"), "bad"),
    "undeploying": (gettext_lazy("undeploying"), "busy"),
    "undeployed": (gettext_lazy("undeployed"), "idle"),
}
FILTERS = ("keyword", "category", "tag", "scope")
EMPTY_SCHEMA = """{
  "type": "object",
  "properties": {
    "name": {"type": "string", "default": "web", "description": "Name of the objects"}
  }
}
"""
EMPTY_BODY = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ name }}
data: {}
"""


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The gallery: templates as cards, narrowed by a text, a category, a tag and a scope."""
    chosen = {name: request.GET.get(name, "") for name in FILTERS}
    number = forms.query_number(request, "page", least=1)
    data = call(
        request,
        "GET",
        "templates",
        query={**chosen, "page": number, "pageSize": SIZE},
    ).data
    rest = urlencode({name: value for name, value in chosen.items() if value})
    facets = _facets(request)
    context = {
        "templates": [template_context(template) for template in data["items"]],
        "total": data["total"],
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "scope_words": SCOPES.items(),
        **scope_context(request),
        **facets,
        "previous": f"?{rest}&page={number - 1}" if number > 1 else "",
        "next": f"?{rest}&page={number + 1}" if number * SIZE < data["total"] else "",
    }
    return render_page(request, "console/templates.html", context)


def _facets(request: HttpRequest) -> dict[str, list[str]]:
    """The categories and tags that the filters offer."""
    rows = call(request, "GET", "templates", query={"pageSize": MAX_FACETS}).data["items"]
    categories = {row["category"] for row in rows if row["category"]}
    tags = {tag for row in rows for tag in row["tags"]}
    return {
        "categories": sorted(categories),
        "tags": sorted(tags),
    }


def state_words(state: str) -> dict[str, Any]:
    """The word and the severity of a deployment's state."""
    word, severity = STATES.get(state, (state, "idle"))
    return {"word": word, "severity": severity}


def template_context(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template with what its card and its head need."""
    return {
        **template,
        "letter": str(template["name"])[:1].upper(),
        "scope_word": SCOPES.get(template["scope"], template["scope"]),
    }


# --- one template ---------------------------------------------------------------------------------
@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A template: what it is, the chosen version's notes, body and schema, and its deployments."""
    template = template_context(call(request, "GET", f"templates/{pk}").data)
    number = request.GET.get("version", "")
    version = read_version(request, template, number) if template["version"] else None
    context = {
        "template": template,
        "version": version,
        "schema": schema_text(version["schema"]) if version else "",
        "deployments": _deployments(request, pk),
        "changeable": _may_change(request, template),
    }
    return render_page(request, "console/template.html", context)


def _may_change(request: HttpRequest, template: Mapping[str, Any]) -> bool:
    """Whether to offer the person changes of a template."""
    if template["built_in"]:
        return False
    # Who may change those of a tenant is for the API to say.
    return template["scope"] == "tenant" or permissions.administers_everything(request)


def read_version(
    request: HttpRequest,
    template: Mapping[str, Any],
    number: str = "",
) -> dict[str, Any]:
    """A version with body and schema; the highest one for no number."""
    number = number or template["version"] or ""
    if not number:
        raise ApiRefusal(1004, _("The template has no version yet."), {}, 404)
    path = f"templates/{template['id']}/versions/{require_segment(number)}"
    version: dict[str, Any] = call(request, "GET", path).data
    return version


def schema_text(schema: Mapping[str, Any]) -> str:
    """A schema as text for people."""
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()


def _deployments(request: HttpRequest, pk: int) -> Mapping[str, Any]:
    """The template's deployments, newest first; none for who may not see any."""
    try:
        path = f"templates/{pk}/deployments"
        data = call(request, "GET", path, query={"pageSize": 20}).data
    except ApiRefusal as refusal:
        if refusal.code != 1005:
            raise
        return {"items": [], "more": False}
    rows = [{**row, **state_words(row["state"])} for row in data["items"]]
    return {"items": rows, "more": data["total"] > len(rows)}


# --- making them ----------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The form of a new template with its first version."""
    context = {
        **form_context(request),
        "values": {"version": "1.0.0", "body": EMPTY_BODY, "schema": EMPTY_SCHEMA, "scope": "all"},
    }
    return _editor_form(request, "console/template_new.html", context, lambda: _create(request))


def _editor_form(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    act: Callable[[], HttpResponse],
) -> HttpResponse:
    response = forms.render_form(request, template, context, act)
    # A redirect has no styles.
    return (
        response if response.status_code == HTTPStatus.FOUND else allow_style_attributes(response)
    )


def scope_context(request: HttpRequest, cluster: int | None = None) -> dict[str, Any]:
    """For whom the person may make templates: {"scopes", "tenants"}, both empty for nobody.

    With a cluster, its tenants only.
    """
    tenants = list_own_tenants(request, writable=True, cluster_id=cluster or "")
    scopes = []
    # Only admins of everything make templates for everybody.
    if permissions.administers_everything(request):
        scopes.append("all")
    if tenants:
        scopes.append("tenant")
    return {
        "scopes": [(scope, SCOPES[scope]) for scope in scopes],
        "tenants": tenants,
    }


# Kinds that a person installs again elsewhere: what controllers make, what is a part of the cluster
# and what gives rights is no use as a template.
TEMPLATE_KINDS = frozenset(
    {
        "deployments",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "services",
        "ingresses",
        "networkpolicies",
        "configmaps",
        "secrets",
        "serviceaccounts",
        "persistentvolumeclaims",
    }
)


def offers_template(request: HttpRequest, cluster: int, plural: str) -> bool:
    """Whether a page offers to make a template of objects of this kind."""
    # Of custom kinds it is not known what makes them: those in namespaces may be of use.
    fits = plural in TEMPLATE_KINDS if plural in KINDS else find_kind(plural).namespaced
    return fits and may_create(request, cluster)


def may_create(request: HttpRequest, cluster: int) -> bool:
    """Whether the person may make a template of objects of a cluster."""
    if permissions.administers_everything(request):
        return True
    return bool(list_own_tenants(request, writable=True, cluster_id=cluster))


def form_context(request: HttpRequest, cluster: int | None = None) -> dict[str, Any]:
    """What the fields of a new template offer; ApiRefusal for who may make none."""
    context = scope_context(request, cluster)
    if not context["scopes"]:
        message = _("There is no tenant for which you may make a template.")
        raise ApiRefusal(1005, message, {}, 403)
    return {**context, **_facets(request)}


def metadata_body(request: HttpRequest) -> dict[str, Any]:
    """What the form says of the template itself."""
    names = ("name", "description", "category")
    body: dict[str, Any] = {name: _multiline_text(request, name).strip() for name in names}
    return {**body, "tags": forms.form_lines(request, "tags"), **_scope_body(request)}


def _scope_body(request: HttpRequest) -> dict[str, Any]:
    scope = request.POST.get("scope", "all")
    if scope != "tenant":
        return {"scope": scope}
    return {"scope": scope, "tenant": forms.form_number(request, "tenant")}


def _version_body(request: HttpRequest) -> dict[str, Any]:
    return {
        "version": forms.form_text(request, "version"),
        "body": _multiline_text(request, "body"),
        "schema": _read_schema(request),
        "notes": _multiline_text(request, "notes"),
    }


def _multiline_text(request: HttpRequest, name: str) -> str:
    """A text of several lines; browsers send the line ends of the network."""
    return request.POST.get(name, "").replace("\r\n", "\n")


def _read_schema(request: HttpRequest) -> Any:
    text = request.POST.get("schema", "").strip()
    try:
        return loads(text.encode()) if text else {}
    except Invalid as error:
        message = _("The schema is not JSON: {reason}").format(reason=error.message)
        raise ApiRefusal(1001, message, {"field": "schema"}, 400) from None


def _create(request: HttpRequest) -> HttpResponse:
    body = {**metadata_body(request), **_version_body(request)}
    template = call(request, "POST", "templates", body=body).data
    notice = _("Template {name} was created.").format(name=template["name"])
    return redirect(request, f"/templates/{template['id']}", notice)


@require_http_methods(["GET", "POST"])
@require_sign_in
def new_version(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a version that begins as a copy of the highest one."""
    template = template_context(call(request, "GET", f"templates/{pk}").data)
    values = {
        "version": "1.0.0",
        "body": EMPTY_BODY,
        "schema": EMPTY_SCHEMA,
    }
    if template["version"]:
        latest = read_version(request, template, request.GET.get("from", ""))
        values = {
            "version": next_version(template["version"]),
            "body": latest["body"],
            "schema": schema_text(latest["schema"]),
        }
    context = {
        "template": template,
        "values": values,
    }

    def act() -> HttpResponse:
        version = call(request, "POST", f"templates/{pk}/versions", body=_version_body(request))
        number = str(version.data["version"])
        notice = _("Version {version} was created.").format(version=number)
        return redirect(request, f"/templates/{pk}?version={quote(number)}", notice)

    return _editor_form(request, "console/template_version.html", context, act)


def next_version(number: str) -> str:
    """The next minor version after one; the same text when it cannot be told."""
    core = number.partition("-")[0].partition("+")[0].split(".")
    if len(core) != 3 or not all(part.isdecimal() for part in core):
        return number
    return f"{core[0]}.{int(core[1]) + 1}.0"


@require_http_methods(["GET", "POST"])
@require_sign_in
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a template's name, description, category, tags and scope."""
    template = template_context(call(request, "GET", f"templates/{pk}").data)
    context = {
        **_facets(request),
        "template": template,
        "values": {**template, "tags": ", ".join(template["tags"])},
    }

    def act() -> HttpResponse:
        body = metadata_body(request)
        # Who sees it is chosen once.
        del body["scope"]
        call(request, "PUT", f"templates/{pk}", body=body)
        return redirect(request, f"/templates/{pk}", _("Saved."))

    return forms.render_form(request, "console/template_change.html", context, act)


@require_http_methods(["GET", "POST"])
@require_sign_in
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a template with all of its versions."""
    template = template_context(call(request, "GET", f"templates/{pk}").data)

    def act() -> HttpResponse:
        forms.call_confirmed(request, "DELETE", f"templates/{pk}", name=template["name"])
        notice = _("Template {name} was deleted.").format(name=template["name"])
        return redirect(request, "/templates", notice)

    context = {"template": template, "needs_name": needs_name(None)}
    return forms.render_form(request, "console/template_delete.html", context, act)


# --- files ----------------------------------------------------------------------------------------
@require_GET
@require_sign_in
def export(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The template with its versions as a file."""
    answer = call(request, "GET", f"templates/{pk}/export")
    return answer.response or HttpResponse(status=204)


@require_POST
@require_sign_in
def import_file(request: HttpRequest) -> HttpResponse:
    """Make a template of a file that `export` gave."""
    upload = request.FILES.get("file")
    if upload is None:
        raise ApiRefusal(1001, _("Choose a file first."), {"field": "file"}, 400)
    if (upload.size or 0) > MAX_FILE_BYTES:
        raise ApiRefusal(1001, _("The file is too large."), {"field": "file"}, 400)
    try:
        text = upload.read().decode()
    except UnicodeDecodeError:
        raise ApiRefusal(1001, _("The file is no text."), {"field": "file"}, 400) from None
    template = call(
        request,
        "POST",
        "templates/import",
        body={"content": text, **_scope_body(request)},
    ).data
    notice = _("Template {name} was imported.").format(name=template["name"])
    return redirect(request, f"/templates/{template['id']}", notice)
