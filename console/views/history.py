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
from console.api_client import Refused, call
from console.locations import Place, at, collection, kind_of
from console.page import go, page, signed_in
from console.rendering import diffs, health, html
from console.rendering.health import get
from console.views import objects

MOST = 200
WORDS = {
    "add": (gettext_lazy("added"), "good"),
    "change": (gettext_lazy("changed"), "busy"),
    "delete": (gettext_lazy("deleted"), "bad"),
}


def kind_word(plural: str) -> str:
    """What the API's history calls a kind: its plural, or `plural.group` for kinds that are not ours."""
    kind = kind_of(plural)
    return plural if plural in KINDS else f"{kind.plural}.{kind.group}"


def about(place: Place) -> dict[str, Any]:
    """The object as the API's history asks for it."""
    return {**place.query, "kind": kind_word(place.plural), "name": place.name}


def _version(one: Mapping[str, Any]) -> dict[str, Any]:
    word, tone = WORDS.get(one["op"], (one["op"], "idle"))
    return {
        **one,
        "word": word,
        "tone": tone,
        "by": author(one.get("who")),
        "shown": diffs.changes(one["changes"]),
        "quiet": _is_quiet(one),
    }


def _is_quiet(one: Mapping[str, Any]) -> bool:
    """Whether nothing but the status became different: what controllers write all the time."""
    return (
        one["op"] == "change"
        and bool(one["changes"])
        and all(change["path"][0] == "status" for change in one["changes"])
    )


def author(who: Mapping[str, Any] | None) -> str:
    """Who made a version: a person out of the audit trail, or what the cluster names."""
    if not who:
        return ""
    if who.get("user"):
        return f"{who['user']} ({who.get('verb') or ''})".replace(" ()", "")
    return str(who.get("manager") or "")


def _frame(request: HttpRequest, place: Place) -> dict[str, Any]:
    """The object's head; of an object that is gone, the head of what it was."""
    try:
        return {**objects.frame(request, place, "history"), "gone": False}
    except Refused as refused:
        if refused.code != 1004:
            raise
    head = objects.frame(request, place, "history", item={})
    return {**head, "tabs": [], "acts": [], "state": _("Deleted"), "tone": "idle", "gone": True}


@require_GET
@signed_in
def of_object(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """Every version that is kept of the object, with a slider over them."""
    place = at(cluster, plural, namespace, name)
    head, problem = _frame(request, place), ""
    try:
        found = call(request, "GET", "history", query={**about(place), "pageSize": MOST}).data
    except Refused as refused:
        if head["gone"]:
            raise
        found, problem = {"items": [], "next_cursor": ""}, refused.message
    versions = [_version(one) for one in found["items"]]
    loud = request.GET.get("status") == "0"
    context = {
        **head,
        "loud": loud,
        "quiet": sum(one["quiet"] for one in versions),
        "listed": [one for one in versions if not (loud and one["quiet"])],
        "problem": problem,
        "versions": versions,
        "moments": [
            {"at": one["at"], "seq": one["seq"], "op": one["op"]} for one in reversed(versions)
        ],
        "more": bool(found["next_cursor"]),
        "at": request.GET.get("at", ""),
    }
    return page(request, "console/object_history.html", context)


@require_GET
@signed_in
def then(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The object as it was at a moment, and how it differs from what it is now."""
    place, moment = at(cluster, plural, namespace, name), request.GET.get("at", "")
    context: dict[str, Any] = {
        "cluster_id": cluster,
        "place": place,
        "at": moment,
        "seq": forms.whole(request, "seq"),
    }
    try:
        item = call(request, "GET", place.path, query={**place.query, "at": moment}).data
        context["text"] = html.clean(diffs.as_yaml(objects.plain(item)))
        found = call(request, "GET", "history/diff", query={**about(place), "from": moment}).data
        context["shown"] = diffs.changes(found["changes"])
    except Refused as refused:
        context["problem"] = refused.message
    return page(request, "console/parts/then.html", context)


@require_http_methods(["GET", "POST"])
@signed_in
def restore(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str, seq: int
) -> HttpResponse:
    """What bringing a version back would change and what the cluster says to it; POST brings it back."""
    place = at(cluster, plural, namespace, name)
    body = {**about(place), "seq": seq}
    offer = call(request, "POST", "history/restore", body=body).data
    context = {
        "cluster_id": cluster,
        "place": place,
        "kind": navigation.kind_name(plural),
        "kinds_title": navigation.title(plural),
        "offer": offer,
        "shown": diffs.changes(offer["changes"]),
    }

    def bring_back() -> HttpResponse:
        token = request.POST.get("token") or offer["confirm_token"]
        call(request, "POST", "history/restore", body={**body, "confirm_token": token})
        return go(
            request, place.address, _("The old version of %(name)s is back.") % {"name": place.name}
        )

    return forms.shown(request, "console/restore.html", context, bring_back)


# --- the room -------------------------------------------------------------------------------------------------------
CHOSEN = ("cluster_id", "kind", "namespace", "keyword", "op", "at", "cursor")


@require_GET
@signed_in
def room(request: HttpRequest) -> HttpResponse:
    """What happened to all objects of a kind, what is gone, and what there was at a moment."""
    known = navigation.clusters(request)
    chosen = {name: request.GET.get(name, "") for name in CHOSEN}
    chosen["cluster_id"] = chosen["cluster_id"] or (str(known[0]["id"]) if known else "")
    chosen["kind"] = chosen["kind"] if chosen["kind"] in KINDS else "deployments"
    context: dict[str, Any] = {
        "chosen": chosen,
        "plurals": [
            (plural, title)
            for plural, title in navigation.PLURALS.items()
            if plural not in ("events", "leases")
        ],
        "ops": WORDS.items(),
    }
    if chosen["cluster_id"].isdecimal() and len(chosen["cluster_id"]) < 19:
        context |= _past(request, chosen)
    return page(request, "console/history.html", context)


def _past(request: HttpRequest, chosen: Mapping[str, str]) -> dict[str, Any]:
    cluster = int(chosen["cluster_id"])
    try:
        return (
            _listed(request, cluster, chosen)
            if chosen["at"]
            else _happened(request, cluster, chosen)
        )
    except Refused as refused:
        return {"problem": refused.message}


def _listed(request: HttpRequest, cluster: int, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The objects of the kind as they were at the moment."""
    query = {
        "cluster_id": cluster,
        "namespace": chosen["namespace"],
        "keyword": chosen["keyword"],
        "at": chosen["at"],
        "pageSize": MOST,
    }
    data = call(request, "GET", collection(chosen["kind"]), query=query).data
    rows = []
    for item in data["items"]:
        space, name = (
            str(get(item, "metadata", "namespace") or ""),
            str(get(item, "metadata", "name")),
        )
        word, tone = health.of(chosen["kind"], item)
        address = f"{Place(cluster, chosen['kind'], space, name).address}/history?{urlencode({'at': chosen['at']})}"
        rows.append(
            {"namespace": space, "name": name, "word": word, "tone": tone, "address": address}
        )
    return {"then_rows": rows, "total": data["total"]}


def _happened(request: HttpRequest, cluster: int, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The changes of the kind, newest first."""
    query: dict[str, Any] = {
        name: chosen[name] for name in ("kind", "namespace", "keyword", "cursor")
    }
    query |= {"cluster_id": cluster, "pageSize": 50}
    query |= {"deleted": "true"} if chosen["op"] == "gone" else {"op": chosen["op"]}
    found = call(request, "GET", "history", query=query).data
    rows = [
        {
            **_version(one),
            "address": f"{Place(cluster, chosen['kind'], one['namespace'], one['name']).address}/history",
        }
        for one in found["items"]
    ]
    rest = {name: value for name, value in chosen.items() if value and name != "cursor"}
    following = urlencode({**rest, "cursor": found["next_cursor"]}) if found["next_cursor"] else ""
    return {"happened": rows, "following": following}
