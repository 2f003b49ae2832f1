"""ConfigMaps and Secrets key by key: showing, setting and removing one value."""

import base64
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.json_views import json_body, json_response, json_view
from console.locations import Location
from console.page import object_view, redirect, render_not_found, render_page, require_sign_in
from console.rendering.health import Object, get

KINDS_WITH_KEYS = frozenset({"configmaps", "secrets"})
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


def list_keys(item: Object, location: Location) -> list[dict[str, Any]] | None:
    """The keys of a ConfigMap or Secret: {"name","text","size"}; None for other kinds.

    `text` is None for what is not shown: values of Secrets, and bytes. `size` is in bytes, None
    where the value is masked.
    """
    if location.plural not in KINDS_WITH_KEYS:
        return None
    is_secret = location.plural == "secrets"
    keys = []
    for field in ("data", "binaryData"):
        values = get(item, field)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            is_shown = not is_secret and field == "data"
            keys.append(
                {
                    "name": str(name),
                    "text": str(value) if is_shown else None,
                    "size": len(str(value).encode()) if is_shown else _decoded_size(value),
                    "is_binary": field == "binaryData",
                }
            )
    return sorted(keys, key=lambda key: str(key["name"]))


def _decoded_size(value: object) -> int | None:
    """The bytes behind base64; None for what is none, as the mask of a value."""
    try:
        return len(base64.b64decode(str(value), validate=True))
    except ValueError:
        return None


@require_POST
@json_view
@object_view
def reveal(request: HttpRequest, location: Location) -> HttpResponse:
    """{"key","text","value","size"} of one key of a Secret; the audit trail has a line of it."""
    body = {**location.query, "key": str(json_body(request).get("key") or "")}
    return json_response(call(request, "POST", f"{location.path}/reveal", body=body).data)


@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
@require_sign_in
@object_view
def edit(request: HttpRequest, location: Location) -> HttpResponse:
    """The form of one key (a new one without `key`): its value, and removing it."""
    if location.plural not in KINDS_WITH_KEYS:
        return render_not_found(request)
    item = call(request, "GET", location.path, query=location.query).data
    key = request.GET.get("key", "")
    current = (get(item, "data") or {}).get(key)
    if key and current is None:
        raise ApiRefusal(1004, _("There is no such key."), {}, 404)
    is_secret = location.plural == "secrets"
    context = {
        "cluster_id": location.cluster,
        "location": location,
        "kind": navigation.kind_name(location.plural),
        "kinds_title": navigation.kind_title(location.plural),
        "key": key,
        "is_secret": is_secret,
        # The value of a Secret is asked for by its own button, never by opening a form.
        "value": "" if is_secret else current,
        "version": get(item, "metadata", "resourceVersion"),
    }
    if request.method == "GET":
        return render_page(request, "console/key.html", context)
    context |= {"value": request.POST.get("value", ""), "version": request.POST.get("version", "")}
    return forms.render_form(
        request, "console/key.html", context, lambda: _change_key(request, location, key)
    )


def _change_key(request: HttpRequest, location: Location, key: str) -> HttpResponse:
    name = key or forms.form_text(request, "key")
    if not name:
        raise ApiRefusal(1001, _("Enter the name of the key."), {"field": "key"}, 400)
    # A browser sends line ends of two characters, which no file has.
    text = request.POST.get("value", "").replace("\r\n", "\n")
    value: str | None = text
    if location.plural == "secrets":
        value = base64.b64encode(text.encode()).decode()
    notice = _("%(key)s was set.")
    if request.POST.get("what") == "remove":
        value = None
        notice = _("%(key)s was removed.")
    # With the version of the form, so that nobody's change since then is overwritten unseen.
    body = {
        "metadata": {"resourceVersion": request.POST.get("version", "")},
        "data": {name: value},
    }
    call(
        request,
        "PATCH",
        location.path,
        query=location.query,
        body=body,
        headers=MERGE_PATCH,
    )
    return redirect(request, location.address, notice % {"key": name})
