"""What clusters, nodes and pods use, as charts: the pages, and the numbers that their script asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from console import objects
from console.answers import answered, for_scripts
from console.gateway import Refused, call
from console.pages import missing, page, signed_in
from console.places import at

SPANS = ("15m", "1h", "6h", "24h", "7d")
POLL_SECONDS = 10


def _texts() -> dict[str, str]:
    """What the script says."""
    return {
        "time": _("Time"),
        "now": _("now"),
        "least": _("least"),
        "mean": _("mean"),
        "most": _("most"),
        "used": _("used"),
        "asked": _("asked for"),
        "limit": _("at most"),
        "has": _("there is"),
        "cores": _("{n} cores"),
        "count": _("{n}"),
        "nothing": _("There are no numbers for this time yet."),
        "failed": _("The numbers could not be read; trying again."),
    }


@require_GET
@signed_in
def of_cluster(request: HttpRequest, cluster: int) -> HttpResponse:
    """The page of a cluster's use over time."""
    shown = call(request, "GET", f"clusters/{cluster}").data
    charts = [{"key": "cpu", "title": _("Processors"), "unit": "cores"}, {"key": "memory", "title": _("Memory"), "unit": "bytes"}]
    charts.append({"key": "pods", "title": _("Pods"), "unit": "count"})
    chosen = request.GET.get("span", "")
    config = {"source": f"/clusters/{cluster}/-/metrics/data", "charts": charts, "live": False, "texts": _texts()}
    context = {"cluster_id": cluster, "shown": shown, "config": config, "charts": charts, "spans": SPANS}
    return page(request, "console/metrics.html", context | {"span": chosen if chosen in SPANS else "1h"})


@require_GET
@for_scripts
def cluster_data(request: HttpRequest, cluster: int) -> HttpResponse:
    """{"series": {name: {"used": [[seconds, value], …]}}, "source"}: what the API has of a span."""
    span = request.GET.get("span", "1h")
    found = call(request, "GET", "metrics/stats", query={"cluster_id": cluster, "time_range": span}).data
    return answered({"source": found["source"], "series": {name: {"used": points} for name, points in found["series"].items()}})


@require_GET
@signed_in
def of_object(request: HttpRequest, cluster: int, plural: str, namespace: str, name: str) -> HttpResponse:
    """The page of a pod or a node: its use from now on, beside what it asked for and may take."""
    if plural not in objects.MEASURED:
        return missing(request)
    place = at(cluster, plural, namespace, name)
    context = objects.frame(request, place, "metrics")
    charts = [{"key": "cpu", "title": _("Processors"), "unit": "cores"}, {"key": "memory", "title": _("Memory"), "unit": "bytes"}]
    config = {"source": f"{place.address}/metrics/data", "charts": charts, "live": POLL_SECONDS, "texts": _texts()}
    measured = _measured(request, cluster, plural, place.namespace, name)
    return page(request, "console/metrics.html", context | {"config": config, "charts": charts, "measured": measured, "is_object": True})


@require_GET
@for_scripts
def object_data(request: HttpRequest, cluster: int, plural: str, namespace: str, name: str) -> HttpResponse:
    """{"now": {name: {"used","asked","limit","has"}}, "source"}: this moment; what nobody measures is null."""
    place = at(cluster, plural, namespace, name)
    found = _asked(request, cluster, plural, place.namespace, name)
    return answered({"source": found["source"], "now": _numbers(found["metrics"], plural)})


def _asked(request: HttpRequest, cluster: int, plural: str, namespace: str, name: str) -> Mapping[str, Any]:
    about = {"node_name": name} if plural == "nodes" else {"namespace": namespace, "pod_name": name}
    found: Mapping[str, Any] = call(request, "GET", f"metrics/{plural}", query={"cluster_id": cluster, **about}).data
    return found


def _measured(request: HttpRequest, cluster: int, plural: str, namespace: str, name: str) -> bool:
    """Whether anybody measures here; a cluster that does not answer is the script's to tell."""
    try:
        return bool(_asked(request, cluster, plural, namespace, name)["source"] != "none")
    except Refused:
        return True


def _numbers(found: Sequence[Mapping[str, Any]], plural: str) -> dict[str, dict[str, Any]]:
    if not found:
        return {}
    cpu, memory = found[0]["cpu"], found[0]["memory"]
    if plural == "nodes":
        return {
            "cpu": {"used": cpu["used_cores"], "has": cpu["total_cores"]},
            "memory": {"used": memory["used_bytes"], "has": memory["total_bytes"]},
        }
    return {
        "cpu": {"used": cpu["used_cores"], "asked": cpu["request_cores"], "limit": cpu["limit_cores"]},
        "memory": {"used": memory["used_bytes"], "asked": memory["request_bytes"], "limit": memory["limit_bytes"]},
    }
