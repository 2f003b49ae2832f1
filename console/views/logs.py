"""The log of a pod or of a workload's pods: the page, the ticket for its stream, the download."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from console.api_client import ApiRefusal, call, require_segment
from console.json_views import json_body, json_response, json_view
from console.locations import Location
from console.page import object_view, render_not_found, render_page, require_sign_in
from console.rendering.health import Object, get, rows
from console.views import objects

CONTAINER_FIELDS = (
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
)
TAILS = (100, 500, 1000, 5000)
SPANS = (("", ""), ("300", "5m"), ("3600", "1h"), ("86400", "1d"))
# What a page's script may say about the stream that it wants.
OPTIONS = ("containers", "tail_lines", "since_seconds", "previous", "cursor")
ALL = "*"


@dataclass(frozen=True, slots=True)
class ContainerChoice:
    """One container to choose; `note` says what is special about it."""

    name: str
    note: str


def container_choices(
    location: Location,
    item: Object,
) -> list[ContainerChoice]:
    """The containers of a pod, or of a workload's template: regular ones first."""
    spec = get(item, "spec") if location.plural == "pods" else get(item, "spec", "template", "spec")
    notes = {"initContainers": _("init"), "ephemeralContainers": _("debug")}
    return [
        ContainerChoice(
            str(container.get("name", "")),
            _container_note(item, group, statuses, container) or notes.get(group, ""),
        )
        for group, statuses in CONTAINER_FIELDS
        for container in rows(get(spec, group))
    ]


def _container_note(
    item: Object,
    group: str,
    statuses: str,
    container: Mapping[str, Any],
) -> str:
    by_name = {status.get("name"): status for status in rows(get(item, "status", statuses))}
    status = by_name.get(container.get("name"), {})
    waiting = get(status, "state", "waiting", "reason")
    terminated = get(status, "state", "terminated", "reason")
    # Init and debug containers are meant to complete.
    if group != "containers" and terminated == "Completed":
        return ""
    return str(waiting or terminated or "")


@require_GET
@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """The page; its script opens the stream."""
    if location.plural not in objects.KINDS_WITH_LOGS:
        return render_not_found(request)
    context = objects.head_context(request, location, "logs")
    choices = container_choices(location, context["item"])
    texts = _script_texts()
    statuses = rows(get(context["item"], "status", "containerStatuses"))
    context |= {
        "containers": choices,
        "texts": texts,
        "chosen": _chosen_container(request, location, context["item"], choices),
        "tails": TAILS,
        "spans": SPANS,
        "previous": request.GET.get("previous") == "1",
        "restarted": any(status.get("restartCount") for status in statuses),
        "config": {
            "ticket": f"{location.address}/logs/ticket",
            "download": f"{location.address}/logs/download",
            "texts": texts,
        },
    }
    return render_page(request, "console/logs.html", context)


def _chosen_container(
    request: HttpRequest,
    location: Location,
    item: Object,
    choices: list[ContainerChoice],
) -> str:
    """The container of the address, else a default; "" when there is only one."""
    requested = request.GET.get("container", "")
    if requested == ALL or requested in {choice.name for choice in choices}:
        return requested
    if len(choices) == 1:
        return ""
    if location.plural != "pods":
        return ALL
    return _default_container(item, choices)


def _default_container(pod: Object, choices: list[ContainerChoice]) -> str:
    """kubectl's default container by annotation, else the first with a problem, else the first."""
    preferred = get(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container")
    names = [container.name for container in choices]
    regular = [str(container.get("name", "")) for container in rows(get(pod, "spec", "containers"))]
    troubled = [
        container.name for container in choices if container.name in regular and container.note
    ]
    return str(preferred) if preferred in names else (troubled or regular or [""])[0]


def _script_texts() -> dict[str, str]:
    """What the script says."""
    return {
        "connecting": _("Connecting…"),
        "live": _("Live"),
        "paused": _("Paused"),
        "ended": _("The log has ended."),
        "gone": _("The pod was deleted."),
        "again": _("The connection was lost. Trying again in {seconds} s…"),
        "restarted": _("{source} was started again {reason}"),
        "reconnecting": _("KubeGale lost the log of {source} and tries again {reason}"),
        "dropped": _("{count} lines were left out: this page could not keep up."),
        "limited": _("Too many containers: not all are shown. {reason}"),
        "signed_out": _("You are signed out, or may no longer read this log."),
        "found": _("{here} of {count}"),
        "nothing": _("No match"),
        "bad_pattern": _("No regular expression: {reason}"),
        "slow_pattern": _("This expression takes too long on these lines and was given up."),
        "hidden": _("{count} hidden"),
        "copied": _("Copied"),
        "not_copied": _("The browser does not let this page copy."),
        "lines": _("{count} lines"),
        "waiting": _("Nothing yet. New lines appear here."),
        "newer": _("{count} new lines ↓"),
        "cut": _("Older lines were removed from the page; the download has them all."),
    }


@require_POST
@json_view
@object_view
def ticket(request: HttpRequest, location: Location) -> HttpResponse:
    """A ticket for the stream, made through the API by the person of the session."""
    requested = json_body(request)
    body = {key: requested[key] for key in OPTIONS if requested.get(key) not in (None, "")}
    answer = call(
        request,
        "POST",
        f"{location.plural}/{require_segment(location.name)}/logs/stream",
        body={**location.query, **body, "batch": True},
    )
    return json_response(answer.data)


# --- the download -----------------------------------------------------------------------------
@require_GET
@require_sign_in
@object_view
def download(request: HttpRequest, location: Location) -> HttpResponse:
    """The whole log as a text file; several containers follow each other, each under its name."""
    chosen = request.GET.get("container", "")
    sources = list(_log_sources(request, location, chosen))
    parts = _concatenate_logs(request, location, sources)
    # The first piece is read before the response begins, so that a refusal is still a page.
    first = next(parts, b"")
    response = StreamingHttpResponse(
        _prepend(first, parts),
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )
    container = f"-{chosen}" if chosen not in ("", ALL) else ""
    response["Content-Disposition"] = (
        f'attachment; filename="{_file_name(location.name + container)}.log"'
    )
    return cast("HttpResponse", response)


def _file_name(text: str) -> str:
    # Anything else could end the quoted name in the header.
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _prepend(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _log_sources(
    request: HttpRequest,
    location: Location,
    chosen: str,
) -> Iterator[tuple[str, str]]:
    """(pod, container) of every log that was asked for."""
    if location.plural == "pods":
        pods = [call(request, "GET", location.path, query=location.query).data]
    else:
        path = f"{location.plural}/{require_segment(location.name)}/pods"
        pods = call(request, "GET", path, query={**location.query, "pageSize": 1000}).data["items"]
    for pod in pods:
        pod_location = location.other("pods", str(get(pod, "metadata", "name")))
        names = [container.name for container in container_choices(pod_location, pod)]
        selected = [container for container in names if chosen in (container, ALL)]
        # Without a choice the only container is meant.
        if not chosen and len(names) == 1:
            selected = names
        for container in selected:
            yield pod_location.name, container


def _concatenate_logs(
    request: HttpRequest,
    location: Location,
    sources: list[tuple[str, str]],
) -> Iterator[bytes]:
    if not sources:
        raise ApiRefusal(1004, _("There is no container to read."), {}, 404)
    for pod, container in sources:
        if len(sources) > 1:
            yield f"==> {pod}/{container} <==\n".encode()
        try:
            query = {
                **location.query,
                "container": container,
                "download": True,
                "previous": request.GET.get("previous") == "1",
            }
            answer = call(request, "GET", f"pods/{require_segment(pod)}/logs", query=query)
        except ApiRefusal as refusal:
            if len(sources) == 1:
                raise
            yield f"({refusal.message})\n".encode()
            continue
        yield from answer.response or ()
