"""Alerts, Events, changes and operations of a cluster, a namespace or an object on one axis."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from clusters import event_series
from clusters.kinds import KINDS
from console import navigation
from console.api_client import ApiRefusal, call
from console.locations import Location
from console.object_alerts import severity_words
from console.page import object_view, render_page, require_sign_in
from console.views import objects
from console.views.alerts import target_address
from console.views.history import history_query, version_context
from console.views.operations import operation_context

HOURS = {
    "1": gettext_lazy("Last hour"),
    "6": gettext_lazy("Last 6 hours"),
    "24": gettext_lazy("Last day"),
    "168": gettext_lazy("Last week"),
}
DEFAULT_HOURS = "6"
LANES: Mapping[str, str | Promise] = {
    "alert": gettext_lazy("Alerts"),
    "event": gettext_lazy("Events"),
    "change": gettext_lazy("Changes"),
    "operation": gettext_lazy("Operations"),
}
# Kinds whose changes people look for in a namespace or cluster; pods say theirs by Events.
CHANGED_KINDS = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "services",
    "ingresses",
    "configmaps",
    "horizontalpodautoscalers",
)
# How many of each lane are read, and of each kind's changes for many objects.
MAX_ENTRIES = 200
MAX_CHANGES = 40
# The drawing's width in its own units, and the height of a lane.
WIDTH = 1000
NARROWEST = 4
LANE_HEIGHT = 24


@dataclass(frozen=True, slots=True)
class Place:
    """What the timeline is about: a cluster, one of its namespaces, or an object of a kind.

    `with_noise`: with what controllers changed by themselves.
    """

    cluster: int
    namespace: str = ""
    location: Location | None = None
    with_noise: bool = False

    @property
    def query(self) -> dict[str, Any]:
        """The place as filters of alerts and operations."""
        query: dict[str, Any] = {"cluster_id": self.cluster, "namespace": self.namespace}
        if self.location:
            query |= {
                "kind": navigation.kind_name(self.location.plural),
                "name": self.location.name,
            }
        return query


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `until` is when it ended, of what lasts."""

    at: datetime
    lane: str
    word: str
    severity: str
    title: str
    address: str
    by: str = ""
    message: str = ""
    until: datetime | None = None

    @property
    def at_text(self) -> str:
        """When it happened, as the API writes times."""
        return self.at.isoformat()

    @property
    def lane_title(self) -> str:
        """The lane in words."""
        return str(LANES[self.lane])


Reader = Callable[[HttpRequest, Place, datetime, datetime], Iterator[Entry]]


@require_GET
@require_sign_in
def page(request: HttpRequest, cluster: int) -> HttpResponse:
    """The timeline of a cluster, or of one of its namespaces."""
    namespace = request.GET.get("namespace", "").strip()
    context = {
        "cluster_id": cluster,
        "namespace": namespace,
        **_timeline_context(request, Place(cluster, namespace)),
    }
    return render_page(request, "console/timeline.html", context)


@require_GET
@require_sign_in
@object_view
def of_object(request: HttpRequest, location: Location) -> HttpResponse:
    """The timeline of an object; of a Namespace, that of what is in it."""
    head = objects.head_context(request, location, "timeline")
    place = Place(location.cluster, location.namespace, location)
    if location.plural == "namespaces":
        place = Place(location.cluster, location.name)
    context = {**head, **_timeline_context(request, place)}
    return render_page(request, "console/object_timeline.html", context)


def _timeline_context(request: HttpRequest, place: Place) -> dict[str, Any]:
    hours = request.GET.get("hours", "")
    hours = hours if hours in HOURS else DEFAULT_HOURS
    lane = request.GET.get("lane", "")
    lane = lane if lane in LANES else ""
    until = datetime.now(UTC)
    since = until - timedelta(hours=int(hours))
    place = replace(place, with_noise=request.GET.get("all") == "1")
    problems: list[str] = []
    entries: list[Entry] = []
    for name, reader in READERS.items():
        if lane not in ("", name):
            continue
        try:
            entries += reader(request, place, since, until)
        except ApiRefusal as refusal:
            # What one source refuses leaves the others.
            problems.append(refusal.message)
    entries.sort(key=lambda entry: entry.at, reverse=True)
    return {
        "entries": entries[:MAX_ENTRIES],
        "shortened": len(entries) > MAX_ENTRIES,
        "problems": sorted(set(problems)),
        "hours": hours,
        "lane": lane,
        "with_noise": place.with_noise,
        "choices": HOURS.items(),
        "lanes": _drawing(entries, since, until),
        "lane_choices": LANES.items(),
        "drawing_height": LANE_HEIGHT * len(LANES),
        "drawn_since": since.isoformat(),
        "drawn_until": until.isoformat(),
    }


def _drawing(
    entries: Iterable[Entry],
    since: datetime,
    until: datetime,
) -> list[dict[str, Any]]:
    """The marks of each lane: x and width on an axis of WIDTH, y from the top."""
    span = (until - since).total_seconds()
    lanes = []
    for index, (name, title) in enumerate(LANES.items()):
        marks = []
        for entry in entries:
            if entry.lane != name:
                continue
            # What takes no time is still to be seen, and at the end of the axis, too.
            x = min(_position(entry.at, since, span), WIDTH - NARROWEST)
            end = _position(entry.until or entry.at, since, span)
            marks.append({"x": x, "width": max(end - x, NARROWEST), "severity": entry.severity})
        lanes.append({"title": title, "y": index * LANE_HEIGHT, "marks": marks})
    return lanes


def _position(at: datetime, since: datetime, span: float) -> int:
    share = (at - since).total_seconds() / span
    return round(min(max(share, 0), 1) * WIDTH)


# --- what happened --------------------------------------------------------------------------------
def _read_alerts(
    request: HttpRequest,
    place: Place,
    since: datetime,
    until: datetime,
) -> Iterator[Entry]:
    query = {
        **place.query,
        "since": since.isoformat(),
        "pageSize": MAX_ENTRIES,
    }
    for alert in call(request, "GET", "alerts/history", query=query).data["items"]:
        target = alert["target"]
        fired = event_series.moment(alert["fired_at"])
        resolved = alert["resolved_at"]
        ended = event_series.moment(resolved) if resolved else None
        summary = alert["annotations"].get("summary") or alert["rule_name"]
        _level, severity = severity_words(alert)
        subject = Entry(
            at=max(fired, since),
            lane="alert",
            word=_("alert fired"),
            severity=severity,
            title=summary,
            address=f"/alerts/{alert['id']}",
            message="" if place.location else _subject(target),
            until=ended or until,
        )
        yield subject
        if ended:
            yield Entry(
                at=ended,
                lane="alert",
                word=_("alert resolved"),
                severity="good",
                title=summary,
                address=target_address(target) or subject.address,
                message=alert["resolved_because"],
            )


def _subject(target: Mapping[str, Any]) -> str:
    names = "/".join(name for name in (target["namespace"], target["name"]) if name)
    return f"{target['kind']} {names}".strip()


def _read_events(
    request: HttpRequest,
    place: Place,
    since: datetime,
    until: datetime,
) -> Iterator[Entry]:
    if place.location:
        kind = navigation.kind_name(place.location.plural)
        events = objects.list_events(request, place.location, kind)
    else:
        query = {
            "cluster_id": place.cluster,
            "namespace": place.namespace,
            "pageSize": MAX_ENTRIES,
        }
        items = call(request, "GET", "events", query=query).data["items"]
        here = Location(place.cluster, "events", place.namespace, "")
        events = [objects.event_context(here, item) for item in items]
    for event in events:
        if not event["last"]:
            continue
        at = event_series.moment(event["last"])
        if not since <= at <= until:
            continue
        yield Entry(
            at=at,
            lane="event",
            word=event["reason"] or event["type"],
            severity=event["severity"],
            title=event["about"],
            address=event["address"],
            message=event["message"],
        )


def _read_changes(
    request: HttpRequest,
    place: Place,
    since: datetime,
    until: datetime,
) -> Iterator[Entry]:
    if place.location:
        query = {**history_query(place.location), "pageSize": MAX_ENTRIES}
        yield from _changes_of_kind(request, place, place.location.plural, query, since)
        return
    plurals = CHANGED_KINDS if place.namespace else (*CHANGED_KINDS, "nodes")
    for plural in plurals:
        query = {
            "cluster_id": place.cluster,
            "namespace": place.namespace,
            "kind": plural,
            # What controllers changed is left out, which only the differences tell.
            "diff": True,
            "pageSize": MAX_CHANGES,
        }
        try:
            yield from _changes_of_kind(request, place, plural, query, since)
        except ApiRefusal as refusal:
            # A kind that the person may not see, or that this cluster does not collect.
            if refusal.status not in (403, 404):
                raise


def _changes_of_kind(
    request: HttpRequest,
    place: Place,
    plural: str,
    query: Mapping[str, Any],
    since: datetime,
) -> Iterator[Entry]:
    data = call(request, "GET", "history", query={**query, "since": since.isoformat()}).data
    for item in data["items"]:
        version = version_context(item)
        if version["is_noise"] and not place.with_noise:
            continue
        target = Location(place.cluster, plural, item["namespace"], item["name"])
        paths = [change.path for change in version["field_changes"] or []]
        yield Entry(
            at=event_series.moment(item["at"]),
            lane="change",
            word=str(version["word"]),
            severity=version["severity"],
            title=f"{KINDS[plural].name if plural in KINDS else plural} {item['name']}",
            address=f"{target.address}/history",
            by=version["by"],
            message=", ".join(paths[:4]),
        )


def _read_operations(
    request: HttpRequest,
    place: Place,
    since: datetime,
    until: datetime,
) -> Iterator[Entry]:
    query = {**place.query, "pageSize": MAX_ENTRIES}
    for item in call(request, "GET", "operations", query=query).data["items"]:
        at = event_series.moment(item["created_at"])
        if not since <= at <= until:
            continue
        operation = operation_context(request, item)
        finished = item["finished_at"]
        yield Entry(
            at=at,
            lane="operation",
            word=str(operation["word"]),
            severity=operation["severity"],
            title=str(operation["title"]),
            address=f"/operations/{item['id']}",
            by=item["requested_by"],
            message=item["error"] or "",
            until=event_series.moment(finished) if finished else until,
        )


READERS: Mapping[str, Reader] = {
    "alert": _read_alerts,
    "event": _read_events,
    "change": _read_changes,
    "operation": _read_operations,
}
