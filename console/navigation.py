"""The frame around pages: the cluster picker, kinds in groups, the console's sections."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from clusters.kinds import KINDS
from console import alert_counts, permissions, preferences
from console.api_client import ApiRefusal, call
from console.locations import without_version
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
# Kinds that KubeGale collects without knowing more of them than of custom ones.
OTHER_PLURALS: dict[str, Text] = {
    "apiservices.apiregistration.k8s.io": _("API services"),
    "csidrivers.storage.k8s.io": _("CSI drivers"),
    "gatewayclasses.gateway.networking.k8s.io": _("Gateway classes"),
    "gateways.gateway.networking.k8s.io": _("Gateways"),
    "httproutes.gateway.networking.k8s.io": _("HTTP routes"),
    "ingressclasses.networking.k8s.io": _("Ingress classes"),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _("Mutating webhooks"),
    "priorityclasses.scheduling.k8s.io": _("Priority classes"),
    "runtimeclasses.node.k8s.io": _("Runtime classes"),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _("Validating webhooks"),
    "volumeattachments.storage.k8s.io": _("Volume attachments"),
}
# (address, title, key after g)
SECTIONS: tuple[tuple[str, Text, str], ...] = (
    ("/search", _("Search"), "s"),
    ("/alerts", _("Alerts"), "l"),
    ("/apply", _("Apply"), "y"),
    ("/compare", _("Compare"), "c"),
    ("/templates", _("Templates"), "m"),
    ("/automation", _("Automation"), "w"),
    ("/operations", _("Operations"), "p"),
    ("/history", _("History"), "h"),
    ("/cost", _("Cost"), "n"),
    ("/tenants", _("Tenants"), "t"),
    ("/orders", _("Orders"), "r"),
    ("/audit", _("Audit"), "a"),
    ("/tokens", _("API tokens"), "k"),
    ("/people", _("People"), "u"),
    ("/groups", _("Groups"), "d"),
    ("/store", _("Store"), "b"),
)
MAX_CLUSTERS = 200
CACHE_SECONDS = 5
# The cookie with the cluster of the page before.
LAST_CLUSTER_COOKIE = "cluster"


def kind_title(plural: str) -> str:
    """A kind's name in lists, in the viewer's language; the plural itself for custom kinds."""
    if plural in PLURALS:
        return str(PLURALS[plural])
    return str(OTHER_PLURALS.get(without_version(plural), plural.partition(".")[0]))


def kind_name(plural: str) -> str:
    """`Pod` for `pods`; the plural itself for kinds that are not ours."""
    return KINDS[plural].name if plural in KINDS else plural.partition(".")[0]


def kind_count(plural: str, count: int) -> str:
    """`1 Job`, `2 Jobs`: so many objects of a kind, in the viewer's language."""
    # Chinese has one form for both.
    singular = count == 1 and not (get_language() or "").startswith("zh")
    kinds = kind_name(plural) if singular else kind_title(plural)
    return gettext("%(n)s %(kinds)s") % {"n": count, "kinds": kinds}


def object_address(cluster: object, item: Mapping[str, Any]) -> str:
    """The page of an object that the API names by plural, group, version, namespace and name."""
    plural = str(item["plural"])
    group = str(item.get("group") or "")
    built_in = KINDS.get(plural)
    # A custom kind may have the plural of a built-in one.
    if built_in is None or built_in.group != group:
        plural = f"{plural}.{item.get('version') or 'v1'}.{group}"
    namespace = html.path_segment(item.get("namespace") or "-")
    name = html.path_segment(item["name"])
    return f"/clusters/{cluster}/{plural}/{namespace}/{name}"


def list_clusters(
    request: HttpRequest,
    required_id: object = None,
) -> list[dict[str, Any]]:
    """{"id", "name"} of the clusters that the person may see.

    Every page lists them, so they are cached for the session for CACHE_SECONDS. When the cluster
    `required_id` is missing in the cache, they are read again.
    """
    clusters: list[dict[str, Any]] | None = cache.get(_cache_key(request))
    if clusters is not None:
        ids = {str(cluster["id"]) for cluster in clusters}
        if required_id is None or str(required_id) in ids:
            return clusters
    try:
        query = {"pageSize": MAX_CLUSTERS}
        items = call(request, "GET", "clusters", query=query).data["items"]
    except ApiRefusal:
        # Without a grant there is no cluster to choose; the page itself still opens.
        items = []
    clusters = [{"id": item["id"], "name": item["name"]} for item in items]
    cache.set(_cache_key(request), clusters, CACHE_SECONDS)
    return clusters


def forget_clusters(request: HttpRequest) -> None:
    """Drop the cached list: the person registered, renamed or removed a cluster."""
    cache.delete(_cache_key(request))


def _cache_key(request: HttpRequest) -> str:
    return f"console-clusters:{request.session.session_key}"


def frame_context(
    request: HttpRequest,
    cluster_id: object = None,
) -> dict[str, Any]:
    """What base.html needs; {} without a session.

    The frame shows the cluster of the page, or the last one that the person looked at.
    """
    if not request.user.is_authenticated:
        return {}
    clusters = list_clusters(request, cluster_id)
    current_id = str(cluster_id or request.COOKIES.get(LAST_CLUSTER_COOKIE, ""))
    # With a single cluster there is nothing to choose.
    only_cluster = clusters[0] if len(clusters) == 1 else None
    current = next(
        (cluster for cluster in clusters if str(cluster["id"]) == current_id), only_cluster
    )
    may = permissions.summarise_access(request, current["id"] if current else None)
    language = get_language() or ""
    plural = _kind_in_path(request.path)
    kind_links: SafeString | str = ""
    if current:
        kind_links = _kind_links(
            plural,
            current["id"],
            language,
            hidden=may.hidden_kinds(),
            open_groups=_open_groups(request),
        )
    return {
        "person": request.user,
        "firing": alert_counts.count_firing(request),
        "may": may,
        "clusters": clusters,
        "cluster": current,
        "chosen_cluster": current,
        "all_clusters": clusters,
        "nav_sections": _section_links(_section(request.path), language, may),
        "nav_kinds": kind_links,
        "current_kind": "" if plural == "-" else plural,
        "saved_views": preferences.read(request)["views"],
        "chosen_namespaces": preferences.chosen_namespaces(request, current["id"])
        if current
        else [],
        "all_namespaces": _("All namespaces"),
    }


def _section(path: str) -> str:
    """The section of the console that a page belongs to, as `/orders`."""
    return "/" + path.partition("/")[2].partition("/")[0]


def _kind_in_path(path: str) -> str:
    """The kind that a page of a cluster shows."""
    return "".join(path.split("/")[3:4]) if path.startswith("/clusters/") else ""


def _open_groups(request: HttpRequest) -> frozenset[str]:
    """The groups of kinds that the person left open, by their place; the first at the beginning."""
    kept = request.COOKIES.get("groups", "0").split(".")
    # A cookie is the visitor's to edit: only what names a group becomes part of a cache's key.
    return frozenset(kept) & {str(index) for index in range(len(GROUPS))}


# Every page needs these links, and few of their variants exist.
@lru_cache(maxsize=64)
def _section_links(
    section: str,
    language: str,
    may: AccessSummary,
) -> SafeString:
    # `language` is only a part of the cache's key: the titles are translated.
    hidden = set() if may.somewhere else {"/people", "/groups"}
    if not may.audits:
        hidden.add("/audit")
    if not may.operates:
        hidden.add("/automation")
    links = _nav_links(
        (address, text, key, section == address)
        for address, text, key in SECTIONS
        if address not in hidden
    )
    return format_html('<ul class="nav-list">{}</ul>', links)


def _nav_links(links: Iterable[tuple[str, Text, str, bool]]) -> SafeString:
    rows = []
    for address, text, key, is_current in links:
        current = _CURRENT if is_current else ""
        shortcut = format_html(' data-key="{}"', key) if key else ""
        rows.append((address, current, shortcut, text))
    return format_html_join("", '<li><a href="{}"{}{}>{}</a></li>', rows)


_CURRENT = SafeString(' aria-current="page"')
_OPEN = SafeString(" open")


@lru_cache(maxsize=512)
def _kind_links(
    plural: str,
    cluster: int,
    language: str,
    *,
    hidden: frozenset[str],
    open_groups: frozenset[str],
) -> SafeString:
    """The kinds in groups, without those that the person may not see.

    The current kind is marked and its group open, as are those that the person left open.
    """
    parts = []
    for index, (text, group_plurals) in enumerate(GROUPS):
        plurals = [name for name in group_plurals if name not in hidden]
        if not plurals:
            continue
        links = _nav_links(
            (f"/clusters/{cluster}/{name}", PLURALS[name], "", name == plural) for name in plurals
        )
        is_open = str(index) in open_groups or plural in plurals
        parts.append((_OPEN if is_open else "", str(index), text, links))
    return format_html_join(
        "",
        '<details class="nav-group"{} data-group="{}"><summary>{}</summary>'
        '<ul class="nav-list">{}</ul></details>',
        parts,
    )
