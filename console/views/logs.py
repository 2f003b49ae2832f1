"""The log of a pod or of a workload's pods: the page, the ticket for its stream, the download."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from console.api_client import ApiRefusal, call, require_segment
from console.json_views import json_body, json_response, json_view
from console.locations import Location
from console.page import object_view, render_not_found, render_page, require_sign_in
from console.rendering.health import Object, get, rows
from console.views import objects
from workloads.objects.log_merge import LogSource, merge_logs

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
# How much of a merged log is written to the client at a time.
BLOCK_BYTES = 64 * 1024


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
    """The whole log as a text file; the lines of several containers are merged by their time."""
    chosen = request.GET.get("container", "")
    sources = list(_log_sources(request, location, chosen))
    log_download = LogDownload(request, location, sources)
    response = StreamingHttpResponse(
        log_download.open(),
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


@dataclass(frozen=True, slots=True)
class LogDownload:
    """The logs of `sources`, (pod, container) each, as one file of at most LOG_DOWNLOAD_BYTES.

    The query's `timestamps` and `previous` say whether lines have their stamps, and whether the
    log before the last restart is meant.
    """

    request: HttpRequest
    location: Location
    sources: list[tuple[str, str]]

    def open(self) -> Iterator[bytes]:
        """The file's bytes; ApiRefusal before the first when the only log cannot be read.

        Of more than LOG_DOWNLOAD_SOURCES logs only so many are merged, as all of them are open at
        once; the file's first line says so.
        """
        if not self.sources:
            raise ApiRefusal(1004, _("There is no container to read."), {}, 404)
        with_stamps = self._is_chosen("timestamps")
        if len(self.sources) == 1:
            return _limited(self._read(*self.sources[0], timestamps=with_stamps))
        limit = settings.LOG_DOWNLOAD_SOURCES
        sources = [self._source(*source) for source in self.sources[:limit]]
        lines = merge_logs(sources, timestamps=with_stamps)
        note = self._missing_sources(limit)
        return _limited(_in_blocks(chain(note, lines)))

    def _is_chosen(self, name: str) -> bool:
        return self.request.GET.get(name) == "1"

    def _source(self, pod: str, container: str) -> LogSource:
        """One log of several; a refusal becomes its only line."""
        name = f"{pod}/{container}"
        try:
            # Merged by their stamps, whether or not the file has them.
            return LogSource(name, self._read(pod, container, timestamps=True))
        except ApiRefusal as refusal:
            return LogSource(name, [f"({refusal.message})\n".encode()])

    def _read(self, pod: str, container: str, *, timestamps: bool) -> Iterable[bytes]:
        query = {
            **self.location.query,
            "container": container,
            "download": True,
            "previous": self._is_chosen("previous"),
            "timestamps": timestamps,
        }
        path = f"pods/{require_segment(pod)}/logs"
        answer = call(self.request, "GET", path, query=query)
        return cast("Iterable[bytes]", answer.response or ())

    def _missing_sources(self, limit: int) -> list[bytes]:
        count = len(self.sources)
        if count <= limit:
            return []
        text = _(
            "Only {limit} of {count} containers are in this file: choose a container or a pod."
        )
        return [f"({text.format(limit=limit, count=count)})\n".encode()]


def _in_blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in blocks that are worth a write to the client."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _limited(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts up to LOG_DOWNLOAD_BYTES, and a line that says that there was more."""
    remaining = settings.LOG_DOWNLOAD_BYTES
    for part in parts:
        if len(part) > remaining:
            yield part[:remaining]
            text = _("The log is larger than one download: the rest is missing.")
            yield f"\n({text})\n".encode()
            return
        remaining -= len(part)
        yield part
