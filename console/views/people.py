"""People and grants: who there is and who may do what where."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import FORBIDDEN, ApiRefusal, call
from console.page import redirect, require_sign_in
from console.rendering.html import path_segment
from console.rendering.state_labels import translate_state
from console.views.tenants import ROLES

SIZE = 200
MAX_GRANTS = 1000


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """People for platform admins; grants for admins of any cluster or namespace."""
    keyword = request.GET.get("keyword", "")
    context: dict[str, Any] = {
        "roles": ROLES,
        "keyword": keyword,
        "people": None,
        "total": 0,
    }
    try:
        data = call(request, "GET", "users", query={"keyword": keyword, "pageSize": SIZE}).data
        groups = call(request, "GET", "groups").data["items"]
        context |= {
            "people": [_person_row(user, groups) for user in data["items"]],
            "total": data["total"],
        }
    except ApiRefusal as refusal:
        # An admin of a cluster or namespace may not list users, but grants.
        if refusal.code != FORBIDDEN:
            raise
    context["grants"] = list_grants(request)
    return forms.render_form(request, "console/people.html", context, lambda: _submit(request))


def list_grants(request: HttpRequest) -> list[dict[str, Any]]:
    """The grants that the person administers."""
    query = {"pageSize": MAX_GRANTS}
    grants: list[dict[str, Any]] = call(request, "GET", "grants", query=query).data["items"]
    return grants


def _person_row(
    user: Mapping[str, Any],
    groups: list[dict[str, Any]],
) -> dict[str, Any]:
    """A user for the table: the role in words, and the groups as those of the API."""
    names = set(user["groups"])
    return {
        **user,
        "role": _role_words(user),
        "groups": [group for group in groups if group["name"] in names],
    }


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
            is_group = request.POST.get("is_group") == "1"
            subject = "group" if is_group else "user"
            back = request.POST.get("back", "")
            address = f"/people/{path_segment(back)}" if back else "/people"
            return create_grant(request, subject, forms.form_text(request, "subject"), back=address)
        case "withdraw":
            return withdraw_grant(request, back="/people")
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


def create_grant(
    request: HttpRequest,
    subject: str,
    name: str,
    *,
    back: str,
) -> HttpResponse:
    """Grant what the form says to a "user" or a "group" of that name."""
    body = {field: forms.form_text(request, field) for field in ("role", "cluster", "namespace")}
    call(request, "POST", "grants", body={**body, subject: name})
    return redirect(request, back, _("The role was granted."))


def withdraw_grant(request: HttpRequest, *, back: str) -> HttpResponse:
    """Revoke the grant of the button that was pressed."""
    call(request, "DELETE", f"grants/{forms.form_number(request, 'grant')}")
    return redirect(request, back, _("The grant was revoked."))


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@require_sign_in
def detail(request: HttpRequest, name: str) -> HttpResponse:
    """One person: address, groups, password, whether they may sign in, their grants."""
    person = call(request, "GET", f"users/{name}").data
    context = {
        "account": person,
        "groups": call(request, "GET", "groups").data["items"],
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
