"""The life of an alert: pending, firing, resolved; and what hands it to notifications.

Everything here runs in the caller's transaction. The unique index over the fingerprints of alerts
that are not resolved decides when two try to raise the same one.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Now

from alerts.annotations import render
from alerts.handover import hand_over_fired, mark_groups_due
from alerts.matching import Match
from alerts.models import Alert, Rule
from core.errors import NotFound

State = Alert.State
# The characters of a match's kind, namespace, name and subject: the first three as an alert holds
# them, the last as its index does whatever they are written in.
_LONGEST = (100, 253, 253, 600)


def labels_of(rule: Rule, match: Match) -> dict[str, str]:
    """The labels of an alert: the match's own, the rule's, its name and severity."""
    own = {
        name: render(
            text,
            match.labels,
            match.value,
        )
        for name, text in rule.labels.items()
    }
    return {**match.labels, **own, "alertname": rule.name, "severity": rule.severity}


def annotations_of(
    rule: Rule,
    labels: Mapping[str, str],
    value: float | None,
) -> dict[str, str]:
    """The annotations of an alert, with its labels and value put in."""
    return {
        name: render(
            text,
            labels,
            value,
        )
        for name, text in rule.annotations.items()
    }


def fingerprint(rule: int | None, labels: Mapping[str, str]) -> str:
    """The hash of a rule (None: received) and labels."""
    return _hash([rule, sorted(labels.items())])


def group_key(rule: Rule, labels: Mapping[str, str]) -> str:
    """The hash of the rule and the values of its `group_by`: what is notified together."""
    return _hash([rule.pk, [[name, labels.get(name, "")] for name in rule.group_by]])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:40]


def apply_matches(
    rule: Rule,
    matches: Iterable[Match],
    now: datetime,
    *,
    considered: Collection[str] | None = None,
    clusters: Collection[int] | None = None,
    except_clusters: Collection[int] = (),
    recheck: timedelta | None = None,
    because: str = "the condition ended",
) -> list[int]:
    """Raise alerts for what matches and resolve those that no longer do; ids of what changed.

    `considered`: the subjects that were looked at, None for all of the rule's (in `clusters`, None
    being all). Alerts in `except_clusters` stay as they are: nobody could look there. `recheck`:
    after how long time alone may end the condition.
    """
    by_fingerprint: dict[str, tuple[Match, dict[str, str]]] = {}
    for match in matches:
        if match.cluster in except_clusters or _is_too_long(match):
            continue
        labels = labels_of(rule, match)
        by_fingerprint.setdefault(fingerprint(rule.pk, labels), (match, labels))
    rows = Alert.objects.filter(rule=rule).exclude(state=State.RESOLVED)
    rows = rows.exclude(subject__startswith=NO_DATA)
    if considered is not None:
        rows = rows.filter(subject__in=list(considered))
    if clusters is not None:
        rows = rows.filter(cluster__in=list(clusters))
    if except_clusters:
        rows = rows.exclude(cluster__in=list(except_clusters))
    existing = dict(rows.values_list("fingerprint", "pk"))
    ended = [pk for key, pk in existing.items() if key not in by_fingerprint]
    changed = resolve(Q(pk__in=ended), now, because) if ended else []
    lasting = [pk for key, pk in existing.items() if key in by_fingerprint]
    if recheck and lasting:
        Alert.objects.filter(pk__in=lasting).update(recheck_at=now + recheck)
    added = {key: pair for key, pair in by_fingerprint.items() if key not in existing}
    changed += _raise(rule, added, now, recheck)
    return changed


def _is_too_long(match: Match) -> bool:
    """Whether the words name no object of Kubernetes; agents may store and report such ones."""
    lengths = (len(match.kind), len(match.namespace), len(match.name), len(match.subject))
    return any(length > limit for length, limit in zip(lengths, _LONGEST, strict=True))


def _raise(
    rule: Rule,
    added: Mapping[str, tuple[Match, dict[str, str]]],
    now: datetime,
    recheck: timedelta | None,
) -> list[int]:
    """Insert pending or firing alerts; what another transaction raised already is left alone."""
    rows = []
    for key, (match, labels) in added.items():
        since = min(match.since, now)
        due = since + timedelta(seconds=rule.for_seconds)
        fires = due <= now
        rows.append(
            Alert(
                rule=rule,
                rule_name=rule.name,
                fingerprint=key,
                state=State.FIRING if fires else State.PENDING,
                severity=rule.severity,
                labels=labels,
                annotations=annotations_of(rule, labels, match.value),
                value=match.value,
                cluster_id=match.cluster,
                kind=match.kind,
                namespace=match.namespace,
                name=match.name,
                subject=match.subject,
                started_at=since,
                due_at=None if fires else due,
                fired_at=now if fires else None,
                recheck_at=now + recheck if recheck else None,
                group_key=group_key(rule, labels),
                source=rule.source,
            )
        )
    Alert.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)
    fired = Alert.objects.filter(
        fingerprint__in=list(added),
        state=State.FIRING,
        fired_at=now,
    )
    ids = list(fired.values_list("pk", flat=True))
    hand_over_fired(ids, now)
    return ids


def fire_due(now: datetime, *, except_clusters: Collection[int] = ()) -> list[int]:
    """Pending alerts whose time has come begin to fire; their ids.

    Where nobody can look now, nothing is known to have lasted.
    """
    rows = Alert.objects.filter(state=State.PENDING, due_at__lte=now)
    if except_clusters:
        rows = rows.exclude(cluster__in=list(except_clusters))
    ids = list(
        rows.select_for_update(skip_locked=True).values_list(
            "pk",
            flat=True,
        )[:5000]
    )
    if ids:
        Alert.objects.filter(pk__in=ids).update(
            state=State.FIRING,
            fired_at=now,
            due_at=None,
        )
        hand_over_fired(ids, now)
    return ids


def resolve(which: Q, now: datetime, because: str) -> list[int]:
    """End the alerts that are not resolved; their ids, of those that ever fired.

    A pending one that ends was never an alert to anybody: it is deleted.
    """
    rows = Alert.objects.filter(which).exclude(state=State.RESOLVED)
    Alert.objects.filter(which, state=State.PENDING).delete()
    ids = list(rows.values_list("pk", flat=True))
    if ids:
        Alert.objects.filter(pk__in=ids).update(
            state=State.RESOLVED,
            resolved_at=now,
            resolved_because=because,
            due_at=None,
            recheck_at=None,
        )
        mark_groups_due(ids, now)
    return ids


def acknowledge(
    alert: Alert,
    by: str,
    comment: str,
    now: datetime,
) -> Alert:
    """Note who cares for an alert; it ends with the alert. NotFound for one that is over."""
    rows = Alert.objects.filter(pk=alert.pk).exclude(state=State.RESOLVED)
    if not rows.update(acked_by=by, acked_at=now, ack_comment=comment):
        raise NotFound("the alert is resolved already")
    alert.refresh_from_db()
    return alert


# --- no data --------------------------------------------------------------------------------------
NO_DATA = "no-data/"


def apply_staleness(
    rule: Rule,
    stale: Mapping[int, str],
    reached: Collection[int],
    now: datetime,
) -> list[int]:
    """What a cluster that cannot be asked means for a rule; ids of changed alerts.

    `stale`: cluster's id -> its name; `reached`: the clusters in which the rule looks.
    """
    before = set(rule.stale_clusters)
    late = {pk for pk in stale if pk in reached}
    if late == before:
        return []
    changed: list[int] = []
    if rule.no_data == Rule.NoData.OK and late - before:
        changed += resolve(
            Q(
                rule=rule,
                cluster__in=late - before,
            ),
            now,
            "the cluster cannot be asked",
        )
    if rule.no_data == Rule.NoData.ALERT:
        changed += _raise_no_data(rule, {pk: stale[pk] for pk in late - before}, now)
    ended = [f"{NO_DATA}{pk}" for pk in before - late]
    if ended:
        changed += resolve(
            Q(rule=rule, subject__in=ended),
            now,
            "the cluster can be asked again",
        )
    values: dict[str, Any] = {"stale_clusters": sorted(late)}
    if before - late and rule.no_data == Rule.NoData.OK:
        # What was resolved meanwhile may hold still: everything is looked at once more.
        values["scanned_generation"] = 0
    Rule.objects.filter(pk=rule.pk).update(**values)
    return changed


def _raise_no_data(
    rule: Rule,
    clusters: Mapping[int, str],
    now: datetime,
) -> list[int]:
    added = {}
    for pk, name in clusters.items():
        match = Match(
            f"{NO_DATA}{pk}",
            now,
            pk,
            "Cluster",
            name=name,
            labels={"cluster": name, "kind": "Cluster", "name": name, "reason": "NoData"},
        )
        labels = labels_of(rule, match)
        added[fingerprint(rule.pk, labels)] = (match, labels)
    return _raise(rule, added, now, None)


# --- sweeping -------------------------------------------------------------------------------------
def sweep(now: datetime) -> list[int]:
    """Resolve what no evaluation will: of rules that are off, of clusters that were removed, and
    received alerts whose time is over.
    """
    changed = resolve(
        Q(rule__enabled=False) | (Q(rule=None) & ~Q(source="alertmanager")),
        now,
        "the rule was switched off",
    )
    changed += resolve(
        Q(cluster__deleted_at__isnull=False),
        now,
        "the cluster was removed",
    )
    changed += resolve(
        Q(ends_at__lte=now, source="alertmanager"),
        now,
        "it was not sent again",
    )
    return changed


def forget(days: int) -> int:
    """Delete alerts that were resolved that many days ago; how many."""
    rows = Alert.objects.filter(
        state=State.RESOLVED,
        resolved_at__lt=Now() - timedelta(days=days),
    )
    return rows.delete()[0]


def resolve_rule(
    rule: Rule,
    now: datetime,
    because: str,
) -> Sequence[int]:
    """Resolve every alert of a rule."""
    return resolve(Q(rule=rule), now, because)


def bump(rule: Rule) -> None:
    """Let the next turn look at everything for this rule once more."""
    Rule.objects.filter(pk=rule.pk).update(
        generation=F("generation") + 1,
        evaluate_at=None,
    )
