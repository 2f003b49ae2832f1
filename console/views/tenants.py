"""Tenants: namespaces with quotas and members; and the quota plans."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.page import redirect, render_page, require_sign_in
from console.rendering import charts
from console.rendering.html import path_segment
from console.views.actions import needs_name

ROLES = ("viewer", "operator", "admin")
SECURITY = ("", "privileged", "baseline", "restricted")
SIZE = 100
OWN_TENANTS = "/api/v1/auth/tenants"
# As many tenants as one form offers.
MAX_CHOICES = 1000
OPTIONS = {
    "network_policy": gettext_lazy("Closed network"),
    "role_bindings": gettext_lazy("Roles inside the cluster"),
    "pod_security": gettext_lazy("Pod security"),
}


def chosen_cluster(request: HttpRequest) -> int | None:
    """The cluster of the query, or the first that there is."""
    clusters = navigation.list_clusters(request)
    cluster_id = request.GET.get("cluster_id", "")
    if cluster_id.isdecimal() and len(cluster_id) < 19:
        return int(cluster_id)
    return int(clusters[0]["id"]) if clusters else None


def _list_plans(request: HttpRequest) -> list[dict[str, Any]]:
    try:
        plans: list[dict[str, Any]] = call(request, "GET", "plans").data["items"]
    except ApiRefusal:
        return []
    return plans


def list_own_tenants(request: HttpRequest, **filters: Any) -> list[dict[str, Any]]:
    """{"id","cluster_id","cluster","name","writable"} of the tenants that the person sees.

    `filters` are those of the API: cluster_id, writable.
    """
    query = {**filters, "pageSize": MAX_CHOICES}
    try:
        rows: list[dict[str, Any]] = call(request, "GET", OWN_TENANTS, query=query).data["items"]
    except ApiRefusal as refusal:
        # Without any grant there is no tenant to see.
        if refusal.code != 1005:
            raise
        return []
    return rows


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The tenants of a cluster, each with its quotas as bars."""
    cluster = chosen_cluster(request)
    keyword = request.GET.get("keyword", "")
    number = forms.query_number(request, "page", least=1)
    context: dict[str, Any] = {
        "cluster_id": cluster,
        "keyword": keyword,
        "chosen": cluster,
        "page_number": number,
    }
    if cluster is not None:
        query = {
            "cluster_id": cluster,
            "keyword": keyword,
            "page": number,
            "pageSize": SIZE,
        }
        data = call(request, "GET", "tenants", query=query).data
        context["tenants"] = [
            {**tenant, "gauges": charts.usage_gauges(tenant["usage"])[:4]}
            for tenant in data["items"]
        ]
        context |= {
            "total": data["total"],
            "next": number + 1 if number * SIZE < data["total"] else 0,
            "previous": number - 1,
        }
    return render_page(request, "console/tenants.html", context)


@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The form of a tenant, and making it."""
    cluster = chosen_cluster(request)
    context = {
        "cluster_id": cluster,
        "chosen": cluster,
        "plans": _list_plans(request),
        "resources": charts.RESOURCES.items(),
        "roles": ROLES,
        "securities": SECURITY,
        "people": list_usernames(request),
    }
    return forms.render_form(
        request,
        "console/tenant_new.html",
        context,
        lambda: _create_tenant(request),
    )


def list_usernames(request: HttpRequest) -> list[str]:
    """The usernames to choose from; empty for those who may not list users."""
    try:
        return [
            person["username"]
            for person in call(request, "GET", "users", query={"pageSize": 500}).data["items"]
        ]
    except ApiRefusal:
        return []


def _hard_limits(
    request: HttpRequest,
    prefix: str = "hard.",
) -> dict[str, str]:
    return {
        name: value
        for name in charts.RESOURCES
        # An empty field means "no limit", which the API takes as an absent member.
        if (value := forms.form_text(request, prefix + name))
    }


def _create_tenant(request: HttpRequest) -> HttpResponse:
    cluster = forms.form_number(request, "cluster_id")
    name = forms.form_text(request, "name")
    body: dict[str, Any] = {
        "cluster_id": cluster,
        "name": name,
        "contact": forms.form_text(request, "contact"),
        "description": forms.form_text(request, "description"),
        "network_policy": request.POST.get("network_policy") == "1",
        "role_bindings": request.POST.get("role_bindings") == "1",
    }
    if plan := forms.form_text(request, "plan"):
        body["plan"] = plan
    if hard := _hard_limits(request):
        body["quotas"] = [{"name": "quota", "hard": hard}]
    if member := forms.form_text(request, "member"):
        body["members"] = [
            {"username": member, "role": forms.form_text(request, "role") or "admin"}
        ]
    if security := forms.form_text(request, "pod_security"):
        body["pod_security"] = security
    call(request, "POST", "tenants", body=body)
    return redirect(
        request,
        f"/tenants/{cluster}/{path_segment(name)}",
        _("Tenant %(name)s was created.") % {"name": name},
    )


@require_GET
@require_sign_in
def detail(request: HttpRequest, cluster: int, name: str) -> HttpResponse:
    """A tenant: quota bars and their course over the last day, members, what may be changed."""
    return render_page(request, "console/tenant.html", _detail_context(request, cluster, name))


def _detail_context(
    request: HttpRequest,
    cluster: int,
    name: str,
) -> dict[str, Any]:
    tenant = call(request, "GET", f"tenants/{name}", query={"cluster_id": cluster}).data
    usage = call(request, "GET", f"tenants/{name}/usage", query={"cluster_id": cluster}).data
    return {
        "cluster_id": cluster,
        "tenant": tenant,
        "gauges": charts.usage_gauges(usage["now"], usage["samples"]),
        "quotas": [
            {
                **quota,
                "fields": [
                    (key, title, quota["hard"][key])
                    for key, (title, _u) in charts.RESOURCES.items()
                ],
            }
            for quota in tenant["quotas"]
        ],
        "options": [
            (title, tenant["options"][name])
            for name, title in OPTIONS.items()
            if tenant["options"].get(name)
        ],
        "roles": ROLES,
        "people": list_usernames(request),
    }


@require_POST
@require_sign_in
def change(request: HttpRequest, cluster: int, name: str) -> HttpResponse:
    """Contact, description and quotas."""

    def save() -> HttpResponse:
        body: dict[str, Any] = {"cluster_id": cluster}
        body |= {
            field: forms.form_text(request, field)
            for field in ("contact", "description")
            # Another form of the page may send none of the fields: they stay as they are.
            if field in request.POST
        }
        if request.POST.get("quota"):
            body["quotas"] = [
                {"name": forms.form_text(request, "quota"), "hard": _hard_limits(request)}
            ]
        call(request, "PUT", f"tenants/{name}", body=body)
        return redirect(request, f"/tenants/{cluster}/{path_segment(name)}", _("Saved."))

    return forms.render_form(
        request,
        "console/tenant.html",
        _detail_context(request, cluster, name),
        save,
    )


@require_POST
@require_sign_in
def members(request: HttpRequest, cluster: int, name: str) -> HttpResponse:
    """Add a member, change their role, or remove them."""

    def save() -> HttpResponse:
        address = f"/tenants/{cluster}/{path_segment(name)}"
        # One form serves adding and removing; the button's value tells which.
        if leaver := request.POST.get("remove", ""):
            call(
                request,
                "DELETE",
                f"tenants/{name}/members/{leaver}",
                query={"cluster_id": cluster},
            )
            return redirect(
                request,
                address,
                _("%(name)s is no longer a member.") % {"name": leaver},
            )
        member = forms.form_text(request, "username")
        body = {
            "cluster_id": cluster,
            "username": member,
            "role": forms.form_text(request, "role"),
        }
        call(request, "POST", f"tenants/{name}/members", body=body)
        return redirect(request, address, _("%(name)s is a member now.") % {"name": member})

    return forms.render_form(
        request,
        "console/tenant.html",
        _detail_context(request, cluster, name),
        save,
    )


@require_http_methods(["GET", "POST"])
@require_sign_in
def delete(request: HttpRequest, cluster: int, name: str) -> HttpResponse:
    """What goes with a tenant, and deleting it."""
    # A dry run: it counts what would be deleted.
    forecast = call(
        request,
        "DELETE",
        f"namespaces/{name}",
        query={"cluster_id": cluster, "dry_run": True},
    ).data
    context = {
        "cluster_id": cluster,
        "name": name,
        "impact": forecast["impact"],
        "protected": forecast["protected"],
        "needs_name": needs_name(forecast["protected"]),
    }

    def delete_tenant() -> HttpResponse:
        forms.call_confirmed(
            request,
            "DELETE",
            f"tenants/{name}",
            name=name,
            query={"cluster_id": cluster},
        )
        return redirect(
            request,
            f"/tenants?cluster_id={cluster}",
            _("Tenant %(name)s is being deleted.") % {"name": name},
        )

    return forms.render_form(request, "console/tenant_delete.html", context, delete_tenant)


@require_http_methods(["GET", "POST"])
@require_sign_in
def plans(request: HttpRequest) -> HttpResponse:
    """Templates of quotas: the list, making one, deleting one."""
    context = {"plans": call(request, "GET", "plans").data["items"], "resources": charts.RESOURCES}

    def save() -> HttpResponse:
        if removed := request.POST.get("remove", ""):
            call(request, "DELETE", f"plans/{removed}")
            return redirect(
                request,
                "/tenants/plans",
                _("Plan %(name)s is deleted; tenants made from it keep their quotas.")
                % {"name": removed},
            )
        name = forms.form_text(request, "name")
        body = {
            "name": name,
            "description": forms.form_text(request, "description"),
            "hard": _hard_limits(request),
        }
        call(request, "POST", "plans", body=body)
        return redirect(request, "/tenants/plans", _("Plan %(name)s was created.") % {"name": name})

    return forms.render_form(request, "console/quota_plans.html", context, save)
