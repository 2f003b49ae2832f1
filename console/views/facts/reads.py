"""Facts that the object itself does not have: each of them takes one more read."""

from collections.abc import Callable, Iterator, Mapping

from django.http import HttpRequest
from django.utils.translation import gettext as _

from console.api_client import ApiRefusal, call
from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get
from console.views.facts.rows import UTC, Row

LEASES = "kube-node-lease"

FactReader = Callable[[HttpRequest, Object, Location], Iterator[Row]]


def read_facts(request: HttpRequest, item: Object, location: Location) -> list[Row]:
    """The rows; none for what the person may not read or the cluster does not have."""
    reader = READERS.get(location.plural)
    if reader is None:
        return []
    try:
        rows = list(reader(request, item, location))
    except ApiRefusal:
        return []
    return [(title, html.mark_safe(piece)) for title, piece in rows]


def _lease(request: HttpRequest, item: Object, location: Location) -> Iterator[Row]:
    """When the kubelet said last that it lives."""
    lease = location.other("leases", location.name, LEASES)
    spec = call(request, "GET", lease.path, query=lease.query).data.get("spec") or {}
    moment = html.moment(spec.get("renewTime"), UTC)
    link = html.link(lease.address, spec.get("holderIdentity") or lease.name)
    yield _("Lease"), _("{holder}, renewed {moment}").format(holder=link, moment=moment)


def _next_run(request: HttpRequest, item: Object, location: Location) -> Iterator[Row]:
    """When the schedule of a CronJob is due next."""
    if get(item, "spec", "suspend"):
        return
    zone = get(item, "spec", "timeZone")
    schedule = {"cron": get(item, "spec", "schedule"), "timezone": zone or "UTC", "count": 1}
    moments = call(request, "GET", "tasks/moments", query=schedule).data["items"]
    if not moments:
        return
    moment = html.moment(moments[0], UTC)
    # Without a zone the cluster takes that of its controllers, which is not known outside.
    words = moment if zone else _("{moment}, if the cluster goes by UTC").format(moment=moment)
    yield _("Next run"), words


READERS: Mapping[str, FactReader] = {"nodes": _lease, "cronjobs": _next_run}
