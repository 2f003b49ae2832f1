"""What of the store a rule's condition matches: among changed rows, or among all."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from psycopg2 import sql

from alerts import conditions, scopes
from alerts.conditions import Condition, ObjectCondition
from alerts.models import Rule
from alerts.scopes import Fleet
from clusters.kinds import KINDS, Kind
from clusters.resource_types import resource_type
from storage_api.query.conditions import Clause

log = logging.getLogger(__name__)

# Cluster (its name in the store), namespace and name of an object.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Match:
    """One thing that fulfils a condition now.

    `subject` is what a changed row recognises its alerts by; `since` is when the condition is
    known to have begun.
    """

    subject: str
    since: datetime
    cluster: int | None = None
    kind: str = ""
    namespace: str = ""
    name: str = ""
    value: float | None = None
    labels: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=2048)
def _parse(source: str, text: str) -> Condition:
    return conditions.parse(source, orjson.loads(text), check=False)


def condition_of(rule: Rule) -> Condition:
    """The rule's condition, parsed; Invalid when its kind is gone."""
    return _parse(rule.source, orjson.dumps(rule.condition).decode())


def rule_clause(
    rule: Rule,
    condition: ObjectCondition,
    fleet: Fleet,
) -> Clause:
    """The rule's scope and comparisons as one condition on the row called r."""
    kind = condition.kind
    # A Namespace is in itself: its row has a name and no namespace.
    column = "r.resource_name" if kind == KINDS["namespaces"] else "r.namespace"
    reached = scopes.reach(rule, fleet, kind)
    place = scopes.row_clause(reached, fleet, namespace=column)
    clauses = [place, *scopes.label_clauses(rule), conditions.where_clause(condition)]
    return conditions.all_of(clauses)


# --- objects --------------------------------------------------------------------------------------
# The documents of changed rows, read from their compressed form once for all rules.
_CHANGED = sql.SQL("""
WITH k AS (
  SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])
    AS k(cluster_id, namespace, resource_name)
), r AS MATERIALIZED (
  SELECT s.cluster_id, s.resource_type, s.namespace, s.resource_name, s.uid, s.change_time,
         s.data || '{{}}'::jsonb AS data
  FROM k JOIN storage_resource s
    ON s.cluster_id = k.cluster_id COLLATE "C" AND s.resource_type = %s
    AND s.namespace = k.namespace COLLATE "C" AND s.resource_name = k.resource_name COLLATE "C"
)
SELECT r.cluster_id, r.namespace, r.resource_name, r.change_time, {hits} FROM r
""")
_SCAN = sql.SQL("""
SELECT r.cluster_id, r.namespace, r.resource_name, r.change_time FROM storage_resource r
WHERE {clusters} AND r.type_key = {type_key} AND r.resource_type = {type} AND {where}
LIMIT %s
""")
_COUNT = sql.SQL("""
SELECT r.cluster_id, r.namespace, count(*) FROM storage_resource r
WHERE {clusters} AND r.type_key = {type_key} AND r.resource_type = {type} AND {where}
GROUP BY r.cluster_id, r.namespace
""")


def changed_matches(
    rules: Sequence[tuple[Rule, ObjectCondition]],
    type_name: str,
    keys: Sequence[Key],
    fleet: Fleet,
) -> tuple[dict[int, list[Match]], dict[int, str]]:
    """Of objects of one type that changed: rule's id -> matches, and rule's id -> what failed.

    One statement judges all rules; only when that fails is each asked by itself.
    """
    try:
        return _judge(rules, type_name, keys, fleet), {}
    except DatabaseError:
        log.info("the rules over %s are asked one by one", type_name)
    matches: dict[int, list[Match]] = {}
    failures: dict[int, str] = {}
    for rule, condition in rules:
        try:
            matches |= _judge([(rule, condition)], type_name, keys, fleet)
        except DatabaseError as error:
            failures[rule.pk] = _sentence(error)
    return matches, failures


def _judge(
    rules: Sequence[tuple[Rule, ObjectCondition]],
    type_name: str,
    keys: Sequence[Key],
    fleet: Fleet,
) -> dict[int, list[Match]]:
    clauses = [rule_clause(rule, condition, fleet) for rule, condition in rules]
    hits = sql.SQL("ARRAY[{}]").format(
        sql.SQL(", ").join(sql.SQL("({}) IS TRUE").format(clause.text) for clause in clauses)
    )
    params: list[Any] = [[key[part] for key in keys] for part in range(3)]
    params.append(type_name)
    for clause in clauses:
        params.extend(clause.params)
    matches: dict[int, list[Match]] = {rule.pk: [] for rule, _ in rules}
    for cluster, namespace, name, since, held in _rows(
        _CHANGED.format(hits=hits),
        params,
    ):
        if cluster not in fleet.ids:
            continue
        for (rule, condition), holds in zip(rules, held, strict=True):
            if holds:
                match = object_match(
                    condition,
                    fleet,
                    (cluster, namespace, name),
                    since,
                )
                matches[rule.pk].append(match)
    return matches


def object_match(
    condition: ObjectCondition,
    fleet: Fleet,
    key: Key,
    since: datetime,
    value: float = 1,
) -> Match:
    """The match of one object."""
    cluster, namespace, name = key
    labels = {"cluster": cluster, "kind": condition.kind.name, "name": name}
    if namespace:
        labels["namespace"] = namespace
    return Match(
        subject_of(condition.resource_type, key),
        since,
        fleet.ids[cluster],
        condition.kind.name,
        namespace,
        name,
        value,
        labels,
    )


def subject_of(type_name: str, key: Key) -> str:
    """The key by which a changed row recognises its alerts."""
    return "/".join((type_name, *key))


def scan(
    rule: Rule,
    condition: ObjectCondition,
    fleet: Fleet,
    now: datetime,
    limit: int,
) -> list[Match]:
    """Everything that the rule matches now, of at most `limit` objects.

    Each since its object last changed: it may have begun before, but not later.
    """
    if condition.count:
        return count_groups(rule, condition, fleet, now)
    clause = rule_clause(rule, condition, fleet)
    statement = _for_type(_SCAN, rule, condition, fleet, clause)
    rows = _rows(statement, [*clause.params, limit])
    return [
        object_match(condition, fleet, (cluster, namespace, name), min(now, changed))
        for cluster, namespace, name, changed in rows
        if cluster in fleet.ids
    ]


def _for_type(
    template: sql.SQL,
    rule: Rule,
    condition: ObjectCondition,
    fleet: Fleet,
    clause: Clause,
) -> sql.Composed:
    reached = scopes.reach(rule, fleet, condition.kind)
    # Names of clusters lead the index, also where the rule sees all of them.
    names = [fleet.names[pk] for pk in (fleet.names if reached is None else reached)]
    return template.format(
        clusters=sql.SQL("r.cluster_id = ANY ({})").format(sql.Literal(names or [""])),
        type_key=sql.Literal(condition.resource_type.lower()),
        type=sql.Literal(condition.resource_type),
        where=clause.text,
    )


def count_groups(
    rule: Rule,
    condition: ObjectCondition,
    fleet: Fleet,
    now: datetime,
    groups: Sequence[tuple[str, str]] | None = None,
) -> list[Match]:
    """The groups (cluster and namespace) whose number of matching objects fulfils the count.

    `groups`: only those; None is all that hold an object of the kind, and those that the rule
    names.
    """
    count = condition.count
    if count is None:
        return []
    clause = rule_clause(rule, condition, fleet)
    if groups is not None:
        clause = conditions.all_of([_in_groups(groups), clause])
    statement = _for_type(_COUNT, rule, condition, fleet, clause)
    params = list(clause.params)
    counted = {
        (cluster, namespace): int(number)
        for cluster, namespace, number in _rows(statement, params)
        if cluster in fleet.ids
    }
    for place in _places(rule, condition, fleet, groups):
        counted.setdefault(place, 0)
    selected = None if groups is None else set(groups)
    return [
        group_match(condition, fleet, place, now, number)
        for place, number in sorted(counted.items())
        if conditions.compare(number, count.op, count.value)
        and (selected is None or place in selected)
    ]


def _in_groups(groups: Iterable[tuple[str, str]]) -> Clause:
    places = sorted(groups)
    text = sql.SQL("(r.cluster_id, r.namespace) IN (SELECT * FROM unnest(%s::text[], %s::text[]))")
    return Clause(
        text,
        ([place[0] for place in places], [place[1] for place in places]),
    )


def _places(
    rule: Rule,
    condition: ObjectCondition,
    fleet: Fleet,
    groups: Sequence[tuple[str, str]] | None,
) -> set[tuple[str, str]]:
    """Where none may be a match too: what changed, and the namespaces that the rule names."""
    reached = scopes.reach(rule, fleet, condition.kind)
    _, namespaces = scopes.scope_of(rule)
    places: set[tuple[str, str]] = set()
    for pk, seen in (dict.fromkeys(fleet.names) if reached is None else reached).items():
        if not condition.kind.namespaced:
            places.add((fleet.names[pk], ""))
        for namespace in namespaces or ():
            if condition.kind.namespaced and (seen is None or namespace in seen):
                places.add((fleet.names[pk], namespace))
    for cluster, namespace in groups or ():
        pk = fleet.ids.get(cluster, 0)
        if pk and (reached is None or (pk in reached)):
            seen = None if reached is None else reached[pk]
            if seen is None or namespace in seen:
                places.add((cluster, namespace))
    return places


def group_match(
    condition: ObjectCondition,
    fleet: Fleet,
    place: tuple[str, str],
    now: datetime,
    number: float,
) -> Match:
    """The match of a group: a namespace of a cluster, or a cluster."""
    cluster, namespace = place
    labels = {"cluster": cluster, "kind": condition.kind.name}
    if namespace:
        labels["namespace"] = namespace
    subject = group_subject(condition, place)
    pk = fleet.ids[cluster]
    return Match(
        subject,
        now,
        pk,
        condition.kind.name,
        namespace,
        "",
        number,
        labels,
    )


def group_subject(condition: ObjectCondition, place: tuple[str, str]) -> str:
    """The key of a group's alerts."""
    return "/".join(("count", condition.resource_type, *place))


# --- Events ---------------------------------------------------------------------------------------
_EVENTS = sql.SQL("""
SELECT r.cluster_id, r.namespace,
       coalesce(r.data #>> '{{involvedObject,kind}}', ''),
       coalesce(r.data #>> '{{involvedObject,name}}', ''),
       coalesce(r.data ->> 'reason', ''), count(*), min(r.event_time), max(r.event_time)
FROM (
  SELECT e.*, coalesce(e.data #>> '{{involvedObject,namespace}}', '') AS namespace
  FROM storage_event e
  WHERE e.cluster_id = ANY (%s) AND e.event_time > %s
) r
WHERE {where} GROUP BY 1, 2, 3, 4, 5
""")


def event_matches(
    rule: Rule,
    condition: ObjectCondition,
    fleet: Fleet,
    now: datetime,
    since: datetime,
) -> list[Match]:
    """What the Events after `since` match: each object and reason, or where they are counted.

    Counted are reports: an Event that repeats itself is reported once more.
    """
    clause = rule_clause(rule, condition, fleet)
    reached = scopes.reach(rule, fleet, condition.kind)
    names = [fleet.names[pk] for pk in (fleet.names if reached is None else reached)]
    params: list[Any] = [names, since, *clause.params]
    rows = _rows(_EVENTS.format(where=clause.text), params)
    count = condition.count
    if count is None:
        return [_event_match(fleet, row, now) for row in rows if row[0] in fleet.ids]
    numbers: dict[tuple[str, str], int] = {}
    for cluster, namespace, _, _, _, number, *_ in rows:
        if cluster in fleet.ids:
            place = (cluster, namespace)
            numbers[place] = numbers.get(place, 0) + int(number)
    return [
        group_match(condition, fleet, place, now, number)
        for place, number in sorted(numbers.items())
        if conditions.compare(number, count.op, count.value)
    ]


def _event_match(
    fleet: Fleet,
    row: Sequence[Any],
    now: datetime,
) -> Match:
    cluster, namespace, kind, name, reason, number, first, _ = row
    labels = {"cluster": cluster, "kind": kind, "name": name, "reason": reason}
    if namespace:
        labels["namespace"] = namespace
    subject = "/".join(("event", cluster, namespace, kind, name, reason))
    pk = fleet.ids[cluster]
    since = min(first, now)
    return Match(subject, since, pk, kind, namespace, name, float(number), labels)


_ANY_EVENT_SINCE = "SELECT EXISTS (SELECT 1 FROM storage_event WHERE create_time > %s)"


def has_events_since(moment: datetime) -> bool:
    """Whether any Event was reported after that time."""
    return bool(_rows(sql.SQL(_ANY_EVENT_SINCE), [moment])[0][0])


_OF_TYPE = sql.SQL("""
SELECT r.cluster_id, r.namespace, r.resource_name, ({column})::text FROM storage_resource r
WHERE r.resource_type = {type} AND r.cluster_id = ANY (%s) AND {only} AND {place} LIMIT %s
""")


def rows_of_type(
    rule: Rule,
    kind: Kind,
    fleet: Fleet,
    *,
    column: str = "r.data",
    only: str = "true",
) -> list[tuple[str, str, str, str]]:
    """(cluster, namespace, name, JSON text) of the kind's objects that the rule sees.

    `column` and `only` are SQL of ours over the row called r.
    """
    reached = scopes.reach(rule, fleet, kind)
    clauses = [scopes.row_clause(reached, fleet), *scopes.label_clauses(rule)]
    place = conditions.all_of(clauses)
    statement = _OF_TYPE.format(
        column=sql.SQL(column),
        only=sql.SQL(only),
        type=sql.Literal(resource_type(kind)),
        place=place.text,
    )
    names = list(fleet.ids)
    return _rows(statement, [names, *place.params, settings.ALERT_LIMIT_PER_RULE])


def _rows(statement: sql.Composable, params: Sequence[Any]) -> list[Any]:
    """All rows of a statement that may take some seconds and no more."""
    with transaction.atomic(), connection.cursor() as cursor:
        limit = int(settings.ALERT_STATEMENT_SECONDS * 1000)
        cursor.execute("SET LOCAL statement_timeout = %s", [limit])
        cursor.execute(statement, params)
        rows: list[Any] = cursor.fetchall()
        cursor.execute("SET LOCAL statement_timeout = DEFAULT")
        return rows


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["the database refused the condition"])[0][:500]
