"""A shell in a container or on a node: the page, and the ticket for its socket."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from console.api_client import call, require_segment
from console.json_views import json_body, json_response, json_view
from console.locations import Location
from console.page import (
    allow_style_attributes,
    object_view,
    render_not_found,
    render_page,
    require_sign_in,
)
from console.rendering.health import Object, get, rows
from console.views import objects
from console.views.logs import CONTAINER_FIELDS

OPTIONS = ("container", "shell", "session")
SHELLS = ("bash", "sh", "ash", "zsh")


def running_containers(location: Location, item: Object) -> list[str]:
    """The containers of a pod that run: the regular ones first. Nothing for a node."""
    if location.plural != "pods":
        return []
    running = {
        status.get("name")
        for _group, statuses in CONTAINER_FIELDS
        for status in rows(get(item, "status", statuses))
        if get(status, "state", "running")
    }
    names = [
        str(status.get("name", ""))
        for group, _statuses in CONTAINER_FIELDS
        for status in rows(get(item, "spec", group))
    ]
    return [name for name in names if name in running]


@require_GET
@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """The page; its script opens the socket.

    On a node it waits for a click, since a node shell starts a privileged pod; so it does where
    the container of the address does not run.
    """
    if location.plural not in objects.KINDS_WITH_TERMINAL:
        return render_not_found(request)
    context = objects.head_context(request, location, "terminal")
    names = running_containers(location, context["item"])
    requested = request.GET.get("container", "")
    chosen = requested if requested in names else default_container(context["item"], names)
    not_running = requested if requested not in ("", *names) else ""
    on_node = location.plural == "nodes"
    context |= {
        "containers": names,
        "chosen": chosen,
        "not_running": not_running,
        "shells": SHELLS,
        "on_node": on_node,
        "can_open": on_node or bool(names),
        "config": {
            "ticket": f"{location.address}/terminal/ticket",
            # Nobody asked for a shell in another container than the one of the address.
            "ask": on_node or bool(not_running),
            "container": chosen,
            "hold": settings.TERMINAL_HOLD_SECONDS,
            "directory": _directory(request, location),
            "texts": _script_texts(),
        },
    }
    return allow_style_attributes(render_page(request, "console/terminal.html", context))


def _directory(request: HttpRequest, location: Location) -> str:
    """The directory that the shell is to begin in; "" for its own.

    A script types it, so control characters, which a shell would obey, make it none.
    """
    path = request.GET.get("directory", "")
    return path if path.startswith("/") and path.isprintable() and location.plural == "pods" else ""


def default_container(pod: Object, names: list[str]) -> str:
    """kubectl's default container by annotation, else the first; "" without any."""
    preferred = get(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container")
    return str(preferred) if preferred in names else (names or [""])[0]


def _script_texts() -> dict[str, str]:
    """What the script says."""
    return {
        "connecting": _("Connecting…"),
        "starting": _("Starting a shell…"),
        "connected": _("Connected"),
        "again": _("The connection was lost. Trying again in {seconds} s…"),
        "back": _("Connected again; the shell went on."),
        "dropped": _("Some output was lost while the connection was away."),
        "exited": _("The shell ended with code {code}."),
        "failed": _("The shell could not be started: {reason}"),
        "over": _("The session is over."),
        "idle": _("Closed because nothing was typed for a long time."),
        "replaced": _("This session was opened in another window."),
        "signed_out": _("You are signed out, or may no longer open a terminal here."),
        "gone": _("The pod was deleted."),
        "lost": _("The cluster was lost."),
        "copied": _("Copied"),
        "not_copied": _("The browser does not let this page copy."),
        "not_pasted": _("The browser does not let this page paste: use Ctrl+Shift+V."),
        "found": _("{here} of {count}"),
        "nothing": _("No match"),
    }


@require_POST
@json_view
@object_view
def ticket(request: HttpRequest, location: Location) -> HttpResponse:
    """A ticket for a shell, made through the API by the person of the session."""
    requested = json_body(request)
    body = {key: requested[key] for key in OPTIONS if requested.get(key) not in (None, "")}
    return json_response(
        call(
            request,
            "POST",
            f"{location.plural}/{require_segment(location.name)}/terminal",
            body={**location.query, **body},
        ).data
    )
