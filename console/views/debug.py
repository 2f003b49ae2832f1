"""A debug container in a pod: the form, and the terminal that it leads to."""

import shlex
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import ApiRefusal, call, require_segment
from console.locations import Location
from console.page import object_view, redirect, render_not_found, render_page, require_sign_in
from console.rendering.health import get, rows
from console.views import objects

PROFILES = ("general", "baseline", "restricted")
DEFAULT_IMAGE = "busybox:1.37"


@require_http_methods(["GET", "POST"])
@require_sign_in
@object_view
def start(request: HttpRequest, location: Location) -> HttpResponse:
    """The form; sent, the container is started and its terminal opened."""
    if location.plural != "pods":
        return render_not_found(request)
    context = objects.head_context(request, location, "debug")
    targets = [
        str(container.get("name", ""))
        for container in rows(get(context["item"], "spec", "containers"))
    ]
    context |= {
        "targets": targets,
        "profiles": PROFILES,
        "image": "" if settings.DEBUG_IMAGES else DEFAULT_IMAGE,
        "images": settings.DEBUG_IMAGES,
        "entered": dict(request.POST.items()),
    }

    def act() -> HttpResponse:
        answer = call(
            request,
            "POST",
            f"pods/{require_segment(location.name)}/debug",
            body={**location.query, **_options(request)},
        ).data
        query = urlencode({"container": answer["container"]})
        return redirect(
            request,
            f"{location.address}/terminal?{query}",
            _("%(name)s runs.") % {"name": answer["container"]},
        )

    if request.method == "POST":
        return forms.render_form(request, "console/debug.html", context, act)
    return render_page(request, "console/debug.html", context)


def _options(request: HttpRequest) -> dict[str, object]:
    """The members of the API's body; ApiRefusal for a command whose quotes do not close."""
    try:
        command = shlex.split(forms.form_text(request, "command"))
    except ValueError:
        message = _("The command cannot be read: a quotation mark is not closed.")
        raise ApiRefusal(1001, message, {"field": "command"}, 400) from None
    return {
        "image": forms.form_text(request, "image"),
        "target": forms.form_text(request, "target"),
        "profile": forms.form_text(request, "profile") or PROFILES[0],
        "command": command,
    }
