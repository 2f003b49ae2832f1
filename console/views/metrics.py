"""Charts of what clusters, nodes and pods use: the pages, and the numbers for their script."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from console.api_client import ApiRefusal, call
from console.json_views import json_response, json_view
from console.locations import Location
from console.page import object_view, render_not_found, render_page, require_sign_in
from console.views import objects

SPANS = ("15m", "1h", "6h", "24h", "7d")
POLL_SECONDS = 10
PROMETHEUS = "prometheus"


def _script_texts() -> dict[str, str]:
    """What the script says."""
    return {
        "time": _("Time"),
        "now": _("now"),
        "least": _("min"),
        "mean": _("avg"),
        "most": _("max"),
        "used": _("used"),
        "asked": _("request"),
        "limit": _("limit"),
        "has": _("capacity"),
        "cores": _("{n} cores"),
        "count": _("{n}"),
        "nothing": _("There are no numbers for this time yet."),
        "failed": _("The numbers could not be read; trying again."),
    }


@require_GET
@require_sign_in
def cluster_page(request: HttpRequest, cluster: int) -> HttpResponse:
    """The page of a cluster's use over time."""
    registered = call(request, "GET", f"clusters/{cluster}").data
    charts = [
        {"key": "cpu", "title": _("CPU"), "unit": "cores"},
        {"key": "memory", "title": _("Memory"), "unit": "bytes"},
    ]
    charts.append({"key": "pods", "title": _("Pods"), "unit": "count"})
    chosen = request.GET.get("span", "")
    config = {
        "source": f"/clusters/{cluster}/-/metrics/data",
        "charts": charts,
        "live": False,
        "texts": _script_texts(),
    }
    context = {
        "cluster_id": cluster,
        "registered": registered,
        "config": config,
        "charts": charts,
        "spans": SPANS,
    }
    return render_page(
        request, "console/metrics.html", context | {"span": chosen if chosen in SPANS else "1h"}
    )


@require_GET
@json_view
def cluster_data(request: HttpRequest, cluster: int) -> HttpResponse:
    """{"series": {name: {"used": [[seconds, value], …]}}, "source"}: what the API has of a span."""
    span = request.GET.get("span", "1h")
    return _series_response(
        call(
            request,
            "GET",
            "metrics/stats",
            query={"cluster_id": cluster, "time_range": span},
        ).data
    )


@require_GET
@require_sign_in
@object_view
def object_page(request: HttpRequest, location: Location) -> HttpResponse:
    """The page of a pod or a node: usage over time.

    The past where the cluster has a Prometheus; else usage from now on, with requests and limits.
    """
    if location.plural not in objects.KINDS_WITH_METRICS:
        return render_not_found(request)
    context = objects.head_context(request, location, "metrics")
    charts = [
        {"key": "cpu", "title": _("CPU"), "unit": "cores"},
        {"key": "memory", "title": _("Memory"), "unit": "bytes"},
    ]
    source = _metrics_source(request, location)
    chosen = request.GET.get("span", "")
    # metrics-server has only the current values: the chart grows while the page is open.
    live = POLL_SECONDS if source != PROMETHEUS else False
    config = {
        "source": f"{location.address}/metrics/data",
        "charts": charts,
        "live": live,
        "texts": _script_texts(),
    }
    context |= {
        "config": config,
        "charts": charts,
        "measured": source != "none",
        "is_object": True,
    }
    context |= {} if live else {"spans": SPANS, "span": chosen if chosen in SPANS else "1h"}
    return render_page(request, "console/metrics.html", context)


@require_GET
@json_view
@object_view
def object_data(request: HttpRequest, location: Location) -> HttpResponse:
    """With a span as `cluster_data`, else {"now": {name: {"used", …}}, "source"}.

    Names are "cpu" (cores) and "memory" (bytes); next to "used" stand "asked" and "limit" of a pod
    or "has" of a node. A number that no source has is null.
    """
    if span := request.GET.get("span"):
        about = {
            **_subject_query(location),
            "time_range": span,
        }
        return _series_response(
            call(
                request, "GET", "metrics/stats", query={"cluster_id": location.cluster, **about}
            ).data,
        )
    usage = _read_usage(request, location)
    return json_response(
        {"source": usage["source"], "now": _current_numbers(usage["metrics"], location.plural)},
    )


def _series_response(history: Mapping[str, Any]) -> HttpResponse:
    return json_response(
        {
            "source": history["source"],
            "series": {name: {"used": points} for name, points in history["series"].items()},
        }
    )


def _subject_query(location: Location) -> dict[str, str]:
    if location.plural == "nodes":
        return {"node_name": location.name}
    return {"namespace": location.namespace, "pod_name": location.name}


def _read_usage(request: HttpRequest, location: Location) -> Mapping[str, Any]:
    query = {"cluster_id": location.cluster, **_subject_query(location)}
    path = f"metrics/{location.plural}"
    usage: Mapping[str, Any] = call(request, "GET", path, query=query).data
    return usage


def _metrics_source(request: HttpRequest, location: Location) -> str:
    """Who measures here; a cluster that does not answer is the script's to tell."""
    try:
        return str(_read_usage(request, location)["source"])
    # The page still opens: the next poll of the script may succeed.
    except ApiRefusal:
        return ""


def _current_numbers(
    usage: Sequence[Mapping[str, Any]],
    plural: str,
) -> dict[str, dict[str, Any]]:
    if not usage:
        return {}
    cpu = usage[0]["cpu"]
    memory = usage[0]["memory"]
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
