"""The page of one object of any kind: its head with tabs and actions, summary, events, related objects, YAML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from clusters import event_series
from console import navigation, permissions
from console.api_client import Refused, call
from console.locations import Place, at, referred
from console.page import page, signed_in
from console.rendering import diffs, health, html
from console.rendering.health import Object, get, rows
from console.views import related
from console.views import summary as facts
from console.views.actions import offered, revisions_of

WORKLOADS = frozenset({"deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"})
REVISED = frozenset({"deployments", "statefulsets", "daemonsets"})
LOGGED = frozenset({"pods", "deployments", "statefulsets", "daemonsets", "jobs", "replicasets"})
MEASURED = frozenset({"pods", "nodes"})
DRAWN = frozenset(
    {
        "namespaces",
        "ingresses",
        "services",
        "deployments",
        "statefulsets",
        "daemonsets",
        "cronjobs",
        "jobs",
        "pods",
    }
)
SHELLS = frozenset({"pods", "nodes"})
MOST_EVENTS = 100
# What makes htmx ask no more.
STOP_ASKING = 286


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab: the end of its address, its title, the kinds that have it (None: all)."""

    name: str
    title: str | Promise
    plurals: frozenset[str] | None = None


TABS = (
    Tab("", gettext_lazy("Summary")),
    Tab("logs", gettext_lazy("Logs"), LOGGED),
    Tab("terminal", gettext_lazy("Terminal"), SHELLS),
    Tab("events", gettext_lazy("Events")),
    Tab("revisions", gettext_lazy("Revisions"), REVISED),
    Tab("topology", gettext_lazy("Topology"), DRAWN),
    Tab("metrics", gettext_lazy("Metrics"), MEASURED),
    Tab("yaml", gettext_lazy("YAML")),
    Tab("history", gettext_lazy("History")),
)


def frame(
    request: HttpRequest, place: Place, tab: str = "", item: Object | None = None
) -> dict[str, Any]:
    """What the head of every page about an object needs; reads the object unless it is given."""
    found: Object = (
        call(request, "GET", place.path, query=place.query).data if item is None else item
    )
    word, tone = health.of(place.plural, found)
    changes = permissions.may_change(request, place.cluster, place.plural, place.namespace)
    tabs = [
        one
        for one in TABS
        if (not one.plurals or place.plural in one.plurals) and (changes or one.name != "terminal")
    ]
    return {
        "cluster_id": place.cluster,
        "may_change": changes,
        "place": place,
        "item": found,
        "kind": found.get("kind") or navigation.kind_name(place.plural),
        "kinds_title": navigation.title(place.plural),
        "state": word,
        "tone": tone,
        "tabs": [(one.title, _address(place, one.name), one.name == tab) for one in tabs],
        "acts": offered(place, found) if changes else [],
    }


def _address(place: Place, tab: str) -> str:
    return f"{place.address}/{tab}" if tab else place.address


@require_GET
@signed_in
def summary(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """What the object is and how it is doing."""
    place = at(cluster, plural, namespace, name)
    context = frame(request, place)
    item = context["item"]
    metadata = item.get("metadata") or {}
    context |= {
        "facts": facts.of(item, place),
        "conditions": [_condition(one) for one in rows(get(item, "status", "conditions"))],
        "containers": facts.containers(item),
        "labels": sorted((metadata.get("labels") or {}).items()),
        "annotations": sorted((metadata.get("annotations") or {}).items()),
        "owners": list(_owners(place, metadata)),
        "data": _data(place, item),
    }
    return page(request, "console/object.html", context)


# Conditions of which True is bad news.
BAD_WHEN_TRUE = ("Pressure", "Unavailable", "Failure", "Failed", "Stalled")


def _condition(one: Mapping[str, Any]) -> dict[str, Any]:
    kind, status = str(one.get("type", "")), str(one.get("status", ""))
    fine = status == ("False" if kind.endswith(BAD_WHEN_TRUE) else "True")
    return {**one, "tone": "good" if fine else "idle" if status == "Unknown" else "warn"}


def _owners(place: Place, metadata: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for one in rows(metadata.get("ownerReferences")):
        target = referred(place, one)
        yield str(one.get("kind", "")), str(one.get("name", "")), target.address if target else ""


def _data(place: Place, item: Object) -> list[tuple[str, str]]:
    """The texts of a ConfigMap; values of Secrets are never on the page."""
    found = get(item, "data")
    return (
        sorted((str(key), str(value)) for key, value in found.items())
        if place.plural == "configmaps" and isinstance(found, Mapping)
        else []
    )


@require_GET
@signed_in
def events(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """What the cluster said about the object, newest first."""
    place = at(cluster, plural, namespace, name)
    context = frame(request, place, "events")
    return page(
        request, "console/events.html", {**context, "events": told(request, place, context["kind"])}
    )


def told(
    request: HttpRequest, place: Place, kind: str, size: int = MOST_EVENTS
) -> list[dict[str, Any]]:
    """The events about an object of a kind and, for a workload, about what it controls."""
    query = {**place.query, "pageSize": size}
    if place.plural in WORKLOADS:
        found = call(request, "GET", f"{place.plural}/{place.name}/events", query=query).data[
            "items"
        ]
    elif place.plural == "pods":
        found = call(request, "GET", f"pods/{place.name}/events", query=query).data["items"]
    else:
        about = {"resource_type": kind, "resource_name": place.name}
        found = call(request, "GET", "events", query={**query, **about}).data["items"]
    return [_event(place, one) for one in found]


def _event(place: Place, one: Object) -> dict[str, Any]:
    about = one.get("involvedObject") or one.get("regarding") or {}
    target = referred(place, about)
    return {
        "type": one.get("type", ""),
        "tone": "warn" if one.get("type") == "Warning" else "idle",
        "reason": one.get("reason", ""),
        "message": one.get("message") or one.get("note") or "",
        "count": event_series.count(one),
        "last": event_series.last_seen(one),
        "about": f"{about.get('kind', '')} {about.get('name', '')}".strip(),
        "address": target.address if target else "",
    }


@require_GET
@signed_in
def beside(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """What belongs to the object and how it is doing: loaded into its summary after that is shown, and again while it is open."""
    place = at(cluster, plural, namespace, name)
    try:
        item = call(request, "GET", place.path, query=place.query).data
    except Refused as refused:
        if refused.code != 1004:
            raise
        return page(
            request,
            "console/parts/related.html",
            {"cluster_id": cluster, "place": place, "gone": True},
            status=STOP_ASKING,
        )
    word, tone = health.of(place.plural, item)
    context = {
        "cluster_id": cluster,
        "groups": related.of(request, place, item),
        "place": place,
        "state": word,
        "tone": tone,
    }
    try:
        context["events"] = told(request, place, str(item.get("kind") or place.kind.name), 8)
    except Refused as refused:
        context["events_problem"] = refused.message
    return page(request, "console/parts/related.html", context)


@require_GET
@signed_in
def manifest(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The object as YAML; the bookkeeping of field managers only when asked for. Values of Secrets are hidden until then as well."""
    place = at(cluster, plural, namespace, name)
    context = frame(request, place, "yaml")
    whole = request.GET.get("whole") == "1"
    context |= {
        "text": html.clean(diffs.as_yaml(context["item"] if whole else plain(context["item"]))),
        "whole": whole,
    }
    return page(request, "console/yaml.html", context)


@require_GET
@signed_in
def revisions(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """What the workload was before, to compare with and to go back to."""
    place = at(cluster, plural, namespace, name)
    return page(
        request,
        "console/revisions.html",
        {**frame(request, place, "revisions"), "revisions": revisions_of(request, place)},
    )


def plain(item: Object) -> dict[str, Any]:
    """The object without what nobody reads: managed fields, the copy of what was applied; values of a Secret hidden."""
    shown = dict(item)
    metadata = {
        key: value for key, value in (item.get("metadata") or {}).items() if key != "managedFields"
    }
    annotations = metadata.get("annotations")
    if isinstance(annotations, Mapping):
        metadata["annotations"] = {
            k: v
            for k, v in annotations.items()
            if k != "kubectl.kubernetes.io/last-applied-configuration"
        }
    shown["metadata"] = metadata
    if item.get("kind") == "Secret" and isinstance(item.get("data"), Mapping):
        shown["data"] = dict.fromkeys(item["data"], _("hidden"))
    return shown
