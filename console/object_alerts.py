"""Which alerts fire about the objects of a page: one question to the API, whatever the page shows.

A silenced alert is not left out, since the object's state is what it is: it looks quiet, as in
Alertmanager, and does not count while another one about the object is not silenced.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from clusters.kinds import KINDS
from console.api_client import ApiRefusal, call
from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get

# The API's largest page; of more alerts the newest are looked at.
MAX_ALERTS = 1000
# The head of a page names so many alerts, and how many more there are.
MAX_NAMED = 3
# The most urgent first.
SEVERITIES = {
    "critical": (gettext_lazy("critical"), "bad"),
    "warning": (gettext_lazy("warning"), "warn"),
    "info": (gettext_lazy("info"), "idle"),
}
_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_BELL = (
    '<svg viewBox="0 0 20 20" aria-hidden="true">'
    '<path d="M4 14h12l-1.5-2.5V8a4.5 4.5 0 0 0-9 0v3.5zM8.2 16.5a2 2 0 0 0 3.6 0"/></svg>'
)
# Cluster, namespace and name of an object; the kind is that of the table.
ObjectKey = tuple[int, str, str]
BadgeMap = Mapping[ObjectKey, "AlertBadge"]


@dataclass(frozen=True, slots=True)
class AlertBadge:
    """The alerts that fire about one object, those that count first.

    `address` is the list of them all.
    """

    alerts: Sequence[Mapping[str, Any]]
    address: str

    @property
    def counted(self) -> Sequence[Mapping[str, Any]]:
        """Those that are not silenced."""
        return [alert for alert in self.alerts if not alert["silenced_by"]]

    @property
    def is_silenced(self) -> bool:
        """Whether every one of them is silenced."""
        return not self.counted

    @property
    def severity(self) -> str:
        """The tone of the most urgent one; silenced ones have none."""
        return severity_words(self.alerts[0])[1] if self.counted else "idle"

    @property
    def link(self) -> str:
        """The one alert, or the list of all."""
        return f"/alerts/{self.alerts[0]['id']}" if len(self.alerts) == 1 else self.address

    @property
    def label(self) -> str:
        """What a screen reader says and the pointer shows: how many, and the first title."""
        title = alert_title(self.alerts[0])
        if self.is_silenced:
            count = len(self.alerts)
            words = ngettext("%(n)s silenced alert", "%(n)s silenced alerts", count)
        else:
            count = len(self.counted)
            words = ngettext("%(n)s firing alert", "%(n)s firing alerts", count)
        return f"{words % {'n': count}}: {title}"

    @property
    def named(self) -> list[dict[str, Any]]:
        """The first MAX_NAMED with title, address, severity, and whether they are silenced."""
        return [
            {
                "title": alert_title(alert),
                "address": f"/alerts/{alert['id']}",
                "level": severity_words(alert)[0],
                "severity": severity_words(alert)[1],
                "is_silenced": bool(alert["silenced_by"]),
            }
            for alert in self.alerts[:MAX_NAMED]
        ]

    @property
    def more(self) -> int:
        """How many are not named."""
        return max(len(self.alerts) - MAX_NAMED, 0)

    @property
    def mark(self) -> str:
        """A text that is another one when the badge is."""
        return ",".join(
            f"{alert['id']}{'s' if alert['silenced_by'] else alert['severity'][:1]}"
            for alert in self.alerts
        )


def alert_title(alert: Mapping[str, Any]) -> str:
    """What an alert is called by: its summary, else its rule."""
    return str(alert["annotations"].get("summary") or alert["rule_name"] or _("Alert"))


def severity_words(alert: Mapping[str, Any]) -> tuple[str, str]:
    """(an alert's severity in the viewer's language, its tone)."""
    word, tone = SEVERITIES.get(alert["severity"], (alert["severity"], "idle"))
    return str(word), tone


def badges_of_rows(
    request: HttpRequest,
    plural: str,
    items: Sequence[Object],
    *,
    cluster: int | None = None,
) -> dict[ObjectKey, AlertBadge]:
    """The badges of a table's rows; without a cluster each row says its own as `cluster_id`.

    {} for who may see no alerts.
    """
    kind = kind_of_rows(plural, items)
    names = sorted({_metadata(item, "name") for item in items})
    if not kind or not names:
        return {}
    where: dict[str, Any] = {"cluster_id": cluster}
    if cluster is not None:
        spaces = {_metadata(item, "namespace") for item in items}
        where["namespace"] = spaces.pop() if len(spaces) == 1 else ""
    groups: dict[ObjectKey, list[Mapping[str, Any]]] = {}
    for alert in _list_firing(request, {**where, "kind": kind, "names": ",".join(names)}):
        groups.setdefault(_target_key(alert), []).append(alert)
    if plural == "namespaces":
        # What fires inside a namespace is its business as well.
        for alert in _list_firing(request, {**where, "namespaces": ",".join(names)}):
            target = alert["target"]
            if target["kind"] != kind or target["name"] != target["namespace"]:
                key = (target["cluster_id"], "", target["namespace"])
                groups.setdefault(key, []).append(alert)
    return {key: _badge(key, kind, alerts) for key, alerts in groups.items()}


def badge_of_object(
    request: HttpRequest,
    location: Location,
    kind: str,
) -> AlertBadge | None:
    """The badge of an object's page; None when nothing fires about it."""
    metadata = {"name": location.name, "namespace": location.namespace}
    item = {"kind": kind, "metadata": metadata}
    badges = badges_of_rows(request, location.plural, [item], cluster=location.cluster)
    return badges.get((location.cluster, location.namespace, location.name))


def badge_of_cluster(request: HttpRequest, cluster: int) -> AlertBadge | None:
    """The badge of everything that fires in a cluster; None when nothing does."""
    alerts = _list_firing(request, {"cluster_id": cluster})
    query = urlencode({"cluster_id": cluster, "state": "firing"})
    return AlertBadge(_urgent_first(alerts), f"/alerts?{query}") if alerts else None


def row_key(item: Object, cluster: int) -> ObjectKey:
    """The key of a table's row."""
    return cluster, _metadata(item, "namespace"), _metadata(item, "name")


def row_badge(badge: AlertBadge | None) -> str:
    """The badge beside a row's name; nothing without alerts."""
    if badge is None:
        return ""
    label = html.escape(badge.label)
    tone = "silenced" if badge.is_silenced else badge.severity
    count = len(badge.counted) or len(badge.alerts)
    return (
        f'<a class="alert-badge {tone}" href="{html.escape(badge.link)}" title="{label}"'
        f' aria-label="{label}">{_BELL}{count}</a>'
    )


def kind_of_rows(plural: str, items: Sequence[Object]) -> str:
    """The kind that alerts call the objects of a table; "" when nobody says it."""
    if plural in KINDS:
        return KINDS[plural].name
    return str(items[0].get("kind") or "") if items else ""


def _list_firing(request: HttpRequest, where: Mapping[str, Any]) -> list[dict[str, Any]]:
    query = {**where, "state": "firing", "pageSize": MAX_ALERTS}
    try:
        alerts: list[dict[str, Any]] = call(request, "GET", "alerts", query=query).data["items"]
    except ApiRefusal:
        # Who may see no alerts sees the objects without badges.
        return []
    return alerts


def _badge(key: ObjectKey, kind: str, alerts: Iterable[Mapping[str, Any]]) -> AlertBadge:
    cluster, namespace, name = key
    query: dict[str, Any] = {"cluster_id": cluster, "state": "firing"}
    if kind == "Namespace":
        query["namespace"] = name
    else:
        query |= {"kind": kind, "namespace": namespace, "name": name}
    address = urlencode({field: value for field, value in query.items() if value != ""})
    return AlertBadge(_urgent_first(alerts), f"/alerts?{address}")


def _urgent_first(alerts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    def rank(alert: Mapping[str, Any]) -> tuple[bool, int]:
        return bool(alert["silenced_by"]), _RANKS.get(alert["severity"], len(_RANKS))

    return sorted(alerts, key=rank)


def _target_key(alert: Mapping[str, Any]) -> ObjectKey:
    target = alert["target"]
    # Labels of Prometheus name the exporter's namespace beside an object that has none.
    namespace = "" if _is_cluster_wide(target["kind"]) else target["namespace"]
    return target["cluster_id"], namespace, target["name"]


def _is_cluster_wide(kind: str) -> bool:
    return any(row.name == kind and not row.namespaced for row in KINDS.values())


def _metadata(item: Object, field: str) -> str:
    return str(get(item, "metadata", field) or "")
