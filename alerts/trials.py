"""What a rule that is not saved matches now; nothing is written."""

from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError

from alerts import conditions, lifecycle, matching, prometheus, samples, scopes
from alerts.conditions import MetricCondition, ObjectCondition
from alerts.matching import Match
from alerts.models import Rule
from core.errors import Invalid
from core.times import rfc3339
from storage_api.services.sync import database_now

LIMIT = 500


def try_rule(rule: Rule) -> list[dict[str, Any]]:
    """[{"labels", "value", "since", "annotations"}, …], 500 at most.

    Invalid for a condition that the database does not answer in time.
    """
    now = database_now()
    try:
        matches = current_matches(rule, now)
    except DatabaseError:
        raise Invalid("the condition takes too long", field="condition") from None
    items = []
    for match in matches[:LIMIT]:
        labels = lifecycle.labels_of(rule, match)
        items.append(
            {
                "labels": labels,
                "value": match.value,
                "since": rfc3339(match.since),
                "annotations": lifecycle.annotations_of(rule, labels, match.value),
            }
        )
    return items


def current_matches(rule: Rule, now: datetime) -> list[Match]:
    """What the store, or the clusters' Prometheus, says of the rule now."""
    condition = conditions.parse(rule.source, rule.condition)
    fleet = scopes.Fleet.read()
    if isinstance(condition, MetricCondition):
        return samples.matches(rule, condition, fleet, now)
    if not isinstance(condition, ObjectCondition):
        return prometheus.current_matches(rule, fleet, now)
    if rule.source == Rule.Source.EVENT:
        since = now - timedelta(seconds=condition.window)
        return matching.event_matches(rule, condition, fleet, now, since)
    return matching.scan(rule, condition, fleet, now, LIMIT)
