"""All clusters at a glance, each on its own, and a new one."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from clusters.kinds import KINDS
from console import navigation
from console.api_client import Refused, call
from console.page import go, page, signed_in
from console.rendering import hints

TONES = {"active": "good", "inactive": "idle", "error": "bad", "unreachable": "bad"}
PHASES = ("running", "pending", "succeeded", "failed", "unknown")
COUNTED = (
    "nodes",
    "namespaces",
    "pods",
    "deployments",
    "statefulsets",
    "daemonsets",
    "services",
    "ingresses",
    "persistentvolumeclaims",
)
# What is looked through for troubles, the most telling first.
LOOKED_AT = (
    "nodes",
    "pods",
    "deployments",
    "statefulsets",
    "daemonsets",
    "jobs",
    "persistentvolumeclaims",
)
MOST_TROUBLES = 20
FIELDS = ("name", "description", "kubeconfig")


@require_GET
@signed_in
def overview(request: HttpRequest) -> HttpResponse:
    """Every cluster that the person may see: health, freshness, what it holds, what fails."""
    found = call(request, "GET", "multicluster/overview").data
    stale = {one["cluster_id"]: one["msg"] for one in found["partial_errors"]}
    known = {
        one["id"]: one
        for one in call(request, "GET", "clusters", query={"pageSize": 1000}).data["items"]
    }
    cards = [
        _card(one, known.get(one["id"], {}), stale.get(one["id"], "")) for one in found["clusters"]
    ]
    return page(
        request,
        "console/overview.html",
        {"cards": cards, "totals": found["totals"], "sums": _sums(cards)},
    )


def _card(one: Mapping[str, Any], known: Mapping[str, Any], stale: str) -> dict[str, Any]:
    pods = one["counts"].get("pods") or {}
    return {
        **known,
        **one,
        "tone": TONES.get(one["status"], "warn"),
        "stale": stale,
        "pods": pods,
        "nodes": one["counts"].get("nodes"),
        "phases": phases(pods),
    }


def phases(pods: Mapping[str, int]) -> list[dict[str, Any]]:
    """The parts of a bar 100 wide: phase, how many, where it begins, how wide it is."""
    total, place, parts = pods.get("total", 0), 0.0, []
    for phase in PHASES:
        if count := pods.get(phase, 0):
            width = 100 * count / max(total, 1)
            parts.append(
                {"phase": phase, "count": count, "x": f"{place:.3f}", "width": f"{width:.3f}"}
            )
            place += width
    return parts


def _sums(cards: list[dict[str, Any]]) -> dict[str, int | None]:
    def add(kind: str, word: str) -> int | None:
        known = [card["counts"][kind] for card in cards if card["counts"].get(kind)]
        # What nobody may count is unknown, not zero.
        return sum(counts.get(word, 0) for counts in known) if known or not cards else None

    return {
        "clusters": len(cards),
        "reached": sum(card["tone"] == "good" for card in cards),
        "nodes": add("nodes", "total"),
        "ready": add("nodes", "ready"),
        "pods": add("pods", "total"),
        "running": add("pods", "running"),
        "pending": add("pods", "pending"),
        "failed": add("pods", "failed"),
    }


@require_GET
@signed_in
def troubles(request: HttpRequest) -> HttpResponse:
    """What fails now, in all clusters or in the one that `cluster` names."""
    chosen, found, totals = request.GET.get("cluster", ""), [], []
    behind: dict[str, str] = {}
    for plural in LOOKED_AT:
        try:
            data = _troubled(
                request,
                plural,
                {
                    "clusters": chosen,
                    "troubled": True,
                    "pageSize": MOST_TROUBLES,
                    "orderby": "-created",
                },
            )
        except Refused:
            continue
        behind |= {
            one["cluster_name"]: one["msg"] for one in data["partial_errors"] if plural == "pods"
        }
        if data["total"]:
            totals.append((plural, data["total"]))
        found += [
            {"plural": plural, "kind": KINDS[plural].name, "item": item} for item in data["items"]
        ]
    context = {
        "found": found[:MOST_TROUBLES],
        "totals": totals,
        "chosen": chosen,
        "more": sum(count for _, count in totals) - MOST_TROUBLES,
        "behind": behind,
    }
    return page(request, "console/parts/troubles.html", context)


def _troubled(request: HttpRequest, plural: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """The newest of one kind, counted only when they are not all on the page: counting looks into every document once more."""
    data: dict[str, Any] = call(
        request, "GET", f"multicluster/resources/{plural}", query=query
    ).data
    if not data["next_cursor"]:
        return data | {"total": len(data["items"])}
    counted = call(
        request,
        "GET",
        f"multicluster/resources/{plural}",
        query={**query, "pageSize": 1, "total": True},
    ).data
    return data | {"total": counted["total"]}


@require_GET
@signed_in
def capacity(request: HttpRequest, cluster: int) -> HttpResponse:
    """How much of a cluster's processors and memory is used; a dash where nobody measures it."""
    try:
        metrics = call(request, "GET", "metrics/cluster", query={"cluster_id": cluster}).data[
            "metrics"
        ]
    except Refused as refused:
        return page(request, "console/parts/capacity.html", {"refused": refused})
    return page(request, "console/parts/capacity.html", {"metrics": metrics})


@require_GET
@signed_in
def cluster(request: HttpRequest, cluster: int) -> HttpResponse:
    """One cluster: what it is, what it holds, its nodes, what fails, how fresh the copy is."""
    shown = call(request, "GET", f"clusters/{cluster}").data
    counted = call(request, "GET", "multicluster/overview").data
    counts: dict[str, Any] = next(
        (one["counts"] for one in counted["clusters"] if one["id"] == cluster), {}
    )
    context = {
        "cluster_id": cluster,
        "shown": shown,
        "tone": TONES.get(shown["status"], "warn"),
        "counts": [(plural, (counts.get(plural) or {}).get("total")) for plural in COUNTED],
        "phases": phases(counts.get("pods") or {}),
        "at_cluster": True,
    }
    return page(request, "console/cluster.html", context)


@require_GET
@signed_in
def nodes(request: HttpRequest, cluster: int) -> HttpResponse:
    """The nodes of a cluster with what they use."""
    try:
        items = call(request, "GET", "nodes", query={"cluster_id": cluster, "pageSize": 100}).data
    except Refused as refused:
        if refused.code != 1005:
            raise
        # Credentials of some namespaces only: a cluster's normal answer, no mishap.
        return page(request, "console/parts/nodes.html", {"refused": refused})
    try:
        measured = call(request, "GET", "metrics/nodes", query={"cluster_id": cluster}).data[
            "metrics"
        ]
    except Refused:
        measured = []
    usage = {one["node_name"]: one for one in measured}
    found = [
        {"item": item, "usage": usage.get(item["metadata"]["name"], {})} for item in items["items"]
    ]
    return page(
        request,
        "console/parts/nodes.html",
        {"found": found, "total": items["total"], "at": f"/clusters/{cluster}"},
    )


@require_GET
@signed_in
def freshness(request: HttpRequest, cluster: int) -> HttpResponse:
    """How far the store's copy of each kind is."""
    return page(
        request,
        "console/parts/freshness.html",
        {"sync": call(request, "GET", f"clusters/{cluster}/sync").data},
    )


@require_GET
@signed_in
def custom_kinds(request: HttpRequest, cluster: int) -> HttpResponse:
    """Links to the kinds that only this cluster has."""
    kinds = call(request, "GET", f"clusters/{cluster}/sync").data["kinds"]
    found = [
        one
        for one in kinds
        if KINDS.get(one["plural"]) is None or KINDS[one["plural"]].group != one["group"]
    ]
    links = [
        (f"{one['plural']}.{one['version']}.{one['group']}", one["kind"], one["group"])
        for one in found
        if one["group"]
    ]
    return page(
        request,
        "console/parts/kinds.html",
        {"links": sorted(set(links)), "base": f"/clusters/{cluster}"},
    )


@sensitive_post_parameters("kubeconfig")
@require_http_methods(["GET", "POST"])
@signed_in
def register(request: HttpRequest) -> HttpResponse:
    """The form for a new cluster; its connection is tried before anything is saved."""
    if request.method == "GET":
        return page(request, "console/register.html", {"given": {}})
    only_try = request.POST.get("act") == "try"
    given: dict[str, str] = {name: request.POST.get(name, "").strip() for name in FIELDS}
    body: dict[str, Any] = given | {
        "is_default": "is_default" in request.POST,
        "protected": "protected" in request.POST,
        "dry_run": only_try,
    }
    if choice := request.POST.get("context", ""):
        body["context"] = given["context"] = choice
    try:
        made = call(request, "POST", "clusters", body=body).data
    except Refused as refused:
        return _register_again(
            request,
            given,
            {
                "refused": refused,
                "hint": _hint(refused),
                "contexts": refused.details.get("contexts"),
            },
            refused.status,
        )
    if only_try:
        contexts = made["contexts"] if len(made["contexts"]) > 1 else None
        return _register_again(request, given, {"tried": made, "contexts": contexts}, 200)
    return go(
        request,
        f"/clusters/{made['id']}",
        _("%(name)s is registered. Its objects appear as they are collected.")
        % {"name": made["name"]},
    )


def _hint(refused: Refused) -> str:
    """What to do about a kubeconfig that was refused or a cluster that was not reached."""
    if refused.code == 1006:
        return _(
            "Nothing was saved. Can the address in the kubeconfig be reached from here, and are its credentials good?"
        )
    return (
        hints.of(refused.code, refused.details)
        if refused.code != 1001
        else _("Nothing was saved. Correct it and try again.")
    )


def _register_again(
    request: HttpRequest, given: Mapping[str, str], outcome: Mapping[str, Any], status: int
) -> HttpResponse:
    """The outcome; without scripts the whole form again, without the kubeconfig, which is never sent back."""
    kept = {name: value for name, value in given.items() if name != "kubeconfig"}
    fragment = request.headers.get("HX-Request") == "true"
    template = "console/parts/tried.html" if fragment else "console/register.html"
    return page(request, template, {"given": kept, **outcome}, status=200 if fragment else status)


@require_http_methods(["GET", "POST"])
@signed_in
def change(request: HttpRequest, cluster: int) -> HttpResponse:
    """What can be changed of a registered cluster."""
    shown = call(request, "GET", f"clusters/{cluster}").data
    if request.method == "GET":
        return page(request, "console/parts/change_cluster.html", {"shown": shown})
    body: dict[str, Any] = {
        name: request.POST.get(name, "").strip() for name in ("name", "description", "prometheus")
    }
    body["protected"] = "protected" in request.POST
    if "namespaces" in request.POST:
        body["namespaces"] = request.POST["namespaces"].replace(",", " ").split()
    if "is_default" in request.POST:
        body["is_default"] = True
    if given := request.POST.get("kubeconfig", "").strip():
        body["kubeconfig"] = given
    if choice := request.POST.get("context", ""):
        body["context"] = choice
    try:
        made = call(request, "PUT", f"clusters/{cluster}", body=body).data
    except Refused as refused:
        return page(
            request,
            "console/parts/change_cluster.html",
            {
                "shown": shown | body | _offered_contexts(refused),
                "refused": refused,
                "hint": _hint(refused),
            },
        )
    navigation.forget(request)
    return go(request, f"/clusters/{cluster}", _("%(name)s was changed.") % {"name": made["name"]})


def _offered_contexts(refused: Refused) -> dict[str, Any]:
    """The contexts of the kubeconfig that was refused, none of them chosen; nothing when it lists none."""
    names = refused.details.get("contexts")
    return {"contexts": names, "context": ""} if names else {}


@require_http_methods(["GET", "POST"])
@signed_in
def remove(request: HttpRequest, cluster: int) -> HttpResponse:
    """Forgetting a cluster: what that means, and its name to be typed."""
    shown = call(request, "GET", f"clusters/{cluster}").data
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() == shown["name"]:
            call(request, "DELETE", f"clusters/{cluster}", headers={"X-Confirm": shown["name"]})
            navigation.forget(request)
            return go(
                request,
                "/",
                _("%(name)s is no longer registered. Nothing in it was touched.")
                % {"name": shown["name"]},
            )
        return page(request, "console/parts/remove_cluster.html", {"shown": shown, "wrong": True})
    return page(request, "console/parts/remove_cluster.html", {"shown": shown})
