"""A shell in a container or on a node: the page, and the ticket for its socket."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from console.api_client import call, quoted
from console.json_views import answered, for_scripts, sent
from console.locations import Place, at
from console.page import missing, page, signed_in, with_styles
from console.rendering.health import Object, get, rows
from console.views import objects
from console.views.logs import GROUPS

OPTIONS = ("container", "shell", "session")
SHELLS = ("bash", "sh", "ash", "zsh")


def containers(place: Place, item: Object) -> list[str]:
    """The containers of a pod that run: the regular ones first. Nothing for a node."""
    if place.plural != "pods":
        return []
    running = {
        one.get("name")
        for _group, statuses in GROUPS
        for one in rows(get(item, "status", statuses))
        if get(one, "state", "running")
    }
    names = [
        str(one.get("name", ""))
        for group, _statuses in GROUPS
        for one in rows(get(item, "spec", group))
    ]
    return [name for name in names if name in running]


@require_GET
@signed_in
def show(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The page; its script opens the socket, on a node only after a press on a button, for that makes a privileged pod."""
    place = at(cluster, plural, namespace, name)
    if plural not in objects.SHELLS:
        return missing(request)
    context = objects.frame(request, place, "terminal")
    found = containers(place, context["item"])
    asked = request.GET.get("container", "")
    chosen = asked if asked in found else _usual(context["item"], found)
    context |= {
        "containers": found,
        "chosen": chosen,
        "shells": SHELLS,
        "on_node": plural == "nodes",
        "can_open": plural == "nodes" or bool(found),
        "config": {
            "ticket": f"{place.address}/terminal/ticket",
            "ask": plural == "nodes",
            "container": chosen,
            "texts": _texts(),
        },
    }
    return with_styles(page(request, "console/terminal.html", context))


def _usual(pod: Object, found: list[str]) -> str:
    preferred = get(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container")
    return str(preferred) if preferred in found else (found or [""])[0]


def _texts() -> dict[str, str]:
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
        "gone": _("The pod is gone."),
        "lost": _("The cluster was lost."),
    }


@require_POST
@for_scripts
def ticket(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """A ticket for a shell, made through the API by the person of the session."""
    place, wanted = at(cluster, plural, namespace, name), sent(request)
    body = {key: wanted[key] for key in OPTIONS if wanted.get(key) not in (None, "")}
    return answered(
        call(
            request, "POST", f"{plural}/{quoted(name)}/terminal", body={**place.query, **body}
        ).data
    )
