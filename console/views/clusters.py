"""All clusters at a glance, each on its own, and a new one."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clusters.kinds import KINDS
from console import navigation, object_alerts, permissions, stored_copy
from console.api_client import FORBIDDEN, UNREACHABLE, ApiRefusal, call
from console.page import name_fields, redirect, render_page, require_sign_in
from console.rendering import hints

SEVERITIES = {
    "active": "good",
    "inactive": "idle",
    "error": "bad",
    "unreachable": "bad",
}
PHASES = ("running", "pending", "succeeded", "failed", "unknown")
COUNTED_KINDS = (
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
CHECKED_KINDS = (
    "nodes",
    "pods",
    "deployments",
    "statefulsets",
    "daemonsets",
    "jobs",
    "persistentvolumeclaims",
)
MAX_PROBLEMS = 20
FIELDS = ("name", "description", "kubeconfig")


@require_GET
@require_sign_in
def overview(request: HttpRequest) -> HttpResponse:
    """Every cluster that the person may see: health, freshness, what it holds, what fails."""
    summary = call(request, "GET", "multicluster/overview").data
    # Clusters whose counts are out of date, and why.
    stale = {row["cluster_id"]: row for row in summary["partial_errors"]}
    rows = call(request, "GET", "clusters", query={"pageSize": 1000}).data["items"]
    registered = {row["id"]: row for row in rows}
    cards = [
        _card(row, registered.get(row["id"], {}), stale.get(row["id"], {}))
        for row in summary["clusters"]
    ]
    return render_page(
        request,
        "console/overview.html",
        {"cards": cards, "totals": summary["totals"], "sums": _totals(cards)},
    )


def _card(
    summary: Mapping[str, Any],
    registered: Mapping[str, Any],
    stale: Mapping[str, Any],
) -> dict[str, Any]:
    pods = summary["counts"].get("pods") or {}
    status, severity = _health(summary["status"], stale)
    return {
        **registered,
        **summary,
        "status": status,
        "severity": severity,
        "stale": stale.get("msg", ""),
        "pods": pods,
        "nodes": summary["counts"].get("nodes"),
        "phases": phases(pods),
    }


def _health(status: str, stale: Mapping[str, Any]) -> tuple[str, str]:
    """(a cluster's status, its severity), with what was met when its objects were counted."""
    severity = SEVERITIES.get(status, "warn")
    # The registered status changes after several tries: a cluster that did not answer just now is
    # not healthy before that.
    if severity == "good" and stale.get("code") == UNREACHABLE:
        return "unreachable", "bad"
    return status, severity


def phases(pods: Mapping[str, int]) -> list[dict[str, Any]]:
    """The parts of a bar 100 wide: phase, how many, where it begins, how wide it is."""
    total = pods.get("total", 0)
    parts: list[dict[str, Any]] = []
    x = 0.0
    for phase in PHASES:
        count = pods.get(phase, 0)
        # A part without width would still draw its border.
        if not count:
            continue
        width = 100 * count / max(total, 1)
        part = {"phase": phase, "count": count, "x": f"{x:.3f}", "width": f"{width:.3f}"}
        parts.append(part)
        x += width
    return parts


def _totals(cards: list[dict[str, Any]]) -> dict[str, int | None]:
    def add(kind: str, word: str) -> int | None:
        # What does not answer may have lost everything that was counted there.
        answering = [card for card in cards if card["severity"] != "bad"]
        counts_by_card = [card["counts"][kind] for card in answering if card["counts"].get(kind)]
        if cards and not counts_by_card:
            # Without permission to count, the number is unknown and not zero.
            return None
        numbers: list[int] = [counts.get(word, 0) for counts in counts_by_card]
        return sum(numbers)

    return {
        "clusters": len(cards),
        "reached": sum(card["severity"] == "good" for card in cards),
        "nodes": add("nodes", "total"),
        "ready": add("nodes", "ready"),
        "pods": _pods_due(add("pods", "total"), add("pods", "succeeded")),
        "running": add("pods", "running"),
        "pending": add("pods", "pending"),
        "failed": add("pods", "failed"),
    }


def _pods_due(total: int | None, succeeded: int | None) -> int | None:
    """How many pods should run: those that have done their work should not."""
    return None if total is None else total - (succeeded or 0)


@require_GET
@require_sign_in
def problems(request: HttpRequest) -> HttpResponse:
    """The newest of what fails now, in all clusters or in the one that `cluster` names."""
    context = list_failing(request, request.GET.get("cluster", ""), most_per_kind=MAX_PROBLEMS)
    total = sum(count for _, count in context["totals"])
    context["problems"] = context["problems"][:MAX_PROBLEMS]
    context["more"] = total - MAX_PROBLEMS
    # Without a role on a whole cluster a person sees no nodes, and cannot be told of them.
    context["may"] = permissions.summarise_access(request)
    return render_page(request, "console/parts/problems.html", context)


def list_failing(request: HttpRequest, chosen: str, *, most_per_kind: int) -> dict[str, Any]:
    """The newest failing objects of each kind, totals by kind, and why what may be outdated.

    Over all clusters those that do not answer are left out, as in the sums of the overview:
    `silent` has their names, `clusters` the ids of the others ("" where all answer). The page of
    one such cluster shows what is stored of it.
    """
    failing = _read_failing(request, chosen, most_per_kind)
    # Only a copy that is not fresh can be of a cluster that does not answer.
    if chosen or not failing["outdated"]:
        return failing
    answering, silent = _split_silent(request)
    if not silent:
        return failing
    if not answering:
        nothing: dict[str, Any] = {"problems": [], "totals": [], "outdated": {}}
        return {**failing, **nothing, "silent": silent}
    clusters = ",".join(answering)
    rest = _read_failing(request, clusters, most_per_kind)
    return {**rest, "chosen": "", "clusters": clusters, "silent": silent}


def _split_silent(request: HttpRequest) -> tuple[list[str], list[str]]:
    """(ids of the clusters that the overview adds up, names of those that it leaves out)."""
    summary = call(request, "GET", "multicluster/overview").data
    stale = {row["cluster_id"]: row for row in summary["partial_errors"]}
    answering: list[str] = []
    silent: list[str] = []
    for row in summary["clusters"]:
        _status, severity = _health(row["status"], stale.get(row["id"], {}))
        if severity == "bad":
            silent.append(row["name"])
        else:
            answering.append(str(row["id"]))
    return answering, silent


def _read_failing(
    request: HttpRequest,
    clusters: str,
    most_per_kind: int,
) -> dict[str, Any]:
    """What list_failing answers, of the clusters with these ids or, for "", of all."""
    query = {
        "clusters": clusters,
        "troubled": True,
        "pageSize": most_per_kind,
        "orderby": "-created",
    }
    failing: list[dict[str, Any]] = []
    totals: list[tuple[str, int]] = []
    outdated: dict[str, str] = {}
    for plural in CHECKED_KINDS:
        try:
            data = _list_problems(request, plural, query)
        except ApiRefusal:
            # A kind that the person may not list.
            continue
        if plural == "pods":
            for error in data["partial_errors"]:
                outdated[error["cluster_name"]] = error["msg"]
        if data["total"]:
            totals.append((plural, data["total"]))
        kind = KINDS[plural].name
        failing += [{"plural": plural, "kind": kind, "item": item} for item in data["items"]]
    return {
        "problems": failing,
        "totals": totals,
        "chosen": clusters,
        "clusters": clusters,
        "outdated": outdated,
        "silent": [],
    }


def _list_problems(
    request: HttpRequest,
    plural: str,
    query: Mapping[str, Any],
) -> dict[str, Any]:
    """The newest problems of one kind, with their total.

    They are counted only when the page does not hold them all: counting reads every document.
    """
    data: dict[str, Any] = call(
        request,
        "GET",
        f"multicluster/resources/{plural}",
        query=query,
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
@require_sign_in
def capacity(request: HttpRequest, cluster: int) -> HttpResponse:
    """How much of a cluster's CPU and memory is used; a dash without a metrics source."""
    template = "console/parts/capacity.html"
    try:
        data = call(request, "GET", "metrics/cluster", query={"cluster_id": cluster}).data
    except ApiRefusal as refusal:
        return render_page(request, template, {"refusal": refusal})
    return render_page(request, template, {"metrics": data["metrics"]})


@require_GET
@require_sign_in
def cluster(request: HttpRequest, cluster: int) -> HttpResponse:
    """One cluster: what it is, what it holds, its nodes, what fails, how fresh the copy is."""
    registered = call(request, "GET", f"clusters/{cluster}").data
    counted = call(request, "GET", "multicluster/overview").data
    counts: dict[str, Any] = next(
        (row["counts"] for row in counted["clusters"] if row["id"] == cluster), {}
    )
    stale: dict[str, Any] = next(
        (row for row in counted["partial_errors"] if row["cluster_id"] == cluster), {}
    )
    status, severity = _health(registered["status"], stale)
    context = {
        "cluster_id": cluster,
        "registered": {**registered, "status": status},
        "severity": severity,
        "counts": [(plural, (counts.get(plural) or {}).get("total")) for plural in COUNTED_KINDS],
        "phases": phases(counts.get("pods") or {}),
        "alert_badge": object_alerts.badge_of_cluster(request, cluster),
        "badge_source": f"/clusters/{cluster}/-/alerts",
        "at_cluster": True,
    }
    return render_page(request, "console/cluster.html", context)


@require_GET
@require_sign_in
def alerts(request: HttpRequest, cluster: int) -> HttpResponse:
    """The badge of what fires in a cluster, for its page to bring up to date."""
    call(request, "GET", f"clusters/{cluster}")
    context = {
        "alert_badge": object_alerts.badge_of_cluster(request, cluster),
        "badge_source": f"/clusters/{cluster}/-/alerts",
    }
    return render_page(request, "console/parts/alert_badge.html", context)


@require_POST
@require_sign_in
def kubeconfig(request: HttpRequest, cluster: int) -> HttpResponse:
    """A kubeconfig for kubectl through the gateway, as a file: its token is shown this once."""
    registered = call(request, "GET", f"clusters/{cluster}").data
    made = call(request, "POST", f"clusters/{cluster}/kubeconfig", body={}).data
    file_name = registered["name"].replace(" ", "-")
    return HttpResponse(
        made["kubeconfig"],
        content_type="application/yaml",
        headers={"Content-Disposition": f'attachment; filename="{file_name}.kubeconfig"'},
    )


@require_GET
@require_sign_in
def nodes(request: HttpRequest, cluster: int) -> HttpResponse:
    """The nodes of a cluster with what they use."""
    try:
        query = {"cluster_id": cluster, "pageSize": 100}
        items, _refusal = stored_copy.read(request, "nodes", query)
    except ApiRefusal as refusal:
        if refusal.code != FORBIDDEN:
            raise
        # Credentials for some namespaces only may not list nodes: no reason for an error page.
        return render_page(request, "console/parts/nodes.html", {"refusal": refusal})
    try:
        data = call(request, "GET", "metrics/nodes", query={"cluster_id": cluster}).data
        usage = {row["node_name"]: row for row in data["metrics"]}
    except ApiRefusal:
        # Without a metrics source the table shows dashes.
        usage = {}
    rows = [
        {"item": item, "usage": usage.get(item["metadata"].get("name", ""), {})}
        for item in items["items"]
    ]
    return render_page(
        request,
        "console/parts/nodes.html",
        {"rows": rows, "total": items["total"], "at": f"/clusters/{cluster}"},
    )


@require_GET
@require_sign_in
def freshness(request: HttpRequest, cluster: int) -> HttpResponse:
    """How far the store's copy of each kind is."""
    return render_page(
        request,
        "console/parts/freshness.html",
        {"sync": call(request, "GET", f"clusters/{cluster}/sync").data},
    )


@require_GET
@require_sign_in
def custom_kinds(request: HttpRequest, cluster: int) -> HttpResponse:
    """Links to the kinds that only this cluster has."""
    kinds = call(request, "GET", f"clusters/{cluster}/sync").data["kinds"]
    # With credentials for some namespaces a kind has a row for each of them: one link is enough.
    links = set()
    for row in kinds:
        built_in = KINDS.get(row["plural"])
        # Built-in kinds have their place in the menu.
        if not row["group"] or (built_in and built_in.group == row["group"]):
            continue
        address = f"{row['plural']}.{row['version']}.{row['group']}"
        links.add((address, row["kind"], row["group"]))
    context = {"links": sorted(links), "base": f"/clusters/{cluster}"}
    return render_page(request, "console/parts/kinds.html", context)


@sensitive_post_parameters("kubeconfig")
@require_http_methods(["GET", "POST"])
@require_sign_in
def register(request: HttpRequest) -> HttpResponse:
    """The form for a new cluster; its connection is tried before anything is saved."""
    if request.method == "GET":
        return render_page(request, "console/register.html", {"entered": {}})
    # Both buttons send the same form: trying is a dry run of registering.
    only_try = request.POST.get("act") == "try"
    entered: dict[str, str] = {name: request.POST.get(name, "").strip() for name in FIELDS}
    body: dict[str, Any] = entered | {
        "is_default": "is_default" in request.POST,
        "protected": "protected" in request.POST,
        "dry_run": only_try,
    }
    context = request.POST.get("context", "")
    if context:
        body["context"] = context
        entered["context"] = context
    try:
        registered = call(request, "POST", "clusters", body=body).data
    except ApiRefusal as refusal:
        return _render_outcome(
            request,
            entered,
            {
                "refusal": refusal,
                "hint": _registration_hint(refusal),
                "contexts": refusal.details.get("contexts"),
            },
            refusal.status,
        )
    if only_try:
        contexts = registered["contexts"] if len(registered["contexts"]) > 1 else None
        return _render_outcome(request, entered, {"trial": registered, "contexts": contexts}, 200)
    return redirect(
        request,
        f"/clusters/{registered['id']}",
        _("%(name)s is registered. Its objects appear as they are collected.")
        % {"name": registered["name"]},
    )


def _registration_hint(refusal: ApiRefusal) -> str:
    """What to do about a kubeconfig that was refused or a cluster that was not reached."""
    if refusal.code == UNREACHABLE:
        return _(
            "Nothing was saved. Check that the server in the kubeconfig can be reached from here"
            " and that its credentials are valid."
        )
    return (
        hints.for_code(refusal.code, refusal.details)
        if refusal.code != 1001
        else _("Nothing was saved. Correct it and try again.")
    )


def _render_outcome(
    request: HttpRequest,
    entered: Mapping[str, str],
    outcome: Mapping[str, Any],
    status: int,
) -> HttpResponse:
    """The outcome as a fragment; without scripts the whole form, never with the kubeconfig."""
    safe_values = {name: value for name, value in entered.items() if name != "kubeconfig"}
    # htmx does not swap in an answer of status 4xx or 5xx.
    fragment = request.headers.get("HX-Request") == "true"
    page = "console/register.html"
    context = {"entered": safe_values, **outcome}
    if not fragment:
        return render_page(request, page, context, status=status)
    if refusal := outcome.get("refusal"):
        context["control"] = name_fields(request, page, context, refusal)
    return render_page(request, "console/parts/connection_result.html", context)


@require_http_methods(["GET", "POST"])
@require_sign_in
def change(request: HttpRequest, cluster: int) -> HttpResponse:
    """What can be changed of a registered cluster."""
    registered = call(request, "GET", f"clusters/{cluster}").data
    if request.method == "GET":
        return render_page(request, "console/parts/change_cluster.html", {"registered": registered})
    body: dict[str, Any] = {
        name: request.POST.get(name, "").strip() for name in ("name", "description", "prometheus")
    }
    body["protected"] = "protected" in request.POST
    # Without the field the stored namespaces stay; an empty one clears them.
    if "namespaces" in request.POST:
        body["namespaces"] = request.POST["namespaces"].replace(",", " ").split()
    # The default moves by choosing another cluster; it is never taken away.
    if "is_default" in request.POST:
        body["is_default"] = True
    # The stored kubeconfig is never shown, so an empty field means "unchanged".
    if kubeconfig := request.POST.get("kubeconfig", "").strip():
        body["kubeconfig"] = kubeconfig
    if choice := request.POST.get("context", ""):
        body["context"] = choice
    try:
        changed = call(request, "PUT", f"clusters/{cluster}", body=body).data
    except ApiRefusal as refusal:
        return render_page(
            request,
            "console/parts/change_cluster.html",
            {
                "registered": registered | body | _offered_contexts(refusal),
                "refusal": refusal,
                "hint": _registration_hint(refusal),
            },
        )
    navigation.forget_clusters(request)
    return redirect(
        request,
        f"/clusters/{cluster}",
        _("%(name)s was changed.") % {"name": changed["name"]},
    )


def _offered_contexts(refusal: ApiRefusal) -> dict[str, Any]:
    """The contexts of a refused kubeconfig, none of them selected; {} when it lists none."""
    names = refusal.details.get("contexts")
    return {"contexts": names, "context": ""} if names else {}


@require_http_methods(["GET", "POST"])
@require_sign_in
def remove(request: HttpRequest, cluster: int) -> HttpResponse:
    """Forgetting a cluster: what that means; the name of a protected one has to be typed."""
    registered = call(request, "GET", f"clusters/{cluster}").data
    if request.method == "POST":
        typed = request.POST.get("confirm", "").strip()
        if not registered["protected"] or typed == registered["name"]:
            call(
                request,
                "DELETE",
                f"clusters/{cluster}",
                headers={"X-Confirm": registered["name"]},
            )
            navigation.forget_clusters(request)
            return redirect(
                request,
                "/",
                _("%(name)s is no longer registered. Nothing in it was touched.")
                % {"name": registered["name"]},
            )
        return render_page(
            request,
            "console/parts/remove_cluster.html",
            {"registered": registered, "wrong": True},
        )
    return render_page(request, "console/parts/remove_cluster.html", {"registered": registered})
