"""Recorded terminals of a cluster, and playing one."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from console import forms
from console.api_client import call
from console.filtered_lists import SIZE, page_links
from console.page import (
    allow_style_attributes,
    render_page,
    require_sign_in,
    with_security_headers,
)

FILTERS = ("user", "namespace", "name", "container", "since", "until", "text")


@require_GET
@require_sign_in
def index(request: HttpRequest, cluster: int) -> HttpResponse:
    """The recordings that the person may see, newest first."""
    page = forms.query_number(request, "page", least=1)
    chosen = {name: request.GET.get(name, "").strip() for name in FILTERS}
    query = {**chosen, "cluster_id": cluster, "page": page, "pageSize": SIZE}
    data = call(request, "GET", "terminal-recordings", query=query).data
    context = {
        "cluster_id": cluster,
        "recordings": [_row(recording) for recording in data["items"]],
        "search": data.get("search"),
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "at_recordings": True,
        **page_links(chosen, page, data["total"]),
    }
    return render_page(request, "console/recordings.html", context)


def _row(recording: dict[str, Any]) -> dict[str, Any]:
    """A row of the list: with its length in seconds, None while the terminal is open."""
    finished = recording["finished_at"]
    length = None
    if finished:
        started = datetime.fromisoformat(recording["started_at"])
        length = duration((datetime.fromisoformat(finished) - started).total_seconds())
    return {**recording, "length": length}


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@require_GET
@require_sign_in
def play(request: HttpRequest, cluster: int, pk: int) -> HttpResponse:
    """The player of one recording."""
    recording = call(request, "GET", f"terminal-recordings/{pk}").data
    context = {
        "cluster_id": cluster,
        "recording": recording,
        "config": {
            "cast": f"/clusters/{cluster}/-/recordings/{pk}/cast",
            "width": recording["width"],
            "height": recording["height"],
            "texts": {
                "play": _("Play"),
                "pause": _("Pause"),
                "failed": _("The recording could not be read."),
                "no_commands": _("No line looks like a prompt with a command."),
            },
        },
        "at_recordings": True,
    }
    return allow_style_attributes(render_page(request, "console/recording.html", context))


@require_GET
@require_sign_in
def cast(request: HttpRequest, cluster: int, pk: int) -> HttpResponseBase:
    """The recording as an asciicast v2 file, for the player and for a download."""
    answer = call(request, "GET", f"terminal-recordings/{pk}/replay").response
    if answer is None:
        return HttpResponse(status=204)
    if isinstance(answer, HttpResponse):
        return with_security_headers(request, answer)
    answer["Cache-Control"] = "no-store"
    return answer
