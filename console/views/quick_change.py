"""Small forms for what is changed most: image, environment, resources, replicas, labels.

They send a patch; before that the cluster tries it, and its answer is shown as a difference.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from console import change_patch, forms
from console.api_client import ApiRefusal, call
from console.editing.pair_lines import EntryError
from console.locations import Location
from console.page import object_view, redirect, render_page, require_sign_in
from console.rendering import diffs
from console.rendering.health import Object
from console.views import objects

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
# What the cluster itself counts up with every change.
BOOKKEEPING = ("resourceVersion", "generation", "managedFields")


@require_http_methods(["GET", "POST"])
@require_sign_in
@object_view
def change(request: HttpRequest, location: Location) -> HttpResponse:
    """The form; checked, what would change; applied, back to the object."""
    # The store's copy may be seconds old, and the patch is made against what there is now.
    query = {**location.query, "fresh": True}
    item = call(request, "GET", location.path, query=query).data
    context = objects.head_context(request, location, "change", item)
    form = change_patch.describe(location.plural, item)
    seen = change_patch.digest(form)
    context |= {"form": form, "entered": dict(request.POST.items()), "seen": seen}

    def act() -> HttpResponse:
        # Else a field that the person did not touch would undo what somebody else wrote there.
        if request.POST.get("seen") != seen:
            raise ApiRefusal(
                1001, _("It was changed meanwhile. Check again what would change."), {}, 409
            )
        patch = _build_patch(request, location, item)
        if not patch:
            raise ApiRefusal(1001, _("Nothing was changed in the form."), {}, 400)
        checked = _send(request, location, patch, dry_run=True)
        if request.POST.get("act") == "apply":
            _send(request, location, patch, dry_run=False)
            return redirect(
                request,
                location.address,
                _("%(name)s was changed.") % {"name": location.name},
            )
        lines = diffs.compare(_without_bookkeeping(item), _without_bookkeeping(checked))
        checked_context = {**context, "lines": lines, "checked": True}
        return render_page(request, "console/quick_change.html", checked_context)

    return forms.render_form(request, "console/quick_change.html", context, act)


def _build_patch(request: HttpRequest, location: Location, item: Object) -> dict[str, Any]:
    try:
        return change_patch.build_patch(location.plural, item, request.POST)
    except EntryError as error:
        message = _("%(entry)s cannot be read: lines are NAME=value, numbers are whole.")
        details = {"field": error.field} if error.field else {}
        raise ApiRefusal(1001, message % {"entry": error}, details, 400) from None


def _send(
    request: HttpRequest, location: Location, patch: dict[str, Any], *, dry_run: bool
) -> Object:
    kind = MERGE if location.plural not in change_patch.CONTAINER_PATHS else STRATEGIC
    answer: Object = call(
        request,
        "PATCH",
        location.path,
        query={**location.query, "dry_run": dry_run or None, "field_validation": "Strict"},
        body=patch,
        headers={"Content-Type": kind},
    ).data
    return answer


def _without_bookkeeping(item: Object) -> dict[str, Any]:
    document = objects.hide_bookkeeping(item)
    document.pop("status", None)
    document["metadata"] = {
        key: value for key, value in document["metadata"].items() if key not in BOOKKEEPING
    }
    return dict(_in_order(document))


def _in_order(value: Any) -> Any:
    """The same document with sorted members: the cluster's answers differ in their order."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_in_order(element) for element in value]
    return value
