"""Rules with a PromQL query: asked of each cluster's Prometheus, outside transactions."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction

from alerts import lifecycle, scopes
from alerts.conditions import QueryCondition
from alerts.label_conventions import target_of
from alerts.matching import Match, condition_of
from alerts.models import Rule
from alerts.scopes import Fleet
from clusters import prometheus, registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from core import clock
from core.errors import ClusterUnavailable, DomainError, Invalid


def reached_clusters(rule: Rule, fleet: Fleet) -> set[int]:
    """The clusters whose Prometheus the rule asks.

    Its owner must see the whole cluster: a query reads the metrics of all namespaces.
    """
    reached = scopes.reach(rule, fleet, KINDS["nodes"])
    return set(fleet.names if reached is None else reached)


def asked_clusters() -> list[int]:
    """The clusters that an enabled promql rule asks."""
    rules = enabled_rules()
    fleet = Fleet.read() if rules else None
    asked: set[int] = set()
    for rule in rules:
        if fleet is not None:
            asked |= reached_clusters(rule, fleet)
    return sorted(asked)


def enabled_rules() -> list[Rule]:
    """The promql rules that are on."""
    rules = Rule.objects.filter(
        enabled=True,
        source=Rule.Source.PROMQL,
    )
    return list(rules.select_related("owner", "tenant").order_by("pk"))


def evaluate_cluster(cluster_id: int) -> None:
    """Ask one cluster the queries of all rules over it, and raise and resolve their alerts."""
    cluster = registry.clusters().filter(pk=cluster_id).first()
    if cluster is None:
        return
    fleet = Fleet.read()
    failure = ""
    for rule in enabled_rules():
        if cluster_id not in reached_clusters(rule, fleet):
            continue
        matches: list[Match] | None = None
        problem = failure
        if not failure:
            try:
                matches, problem = cluster_matches(
                    rule,
                    cluster,
                    clock.now(),
                )
            except ClusterUnavailable as error:
                # The other rules would wait for the same silence.
                problem = failure = error.message
            except DomainError as error:
                problem = error.message
        _apply(rule.pk, cluster, matches, problem)


def _apply(
    rule_id: int,
    cluster: Cluster,
    matches: list[Match] | None,
    problem: str,
) -> None:
    """Write what a query gave; None is a query that could not be asked."""
    with transaction.atomic():
        # Locked, as the clusters of a rule are asked at the same time.
        rule = Rule.objects.select_for_update().filter(pk=rule_id, enabled=True).first()
        if rule is None or rule.source != Rule.Source.PROMQL:
            return
        now = clock.now()
        stale = set(rule.stale_clusters) - {cluster.pk}
        if matches is None:
            stale.add(cluster.pk)
        names = dict(
            Cluster.objects.filter(pk__in=stale).values_list("pk", "name"),
        )
        lifecycle.apply_staleness(rule, names, stale, now)
        if matches is not None:
            lifecycle.apply_matches(
                rule,
                matches,
                now,
                clusters=[cluster.pk],
            )
        error = f"{cluster.name}: {problem}"[:500] if problem else ""
        Rule.objects.filter(pk=rule.pk).update(
            last_evaluated_at=now,
            last_error=error,
        )


def current_matches(
    rule: Rule,
    fleet: Fleet,
    now: datetime,
) -> list[Match]:
    """What the rule's query gives now in all of its clusters; ClusterUnavailable, Rejected."""
    matches: list[Match] = []
    reached = reached_clusters(rule, fleet)
    for cluster in registry.clusters().filter(pk__in=reached).order_by("pk"):
        named = "clusters" in rule.scope
        if not named and not cluster.prometheus:
            # Over all clusters, those with a Prometheus answer.
            continue
        matches += cluster_matches(rule, cluster, now)[0]
        if len(matches) >= settings.ALERT_PROMQL_SERIES:
            break
    return matches


def cluster_matches(
    rule: Rule,
    cluster: Cluster,
    now: datetime,
) -> tuple[list[Match], str]:
    """(the elements of the query's vector in one cluster, what is wrong with them or "").

    ClusterUnavailable or Rejected when it cannot be asked, Invalid when it gives no vector.
    """
    condition = condition_of(rule)
    if not isinstance(condition, QueryCondition):
        raise Invalid(
            "the rule has no query",
            field="condition.query",
        )
    if not cluster.prometheus:
        raise ClusterUnavailable(
            "the cluster has no Prometheus",
            reason="no_prometheus",
        )
    vector = prometheus.instant(cluster, condition.query)
    if not all(isinstance(element, dict) for element in vector):
        raise Invalid(
            "the query does not give a vector",
            field="condition.query",
        )
    _, namespaces = scopes.scope_of(rule)
    matches = [
        _match(element, cluster, now)
        for element in vector
        if namespaces is None or (element.get("metric") or {}).get("namespace") in namespaces
    ]
    limit = settings.ALERT_PROMQL_SERIES
    if len(matches) <= limit:
        return matches, ""
    # The same ones each time.
    matches.sort(key=lambda match: match.subject)
    return matches[:limit], f"the query gives {len(matches)} series, of which {limit} are taken"


def _match(
    element: Mapping[str, Any],
    cluster: Cluster,
    now: datetime,
) -> Match:
    metric = element.get("metric") or {}
    labels = {str(name): str(value) for name, value in metric.items() if name != "__name__"}
    labels["cluster"] = cluster.name
    kind, name = target_of(labels)
    return Match(
        "promql/" + orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode(),
        now,
        cluster.pk,
        kind,
        labels.get("namespace", "")[:253],
        name,
        _value(element),
        labels,
    )


def _value(element: Mapping[str, Any]) -> float | None:
    """The element's value; None for what JSON cannot say."""
    try:
        value = float(element["value"][1])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
