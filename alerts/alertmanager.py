"""Alerts that another Alertmanager sends: rows beside our own, without a rule.

A payload may come any number of times and in any order: fingerprint and start make an alert the
same.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.dateparse import parse_datetime

from alerts import lifecycle
from alerts.label_conventions import severity_of, target_of
from alerts.models import Alert, Severity
from clusters import registry
from clusters.models import Cluster
from core import clock
from core.errors import ClusterNotFound, Invalid

SOURCE = "alertmanager"
MOST_ALERTS = 1000
MAX_LABELS = 100
MAX_TEXT = 4000
# A firing alert without an end is sent again within Alertmanager's repeat interval, 4 h by default.
LASTS = timedelta(hours=5)
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,199}\Z")


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """One alert of a payload, checked."""

    fingerprint: str
    is_firing: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    started_at: datetime
    ended_at: datetime | None
    cluster: Cluster | None

    @property
    def namespace(self) -> str:
        """The namespace that its labels name; "" is none."""
        return self.labels.get("namespace", "")[:253]


def read(
    body: Mapping[str, Any],
    cluster: Cluster | None,
) -> list[ReceivedAlert]:
    """The alerts of a webhook's payload, version 4; Invalid with the member's path as `field`.

    `cluster` is where they are from; None leaves it to their label `cluster`, a registered
    cluster's name.
    """
    if str(body.get("version")) != "4":
        raise Invalid("version must be 4", field="version")
    items = body.get("alerts")
    if not isinstance(items, list) or len(items) > MOST_ALERTS:
        raise Invalid(
            f"alerts must be a list of at most {MOST_ALERTS}",
            field="alerts",
        )
    clusters = {row.name: row for row in registry.clusters()}
    return [
        _read_alert(item, f"alerts[{index}]", cluster, clusters) for index, item in enumerate(items)
    ]


def _read_alert(
    item: object,
    field: str,
    cluster: Cluster | None,
    clusters: Mapping[str, Cluster],
) -> ReceivedAlert:
    if not isinstance(item, dict):
        raise Invalid(
            f"{field} must be an object",
            field=field,
        )
    status = item.get("status")
    if status not in ("firing", "resolved"):
        raise Invalid(
            f"{field}.status must be firing or resolved",
            field=f"{field}.status",
        )
    labels = _texts(item.get("labels"), f"{field}.labels")
    if not labels:
        raise Invalid(
            f"{field}.labels must name the alert",
            field=f"{field}.labels",
        )
    source = cluster or clusters.get(labels.get("cluster", ""))
    started_at = _moment(
        item.get("startsAt"),
        f"{field}.startsAt",
    )
    if started_at is None:
        raise Invalid(
            f"{field}.startsAt is required",
            field=f"{field}.startsAt",
        )
    return ReceivedAlert(
        # Ours, not the sender's: two Alertmanagers may know the same labels.
        lifecycle.fingerprint(None, {**labels, "\0cluster": str(source.pk if source else "")}),
        status == "firing",
        labels,
        _texts(item.get("annotations"), f"{field}.annotations"),
        started_at,
        _moment(item.get("endsAt"), f"{field}.endsAt"),
        source,
    )


def _texts(value: object, field: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise Invalid(
            f"{field} must be an object of at most {MAX_LABELS} texts",
            field=field,
        )
    for name, text in value.items():
        if not _LABEL.match(name):
            raise Invalid(
                f"{field}: {name[:100]!r} is not a label's name",
                field=field,
            )
        if not isinstance(text, str) or len(text) > MAX_TEXT or "\0" in text:
            raise Invalid(
                f"{field}.{name} must be text of at most {MAX_TEXT} characters",
                field=f"{field}.{name}",
            )
    return dict(value)


def _moment(value: object, field: str) -> datetime | None:
    """A time; None for none and for Alertmanager's zero time."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 40:
        raise Invalid(f"{field} must be a time", field=field)
    if value.startswith("0001-"):
        return None
    try:
        # Go writes nanoseconds, Python reads microseconds.
        moment = parse_datetime(
            re.sub(r"(\.\d{6})\d+", r"\1", value),
        )
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Invalid(
            f"{field} must be a time such as 2026-11-28T09:30:00Z",
            field=field,
        )
    return moment


def store(received: list[ReceivedAlert]) -> dict[str, int]:
    """{"firing", "resolved"}: how many alerts began and ended by this payload."""
    counts = {"firing": 0, "resolved": 0}
    # In one order, so that two payloads with the same alerts do not wait for each other.
    for alert in sorted(received, key=lambda item: item.fingerprint):
        with transaction.atomic():
            now = clock.now()
            if alert.is_firing and not (alert.ended_at and alert.ended_at <= now):
                counts["firing"] += _store_firing(alert, now)
            else:
                counts["resolved"] += _store_resolved(alert, now)
    return counts


def _store_firing(alert: ReceivedAlert, now: datetime) -> int:
    """1 for an alert that is new, 0 for one that is known."""
    ends_at = alert.ended_at or now + LASTS
    known = Alert.objects.filter(
        fingerprint=alert.fingerprint,
        source=SOURCE,
    )
    if known.exclude(state=Alert.State.RESOLVED).update(
        ends_at=ends_at, annotations=alert.annotations
    ):
        return 0
    if known.filter(started_at__gte=alert.started_at, ends_at=None).exists():
        # Its end was told before: this message comes late.
        return 0
    kind, name = target_of(alert.labels)
    row = Alert(
        rule_name=alert.labels.get("alertname", "")[:200],
        fingerprint=alert.fingerprint,
        state=Alert.State.FIRING,
        severity=severity_of(alert.labels.get("severity", "")) or Severity.WARNING,
        labels=alert.labels,
        annotations=alert.annotations,
        cluster=alert.cluster,
        kind=kind,
        namespace=alert.namespace,
        name=name,
        subject=f"{SOURCE}/{alert.fingerprint}",
        started_at=alert.started_at,
        fired_at=now,
        value=_value(alert.annotations),
        source=SOURCE,
        ends_at=ends_at,
    )
    # Another worker may store the same message: the unique fingerprint decides.
    Alert.objects.bulk_create([row], ignore_conflicts=True)
    return 1


def _store_resolved(
    alert: ReceivedAlert,
    now: datetime,
) -> int:
    """How many alerts ended: 1, or 0 when none was open."""
    ended = lifecycle.resolve(
        Q(fingerprint=alert.fingerprint, source=SOURCE, started_at__lte=alert.ended_at or now),
        now,
        "Alertmanager says so",
    )
    # Without an end of its own: so a late message about its beginning is recognised.
    Alert.objects.filter(pk__in=ended).update(ends_at=None)
    return len(ended)


def _value(annotations: Mapping[str, str]) -> float | None:
    try:
        value = float(annotations.get("value", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def find_cluster(text: str) -> Cluster | None:
    """The cluster that a receiver's address names; None for ""; Invalid for an unknown one."""
    if not text:
        return None
    try:
        return registry.find(text)
    except ClusterNotFound:
        raise Invalid(
            "there is no such cluster",
            field="cluster_id",
        ) from None
