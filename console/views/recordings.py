"""Recorded terminals of a cluster, and playing one."""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from console import forms
from console.api_client import call
from console.page import (
    allow_style_attributes,
    render_page,
    require_sign_in,
    with_security_headers,
)

PAGE_SIZE = 50


@require_GET
@require_sign_in
def index(request: HttpRequest, cluster: int) -> HttpResponse:
    """The recordings that the person may see, newest first."""
    page = forms.query_number(request, "page", least=1)
    query = {
        "cluster_id": cluster,
        "namespace": request.GET.get("namespace", ""),
        "page": page,
        "pageSize": PAGE_SIZE,
    }
    data = call(request, "GET", "terminal-recordings", query=query).data
    context = {
        "cluster_id": cluster,
        "recordings": data["items"],
        "total": data["total"],
        "previous": page - 1 if page > 1 else 0,
        "next": page + 1 if page * PAGE_SIZE < data["total"] else 0,
        "at_recordings": True,
    }
    return render_page(request, "console/recordings.html", context)


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
