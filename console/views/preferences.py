"""Saved views, columns and namespaces: what the person arranges, each by one small form."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console import forms, preferences, stored_copy
from console.json_views import json_body, json_response, json_view
from console.page import redirect, render_page, require_sign_in

YEAR = 365 * 86400


def _previous_page(request: HttpRequest) -> tuple[str, str]:
    """(path, query) of the page that the form stood on; the overview without one."""
    parts = urlsplit(request.headers.get("Referer", "/"))
    # Only the path counts, so that no other site is ever returned to.
    path = parts.path if parts.path.startswith("/") and not parts.path.startswith("//") else "/"
    return path, parts.query


def _go_back(request: HttpRequest, notice: str = "") -> HttpResponse:
    path, query = _previous_page(request)
    return redirect(request, f"{path}?{query}" if query else path, notice)


@require_POST
@require_sign_in
def views(request: HttpRequest) -> HttpResponse:
    """Save the page under a name, or remove one that was saved."""
    saved = list(preferences.read_fresh(request)["views"])
    if removed := request.POST.get("remove", ""):
        preferences.write(request, views=[view for view in saved if view["address"] != removed])
        return _go_back(request, _("The view was removed."))
    view = {"name": forms.form_text(request, "name"), "address": request.POST.get("address", "")}
    # The same page again has a new name, not a second entry.
    others = [other for other in saved if other["address"] != view["address"]]
    preferences.write(request, views=[*others, view])
    return _go_back(request, _("%(name)s was saved.") % {"name": view["name"]})


@require_POST
@require_sign_in
def columns(request: HttpRequest) -> HttpResponse:
    """Keep which columns of a kind's table are shown."""
    plural = request.POST.get("plural", "")
    shown = set(request.POST.getlist("column"))
    hidden = dict(preferences.read_fresh(request)["hidden_columns"])
    listed = request.POST.getlist("known")
    # A table over all clusters lists fewer columns: the others stay as they are.
    others = [key for key in hidden.get(plural, ()) if key not in listed]
    hidden[plural] = [key for key in listed if key not in shown] + others
    preferences.write(request, hidden_columns=hidden)
    return _go_back(request)


@require_POST
@json_view
def widths(request: HttpRequest) -> HttpResponse:
    """Keep the widths of a kind's columns: {"plural", "widths": {column: pixels}}."""
    body = json_body(request)
    tables = dict(preferences.read_fresh(request)["column_widths"])
    tables[str(body.get("plural") or "")] = body.get("widths")
    preferences.write(request, column_widths=tables)
    return json_response({})


@require_http_methods(["GET", "POST"])
@require_sign_in
def namespaces(request: HttpRequest, cluster: int) -> HttpResponse:
    """The switcher of namespaces; POST keeps the chosen ones for the cluster's tables."""
    if request.method == "POST":
        return _keep_namespaces(request, cluster)
    chosen = preferences.chosen_namespaces(request, cluster)
    names = stored_copy.list_namespaces(request, cluster, chosen)
    context = {
        "cluster_id": cluster,
        "choices": [(name, name in chosen) for name in names],
    }
    return render_page(request, "console/parts/namespace_switcher.html", context)


def _keep_namespaces(request: HttpRequest, cluster: int) -> HttpResponse:
    names = request.POST.getlist("namespace")
    path, query = _previous_page(request)
    # What the address of the page says would win over the choice.
    rest = [(key, value) for key, value in parse_qsl(query) if key not in ("namespace", "page")]
    response = redirect(request, f"{path}?{urlencode(rest)}" if rest else path)
    set_namespaces(response, cluster, ",".join(names[: preferences.MAX_NAMESPACES]))
    return response


def set_namespaces(response: HttpResponse, cluster: int, names: str) -> None:
    """Keep a comma list of namespaces for a cluster; "" forgets it."""
    name = preferences.namespace_cookie(cluster)
    if not names:
        response.delete_cookie(name)
        return
    response.set_cookie(
        name,
        names,
        max_age=YEAR,
        samesite="Lax",
        secure=settings.SECURE_COOKIES,
        httponly=True,
    )
