"""The log of a pod or of all pods of a workload: the page, the ticket for its stream, the download."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from console.api_client import Refused, call, quoted
from console.json_views import answered, for_scripts, sent
from console.locations import Place, at
from console.page import missing, page, signed_in
from console.rendering.health import Object, get, rows
from console.views import objects

GROUPS = (
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
class Container:
    """One container to choose; `note` says what is special about it."""

    name: str
    note: str


def containers(place: Place, item: Object) -> list[Container]:
    """The containers of a pod, or of a workload's template: regular ones first."""
    spec = get(item, "spec") if place.plural == "pods" else get(item, "spec", "template", "spec")
    notes = {"initContainers": _("init"), "ephemeralContainers": _("debug")}
    return [
        Container(
            str(one.get("name", "")), _note(item, group, statuses, one) or notes.get(group, "")
        )
        for group, statuses in GROUPS
        for one in rows(get(spec, group))
    ]


def _note(item: Object, group: str, statuses: str, container: Mapping[str, Any]) -> str:
    found = next(
        (
            one
            for one in rows(get(item, "status", statuses))
            if one.get("name") == container.get("name")
        ),
        {},
    )
    waits, ended = (
        get(found, "state", "waiting", "reason"),
        get(found, "state", "terminated", "reason"),
    )
    return "" if group != "containers" and ended == "Completed" else str(waits or ended or "")


@require_GET
@signed_in
def show(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The page; its script opens the stream."""
    place = at(cluster, plural, namespace, name)
    if plural not in objects.LOGGED:
        return missing(request)
    context = objects.frame(request, place, "logs")
    found = containers(place, context["item"])
    chosen = request.GET.get("container", "")
    known = {one.name for one in found} | {ALL}
    texts = _texts()
    context |= {
        "containers": found,
        "texts": texts,
        "chosen": chosen
        if chosen in known
        else ""
        if len(found) == 1
        else ALL
        if plural != "pods"
        else _usual(context["item"], found),
        "tails": TAILS,
        "spans": SPANS,
        "previous": request.GET.get("previous") == "1",
        "restarted": any(
            one.get("restartCount")
            for one in rows(get(context["item"], "status", "containerStatuses"))
        ),
        "config": {
            "ticket": f"{place.address}/logs/ticket",
            "download": f"{place.address}/logs/download",
            "texts": texts,
        },
    }
    return page(request, "console/logs.html", context)


def _usual(pod: Object, found: list[Container]) -> str:
    """The container that is meant when none is named: the annotated one, else the one in trouble, else the first."""
    preferred = get(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container")
    names = [one.name for one in found]
    regular = [str(one.get("name", "")) for one in rows(get(pod, "spec", "containers"))]
    troubled = [one.name for one in found if one.name in regular and one.note]
    return str(preferred) if preferred in names else (troubled or regular or [""])[0]


def _texts() -> dict[str, str]:
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
        "lines": _("{count} lines"),
        "waiting": _("Nothing yet. New lines appear here."),
        "newer": _("{count} new lines ↓"),
        "cut": _("Older lines were removed from the page; the download has them all."),
    }


@require_POST
@for_scripts
def ticket(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """A ticket for the stream, made through the API by the person of the session."""
    place, wanted = at(cluster, plural, namespace, name), sent(request)
    body = {key: wanted[key] for key in OPTIONS if wanted.get(key) not in (None, "")}
    answer = call(
        request,
        "POST",
        f"{plural}/{quoted(name)}/logs/stream",
        body={**place.query, **body, "batch": True},
    )
    return answered(answer.data)


# --- the download ---------------------------------------------------------------------------------------------------
@require_GET
@signed_in
def download(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The whole log as a text file: one container as it is, several one after another under a line that names each."""
    place = at(cluster, plural, namespace, name)
    chosen = request.GET.get("container", "")
    sources = list(_sources(request, place, chosen))
    parts = _one_after_another(request, place, sources)
    # The first piece is asked for before anything is sent, so that a refusal is still a page.
    first = next(parts, b"")
    response = StreamingHttpResponse(
        _with(first, parts),
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-store"},
    )
    container = f"-{chosen}" if chosen not in ("", ALL) else ""
    response["Content-Disposition"] = f'attachment; filename="{_file_name(name + container)}.log"'
    return cast("HttpResponse", response)


def _file_name(text: str) -> str:
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_"
        for letter in text
    )


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _sources(request: HttpRequest, place: Place, chosen: str) -> Iterator[tuple[str, str]]:
    """(pod, container) of every log that was asked for."""
    if place.plural == "pods":
        pods = [call(request, "GET", place.path, query=place.query).data]
    else:
        path = f"{place.plural}/{quoted(place.name)}/pods"
        pods = call(request, "GET", path, query={**place.query, "pageSize": 1000}).data["items"]
    for pod in pods:
        inside = Place(place.cluster, "pods", place.namespace, str(get(pod, "metadata", "name")))
        names = [one.name for one in containers(inside, pod)]
        yield from (
            (inside.name, one)
            for one in names
            if chosen in (one, ALL) or (not chosen and len(names) == 1)
        )


def _one_after_another(
    request: HttpRequest, place: Place, sources: list[tuple[str, str]]
) -> Iterator[bytes]:
    if not sources:
        raise Refused(1004, _("There is no container to read."), {}, 404)
    for pod, container in sources:
        if len(sources) > 1:
            yield f"==> {pod}/{container} <==\n".encode()
        try:
            query = {
                **place.query,
                "container": container,
                "download": True,
                "previous": request.GET.get("previous") == "1",
            }
            answer = call(request, "GET", f"pods/{quoted(pod)}/logs", query=query)
        except Refused as refused:
            if len(sources) == 1:
                raise
            yield f"({refused.message})\n".encode()
            continue
        yield from answer.response or ()
