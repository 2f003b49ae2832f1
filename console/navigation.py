"""The frame around pages: clusters to choose from, kinds in groups, rooms of the house."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from clusters.kinds import KINDS
from console import permissions
from console.api_client import ApiRefusal, call
from console.permissions import AccessSummary
from console.rendering import html

Text = str | Promise
GROUPS: tuple[tuple[Text, tuple[str, ...]], ...] = (
    (
        _("Workloads"),
        ("pods", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicasets"),
    ),
    (_("Network"), ("services", "ingresses", "networkpolicies", "endpoints", "endpointslices")),
    (
        _("Configuration"),
        (
            "configmaps",
            "secrets",
            "horizontalpodautoscalers",
            "poddisruptionbudgets",
            "resourcequotas",
            "limitranges",
        ),
    ),
    (_("Storage"), ("persistentvolumeclaims", "persistentvolumes", "storageclasses")),
    (
        _("Access"),
        ("serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings"),
    ),
    (
        _("Cluster"),
        (
            "nodes",
            "namespaces",
            "events",
            "leases",
            "controllerrevisions",
            "customresourcedefinitions",
        ),
    ),
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
SECTIONS: tuple[tuple[str, Text, str], ...] = (
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
MOST_CLUSTERS, REMEMBERED = 200, 5
# The cookie with the cluster that was looked at last.
LAST_CLUSTER_COOKIE = "cluster"


def kind_title(plural: str) -> str:
    """What a kind is called in lists: a word of the viewer's language for the kinds we know, its plural for others."""
    return str(PLURALS.get(plural, plural.partition(".")[0]))


def kind_name(plural: str) -> str:
    """`Pod` for `pods`; the plural itself for kinds that are not ours."""
    return KINDS[plural].name if plural in KINDS else plural.partition(".")[0]


def object_address(cluster: object, item: Mapping[str, Any]) -> str:
    """The page of an object that the API names by plural, group, version, namespace and name."""
    plural, group = str(item["plural"]), str(item.get("group") or "")
    table_kind = KINDS.get(plural)
    if table_kind is None or table_kind.group != group:
        plural = f"{plural}.{item.get('version') or 'v1'}.{group}"
    return f"/clusters/{cluster}/{plural}/{html.path_segment(item.get('namespace') or '-')}/{html.path_segment(item['name'])}"


def list_clusters(request: HttpRequest, required_id: object = None) -> list[dict[str, Any]]:
    """{"id","name"} of the clusters that the person may see, remembered by the session for seconds: every page names them.

    One that is `wanted` and not among them is looked for anew.
    """
    rows: list[dict[str, Any]] | None = cache.get(_cache_key(request))
    if rows is None or (
        required_id is not None and all(str(row["id"]) != str(required_id) for row in rows)
    ):
        try:
            items = call(request, "GET", "clusters", query={"pageSize": MOST_CLUSTERS}).data[
                "items"
            ]
        except ApiRefusal:
            items = []
        rows = [{"id": row["id"], "name": row["name"]} for row in items]
        cache.set(_cache_key(request), rows, REMEMBERED)
    return rows


def forget_clusters(request: HttpRequest) -> None:
    """The person changed what clusters there are."""
    cache.delete(_cache_key(request))


def _cache_key(request: HttpRequest) -> str:
    return f"console-clusters:{request.session.session_key}"


def frame_context(request: HttpRequest, cluster_id: object = None) -> dict[str, Any]:
    """What base.html needs: clusters, the one that is looked at or was last, links. Nothing for who is not signed in."""
    if not request.user.is_authenticated:
        return {}
    rows = list_clusters(request, cluster_id)
    current_id = str(cluster_id or request.COOKIES.get(LAST_CLUSTER_COOKIE, ""))
    current = next(
        (cluster for cluster in rows if str(cluster["id"]) == current_id),
        rows[0] if len(rows) == 1 else None,
    )
    may = permissions.summarise_access(request, current["id"] if current else None)
    return {
        "person": request.user,
        "may": may,
        "clusters": rows,
        "cluster": current,
        "chosen_cluster": current,
        "all_clusters": rows,
        "sections": _section_links(_section(request.path), get_language() or "", may),
        "kinds": _kind_links(
            _kind_in_path(request.path), current["id"], get_language() or "", hidden=may.hidden()
        )
        if current
        else "",
    }


def _section(path: str) -> str:
    """The room of the house that a page belongs to."""
    return "/" + path.partition("/")[2].partition("/")[0]


def _kind_in_path(path: str) -> str:
    """The kind that a page of a cluster shows."""
    return "".join(path.split("/")[3:4]) if path.startswith("/clusters/") else ""


@lru_cache(maxsize=64)
def _section_links(room: str, language: str, may: AccessSummary) -> SafeString:
    hidden = {
        address
        for address, open_ in (("/people", may.somewhere), ("/audit", may.somewhere))
        if not open_
    }
    links = _links(
        (address, text, key, room == address)
        for address, text, key in SECTIONS
        if address not in hidden
    )
    return format_html('<ul class="nav-list">{}</ul>', links)


def _links(links: Iterable[tuple[str, Text, str, bool]]) -> SafeString:
    return format_html_join(
        "",
        '<li><a href="{}"{}{}>{}</a></li>',
        (
            (
                address,
                _CURRENT if is_current else "",
                format_html(' data-key="{}"', key) if key else "",
                text,
            )
            for address, text, key, is_current in links
        ),
    )


_CURRENT, _OPEN = SafeString(' aria-current="page"'), SafeString(" open")


@lru_cache(maxsize=512)
def _kind_links(plural: str, cluster: int, language: str, *, hidden: frozenset[str]) -> SafeString:
    """The kinds in groups, without those that the person may not see; the one that is shown is marked, its group open."""
    parts = []
    for place, (text, group_plurals) in enumerate(GROUPS):
        plurals = [name for name in group_plurals if name not in hidden]
        if not plurals:
            continue
        links = _links(
            (f"/clusters/{cluster}/{name}", PLURALS[name], "", name == plural) for name in plurals
        )
        parts.append((_OPEN if place == 0 or plural in plurals else "", text, links))
    return format_html_join(
        "",
        '<details class="nav-group"{}><summary>{}</summary><ul class="nav-list">{}</ul></details>',
        parts,
    )
