"""The menu of a table's row: the pages of an object and what the person may do to it."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console.locations import Location
from console.page import object_view, render_page, require_sign_in
from console.views import objects

# The keys of `static/console/js/shortcuts.js`, by the end of the address.
KEYS = {
    "logs": "l",
    "terminal": "s",
    "files": "i",
    "yaml": "y",
    "edit": "e",
    "act/scale": "s",
    "act/restart": "r",
    "act/delete": "Del",
}


@require_GET
@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """Links only: each page checks again, and asks before it changes anything."""
    context = objects.head_context(request, location)
    pages = [
        {"title": title, "address": address, "key": _key(location, address)}
        for title, address, _is_current in context["tabs"][1:]
    ]
    acts = [
        {**button, "key": _key(location, button["address"])}
        for button in context["acts"]
        if button["verb"] != "delete"
    ]
    dangers = [
        {**button, "key": _key(location, button["address"])}
        for button in context["acts"]
        if button["verb"] == "delete"
    ]
    return render_page(
        request,
        "console/parts/row_menu.html",
        {
            "location": location,
            "pages": pages,
            "acts": acts + dangers,
            "may_change": context["may_change"],
        },
    )


def _key(location: Location, address: str) -> str:
    return KEYS.get(address.removeprefix(f"{location.address}/"), "")
