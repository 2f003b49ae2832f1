"""What happened to objects, what they were at a moment, and bringing an old version back."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from clusters.kinds import KINDS
from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.locations import Location, collection_path, find_kind, locate
from console.page import object_view, redirect, render_page, require_sign_in
from console.rendering import diffs, health, html
from console.rendering.health import get
from console.views import objects
from console.views.exports import text_file

MAX_VERSIONS = 200
# The cluster's own components, which write all the time without being asked.
CONTROLLERS = frozenset(
    {
        "kube-controller-manager",
        "cloud-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-apiserver",
        "endpoint-controller",
        "endpointslice-controller",
        "namespace-controller",
    }
)
# A page of changes of which controllers made the most is filled from so many of the API's.
PAGES_READ = 6
PAGE_ROWS = 50
OPERATIONS = {
    "add": (gettext_lazy("added"), "good"),
    "change": (gettext_lazy("changed"), "busy"),
    "delete": (gettext_lazy("deleted"), "bad"),
}


def history_kind(plural: str) -> str:
    """The name of a kind in the API's history: its plural, `plural.group` for custom kinds."""
    kind = find_kind(plural)
    return plural if plural in KINDS else f"{kind.plural}.{kind.group}"


def history_query(location: Location) -> dict[str, Any]:
    """The object as the API's history asks for it."""
    return {**location.query, "kind": history_kind(location.plural), "name": location.name}


def version_context(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A version of the API's with its words, its author and its changes as short texts."""
    word, severity = OPERATIONS.get(entry["op"], (entry["op"], "idle"))
    return {
        **entry,
        "word": word,
        "severity": severity,
        "by": author(entry.get("who")),
        "field_changes": diffs.field_changes(entry["changes"]),
        "is_noise": _is_noise(entry),
    }


def _is_noise(entry: Mapping[str, Any]) -> bool:
    """Whether a controller made the change: of the status alone, or under its own name."""
    # Without stored changes it is unknown what became different.
    if entry["op"] != "change" or entry["changes"] is None:
        return False
    who = entry.get("who") or {}
    # What went through us was asked for by somebody, whatever field it changed.
    if who.get("source") == "audit":
        return False
    # An autoscaler scales under the name of its process: that is automation, and no noise.
    if who.get("manager") in CONTROLLERS and who.get("subresource") != "scale":
        return True
    # An empty difference is one of bookkeeping, which the log leaves out.
    return all(change["path"][:1] == ["status"] for change in entry["changes"])


def author(who: Mapping[str, Any] | None) -> str:
    """Who made a version: a person out of the audit trail, or what the cluster names."""
    if not who:
        return ""
    if who.get("user"):
        return f"{who['user']} ({who.get('verb') or ''})".replace(" ()", "")
    return str(who.get("manager") or "")


def _head_context(request: HttpRequest, location: Location) -> dict[str, Any]:
    """The object's head; of a deleted object, what is known without reading it."""
    try:
        return {**objects.head_context(request, location, "history"), "deleted": False}
    except ApiRefusal as refusal:
        # Only a deleted object has a history worth showing without itself.
        if refusal.code != 1004:
            raise
    head = objects.head_context(request, location, "history", item={})
    return {
        **head,
        # The other tabs would read an object that is gone.
        "tabs": [],
        "acts": [],
        "state": _("Deleted"),
        "severity": "idle",
        "deleted": True,
    }


@require_GET
@require_sign_in
@object_view
def object_history(request: HttpRequest, location: Location) -> HttpResponse:
    """Every stored version of the object, with a slider over them."""
    head = _head_context(request, location)
    query = {**history_query(location), "pageSize": MAX_VERSIONS}
    problem = ""
    try:
        listing = call(request, "GET", "history", query=query).data
    except ApiRefusal as refusal:
        # Neither object nor history: the refusal is the page.
        if head["deleted"]:
            raise
        listing = {"items": [], "next_cursor": ""}
        problem = refusal.message
    versions = [version_context(version) for version in listing["items"]]
    # Controllers write all the time: what people look for would drown in it.
    hide_noise = request.GET.get("all") != "1"
    context = {
        **head,
        "hide_noise": hide_noise,
        "noise_count": sum(version["is_noise"] for version in versions),
        "visible_versions": [
            version for version in versions if not (hide_noise and version["is_noise"])
        ],
        "problem": problem,
        "versions": versions,
        "moments": [
            {"at": version["at"], "seq": version["seq"], "op": version["op"]}
            # The slider runs from old to new, the list from new to old.
            for version in reversed(versions)
        ],
        "more": bool(listing["next_cursor"]),
        "at": request.GET.get("at", ""),
    }
    return render_page(request, "console/object_history.html", context)


@require_GET
@require_sign_in
@object_view
def at_time(request: HttpRequest, location: Location) -> HttpResponse:
    """The object as it was at a moment, and how it differs from another one or from now.

    With `download=1` a file with the whole object.
    """
    moment = request.GET.get("at", "")
    other = request.GET.get("to", "")
    context: dict[str, Any] = {
        "cluster_id": location.cluster,
        "location": location,
        "at": moment,
        "to": other,
        "seq": forms.query_number(request, "seq"),
    }
    try:
        item = call(request, "GET", location.path, query={**location.query, "at": moment}).data
        text = diffs.as_yaml(objects.hide_bookkeeping(item))
        if request.GET.get("download") == "1":
            return text_file(text.encode(), f"{location.name}.yaml")
        context["text"] = html.clean(text)
        span = {"from": moment, "to": other}
        diff = call(
            request,
            "GET",
            "history/diff",
            query={**history_query(location), **span},
        ).data
        context["changes"] = diffs.field_changes(diff["changes"])
        context["versions"] = _other_versions(request, location, moment)
    except ApiRefusal as refusal:
        context["problem"] = refusal.message
    return render_page(request, "console/parts/at_time.html", context)


def _other_versions(
    request: HttpRequest,
    location: Location,
    moment: str,
) -> list[Mapping[str, Any]]:
    """What a version may be compared with, newest first; a deletion has nothing to compare."""
    query = {**history_query(location), "diff": False, "pageSize": MAX_VERSIONS}
    entries = call(request, "GET", "history", query=query).data["items"]
    return [entry for entry in entries if entry["op"] != "delete" and entry["at"] != moment]


@require_http_methods(["GET", "POST"])
@require_sign_in
def restore(
    request: HttpRequest,
    cluster: int,
    plural: str,
    namespace: str,
    name: str,
    seq: int,
) -> HttpResponse:
    """What restoring a version would change, by a dry run in the cluster; POST restores it."""
    location = locate(cluster, plural, namespace, name)
    body = {**history_query(location), "seq": seq}
    offer = call(request, "POST", "history/restore", body=body).data
    context = {
        "cluster_id": cluster,
        "location": location,
        "kind": navigation.kind_name(plural),
        "kinds_title": navigation.kind_title(plural),
        "offer": offer,
        "text": _restored_text(offer),
        "changes": diffs.field_changes(offer["changes"]),
    }

    def restore_version() -> HttpResponse:
        token = request.POST.get("token") or offer["confirm_token"]
        call(request, "POST", "history/restore", body={**body, "confirm_token": token})
        return redirect(
            request,
            location.address,
            _("The old version of %(name)s was restored.") % {"name": location.name},
        )

    return forms.render_form(request, "console/restore.html", context, restore_version)


def _restored_text(offer: Mapping[str, Any]) -> str:
    """The deleted object that would be created again, as YAML; "" for one that exists."""
    if offer["action"] != "create":
        return ""
    item: dict[str, Any] = {}
    for change in offer["changes"] or ():
        *parents, name = change["path"] or [""]
        container = item
        for parent in parents:
            container = container.setdefault(parent, {})
        container[name] = change.get("to")
    return html.clean(diffs.as_yaml(item))


# --- all objects of a kind --------------------------------------------------------------------
FILTERS = ("cluster_id", "kind", "namespace", "keyword", "op", "all", "at", "cursor")


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """What happened to all objects of a kind, what is gone, and what there was at a moment."""
    clusters = navigation.list_clusters(request)
    chosen = {name: request.GET.get(name, "") for name in FILTERS}
    chosen["cluster_id"] = chosen["cluster_id"] or (str(clusters[0]["id"]) if clusters else "")
    chosen["kind"] = chosen["kind"] if chosen["kind"] in KINDS else "deployments"
    context: dict[str, Any] = {
        "chosen": chosen,
        "plurals": [
            (plural, title)
            for plural, title in navigation.PLURALS.items()
            if plural not in ("events", "leases")
        ],
        "ops": OPERATIONS.items(),
    }
    if chosen["cluster_id"].isdecimal() and len(chosen["cluster_id"]) < 19:
        context |= _index_rows(request, chosen)
    return render_page(request, "console/history.html", context)


def _index_rows(
    request: HttpRequest,
    chosen: Mapping[str, str],
) -> dict[str, Any]:
    cluster = int(chosen["cluster_id"])
    try:
        return (
            _list_at_time(request, cluster, chosen)
            if chosen["at"]
            else _list_changes(request, cluster, chosen)
        )
    except ApiRefusal as refusal:
        return {"problem": refusal.message}


def _list_at_time(
    request: HttpRequest,
    cluster: int,
    chosen: Mapping[str, str],
) -> dict[str, Any]:
    """The objects of the kind as they were at the moment."""
    query = {
        "cluster_id": cluster,
        "namespace": chosen["namespace"],
        "keyword": chosen["keyword"],
        "at": chosen["at"],
        "pageSize": MAX_VERSIONS,
    }
    data = call(request, "GET", collection_path(chosen["kind"]), query=query).data
    rows = []
    for item in data["items"]:
        namespace = str(get(item, "metadata", "namespace") or "")
        name = str(get(item, "metadata", "name"))
        word, severity = health.for_kind(chosen["kind"], item)
        location = Location(cluster, chosen["kind"], namespace, name)
        parameters = urlencode({"at": chosen["at"]})
        rows.append(
            {
                "namespace": namespace,
                "name": name,
                "word": word,
                "severity": severity,
                "address": f"{location.address}/history?{parameters}",
            }
        )
    return {"past_rows": rows, "total": data["total"]}


def _list_changes(
    request: HttpRequest,
    cluster: int,
    chosen: Mapping[str, str],
) -> dict[str, Any]:
    """The changes of the kind, newest first."""
    names = ("kind", "namespace", "keyword")
    query: dict[str, Any] = {name: chosen[name] for name in names}
    query |= {"cluster_id": cluster, "pageSize": PAGE_ROWS}
    query |= {"deleted": "true"} if chosen["op"] == "gone" else {"op": chosen["op"], "diff": True}
    rows: list[dict[str, Any]] = []
    cursor = chosen["cursor"]
    for _page in range(PAGES_READ):
        listing = call(request, "GET", "history", query={**query, "cursor": cursor}).data
        for entry in listing["items"]:
            location = Location(cluster, chosen["kind"], entry["namespace"], entry["name"])
            version = version_context(entry)
            if chosen["all"] or not version["is_noise"]:
                rows.append({**version, "address": f"{location.address}/history"})
        cursor = listing["next_cursor"]
        if not cursor or len(rows) >= PAGE_ROWS:
            break
    rest = {name: value for name, value in chosen.items() if value and name != "cursor"}
    following = urlencode({**rest, "cursor": cursor}) if cursor else ""
    return {"changes": rows, "following": following}
