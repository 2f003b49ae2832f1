"""The pages of one object of any kind: head with tabs and actions, summary, events, YAML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from clusters import event_series
from console import navigation, object_alerts, permissions, stored_copy
from console.api_client import UNREACHABLE, ApiRefusal, call
from console.locations import Location, resolve_reference
from console.page import object_view, render_page, require_sign_in
from console.rendering import diffs, health, html
from console.rendering.health import Object, get, rows
from console.rendering.state_labels import translate_condition
from console.views import describe, keys, related_kinds
from console.views import summary as facts
from console.views.actions import action_buttons, list_revisions
from console.views.facts.reads import read_facts
from console.views.releases import release_link
from console.views.templates import offers_template

WORKLOADS = frozenset({"deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"})
KINDS_WITH_REVISIONS = frozenset({"deployments", "statefulsets", "daemonsets"})
KINDS_WITH_LOGS = frozenset(
    {"pods", "deployments", "statefulsets", "daemonsets", "jobs", "replicasets"},
)
KINDS_WITH_METRICS = frozenset({"pods", "nodes"})
KINDS_WITH_TOPOLOGY = frozenset(
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
KINDS_WITH_TERMINAL = frozenset({"pods", "nodes"})
KINDS_WITH_FILES = KINDS_WITH_LOGS
KINDS_WITH_PORTS = frozenset({"pods", "services", "deployments", "statefulsets"})
# What only who may change the object may open.
OPERATOR_TABS = frozenset({"terminal", "debug", "files", "forward"})
# What only the cluster itself can answer.
LIVE_TABS = OPERATOR_TABS | {"logs", "revisions", "topology", "metrics"}
MAX_EVENTS = 100
# The status that ends htmx's polling.
STOP_POLLING = 286


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab: the end of its address, its title, the kinds that have it (None: all)."""

    name: str
    title: str | Promise
    plurals: frozenset[str] | None = None


TABS = (
    Tab("", gettext_lazy("Summary")),
    Tab("logs", gettext_lazy("Logs"), KINDS_WITH_LOGS),
    Tab("terminal", gettext_lazy("Terminal"), KINDS_WITH_TERMINAL),
    Tab("debug", gettext_lazy("Debug"), frozenset({"pods"})),
    Tab("files", gettext_lazy("Files"), KINDS_WITH_FILES),
    Tab("events", gettext_lazy("Events")),
    Tab("timeline", gettext_lazy("Timeline")),
    Tab("revisions", gettext_lazy("Revisions"), KINDS_WITH_REVISIONS),
    Tab("topology", gettext_lazy("Topology"), KINDS_WITH_TOPOLOGY),
    Tab("metrics", gettext_lazy("Metrics"), KINDS_WITH_METRICS),
    Tab("forward", gettext_lazy("Port-forward"), KINDS_WITH_PORTS),
    Tab("yaml", gettext_lazy("YAML")),
    Tab("history", gettext_lazy("History")),
)


def head_context(
    request: HttpRequest,
    location: Location,
    tab: str = "",
    item: Object | None = None,
) -> dict[str, Any]:
    """What the head of every page about an object needs; reads the object if it is not passed.

    Of a cluster that does not answer it is the store's copy, and nothing can be changed.
    """
    current: Object = item or {}
    copy = None
    if item is None:
        current, copy = stored_copy.read_object(request, location)
    word, severity = health.for_kind(location.plural, current)
    kind = str(current.get("kind") or navigation.kind_name(location.plural))
    permitted = permissions.may_change(
        request, location.cluster, location.plural, location.namespace
    )
    changes = permitted and copy is None
    buttons = action_buttons(location, current) if permitted else []
    tabs = [
        tab_row
        for tab_row in TABS
        # A tab without kinds belongs to every kind.
        if (not tab_row.plurals or location.plural in tab_row.plurals)
        # A shell changes things, so it is for those who may change the object.
        and (changes or tab_row.name not in OPERATOR_TABS)
        and (copy is None or tab_row.name not in LIVE_TABS)
    ]
    return {
        "cluster_id": location.cluster,
        "may_change": changes,
        "location": location,
        "item": current,
        "kind": kind,
        "kinds_title": navigation.kind_title(location.plural),
        "state": word,
        "severity": severity,
        "alert_badge": object_alerts.badge_of_object(request, location, kind),
        "tabs": [
            (tab_row.title, _tab_address(location, tab_row.name), tab_row.name == tab)
            for tab_row in tabs
        ],
        "copy": copy,
        "acts": buttons if changes else [],
        "blocked_acts": [] if changes else buttons,
    }


def _tab_address(location: Location, tab: str) -> str:
    return f"{location.address}/{tab}" if tab else location.address


@require_GET
@require_sign_in
@object_view
def summary(request: HttpRequest, location: Location) -> HttpResponse:
    """What the object is and how it is doing."""
    context = head_context(request, location)
    item = context["item"]
    metadata = item.get("metadata") or {}
    context |= {
        "is_failing": context["severity"] in FAILING and location.plural in DIAGNOSED,
        "facts": [
            *facts.for_object(item, location),
            *read_facts(request, item, location),
        ],
        "conditions": [_condition_context(row) for row in rows(get(item, "status", "conditions"))],
        "containers": facts.containers(item),
        "tables": describe.describe_tables(item, location),
        "labels": sorted((metadata.get("labels") or {}).items()),
        "annotations": sorted((metadata.get("annotations") or {}).items()),
        "release": release_link(location, item),
        "owners": list(_owner_links(location, metadata)),
        "keys": keys.list_keys(item, location),
        "access_link": access_link(location) if context["may_change"] else "",
        "may_template": context["may_change"]
        and offers_template(request, location.cluster, location.plural),
    }
    return render_page(request, "console/object.html", context)


# Severities, and kinds of objects, of which the page asks why they fail.
FAILING = ("bad", "warning")
DIAGNOSED = frozenset(
    {
        "pods",
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "jobs",
        "nodes",
        "persistentvolumeclaims",
    }
)
# Conditions of which True is bad news.
BAD_WHEN_TRUE = ("Pressure", "Unavailable", "Failure", "Failed", "Stalled")


def _condition_context(row: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(row.get("type", ""))
    status = str(row.get("status", ""))
    good_status = "False" if kind.endswith(BAD_WHEN_TRUE) else "True"
    # Which status is good depends on the condition's name.
    severities = {good_status: "good", "Unknown": "idle"}
    label = translate_condition(kind)
    return {**row, "severity": severities.get(status, "warn"), "label": label}


def _owner_links(
    location: Location,
    metadata: Mapping[str, Any],
) -> Iterator[tuple[str, str, str]]:
    for reference in rows(metadata.get("ownerReferences")):
        target = resolve_reference(location, reference)
        yield (
            str(reference.get("kind", "")),
            str(reference.get("name", "")),
            target.address if target else "",
        )


def access_link(location: Location) -> str:
    """Where it is shown what a service account can do, or who can do what; "" for other kinds."""
    base = f"/clusters/{location.cluster}/-/access"
    if location.plural == "serviceaccounts":
        asked = {"kind": "ServiceAccount", "name": location.name, "home": location.namespace}
        return f"{base}?{urlencode(asked)}"
    return base if location.plural in permissions.ACCESS_KINDS else ""


@require_GET
@require_sign_in
@object_view
def events(request: HttpRequest, location: Location) -> HttpResponse:
    """The cluster's events about the object, newest first."""
    context = head_context(request, location, "events")
    return render_page(
        request,
        "console/events.html",
        {**context, "events": list_events(request, location, context["kind"])},
    )


def list_events(
    request: HttpRequest,
    location: Location,
    kind: str,
    size: int = MAX_EVENTS,
) -> list[dict[str, Any]]:
    """The events about an object of a kind and, for a workload, about what it controls."""
    query = {**location.query, "pageSize": size}
    own = {**query, "resource_type": kind, "resource_name": location.name}
    data: dict[str, Any]
    # The API collects the events of what a workload controls.
    if location.plural in WORKLOADS or location.plural == "pods":
        path = f"{location.plural}/{location.name}/events"
        try:
            data = call(request, "GET", path, query=query).data
        except ApiRefusal as refusal:
            # What controls what is the cluster's to say: the store has the object's own.
            if refusal.code != UNREACHABLE:
                raise
            data, _refusal = stored_copy.read(request, "events", own)
    else:
        data, _refusal = stored_copy.read(request, "events", own)
    return [event_context(location, event) for event in data["items"]]


def event_context(location: Location, event: Object) -> dict[str, Any]:
    # core/v1 has involvedObject and message, events.k8s.io/v1 regarding and note.
    about = event.get("involvedObject") or event.get("regarding") or {}
    target = resolve_reference(location, about)
    return {
        "type": event.get("type", ""),
        "severity": "warn" if event.get("type") == "Warning" else "idle",
        "reason": event.get("reason", ""),
        "message": event.get("message") or event.get("note") or "",
        "count": event_series.count(event),
        "last": event_series.last_time(event),
        "about": f"{about.get('kind', '')} {about.get('name', '')}".strip(),
        "address": target.address if target else "",
    }


@require_GET
@require_sign_in
@object_view
def related_fragment(request: HttpRequest, location: Location) -> HttpResponse:
    """Related objects, state and latest events: loaded into the summary and refreshed there."""
    try:
        item, _copy = stored_copy.read_object(request, location)
    except ApiRefusal as refusal:
        if refusal.code != 1004:
            raise
        # The object was deleted while its page was open: nothing more to poll for.
        return render_page(
            request,
            "console/parts/related.html",
            {"cluster_id": location.cluster, "location": location, "deleted": True},
            status=STOP_POLLING,
        )
    word, severity = health.for_kind(location.plural, item)
    kind = str(item.get("kind") or location.kind.name)
    context = {
        "cluster_id": location.cluster,
        "groups": related_kinds.list_related(request, location, item),
        "location": location,
        "state": word,
        "severity": severity,
        "alert_badge": object_alerts.badge_of_object(request, location, kind),
    }
    try:
        context["events"] = list_events(
            request,
            location,
            kind,
            8,
        )
    except ApiRefusal as refusal:
        context["events_problem"] = refusal.message
    return render_page(request, "console/parts/related.html", context)


@require_GET
@require_sign_in
@object_view
def manifest(request: HttpRequest, location: Location) -> HttpResponse:
    """The object as YAML; managed fields and values of Secrets only with `whole=1`."""
    context = head_context(request, location, "yaml")
    whole = request.GET.get("whole") == "1"
    context |= {
        "text": html.clean(
            diffs.as_yaml(context["item"] if whole else hide_bookkeeping(context["item"]))
        ),
        "whole": whole,
    }
    return render_page(request, "console/yaml.html", context)


@require_GET
@require_sign_in
@object_view
def revisions(request: HttpRequest, location: Location) -> HttpResponse:
    """What the workload was before, to compare with and to go back to."""
    return render_page(
        request,
        "console/revisions.html",
        {
            **head_context(request, location, "revisions"),
            "revisions": list_revisions(request, location),
        },
    )


def hide_bookkeeping(item: Object) -> dict[str, Any]:
    """The object without managed fields and last-applied copy; values of a Secret are masked."""
    document = dict(item)
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
    document["metadata"] = metadata
    if item.get("kind") == "Secret" and isinstance(item.get("data"), Mapping):
        document["data"] = dict.fromkeys(item["data"], _("hidden"))
    return document
