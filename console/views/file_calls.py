"""What the script of the Files page reads, changes and transfers through the API."""

from collections.abc import Mapping
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from console.api_client import FORBIDDEN, ApiRefusal, ApiResult, call, require_segment
from console.json_views import json_body, json_response, json_view
from console.locations import Location
from console.page import object_view, require_sign_in
from core.api.client_ip import is_cross_site

# Methods whose members stand in the query; the others have a body.
QUERY_METHODS = frozenset({"GET", "DELETE"})


def _path(request: HttpRequest, location: Location, suffix: str) -> str:
    """The API's path of a pod's files; ApiRefusal (404) for anything but a pod.

    ApiRefusal (403) for a link on another site: even reading may start a debug container.
    """
    if is_cross_site(request):
        raise ApiRefusal(FORBIDDEN, _("This address may not be opened from another site."), {}, 403)
    if location.plural != "pods":
        raise ApiRefusal(1004, _("There is no page at this address."), {}, 404)
    return f"pods/{require_segment(location.name)}/files{suffix}"


def _select(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Those members that the script sent; the API judges them."""
    return {name: values[name] for name in names if values.get(name) is not None}


def _ask(
    request: HttpRequest,
    location: Location,
    method: str,
    suffix: str,
    names: tuple[str, ...],
) -> HttpResponse:
    """What the API answers about the pod's files; `names` are the members that are passed on."""
    values = request.GET if request.method == "GET" else json_body(request)
    members = _select(values, names) | location.query
    where = "query" if method in QUERY_METHODS else "body"
    answer = call(request, method, _path(request, location, suffix), **{where: members})
    return json_response(answer.data)


@require_GET
@json_view
@object_view
def entries(request: HttpRequest, location: Location) -> HttpResponse:
    """The entries of a directory."""
    return _ask(request, location, "GET", "", ("container", "path"))


@require_GET
@json_view
@object_view
def content(request: HttpRequest, location: Location) -> HttpResponse:
    """The beginning or the end of a file."""
    names = ("container", "path", "max_bytes", "tail")
    return _ask(request, location, "GET", "/content", names)


@require_POST
@json_view
@object_view
def save(request: HttpRequest, location: Location) -> HttpResponse:
    """Write a file, if it is still what the editor was opened with."""
    names = ("container", "path", "content", "encoding", "sha256")
    return _ask(request, location, "PUT", "/content", names)


@require_POST
@json_view
@object_view
def make_directory(request: HttpRequest, location: Location) -> HttpResponse:
    """Make a directory."""
    return _ask(request, location, "POST", "/mkdir", ("container", "path", "parents"))


@require_POST
@json_view
@object_view
def move(request: HttpRequest, location: Location) -> HttpResponse:
    """Rename or move a file or directory."""
    return _ask(request, location, "POST", "/move", ("container", "from", "to", "overwrite"))


@require_POST
@json_view
@object_view
def remove(request: HttpRequest, location: Location) -> HttpResponse:
    """Delete a file, or a directory with everything in it."""
    return _ask(request, location, "DELETE", "", ("container", "path", "recursive"))


# --- transfers ----------------------------------------------------------------------------------
# The front hands both addresses to the event-driven server, and the API answers there: what comes
# back from the call leads to its transfer.
@require_GET
def download(
    request: HttpRequest,
    cluster: int,
    plural: str,
    namespace: str,
    name: str,
) -> HttpResponseBase:
    """A file, or a directory as an archive; a refusal is a page for who follows a link."""
    is_script = request.headers.get("Accept", "").startswith("application/json")
    view = json_view(_download) if is_script else require_sign_in(_download)
    return view(request, cluster, plural, namespace, name)


@object_view
def _download(request: HttpRequest, location: Location) -> HttpResponse:
    query = _select(request.GET, ("container", "path", "format")) | location.query
    return _transfer(call(request, "GET", _path(request, location, "/download"), query=query))


@json_view
@object_view
def upload(request: HttpRequest, location: Location) -> HttpResponse:
    """Put the file that is the request's body into a directory."""
    query = _select(request.GET, ("container", "path", "name", "overwrite")) | location.query
    headers = {"Content-Type": "application/octet-stream"}
    path = _path(request, location, "")
    return _transfer(call(request, "POST", path, query=query, headers=headers))


def _transfer(answer: ApiResult) -> HttpResponse:
    return cast("HttpResponse", answer.response)
