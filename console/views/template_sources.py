"""“Make a template of this”: objects that run become a template with chosen parameters."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.locations import Location, find_kind
from console.page import object_view, redirect, render_page, require_sign_in
from console.rendering.parameters import likely_parameters
from console.views import templates

MAX_OBJECTS = 50


@require_http_methods(["GET", "POST"])
@require_sign_in
@object_view
def single(request: HttpRequest, location: Location) -> HttpResponse:
    """The form for a template of one object, and making it."""
    return _source_page(request, [location])


@require_POST
@require_sign_in
def several(
    request: HttpRequest,
    cluster: int,
    plural: str,
) -> HttpResponse:
    """The form for a template of the rows that are selected in a table, and making it."""
    namespaced = find_kind(plural).namespaced
    locations = []
    for row in request.POST.getlist("row")[: MAX_OBJECTS + 1]:
        namespace, _slash, name = row.partition("/") if namespaced else ("", "", row)
        locations.append(Location(cluster, plural, namespace, name))
    if not locations or len(locations) > MAX_OBJECTS:
        message = _("Choose from 1 to {count} objects in the table first.")
        raise ApiRefusal(1001, message.format(count=MAX_OBJECTS), {}, 400)
    return _source_page(request, locations)


def _source_page(
    request: HttpRequest,
    locations: Sequence[Location],
) -> HttpResponse:
    first = locations[0]
    items = [
        call(request, "GET", location.path, query=location.query).data for location in locations
    ]
    sections = [
        {
            "title": f"{item.get('kind')} {location.name}",
            "parameters": list(likely_parameters(item)),
            "is_secret": item.get("kind") == "Secret",
        }
        for location, item in zip(locations, items, strict=True)
    ]
    is_sent = request.POST.get("sure") == "1"
    context: dict[str, Any] = {
        **templates.form_context(request, first.cluster),
        "cluster_id": first.cluster,
        "back": first.address if len(locations) == 1 else first.table,
        "kinds_title": navigation.kind_title(first.plural),
        "rows": request.POST.getlist("row"),
        # The frame has sections of its own.
        "groups": sections,
        "values": {"name": first.name, "scope": "all"},
        "chosen": _chosen_paths(request, sections) if is_sent else _default_paths(sections),
    }
    if not is_sent:
        return render_page(request, "console/template_source.html", context)
    return forms.render_form(
        request,
        "console/template_source.html",
        context,
        lambda: _create(request, locations, context["chosen"]),
    )


def _default_paths(sections: Sequence[dict[str, Any]]) -> list[str]:
    return [
        parameter.path
        for section in sections
        for parameter in section["parameters"]
        if parameter.chosen
    ]


def _chosen_paths(
    request: HttpRequest,
    sections: Sequence[dict[str, Any]],
) -> list[str]:
    """The ticked paths and those that were written by hand, a path a line."""
    ticked = request.POST.getlist("path")
    written = [line.strip() for line in request.POST.get("paths", "").splitlines()]
    return [*ticked, *(line for line in written if line)]


def _create(
    request: HttpRequest,
    locations: Sequence[Location],
    paths: Sequence[str],
) -> HttpResponse:
    objects = [
        {"kind": location.plural, "namespace": location.namespace, "name": location.name}
        for location in locations
    ]
    body = {
        **templates.metadata_body(request),
        "cluster_id": locations[0].cluster,
        "objects": objects,
        "parametrise": list(paths),
    }
    template = call(request, "POST", "templates/from-resources", body=body).data["template"]
    notice = _("Template {name} was created.").format(name=template["name"])
    return redirect(request, f"/templates/{template['id']}", notice)
