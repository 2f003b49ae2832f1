"""What clusters, nodes and pods use, as charts: the pages, and the numbers that their script asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from console.api_client import Refused, call
from console.json_views import answered, for_scripts
from console.locations import at
from console.page import missing, page, signed_in
from console.views import objects

SPANS = ("15m", "1h", "6h", "24h", "7d")
POLL_SECONDS = 10
PROMETHEUS = "prometheus"


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
    charts = [
        {"key": "cpu", "title": _("Processors"), "unit": "cores"},
        {"key": "memory", "title": _("Memory"), "unit": "bytes"},
    ]
    charts.append({"key": "pods", "title": _("Pods"), "unit": "count"})
    chosen = request.GET.get("span", "")
    config = {
        "source": f"/clusters/{cluster}/-/metrics/data",
        "charts": charts,
        "live": False,
        "texts": _texts(),
    }
    context = {
        "cluster_id": cluster,
        "shown": shown,
        "config": config,
        "charts": charts,
        "spans": SPANS,
    }
    return page(
        request, "console/metrics.html", context | {"span": chosen if chosen in SPANS else "1h"}
    )


@require_GET
@for_scripts
def cluster_data(request: HttpRequest, cluster: int) -> HttpResponse:
    """{"series": {name: {"used": [[seconds, value], …]}}, "source"}: what the API has of a span."""
    span = request.GET.get("span", "1h")
    return _past(
        call(
            request, "GET", "metrics/stats", query={"cluster_id": cluster, "time_range": span}
        ).data
    )


@require_GET
@signed_in
def of_object(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The page of a pod or a node: its past where a Prometheus knows it, else its use from now on beside what it asked for."""
    if plural not in objects.MEASURED:
        return missing(request)
    place = at(cluster, plural, namespace, name)
    context = objects.frame(request, place, "metrics")
    charts = [
        {"key": "cpu", "title": _("Processors"), "unit": "cores"},
        {"key": "memory", "title": _("Memory"), "unit": "bytes"},
    ]
    source, chosen = (
        _source(request, cluster, plural, place.namespace, name),
        request.GET.get("span", ""),
    )
    live = POLL_SECONDS if source != PROMETHEUS else False
    config = {
        "source": f"{place.address}/metrics/data",
        "charts": charts,
        "live": live,
        "texts": _texts(),
    }
    context |= {"config": config, "charts": charts, "measured": source != "none", "is_object": True}
    context |= {} if live else {"spans": SPANS, "span": chosen if chosen in SPANS else "1h"}
    return page(request, "console/metrics.html", context)


@require_GET
@for_scripts
def object_data(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """With a span as `cluster_data`; else {"now": {name: {"used","asked","limit","has"}}, "source"}: what nobody measures is null."""
    place = at(cluster, plural, namespace, name)
    if span := request.GET.get("span"):
        about = {**_about(plural, place.namespace, name), "time_range": span}
        return _past(
            call(request, "GET", "metrics/stats", query={"cluster_id": cluster, **about}).data
        )
    found = _asked(request, cluster, plural, place.namespace, name)
    return answered({"source": found["source"], "now": _numbers(found["metrics"], plural)})


def _past(found: Mapping[str, Any]) -> HttpResponse:
    return answered(
        {
            "source": found["source"],
            "series": {name: {"used": points} for name, points in found["series"].items()},
        }
    )


def _about(plural: str, namespace: str, name: str) -> dict[str, str]:
    return {"node_name": name} if plural == "nodes" else {"namespace": namespace, "pod_name": name}


def _asked(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> Mapping[str, Any]:
    query = {"cluster_id": cluster, **_about(plural, namespace, name)}
    found: Mapping[str, Any] = call(request, "GET", f"metrics/{plural}", query=query).data
    return found


def _source(request: HttpRequest, cluster: int, plural: str, namespace: str, name: str) -> str:
    """Who measures here; a cluster that does not answer is the script's to tell."""
    try:
        return str(_asked(request, cluster, plural, namespace, name)["source"])
    except Refused:
        return ""


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
        "cpu": {
            "used": cpu["used_cores"],
            "asked": cpu["request_cores"],
            "limit": cpu["limit_cores"],
        },
        "memory": {
            "used": memory["used_bytes"],
            "asked": memory["request_bytes"],
            "limit": memory["limit_bytes"],
        },
    }
