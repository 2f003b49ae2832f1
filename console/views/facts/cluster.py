"""Facts of nodes, Events, configuration and limits."""

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext_lazy as _

from clusters import event_series
from console.locations import Location, resolve_reference
from console.rendering import html
from console.rendering.health import Object, get, rows
from console.views.facts.rows import UTC, Facts, Row, moment_row, no_facts, text_row


def _node(item: Object, location: Location) -> Iterator[Row]:
    yield _("Schedulable"), html.yes_no(not get(item, "spec", "unschedulable"))
    for entry in rows(get(item, "status", "addresses")):
        yield str(entry.get("type", "")), html.text(entry.get("address"))
    info = get(item, "status", "nodeInfo") or {}
    for title, name in (
        (_("Kubelet version"), "kubeletVersion"),
        (_("OS image"), "osImage"),
        (_("Kernel version"), "kernelVersion"),
    ):
        if info.get(name):
            yield title, html.text(info[name])
    for title, name in (
        (_("CPU"), "cpu"),
        (_("Memory"), "memory"),
        (_("Max pods"), "pods"),
    ):
        yield from text_row(title, item, "status", "allocatable", name)
    taints = [
        f"{entry.get('key')}={entry.get('value') or ''}:{entry.get('effect')}"
        for entry in rows(get(item, "spec", "taints"))
    ]
    # A node without any is open to every pod, which kubectl says too.
    yield _("Taints"), html.chips(taints, 8) if taints else html.text("<none>")
    if images := rows(get(item, "status", "images")):
        yield _("Images"), html.text(len(images))


def _namespace(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Phase"), item, "status", "phase")
    if finalizers := get(item, "spec", "finalizers"):
        yield _("Finalizers"), html.chips(finalizers, 8)


def _definition(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Group"), item, "spec", "group")
    yield from text_row(_("Scope"), item, "spec", "scope")
    yield from text_row(_("Kind"), item, "spec", "names", "kind")
    yield from text_row(_("List kind"), item, "spec", "names", "listKind")
    yield from text_row(_("Plural"), item, "spec", "names", "plural")
    short_names = get(item, "spec", "names", "shortNames") or []
    if short_names:
        yield _("Short names"), html.chips(short_names, 8)
    yield from text_row(_("Conversion"), item, "spec", "conversion", "strategy")
    stored = get(item, "status", "storedVersions") or []
    yield _("Stored versions"), html.chips(stored, 8)


def _event(item: Object, location: Location) -> Iterator[Row]:
    about = item.get("involvedObject") or item.get("regarding") or {}
    target = resolve_reference(location, about)
    words = f"{about.get('kind', '')} {about.get('name', '')}"
    yield (
        _("Object"),
        html.link(
            target.address,
            words,
        )
        if target
        else html.text(words),
    )
    yield from text_row(_("Type"), item, "type")
    yield from text_row(_("Reason"), item, "reason")
    yield _("Message"), html.text(item.get("message") or item.get("note"))
    yield _("Count"), html.text(event_series.count(item))
    first = item.get("firstTimestamp") or item.get("eventTime")
    yield _("First seen"), html.moment(first, UTC)
    yield _("Last seen"), html.moment(event_series.last_time(item), UTC)
    component = get(item, "source", "component") or item.get("reportingComponent")
    yield _("Source"), html.text(component)


def _lease(item: Object, location: Location) -> Iterator[Row]:
    for title, name in (
        (_("Holder"), "holderIdentity"),
        (_("Duration in seconds"), "leaseDurationSeconds"),
        (_("Transitions"), "leaseTransitions"),
    ):
        yield from text_row(title, item, "spec", name)
    yield from moment_row(_("Acquired"), item, "spec", "acquireTime")
    yield from moment_row(_("Renewed"), item, "spec", "renewTime")


def _keys(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Type"), item, "type")
    names = [*(get(item, "data") or {}), *(get(item, "binaryData") or {})]
    yield _("Keys"), html.chips(names, 20)


def _quota(item: Object, location: Location) -> Iterator[Row]:
    if scopes := get(item, "spec", "scopes"):
        yield _("Scopes"), html.chips(scopes, 8)


FACTS: Mapping[str, Facts] = {
    "nodes": _node,
    "namespaces": _namespace,
    "customresourcedefinitions": _definition,
    "events": _event,
    "leases": _lease,
    "configmaps": _keys,
    "secrets": _keys,
    "resourcequotas": _quota,
    "limitranges": no_facts,
}
