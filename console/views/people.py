"""People, groups and grants: who there is and who may do what where."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import ApiRefusal, call
from console.page import redirect, require_sign_in
from console.rendering.html import path_segment
from console.rendering.state_labels import translate_state
from console.views.tenants import ROLES

SIZE = 200


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """People and groups for platform admins; grants for admins of any cluster or namespace."""
    keyword = request.GET.get("keyword", "")
    context: dict[str, Any] = {
        "roles": ROLES,
        "keyword": keyword,
        "people": None,
        "groups": [],
        "total": 0,
    }
    try:
        data = call(request, "GET", "users", query={"keyword": keyword, "pageSize": SIZE}).data
        context |= {
            "people": [{**user, "role": _role_words(user)} for user in data["items"]],
            "total": data["total"],
            "groups": call(request, "GET", "groups").data["items"],
        }
    except ApiRefusal as refusal:
        # An admin of a cluster or namespace may not list users, but grants.
        if refusal.code != 1005:
            raise
    context["grants"] = call(request, "GET", "grants", query={"pageSize": 1000}).data["items"]
    return forms.render_form(request, "console/people.html", context, lambda: _submit(request))


def _role_words(user: Mapping[str, Any]) -> str:
    """The highest role of a user and, unless it is everywhere, the places of it."""
    role = user["role"]
    places = []
    for grant in user["grants"]:
        if grant["role"] == role:
            # A grant without cluster is on the whole platform.
            place = "/".join(str(part) for part in (grant["cluster"], grant["namespace"]) if part)
            places.append(place)
    # A superuser needs no grant.
    if not role or not places or "" in places:
        return translate_state(role or "")
    words = {"role": translate_state(role), "places": ", ".join(sorted(set(places)))}
    return _("%(role)s of %(places)s") % words


def _submit(request: HttpRequest) -> HttpResponse:
    """What the page's forms ask for, distinguished by `what`."""
    match request.POST.get("what", ""):
        case "grant":
            return _create_grant(request)
        case "withdraw":
            call(request, "DELETE", f"grants/{forms.form_number(request, 'grant')}")
            return redirect(request, "/people", _("The grant was revoked."))
        case "group":
            name = forms.form_text(request, "name")
            call(request, "POST", "groups", body={"name": name})
            return redirect(request, "/people", _("Group %(name)s was created.") % {"name": name})
    name = forms.form_text(request, "username")
    body = {
        field: forms.form_text(request, field)
        for field in ("username", "email", "role", "cluster", "namespace")
    }
    call(request, "POST", "users", body={**body, "password": request.POST.get("password", "")})
    return redirect(
        request,
        f"/people/{path_segment(name)}",
        _("%(name)s can sign in now.") % {"name": name},
    )


def _create_grant(request: HttpRequest) -> HttpResponse:
    body = {field: forms.form_text(request, field) for field in ("role", "cluster", "namespace")}
    body["group" if request.POST.get("is_group") == "1" else "user"] = forms.form_text(
        request, "subject"
    )
    call(request, "POST", "grants", body=body)
    back = request.POST.get("back", "")
    return redirect(
        request, f"/people/{path_segment(back)}" if back else "/people", _("The role was granted.")
    )


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@require_sign_in
def detail(request: HttpRequest, name: str) -> HttpResponse:
    """One person: address, groups, password, whether they may sign in, their grants."""
    person = call(request, "GET", f"users/{name}").data
    groups = [group["name"] for group in call(request, "GET", "groups").data["items"]]
    context = {
        "account": person,
        "groups": groups,
        "roles": ROLES,
        "is_me": person["username"] == request.user.get_username(),
    }
    return forms.render_form(
        request,
        "console/person.html",
        context,
        lambda: _change_person(request, name),
    )


def _change_person(request: HttpRequest, name: str) -> HttpResponse:
    match request.POST.get("what", ""):
        case "off" | "on" as what:
            call(request, "PUT", f"users/{name}", body={"is_active": what == "on"})
        case "password":
            call(
                request,
                "PUT",
                f"users/{name}",
                body={"password": request.POST.get("password", "")},
            )
        case _:
            groups = [*request.POST.getlist("groups"), *forms.form_lines(request, "more")]
            call(
                request,
                "PUT",
                f"users/{name}",
                body={"email": forms.form_text(request, "email"), "groups": groups},
            )
    return redirect(request, f"/people/{path_segment(name)}", _("Saved."))
