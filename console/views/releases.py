"""Helm releases of a cluster: the list, one release with its values, manifest and history."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from console import forms
from console.api_client import call, require_segment
from console.locations import Location, page_address
from console.page import render_not_found, render_page, require_sign_in
from console.rendering import diffs, html
from console.rendering.health import Object, get

SIZE = 50
MAX_REVISIONS = 500
STATUSES = {
    "deployed": (gettext_lazy("deployed"), "good"),
    "failed": (gettext_lazy("failed"), "bad"),
    "superseded": (gettext_lazy("superseded"), "idle"),
    "uninstalled": (gettext_lazy("uninstalled"), "idle"),
    "uninstalling": (gettext_lazy("uninstalling"), "busy"),
    "pending-install": (gettext_lazy("installing"), "busy"),
    "pending-upgrade": (gettext_lazy("upgrading"), "busy"),
    "pending-rollback": (gettext_lazy("rolling back"), "busy"),
}
RECORD_ERRORS = {
    "broken": gettext_lazy("The record is broken"),
    "too large": gettext_lazy("The record is too large"),
}
# kstatus' words.
OBJECT_STATES = {
    "Current": (gettext_lazy("ready"), "good"),
    "InProgress": (gettext_lazy("in progress"), "busy"),
    "Failed": (gettext_lazy("failed"), "bad"),
    "NotFound": (gettext_lazy("missing"), "bad"),
    "Terminating": (gettext_lazy("Terminating"), "warn"),
    "Unknown": (gettext_lazy("unknown"), "idle"),
}
PARTS = {
    "": gettext_lazy("Summary"),
    "values": gettext_lazy("Values"),
    "manifest": gettext_lazy("Manifest"),
    "history": gettext_lazy("History"),
}
COMPARED = {"manifest": gettext_lazy("Manifest"), "values": gettext_lazy("Values")}
NAME_ANNOTATION = "meta.helm.sh/release-name"
NAMESPACE_ANNOTATION = "meta.helm.sh/release-namespace"
MANAGED_BY = "app.kubernetes.io/managed-by"


def release_address(
    cluster: object,
    namespace: str,
    name: str,
) -> str:
    """The page of a release."""
    segments = (html.path_segment(namespace), html.path_segment(name))
    return f"/clusters/{cluster}/-/releases/{'/'.join(segments)}"


def release_link(location: Location, item: Object) -> tuple[str, str] | None:
    """(name, address) of the release that Helm made an object for; None without one."""
    annotations = get(item, "metadata", "annotations") or {}
    labels = get(item, "metadata", "labels") or {}
    name = str(annotations.get(NAME_ANNOTATION) or "")
    namespace = str(annotations.get(NAMESPACE_ANNOTATION) or location.namespace)
    if labels.get(MANAGED_BY) != "Helm" or not name or not namespace:
        return None
    return name, release_address(location.cluster, namespace, name)


@require_GET
@require_sign_in
def index(request: HttpRequest, cluster: int) -> HttpResponse:
    """The releases of a cluster, or of one of its namespaces."""
    namespace = request.GET.get("namespace", "")
    every = request.GET.get("all") == "1"
    number = forms.query_number(request, "page", least=1)
    query = {"cluster_id": cluster, "namespace": namespace, "all": every}
    listing = call(request, "GET", "releases", query={**query, "page": number, "pageSize": SIZE})
    total = listing.data["total"]
    chosen = {"namespace": namespace, "all": "1" if every else ""}
    rest = urlencode({name: value for name, value in chosen.items() if value})
    context = {
        "cluster_id": cluster,
        "namespace": namespace,
        "every": every,
        "releases": [_release_context(cluster, item) for item in listing.data["items"]],
        "total": total,
        "previous": f"?{rest}&page={number - 1}" if number > 1 else "",
        "next": f"?{rest}&page={number + 1}" if number * SIZE < total else "",
        "title": _("Releases"),
        "at_releases": True,
    }
    return render_page(request, "console/releases.html", context)


def _release_context(cluster: object, release: Mapping[str, Any]) -> dict[str, Any]:
    """A release or one of its revisions with what a page needs."""
    error = release.get("error")
    word, severity = STATUSES.get(release["status"], (release["status"] or _("unknown"), "idle"))
    address = release_address(cluster, release["namespace"], release["name"])
    return {
        **release,
        "word": word,
        "severity": severity,
        "record_error": RECORD_ERRORS.get(error, error) if error else "",
        "address": address,
        "revision_address": f"{address}?revision={release['revision']}",
    }


@require_GET
@require_sign_in
def detail(
    request: HttpRequest,
    cluster: int,
    namespace: str,
    name: str,
    part: str = "",
) -> HttpResponse:
    """One release: summary, values, manifest or history; `revision` chooses an older one."""
    if part not in PARTS:
        return render_not_found(request)
    path = f"releases/{require_segment(name)}"
    query = {"cluster_id": cluster, "namespace": namespace}
    revision = request.GET.get("revision", "")
    release = call(request, "GET", path, query={**query, "revision": revision}).data
    address = release_address(cluster, namespace, name)
    suffix = f"?{urlencode({'revision': revision})}" if revision else ""
    context = {
        "cluster_id": cluster,
        "release": _release_context(cluster, release),
        "chosen_revision": revision,
        "part": part,
        "tabs": [
            (title, f"{address}/{tab}{suffix}" if tab else f"{address}{suffix}", tab == part)
            for tab, title in PARTS.items()
        ],
        "at_releases": True,
    }
    if part == "values":
        context["values"] = html.clean(diffs.as_yaml(release["values"]))
        context["computed"] = html.clean(diffs.as_yaml(release["computed_values"]))
    elif part == "manifest":
        context["manifest"] = html.clean(release["manifest"])
    elif part == "history":
        context |= _history_context(request, cluster, path, query)
    else:
        context["objects"] = [_object_context(cluster, row) for row in release["resources"]]
        context["notes"] = html.clean(release["notes"])
    return render_page(request, "console/release.html", context)


def _object_context(cluster: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """An object of the manifest with its state and the address of its page."""
    word, severity = OBJECT_STATES.get(row["status"], (row["status"], "idle"))
    exists = row["status"] not in ("NotFound", "Unknown")
    return {
        **row,
        "word": word,
        "severity": severity,
        "address": page_address(cluster, row) if exists else "",
    }


def _history_context(
    request: HttpRequest,
    cluster: int,
    path: str,
    query: Mapping[str, Any],
) -> dict[str, Any]:
    """The revisions, newest first, and the comparison of two of them that was asked for."""
    listing = call(
        request, "GET", f"{path}/history", query={**query, "pageSize": MAX_REVISIONS}
    ).data
    revisions = [_release_context(cluster, item) for item in reversed(listing["items"])]
    numbers = [str(item["revision"]) for item in revisions]
    what = request.GET.get("what", "manifest")
    context: dict[str, Any] = {
        "revisions": revisions,
        "what": what,
        "choices": COMPARED.items(),
        # The last change is the one that is looked for most.
        "to": request.GET.get("to") or next(iter(numbers), ""),
        "from": request.GET.get("from") or next(iter(numbers[1:]), ""),
    }
    if request.GET.get("from") and request.GET.get("to"):
        pair = {"from": context["from"], "to": context["to"], "what": what}
        answer = call(request, "GET", f"{path}/diff", query={**query, **pair}).data
        context["compared"] = True
        context["lines"] = diffs.diff_lines(answer["diff"])
    return context
