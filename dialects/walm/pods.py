"""Walm's pods: events, logs, restart."""

import re
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from clusters import event_series
from clusters.manifests import Object
from core.api.schema import INTEGER, TEXT, OperationSchema, QueryParameter, array, record
from core.errors import Invalid, NotFound
from dialects.walm.envelope import CLUSTER, NOTHING, WalmView, empty_response, prefix_errors
from workloads.objects import pods
from workloads.objects.logs import LogOptions, read_log_text

EVENT_MEMBERS: Any = dict.fromkeys(
    ("type", "reason", "message", "from", "firstTimestamp", "lastTimestamp"),
    TEXT,
)
EVENTS = record(events=array(record(**EVENT_MEMBERS, count=INTEGER)))
INT64 = re.compile(r"[+-]?[0-9]+\Z")


class WalmPodView(WalmView):
    """A call about one pod."""

    plural = "pods"


class Events(WalmPodView):
    """GET /pod/{namespace}/name/{pod}/events."""

    operations = {"get": OperationSchema("Events of a pod.", EVENTS, (CLUSTER,))}

    def get(self, request: Request, namespace: str, pod: str) -> Any:
        """{"events":[…]}, the latest last."""
        self.permit(request, "events", namespace=namespace, name=pod)
        with prefix_errors(f"failed to get pod events {pod}: "):
            try:
                events = pods.list_pod_events(self.cluster(), namespace, pod)
            except NotFound as error:
                raise _missing_pod(error, pod) from error
        items = [_event(event) for event in events]
        items.sort(key=lambda item: item["lastTimestamp"])
        return {"events": items}


def _missing_pod(error: NotFound, pod: str) -> NotFound:
    """A missing pod in the words of the original, whose cache says `pod`, not `pods`."""
    # Without a status it is not the API server that answered, e.g. for an unknown cluster.
    if error.details.get("status") != 404:
        return error
    return NotFound(f'pod "{pod}" not found')


def _event(event: Object) -> dict[str, Any]:
    series = event_series.series(event)
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    first = event.get("firstTimestamp") or event.get("eventTime")
    return {
        "type": event.get("type") or "",
        "reason": event.get("reason") or "",
        "message": event.get("message") or "",
        "from": _reporter(event),
        "count": event_series.count(event),
        "firstTimestamp": _seconds(first),
        "lastTimestamp": _seconds(last),
    }


def _reporter(event: Object) -> str:
    source = event.get("source") or {}
    # v1 has `source` and `reportingComponent`, events.k8s.io `reportingController`.
    component = (
        source.get("component")
        or event.get("reportingComponent")
        or event.get("reportingController")
        or ""
    )
    if source.get("host"):
        return f"{component}, {source['host']}"
    return str(component)


def _seconds(moment: str | None) -> str:
    """An RFC 3339 time without its fraction; "" when unset."""
    return re.sub(r"\.\d+", "", moment or "")


class Logs(WalmPodView):
    """GET /pod/{namespace}/name/{pod}/logs."""

    operations = {
        "get": OperationSchema(
            "Log of a pod.",
            TEXT,
            (CLUSTER, QueryParameter("container", TEXT), QueryParameter("tail", INTEGER)),
        )
    }

    def get(self, request: Request, namespace: str, pod: str) -> Any:
        """The log as one JSON string."""
        self.permit(request, "logs", namespace=namespace, name=pod)
        options = LogOptions(
            container=request.query_params.get("container", ""),
            tail_lines=_tail(request),
        )
        with prefix_errors(f"failed to get pod logs {pod}: "):
            return read_log_text(self.cluster(), namespace, pod, options)


def _tail(request: Request) -> int | None:
    """`tail` (or `tailLines`); None, which is the whole log, when it is missing or 0.

    Invalid in the words of Go's strconv for anything but a whole number of 64 bits from 0 on.
    """
    text = request.query_params.get("tail") or request.query_params.get("tailLines") or "0"
    prefix = "query param tail is not valid : strconv.ParseInt: parsing"
    if not INT64.match(text):
        raise Invalid(f'{prefix} "{text}": invalid syntax')
    # Python refuses to read thousands of digits.
    if not -(2**63) <= int(text[:40]) < 2**63:
        raise Invalid(f'{prefix} "{text[:60]}": value out of range')
    if int(text) < 0:
        raise Invalid(f'{prefix} "{text}": invalid syntax')
    return int(text) or None


class Restart(WalmPodView):
    """POST /pod/{namespace}/name/{pod}/restart."""

    operations = {
        "post": OperationSchema(
            "Restart a pod: delete it, its controller makes another.",
            NOTHING,
            (CLUSTER,),
        )
    }

    def post(self, request: Request, namespace: str, pod: str) -> HttpResponse:
        """Empty: the pod is deleted, its controller makes another."""
        self.permit(request, "restart", namespace=namespace, name=pod)
        with prefix_errors(f"failed to restart pod {pod}: "):
            pods.delete_pod(self.cluster(), namespace, pod)
        return empty_response()
