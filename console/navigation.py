"""The frame around pages: clusters to choose from, kinds in groups, rooms of the house."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from clusters.kinds import KINDS
from console import cells
from console.gateway import Refused, call

Text = str | Promise
GROUPS: tuple[tuple[Text, tuple[str, ...]], ...] = (
    (_("Workloads"), ("pods", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicasets")),
    (_("Network"), ("services", "ingresses", "networkpolicies", "endpoints", "endpointslices")),
    (
        _("Configuration"),
        ("configmaps", "secrets", "horizontalpodautoscalers", "poddisruptionbudgets", "resourcequotas", "limitranges"),
    ),
    (_("Storage"), ("persistentvolumeclaims", "persistentvolumes", "storageclasses")),
    (_("Access"), ("serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings")),
    (_("Cluster"), ("nodes", "namespaces", "events", "leases", "controllerrevisions", "customresourcedefinitions")),
)
PLURALS: dict[str, Text] = {
    "pods": _("Pods"),
    "deployments": _("Deployments"),
    "statefulsets": _("StatefulSets"),
    "daemonsets": _("DaemonSets"),
    "jobs": _("Jobs"),
    "cronjobs": _("CronJobs"),
    "replicasets": _("ReplicaSets"),
    "services": _("Services"),
    "ingresses": _("Ingresses"),
    "networkpolicies": _("Network policies"),
    "endpoints": _("Endpoints"),
    "endpointslices": _("Endpoint slices"),
    "configmaps": _("ConfigMaps"),
    "secrets": _("Secrets"),
    "horizontalpodautoscalers": _("Autoscalers"),
    "poddisruptionbudgets": _("Disruption budgets"),
    "resourcequotas": _("Resource quotas"),
    "limitranges": _("Limit ranges"),
    "persistentvolumeclaims": _("Volume claims"),
    "persistentvolumes": _("Volumes"),
    "storageclasses": _("Storage classes"),
    "serviceaccounts": _("Service accounts"),
    "roles": _("Roles"),
    "rolebindings": _("Role bindings"),
    "clusterroles": _("Cluster roles"),
    "clusterrolebindings": _("Cluster role bindings"),
    "nodes": _("Nodes"),
    "namespaces": _("Namespaces"),
    "events": _("Events"),
    "leases": _("Leases"),
    "controllerrevisions": _("Controller revisions"),
    "customresourcedefinitions": _("Custom resources"),
}
# (address, title, key after g)
ROOMS: tuple[tuple[str, Text, str], ...] = (
    ("/", _("Overview"), "o"),
    ("/search", _("Search"), "s"),
    ("/operations", _("Operations"), "p"),
    ("/history", _("History"), "h"),
    ("/tenants", _("Tenants"), "t"),
    ("/orders", _("Orders"), "r"),
    ("/audit", _("Audit"), "a"),
    ("/tokens", _("API tokens"), "k"),
    ("/people", _("People"), "u"),
    ("/store", _("Store"), "b"),
)
MOST_CLUSTERS = 200


def title(plural: str) -> str:
    """What a kind is called in lists: a word of the viewer's language for the kinds we know, its plural for others."""
    return str(PLURALS.get(plural, plural.partition(".")[0]))


def kind_name(plural: str) -> str:
    """`Pod` for `pods`; the plural itself for kinds that are not ours."""
    return KINDS[plural].name if plural in KINDS else plural.partition(".")[0]


def address_of(cluster: object, found: Mapping[str, Any]) -> str:
    """The page of an object that the API names by plural, group, version, namespace and name."""
    plural, group = str(found["plural"]), str(found.get("group") or "")
    known = KINDS.get(plural)
    if known is None or known.group != group:
        plural = f"{plural}.{found.get('version') or 'v1'}.{group}"
    return f"/clusters/{cluster}/{plural}/{cells.part(found.get('namespace') or '-')}/{cells.part(found['name'])}"


def clusters(request: HttpRequest) -> list[dict[str, Any]]:
    """The clusters that the person may see, once per request."""
    found: list[dict[str, Any]] | None = getattr(request, "console_clusters", None)
    if found is None:
        try:
            found = call(request, "GET", "clusters", query={"pageSize": MOST_CLUSTERS}).data["items"]
        except Refused:
            found = []
        request.console_clusters = found  # type: ignore[attr-defined]
    return found


def frame(request: HttpRequest, cluster_id: object = None) -> dict[str, Any]:
    """What base.html needs: clusters, the one that is looked at, links. Nothing for who is not signed in."""
    if not request.user.is_authenticated:
        return {}
    found = clusters(request)
    current = next((cluster for cluster in found if str(cluster["id"]) == str(cluster_id)), None)
    return {
        "person": request.user,
        "clusters": found,
        "cluster": current,
        "rooms": _rooms(request.path),
        "kinds": _kinds(request.path, current) if current else "",
    }


def _rooms(path: str) -> SafeString:
    return format_html('<ul class="nav-list">{}</ul>', _links(((address, text, key) for address, text, key in ROOMS), path))


def _links(links: Iterable[tuple[str, Text, str]], path: str) -> SafeString:
    return format_html_join(
        "",
        '<li><a href="{}"{}{}>{}</a></li>',
        (
            (address, _here(address, path), format_html(' data-key="{}"', key) if key else SafeString(""), text)
            for address, text, key in links
        ),
    )


def _here(address: str, path: str) -> SafeString:
    inside = path == address or (address != "/" and path.startswith(f"{address}/"))
    return SafeString(' aria-current="page"') if inside else SafeString("")


def _kinds(path: str, cluster: dict[str, Any]) -> SafeString:
    base = f"/clusters/{cluster['id']}"
    parts = []
    for text, plurals in GROUPS:
        links = _links(((f"{base}/{plural}", PLURALS[plural], "") for plural in plurals), path)
        opened = SafeString(" open") if SafeString("aria-current") in links or text == GROUPS[0][0] else SafeString("")
        parts.append((opened, text, links))
    return format_html_join("", '<details class="nav-group"{}><summary>{}</summary><ul class="nav-list">{}</ul></details>', parts)
