"""The evaluation of rules, in short turns of which one runs at a time.

A turn reads the log of changes from where the last one stopped, looks at the rows that changed,
and moves alerts and the place in one transaction: a killed worker leaves everything as it was
before its turn. Only a new or changed rule looks at everything, once.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q

from alerts import lifecycle, matching, prometheus, samples, scopes
from alerts.conditions import Condition, MetricCondition, ObjectCondition, window_of
from alerts.models import Alert, Evaluation, Rule
from alerts.scopes import Fleet
from core.errors import SHAPE_ERRORS, DomainError
from storage_api.models import ClusterSync
from storage_api.services import change_log
from storage_api.services.sync import database_now

log = logging.getLogger(__name__)
Compiled = tuple[Rule, Condition]
# Two clocks and a transaction that commits late: Events are looked for that far back again.
_EVENT_OVERLAP = timedelta(seconds=60)
_CHANGES = """
SELECT seq, cluster_id, resource_type, namespace, resource_name FROM storage_change
WHERE seq > %s AND seq <= %s ORDER BY seq LIMIT %s
"""
_OLDEST = "SELECT min(seq) FROM storage_change"


@dataclass(slots=True)
class Turn:
    """One turn: the time, the clusters, the rules, and the alerts that it changed."""

    now: datetime
    fleet: Fleet
    rules: list[Compiled]
    changed: list[int] = field(default_factory=list)
    is_behind: bool = False

    def objects(self, type_name: str = "") -> list[tuple[Rule, ObjectCondition]]:
        """The rules over objects (of one stored type) that have looked at everything once."""
        return [
            (rule, condition)
            for rule, condition in self.rules
            if isinstance(condition, ObjectCondition)
            and rule.source == Rule.Source.STATE
            and (not type_name or condition.resource_type == type_name)
        ]


def evaluate(seconds: float | None = None) -> bool:
    """Take turns until nothing waits or the time is over; False when another worker is at it."""
    deadline = time.monotonic() + (seconds or settings.ALERT_TURN_SECONDS)
    while True:
        turn = run_turn()
        if turn is None:
            return False
        if not turn.is_behind or time.monotonic() >= deadline:
            return True


# Without rules and alerts a turn would do no more than this.
_REST = """
UPDATE alerts_evaluation SET position = greatest(position, storage_change_horizon()),
  evaluated_at = clock_timestamp(), seconds = 0, turns = turns + 1
WHERE id IN (SELECT id FROM alerts_evaluation WHERE id = 1 FOR UPDATE SKIP LOCKED)
  AND NOT EXISTS (SELECT FROM alerts_rule WHERE enabled)
  AND NOT EXISTS (SELECT FROM alerts_alert WHERE state <> %s)
"""


def rest() -> bool:
    """Let a turn pass, in one statement, when there is no rule and no alert; whether it did."""
    with connection.cursor() as cursor:
        cursor.execute(_REST, [Alert.State.RESOLVED])
        return bool(cursor.rowcount)


def run_turn() -> Turn | None:
    """One turn; None when another worker holds it."""
    if not Evaluation.objects.exists():
        Evaluation.objects.bulk_create([Evaluation(pk=1)], ignore_conflicts=True)
    started = time.monotonic()
    with transaction.atomic():
        row = Evaluation.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if row is None:
            return None
        horizon = change_log.horizon()
        now = database_now()
        turn = Turn(now, Fleet.read(_stale_clusters(now)), [])
        turn.changed += lifecycle.sweep(now)
        turn.rules = _compiled_rules()
        _follow_rights(turn)
        if row.position is None or _is_lost(row.position):
            # The log does not reach back to where the last turn stopped.
            Rule.objects.update(scanned_generation=0)
            for rule, _ in turn.rules:
                rule.scanned_generation = 0
            row.position = horizon
        _scan_new_rules(turn, started)
        row.position = _read_changes(turn, row.position, horizon)
        _look_at_events(turn, row.evaluated_at)
        _recheck(turn)
        _sample_metrics(turn)
        _apply_staleness(turn)
        turn.changed += lifecycle.fire_due(now, except_clusters=turn.fleet.stale)
        row.evaluated_at = now
        row.seconds = time.monotonic() - started
        row.turns += 1
        row.save()
    return turn


def _stale_clusters(now: datetime) -> frozenset[int]:
    late = now - timedelta(seconds=settings.ALERT_STALE_SECONDS)
    rows = ClusterSync.objects.filter(cluster__deleted_at=None).filter(
        Q(beaten_at__lt=late) | Q(beaten_at=None)
    )
    return frozenset(rows.values_list("pk", flat=True))


def _compiled_rules() -> list[Compiled]:
    compiled: list[Compiled] = []
    rules = Rule.objects.filter(enabled=True).exclude(source=Rule.Source.PROMQL)
    for rule in rules.select_related("owner", "tenant"):
        try:
            compiled.append((rule, matching.condition_of(rule)))
        except DomainError as error:
            _note_failure(rule, error.message)
    return compiled


# --- what owners may see --------------------------------------------------------------------------
def _follow_rights(turn: Turn) -> None:
    """End alerts in places that their rule's owner may not see any more.

    Where an owner may see other places than at the last turn, the rule looks at everything again.
    """
    reaches: dict[int, scopes.Reach] = {}
    for rule, condition in turn.rules:
        if isinstance(condition, ObjectCondition):
            reach = scopes.reach(rule, turn.fleet, condition.kind)
            reaches[rule.pk] = reach
            digest = scopes.reach_hash(reach)
            if digest != rule.reach_hash:
                rule.reach_hash = digest
                rule.scanned_generation = 0
                Rule.objects.filter(pk=rule.pk).update(reach_hash=digest, scanned_generation=0)
    for rule in prometheus.enabled_rules():
        clusters = prometheus.reached_clusters(rule, turn.fleet)
        reaches[rule.pk] = dict.fromkeys(clusters)
    open_alerts = Alert.objects.exclude(state=Alert.State.RESOLVED).filter(rule__in=list(reaches))
    places = open_alerts.order_by().values_list("rule_id", "cluster_id", "namespace").distinct()
    lost = Q(pk=None)
    for rule_id, cluster_id, namespace in places:
        if not scopes.is_reached(reaches[rule_id or 0], cluster_id, namespace):
            lost |= Q(rule=rule_id, cluster=cluster_id, namespace=namespace)
    if lost != Q(pk=None):
        turn.changed += lifecycle.resolve(lost, turn.now, "the rule's owner may not see it")


def _is_lost(position: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        oldest = cursor.fetchone()[0]
    # Nothing was dropped when the log is empty, or when it begins before the place.
    return oldest is not None and oldest > position + 1 and position > 0


# --- objects --------------------------------------------------------------------------------------
def _scan_new_rules(turn: Turn, started: float) -> None:
    """Look at everything for rules that are new or changed, as many as there is time for."""
    waiting = []
    for rule, condition in turn.rules:
        if rule.scanned_generation >= rule.generation:
            continue
        if time.monotonic() - started > settings.ALERT_STATEMENT_SECONDS:
            waiting.append(rule.pk)
            turn.is_behind = True
            continue
        with _attempt(rule) as attempt:
            if isinstance(condition, ObjectCondition):
                matches = _look_at_all(rule, condition, turn)
                turn.changed += lifecycle.apply_matches(
                    rule,
                    matches,
                    turn.now,
                    except_clusters=turn.fleet.stale,
                    recheck=window_of(condition),
                    because="the rule was changed",
                )
        if attempt.failed:
            # Its condition may never be answered: the next change of the rule tries again.
            turn.rules = [pair for pair in turn.rules if pair[0].pk != rule.pk]
        Rule.objects.filter(pk=rule.pk).update(
            scanned_generation=rule.generation, last_evaluated_at=turn.now
        )
    # A rule that waits for its look at everything misses nothing until then.
    turn.rules = [pair for pair in turn.rules if pair[0].pk not in waiting]


def _look_at_all(
    rule: Rule,
    condition: ObjectCondition,
    turn: Turn,
) -> list[matching.Match]:
    if rule.source == Rule.Source.EVENT:
        since = turn.now - timedelta(seconds=condition.window)
        return matching.event_matches(rule, condition, turn.fleet, turn.now, since)
    matches = matching.scan(
        rule,
        condition,
        turn.fleet,
        turn.now,
        settings.ALERT_LIMIT_PER_RULE,
    )
    # A new rule begins to count its `for` now, as Prometheus does.
    return [replace(match, since=turn.now) for match in matches]


class _attempt:  # read as a word of `with`
    """A block in which a rule may fail without the others: its changes are undone, and noted."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.failed = False
        self._block = transaction.atomic()

    def __enter__(self) -> "_attempt":
        self._block.__enter__()
        return self

    def __exit__(
        self,
        kind: object,
        error: BaseException | None,
        trace: object,
    ) -> bool:
        self._block.__exit__(kind, error, trace)  # type: ignore[arg-type]
        if isinstance(error, DatabaseError | DomainError):
            self.failed = True
            _note_failure(self.rule, str(error).strip().split("\n", 1)[0])
            return True
        if isinstance(error, SHAPE_ERRORS):
            # Documents of agents have any shape. All rules would stop with this one.
            log.error("rule %s failed", self.rule.pk, exc_info=error)
            self.failed = True
            _note_failure(self.rule, "an object has not the shape of its kind")
            return True
        if error is None and self.rule.last_error:
            _note_failure(self.rule, "")
        return False


def _note_failure(rule: Rule, sentence: str) -> None:
    if rule.last_error != sentence[:500]:
        rule.last_error = sentence[:500]
        Rule.objects.filter(pk=rule.pk).update(last_error=rule.last_error)


def _read_changes(turn: Turn, position: int, horizon: int) -> int:
    """Evaluate what changed between the two places; the place that was reached."""
    by_type = {condition.resource_type for _, condition in turn.objects()}
    with connection.cursor() as cursor:
        cursor.execute(_CHANGES, [position, horizon, settings.ALERT_BATCH])
        rows = cursor.fetchall()
    keys: dict[str, set[matching.Key]] = {}
    for _, cluster, type_name, namespace, name in rows:
        if type_name in by_type and cluster in turn.fleet.ids:
            keys.setdefault(type_name, set()).add((cluster, namespace, name))
    for type_name in sorted(keys):
        _evaluate_changed(turn, type_name, sorted(keys[type_name]))
    if len(rows) < settings.ALERT_BATCH:
        return max(position, horizon)
    turn.is_behind = True
    return int(rows[-1][0])


def _evaluate_changed(
    turn: Turn,
    type_name: str,
    keys: Sequence[matching.Key],
) -> None:
    rules = turn.objects(type_name)
    single = [(rule, condition) for rule, condition in rules if not condition.count]
    if single:
        matches, failures = matching.changed_matches(
            single,
            type_name,
            keys,
            turn.fleet,
        )
        subjects = [matching.subject_of(type_name, key) for key in keys]
        involved = _with_open_alerts(single, subjects)
        for rule, condition in single:
            if rule.pk in failures:
                _note_failure(rule, failures[rule.pk])
            elif matches[rule.pk] or rule.pk in involved:
                turn.changed += lifecycle.apply_matches(
                    rule,
                    matches[rule.pk],
                    turn.now,
                    considered=subjects,
                    recheck=window_of(condition),
                )
    groups = sorted({(cluster, namespace) for cluster, namespace, _ in keys})
    for rule, condition in rules:
        if condition.count:
            _evaluate_groups(turn, rule, condition, groups)


def _with_open_alerts(
    rules: Iterable[tuple[Rule, ObjectCondition]], subjects: Sequence[str]
) -> set[int]:
    """The rules that have an alert about one of the subjects."""
    rows = Alert.objects.filter(
        rule__in=[rule.pk for rule, _ in rules],
        subject__in=subjects,
    )
    rows = rows.exclude(state=Alert.State.RESOLVED)
    return {pk for pk in rows.values_list("rule_id", flat=True) if pk is not None}


def _evaluate_groups(
    turn: Turn,
    rule: Rule,
    condition: ObjectCondition,
    groups: Sequence[tuple[str, str]],
) -> None:
    with _attempt(rule):
        matches = matching.count_groups(
            rule,
            condition,
            turn.fleet,
            turn.now,
            groups,
        )
        turn.changed += lifecycle.apply_matches(
            rule,
            matches,
            turn.now,
            considered=[
                matching.group_subject(
                    condition,
                    group,
                )
                for group in groups
            ],
        )


# --- Events, and what time alone ends -------------------------------------------------------------
def _look_at_events(turn: Turn, last: datetime | None) -> None:
    """Evaluate the rules over Events when any was reported since the last turn."""
    rules = [
        (rule, condition)
        for rule, condition in turn.rules
        if rule.source == Rule.Source.EVENT and isinstance(condition, ObjectCondition)
    ]
    if not rules or (last and not matching.has_events_since(last - _EVENT_OVERLAP)):
        return
    for rule, condition in rules:
        _evaluate_events(turn, rule, condition)


def _evaluate_events(
    turn: Turn,
    rule: Rule,
    condition: ObjectCondition,
) -> None:
    with _attempt(rule):
        since = turn.now - timedelta(seconds=condition.window)
        matches = matching.event_matches(
            rule,
            condition,
            turn.fleet,
            turn.now,
            since,
        )
        turn.changed += lifecycle.apply_matches(
            rule, matches, turn.now, recheck=window_of(condition)
        )


def _recheck(turn: Turn) -> None:
    """Look once more at alerts whose window may have passed without any change."""
    due = Alert.objects.filter(recheck_at__lte=turn.now).exclude(state=Alert.State.RESOLVED)
    by_rule: dict[int, list[Alert]] = {}
    for alert in due.order_by("recheck_at")[: settings.ALERT_BATCH]:
        by_rule.setdefault(alert.rule_id or 0, []).append(alert)
    for rule, condition in turn.rules:
        alerts = by_rule.get(rule.pk)
        if not alerts or not isinstance(condition, ObjectCondition):
            continue
        if rule.source == Rule.Source.EVENT:
            _evaluate_events(turn, rule, condition)
            continue
        keys = sorted(
            {
                (turn.fleet.names[alert.cluster_id or 0], alert.namespace, alert.name)
                for alert in alerts
                if alert.cluster_id in turn.fleet.names
            }
        )
        _evaluate_changed(turn, condition.resource_type, keys)


# --- metrics and staleness ------------------------------------------------------------------------
def _sample_metrics(turn: Turn) -> None:
    """Evaluate the rules over samples that are due."""
    later = turn.now + timedelta(seconds=settings.ALERT_METRIC_SECONDS)
    for rule, condition in turn.rules:
        if not isinstance(condition, MetricCondition):
            continue
        if rule.evaluate_at and rule.evaluate_at > turn.now:
            continue
        with _attempt(rule):
            matches = samples.matches(rule, condition, turn.fleet, turn.now)
            turn.changed += lifecycle.apply_matches(rule, matches, turn.now)
        Rule.objects.filter(pk=rule.pk).update(
            evaluate_at=later,
            last_evaluated_at=turn.now,
        )


def _apply_staleness(turn: Turn) -> None:
    stale = {pk: turn.fleet.names[pk] for pk in turn.fleet.stale if pk in turn.fleet.names}
    for rule, condition in turn.rules:
        if not isinstance(condition, ObjectCondition) or not (stale or rule.stale_clusters):
            continue
        reached = scopes.reach(rule, turn.fleet, condition.kind)
        clusters = turn.fleet.names if reached is None else reached
        turn.changed += lifecycle.apply_staleness(rule, stale, clusters, turn.now)


def position_lag() -> dict[str, float]:
    """{"seconds": since the last turn, "changes": how many wait, "turns", "turn_seconds"}."""
    row = Evaluation.objects.filter(pk=1).annotate(place=F("position")).first()
    if row is None or row.evaluated_at is None:
        return {"seconds": 0.0, "changes": 0.0, "turns": 0.0, "turn_seconds": 0.0}
    return {
        "seconds": max(0.0, (database_now() - row.evaluated_at).total_seconds()),
        "changes": float(max(0, change_log.horizon() - (row.position or 0))),
        "turns": float(row.turns),
        "turn_seconds": row.seconds,
    }
