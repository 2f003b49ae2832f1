"""The page of a container's files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from console.api_client import call, require_segment
from console.locations import Location
from console.page import (
    allow_style_attributes,
    object_view,
    render_not_found,
    render_page,
    require_sign_in,
)
from console.rendering.health import Object, get
from console.views import objects
from console.views.file_calls import upload
from console.views.terminal import default_container, running_containers

ROOT = "/"
# More pods than a list to choose from can hold are of no use there.
MAX_PODS = 1000


@dataclass(frozen=True, slots=True)
class PodChoice:
    """A pod of a workload to choose; `phase` is "" while it runs."""

    name: str
    phase: str


@require_http_methods(["GET", "HEAD", "POST"])
def files(
    request: HttpRequest,
    cluster: int,
    plural: str,
    namespace: str,
    name: str,
) -> HttpResponseBase:
    """The page; a POST uploads the file that is its body."""
    view = upload if request.method == "POST" else show
    return view(request, cluster, plural, namespace, name)


@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """The page of a pod, or of a workload with a choice of its pods; its script lists the files."""
    if location.plural not in objects.KINDS_WITH_FILES:
        return render_not_found(request)
    context = objects.head_context(request, location, "files")
    pods = [] if location.plural == "pods" else _list_pods(request, location)
    pod = _chosen_pod(request, location, context["item"], pods)
    names = running_containers(_pod_location(location, pod), pod) if pod else []
    requested = request.GET.get("container", "")
    chosen = requested if requested in names else default_container(pod or {}, names)
    pod_name = str(get(pod, "metadata", "name") or "")
    context |= {
        "pods": [_pod_choice(row) for row in pods],
        "pod": pod_name,
        "containers": names,
        "chosen": chosen,
        "config": _script_config(request, location, pod_name, chosen, context),
    }
    response = allow_style_attributes(render_page(request, "console/files.html", context))
    # Pictures out of a container are shown from memory, never from an address.
    policy = response["Content-Security-Policy"]
    response["Content-Security-Policy"] = policy.replace(
        "img-src 'self' data:", "img-src 'self' data: blob:"
    )
    return response


def _pod_location(location: Location, pod: Object) -> Location:
    return location.other("pods", str(get(pod, "metadata", "name") or ""))


def _list_pods(request: HttpRequest, location: Location) -> list[Object]:
    """The pods of a workload, those that run first."""
    path = f"{location.plural}/{require_segment(location.name)}/pods"
    answer = call(request, "GET", path, query={**location.query, "pageSize": MAX_PODS})
    pods: list[Object] = answer.data["items"]
    return sorted(pods, key=lambda pod: get(pod, "status", "phase") != "Running")


def _chosen_pod(
    request: HttpRequest,
    location: Location,
    item: Object,
    pods: list[Object],
) -> Object | None:
    """The pod that the address names, else the first; None for a workload without pods."""
    if location.plural == "pods":
        return item
    requested = request.GET.get("pod", "")
    named = [pod for pod in pods if get(pod, "metadata", "name") == requested]
    return next(iter(named or pods), None)


def _pod_choice(pod: Object) -> PodChoice:
    phase = str(get(pod, "status", "phase") or "")
    return PodChoice(str(get(pod, "metadata", "name")), "" if phase == "Running" else phase)


def _script_config(
    request: HttpRequest,
    location: Location,
    pod: str,
    container: str,
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """What the page's script knows from the beginning."""
    address = location.other("pods", pod).address if pod else ""
    return {
        "base": f"{address}/files",
        "terminal": f"{address}/terminal",
        "container": container,
        "path": request.GET.get("path") or ROOT,
        "may_write": context["may_change"],
        "may_delete": context["may_change"],
        "upload_bytes": settings.FILES_UPLOAD_BYTES,
        "codemirror": static("vendor/codemirror-6.0.2/codemirror.js"),
        "texts": _script_texts(),
    }


def _script_texts() -> dict[str, str]:
    """What the script says."""
    return {
        "loading": _("Reading…"),
        "entries": _("Entries: {count}"),
        "some": _("{shown} of {count} entries"),
        "chosen": _("{count} chosen"),
        "cut": _("The directory has more entries than the {count} that are shown."),
        "empty": _("This directory is empty."),
        "no_match": _("Nothing matches."),
        "via_tar": _("read with tar"),
        "via_shell": _("read with the container's shell"),
        "via_debug": _("read through a debug container"),
        "dir": _("directory"),
        "file": _("file"),
        "link": _("link"),
        "other": _("special file"),
        "select": _("Choose {name}"),
        "failed": _("The connection failed. Try again."),
        "cancel": _("Cancel"),
        # Dialogs.
        "mkdir_title": _("New directory"),
        "mkdir_label": _("Name"),
        "create": _("Create"),
        "new_file_title": _("New file"),
        "move_title": _("Rename or move"),
        "move_label": _("New name, or a path"),
        "move": _("Rename"),
        "replace_title": _("Replace {name}?"),
        "replace_text": _(
            "Something with this name is there already. Replacing it cannot be undone."
        ),
        "replace": _("Replace"),
        "delete_title": _("Delete {count} entries?"),
        "delete_title_one": _("Delete {name}?"),
        "delete_text": _("This cannot be undone."),
        "delete_recursive": _("Directories are deleted with everything in them: {names}"),
        "delete": _("Delete"),
        "deleted": _("Deleted: {count}"),
        "made": _("Created: {name}"),
        "moved": _("Moved to {name}"),
        # Uploads.
        "overwrite_title": _("Files that are there already: {count}"),
        "overwrite_text": _("What is there would be replaced:"),
        "overwrite": _("Overwrite"),
        "skip": _("Leave them out"),
        "waiting": _("Waiting"),
        "sending": _("{done} of {size}"),
        "writing": _("Writing into the container…"),
        "uploaded": _("Uploaded, {size}"),
        "downloaded": _("Downloaded, {size}"),
        "cancelled": _("Cancelled"),
        "too_big": _("At most {size} may be uploaded at once."),
        "exists": _("It is there already."),
        "again": _("Too many transfers at once. Trying again in {seconds} s…"),
        "upload_of": _("Upload of {name}"),
        "download_of": _("Download of {name}"),
        # Preview and editor.
        "size_of": _("{size}, mode {mode}"),
        "preview_cut": _("The first {shown} of {size}."),
        "preview_end": _("The last {shown} of {size}."),
        "binary": _("This is neither text nor a picture that can be shown. The first bytes:"),
        "empty_file": _("The file is empty."),
        "image_cut": _("The picture is larger than {size}. Download it."),
        "too_large": _(
            "Files of more than {size} cannot be edited here. Download, change and upload it."
        ),
        "not_text": _("Only text in UTF-8 can be edited."),
        "no_write": _("Your role may not change files here."),
        "no_delete": _("Your role may not delete files here."),
        "choose_one": _("Choose one entry."),
        "choose_some": _("Choose an entry."),
        "choose_file": _("Choose one file."),
        "contents": _("Contents of {name}"),
        "save": _("Save"),
        "saving": _("Saving…"),
        "saved": _("Saved."),
        "unsaved": _("There are changes that are not saved."),
        "discard_title": _("Leave without saving?"),
        "discard": _("Leave"),
        "conflict": _("Somebody else changed the file meanwhile. Nothing was written."),
        "conflict_gone": _("The file was deleted meanwhile. Nothing was written."),
        "theirs": _("In the container now"),
        "yours": _("Yours"),
    }
