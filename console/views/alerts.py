"""Alerts: what fires, in groups, what fired before, and one alert with its context."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from console import alert_counts, forms, locations, navigation, object_alerts, permissions
from console.api_client import call
from console.filtered_lists import SIZE, page_links
from console.object_alerts import SEVERITIES
from console.page import redirect, render_page, require_sign_in
from console.views.history import version_context

STATES = {
    "firing": (gettext_lazy("firing"), "bad"),
    "pending": (gettext_lazy("pending"), "busy"),
    "resolved": (gettext_lazy("resolved"), "good"),
}
GROUPS = {
    "rule": gettext_lazy("By rule"),
    "cluster": gettext_lazy("By cluster"),
    "namespace": gettext_lazy("By namespace"),
}
TABS = (
    ("alerts", "/alerts", gettext_lazy("Alerts")),
    ("history", "/alerts/history", gettext_lazy("History")),
    ("rules", "/alerts/rules", gettext_lazy("Rules")),
    ("silences", "/alerts/silences", gettext_lazy("Silences")),
    ("channels", "/alerts/channels", gettext_lazy("Channels")),
    ("deliveries", "/alerts/deliveries", gettext_lazy("Deliveries")),
)
FILTERS = ("state", "severity", "cluster_id", "namespace", "label", "kind", "name", "rule_id")


def section_context(request: HttpRequest, tab: str) -> dict[str, Any]:
    """What each page of the section needs: its tabs, and whether to offer changes."""
    return {
        "tabs": [(title, address, name == tab) for name, address, title in TABS],
        "may_write": permissions.writes_somewhere(request),
    }


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """What is pending or fires, firing ones first, in groups."""
    chosen = {name: request.GET.get(name, "").strip() for name in FILTERS}
    group = request.GET.get("group", "")
    chosen["group"] = group if group in GROUPS else "rule"
    number = forms.query_number(request, "page", least=1)
    # The API takes several labels, each of which must fit.
    query = {**chosen, "label": forms.split_words(chosen["label"]), "group": ""}
    data = call(
        request,
        "GET",
        "alerts",
        query={**query, "page": number, "pageSize": SIZE},
    ).data
    rows = list_contexts(request, data["items"])
    context = {
        **section_context(request, "alerts"),
        **filter_context(chosen),
        "groups": _grouped(rows, chosen["group"]),
        "group_words": GROUPS.items(),
        "back": request.get_full_path(),
        **page_links(chosen, number, data["total"]),
    }
    return render_page(request, "console/alerts.html", context)


@require_GET
@require_sign_in
def history(request: HttpRequest) -> HttpResponse:
    """What fired, resolved alerts included, newest first."""
    chosen = {name: request.GET.get(name, "").strip() for name in (*FILTERS, "since", "until")}
    number = forms.query_number(request, "page", least=1)
    data = call(
        request,
        "GET",
        "alerts/history",
        query={
            **chosen,
            "label": forms.split_words(chosen["label"]),
            "page": number,
            "pageSize": SIZE,
        },
    ).data
    context = {
        **section_context(request, "history"),
        **filter_context(chosen),
        "alerts": list_contexts(request, data["items"]),
        **page_links(chosen, number, data["total"]),
    }
    return render_page(request, "console/alert_history.html", context)


def filter_context(chosen: Mapping[str, str]) -> dict[str, Any]:
    """What the filters offer and what is chosen."""
    return {
        "chosen": chosen,
        "filtered": any(value for name, value in chosen.items() if name != "group"),
        "states": [(value, word) for value, (word, _severity) in STATES.items()],
        "severities": [(value, word) for value, (word, _severity) in SEVERITIES.items()],
    }


def list_contexts(
    request: HttpRequest,
    alerts: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Alerts with what their rows need: words, the object's page, what the person may do."""
    names = {cluster["id"]: cluster["name"] for cluster in navigation.list_clusters(request)}
    return [_alert_context(request, alert, names) for alert in alerts]


def _alert_context(
    request: HttpRequest,
    alert: Mapping[str, Any],
    cluster_names: Mapping[int, str],
) -> dict[str, Any]:
    target = alert["target"]
    word, severity = STATES.get(alert["state"], (alert["state"], "idle"))
    level, level_severity = object_alerts.severity_words(alert)
    is_open = alert["state"] != "resolved"
    # An acknowledgement is a change where the alert is.
    changes = permissions.may_change(request, target["cluster_id"], "pods", target["namespace"])
    cluster = cluster_names.get(target["cluster_id"], alert["labels"].get("cluster", ""))
    return {
        **alert,
        "title": object_alerts.alert_title(alert),
        "word": word,
        "word_severity": severity,
        "level": level,
        "level_severity": level_severity,
        "cluster": cluster,
        "object_address": target_address(target),
        "may_ack": is_open and not alert["acked_by"] and changes,
        "may_silence": is_open and permissions.writes_somewhere(request),
    }


def target_address(target: Mapping[str, Any]) -> str:
    """The page of what an alert is about; "" when it is no object of a cluster."""
    if target["cluster_id"] is None:
        return ""
    if target["name"] and target["kind"]:
        return locations.page_address(target["cluster_id"], target)
    return f"/clusters/{target['cluster_id']}"


def _grouped(
    rows: Iterable[Mapping[str, Any]],
    group: str,
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """(title, alerts) in the order of the first alert of each group."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        titles = {
            "rule": row["rule_name"] or row["labels"].get("alertname", ""),
            "cluster": row["cluster"],
            "namespace": "/".join(
                name for name in (row["cluster"], row["target"]["namespace"]) if name
            ),
        }
        groups.setdefault(titles[group] or "–", []).append(row)
    return list(groups.items())


# --- one alert ------------------------------------------------------------------------------------
@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """An alert, and what the store knew of its object when it began."""
    alert = call(request, "GET", f"alerts/{pk}").data
    row = list_contexts(request, [alert])[0]
    known: Mapping[str, Any] = alert["context"]
    context = {
        **section_context(request, "alerts"),
        "alert": row,
        "known": known,
        "runbook": known.get("runbook") or alert["annotations"].get("runbook", ""),
        "runbook_link": _web_link(alert["annotations"].get("runbook_url", "")),
        "changes": [version_context(change) for change in known.get("changes") or []],
        "related": _related_links(alert["target"], known),
        "back": f"/alerts/{pk}",
    }
    return render_page(request, "console/alert.html", context)


def _web_link(address: str) -> str:
    """An address of the web that rules give; "" for anything else, such as a script."""
    return address if address.startswith(("https://", "http://")) else ""


def _related_links(target: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    """Pages of the owner and the node, of the end of the log, and of the timeline."""
    cluster = target["cluster_id"]
    if cluster is None:
        return {}
    links: dict[str, str] = {}
    owner = known.get("owner") or {}
    if owner.get("name"):
        links["owner"] = locations.page_address(
            cluster,
            {
                "kind": owner.get("kind", ""),
                "name": owner["name"],
                "namespace": target["namespace"],
            },
        )
    if known.get("node"):
        links["node"] = locations.Location(cluster, "nodes", "", str(known["node"])).address
    address = target_address(target)
    if target["kind"] == "Pod" and target["name"]:
        links["logs"] = f"{address}/logs"
    return links


@require_http_methods(["POST"])
@require_sign_in
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Note that the person cares for an alert, and go back to where they were."""
    call(
        request,
        "POST",
        f"alerts/{pk}/ack",
        body={"comment": forms.form_text(request, "comment")},
    )
    return redirect(request, return_address(request), _("The alert was acknowledged."))


def return_address(request: HttpRequest, default: str = "/alerts") -> str:
    """The page of this section that a form came from."""
    back = request.POST.get("back", "")
    is_ours = url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return back if is_ours and back.startswith(("/alerts?", "/alerts/")) else default


# --- the bell -------------------------------------------------------------------------------------
@require_GET
@require_sign_in
def bell(request: HttpRequest) -> HttpResponse:
    """The bell alone, for the frame to bring up to date."""
    return render_page(
        request, "console/parts/bell.html", {"firing": alert_counts.count_firing(request)}
    )
