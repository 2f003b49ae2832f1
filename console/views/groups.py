"""Groups: their members, and the grants that they lend."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import FORBIDDEN, ApiRefusal, call
from console.filtered_lists import read_list
from console.page import redirect, require_sign_in
from console.views.people import create_grant, list_grants, withdraw_grant
from console.views.tenants import ROLES, list_usernames


@require_http_methods(["GET", "POST"])
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The groups: all of them for platform admins, else those of the grants one administers."""
    keyword = request.GET.get("keyword", "")
    groups = _list_groups(request)
    context = {
        "keyword": keyword,
        "groups": [group for group in groups if keyword.lower() in group["name"].lower()],
        "total": len(groups),
    }
    return forms.render_form(
        request,
        "console/groups.html",
        context,
        lambda: _create_group(request),
    )


def _list_groups(request: HttpRequest) -> list[dict[str, Any]]:
    try:
        groups: list[dict[str, Any]] = call(request, "GET", "groups").data["items"]
    except ApiRefusal as refusal:
        if refusal.code != FORBIDDEN:
            raise
        return _groups_of_grants(request)
    return groups


def _groups_of_grants(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups, by name, that the grants name which the person administers.

    The members are None: an admin of a cluster or namespace may not see who they are.
    """
    groups: dict[int, dict[str, Any]] = {}
    for grant in list_grants(request):
        if grant["group"] is None:
            continue
        group = groups.setdefault(
            grant["group_id"],
            {
                "id": grant["group_id"],
                "name": grant["group"],
                "members": None,
                "grants": [],
            },
        )
        group["grants"].append(grant)
    return sorted(groups.values(), key=lambda group: str(group["name"]))


def _create_group(request: HttpRequest) -> HttpResponse:
    name = forms.form_text(request, "name")
    group = call(request, "POST", "groups", body={"name": name}).data
    notice = _("Group %(name)s was created.") % {"name": name}
    return redirect(request, f"/groups/{group['id']}", notice)


@require_http_methods(["GET", "POST"])
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One group: what it lends, and to whom."""
    context = {
        **_group_context(request, pk),
        "roles": ROLES,
        "grants_action": f"/groups/{pk}",
    }

    def act() -> HttpResponse:
        return _submit(request, context["group"])

    return forms.render_form(request, "console/group.html", context, act)


def _group_context(request: HttpRequest, pk: int) -> dict[str, Any]:
    """The group with a page of its members; without them for who may not see people."""
    try:
        group = call(request, "GET", f"groups/{pk}").data
    except ApiRefusal as refusal:
        if refusal.code != FORBIDDEN:
            raise
        for group in _groups_of_grants(request):
            if group["id"] == pk:
                return {"group": group, "members": None}
        raise
    members, links = read_list(request, f"groups/{pk}/members", ("keyword",))
    return {
        "group": group,
        "members": members,
        "keyword": links["chosen"]["keyword"],
        "people": list_usernames(request),
        **links,
    }


def _submit(request: HttpRequest, group: dict[str, Any]) -> HttpResponse:
    """What the page's forms ask for, distinguished by `what`."""
    place = f"groups/{group['id']}"
    back = f"/{place}"
    match request.POST.get("what", ""):
        case "grant":
            return create_grant(request, "group", group["name"], back=back)
        case "withdraw":
            return withdraw_grant(request, back=back)
        case "remove":
            name = request.POST.get("username", "")
            call(request, "DELETE", f"{place}/members/{name}")
            return redirect(request, back, _("%(name)s is no longer a member.") % {"name": name})
    name = forms.form_text(request, "username")
    call(request, "POST", f"{place}/members", body={"username": name})
    return redirect(request, back, _("%(name)s is a member now.") % {"name": name})


@require_http_methods(["GET", "POST"])
@require_sign_in
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """What ends with a group, and deleting it."""
    group = call(request, "GET", f"groups/{pk}").data

    def act() -> HttpResponse:
        call(request, "DELETE", f"groups/{pk}")
        notice = _("Group %(name)s was deleted.") % {"name": group["name"]}
        return redirect(request, "/groups", notice)

    return forms.render_form(request, "console/group_delete.html", {"group": group}, act)
