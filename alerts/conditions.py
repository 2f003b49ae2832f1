"""Conditions of rules: data that is parsed, bounded and compiled to SQL.

A path is a JSONPath without wildcards over unknown depth: `status.phase`,
`status.containerStatuses[*].restartCount`, `status.conditions[?(@.type=="Ready")].status`. The
same expression judges one changed row and all rows, so that the two cannot disagree.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from clusters.resource_types import is_secret_type, resource_type
from core.errors import Invalid
from storage_api.models import KindSync
from storage_api.query.conditions import Clause

MAX_TERMS = 20
MAX_PATH = 300
MAX_VALUE = 1000
MAX_VALUES = 100
MAX_PATTERN = 200
MAX_WINDOW = 7 * 86_400
# How long an Event counts where the condition does not say it.
EVENT_WINDOW = 600
OPERATORS = ("eq", "ne", "in", "gt", "ge", "lt", "le", "exists", "matches")
COMPARISONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "=", "ne": "<>"}
# What of a Secret may be asked for: nothing that holds its values.
_SECRET_MEMBERS = {"apiVersion", "kind", "type", "immutable", "metadata"}
METRICS: Mapping[str, frozenset[str]] = {
    "cluster": frozenset(
        {"up", "collector_lag_seconds", "credentials_expire_seconds", "cpu", "memory", "pods"}
    ),
    "tenant": frozenset({"used_percent"}),
    "quota": frozenset({"used_percent"}),
    "secret": frozenset({"certificate_expire_seconds"}),
}

DURATION = re.compile(r"(?:[0-9]{1,7}(?:ms|s|m|h|d|w))+\Z")
_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STEP = re.compile(
    r"""\.?(?:
      (?P<key>(?:[^.\[\]\\\s"'?@$*]|\\.)+)
    | \[(?P<any>\*)\]
    | \[(?P<place>[0-9]{1,4})\]
    | \[(?P<quote>['"])(?P<name>(?:(?!(?P=quote)).)+)(?P=quote)\]
    | \[\?\(?\s*@\.(?P<filter>[A-Za-z0-9_.-]+)\s*==\s*
        (?P<filter_quote>['"])(?P<value>[^'"\\]*)(?P=filter_quote)\s*\)?\]
    )""",
    re.VERBOSE,
)
# A reference back to a group makes the time of a match grow exponentially.
_BACK_REFERENCE = re.compile(r"\\[0-9]|\\k|\(\?")


def parse_duration(value: object, field: str) -> int:
    """Whole seconds from `5m`, `1h30m`, or a number of seconds; Invalid otherwise."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 366 * 86_400:
        return value
    if isinstance(value, str) and DURATION.match(value):
        seconds = sum(int(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(value))
        if seconds <= 366 * 86_400:
            return int(seconds)
    raise Invalid(
        f"{field} must be a duration such as 30s, 5m or 1h30m",
        field=field,
    )


def format_duration(seconds: int) -> str:
    """`5m`, `1h30m`, `0s`."""
    text = ""
    rest = int(seconds)
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison: a jsonpath, an operator, and what it is compared with."""

    path: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True)
class Count:
    """How many matching objects or Events (of the last `within` seconds) there must be."""

    op: str
    value: int
    within: int = 0


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a number of the object must have grown in the last `within` seconds."""

    path: str
    by: float
    within: int


@dataclass(frozen=True, slots=True)
class ObjectCondition:
    """A condition on objects of a kind, or on Events (`kind` Event)."""

    kind: Kind
    where: tuple[Term, ...]
    count: Count | None = None
    changed: Growth | None = None

    @property
    def resource_type(self) -> str:
        """Under which type the store keeps them."""
        return resource_type(self.kind)

    @property
    def window(self) -> int:
        """Of Events: how many seconds back they count."""
        return (self.count.within if self.count else 0) or EVENT_WINDOW


@dataclass(frozen=True, slots=True)
class MetricCondition:
    """A comparison of the newest sample of a metric."""

    metric: str
    of: str
    op: str
    value: float


@dataclass(frozen=True, slots=True)
class QueryCondition:
    """A PromQL query, whose vector's elements are the matches."""

    query: str


Condition = ObjectCondition | MetricCondition | QueryCondition


def parse(
    source: str,
    data: object,
    *,
    check: bool = True,
) -> Condition:
    """The condition of a rule of that source; Invalid with the member's path as `field`.

    `check`: whether PostgreSQL is asked if it takes the expressions.
    """
    members = _object(data, "condition")
    match source:
        case "state" | "event":
            return _parse_objects(source, members, check)
        case "metric":
            return _parse_metric(members)
    _refuse_unknown(members, {"query"}, "condition")
    return QueryCondition(_text(members.get("query"), "condition.query", 4096))


def _parse_objects(
    source: str,
    members: Mapping[str, Any],
    check: bool,
) -> ObjectCondition:
    _refuse_unknown(members, {"kind", "where", "count", "changed"}, "condition")
    kind = find_kind(members.get("kind") or ("Event" if source == "event" else ""))
    is_event = (kind.group, kind.plural) == ("", "events")
    if is_event != (source == "event"):
        raise Invalid(
            "source event is for the kind Event, source state for every other kind",
            field="condition.kind",
        )
    where = members.get("where", [])
    if not isinstance(where, list) or len(where) > MAX_TERMS:
        raise Invalid(
            f"condition.where must be a list of at most {MAX_TERMS} comparisons",
            field="condition.where",
        )
    terms = tuple(
        _parse_term(
            term,
            f"condition.where[{index}]",
            kind,
        )
        for index, term in enumerate(where)
    )
    count = (
        _parse_count(
            members["count"],
            is_event,
        )
        if members.get("count") is not None
        else None
    )
    growth = None
    if members.get("changed") is not None:
        if is_event or count:
            raise Invalid(
                "changed needs one object of source state",
                field="condition.changed",
            )
        growth = _parse_growth(members["changed"], kind)
    if not (terms or count or growth):
        raise Invalid(
            "the condition must compare something",
            field="condition.where",
        )
    condition = ObjectCondition(kind, terms, count, growth)
    if check:
        _try(condition)
    return condition


def _parse_term(data: object, field: str, kind: Kind) -> Term:
    members = _object(data, field)
    _refuse_unknown(members, {"path", "op", "value"}, field)
    path = compile_path(members.get("path"), f"{field}.path", kind)
    op = members.get("op", "eq")
    if op not in OPERATORS:
        raise Invalid(
            f"{field}.op must be one of {', '.join(OPERATORS)}",
            field=f"{field}.op",
        )
    value = members.get("value", True if op == "exists" else None)
    where = f"{field}.value"
    if op == "exists" and not isinstance(value, bool):
        raise Invalid(f"{where} must be true or false", field=where)
    if op == "in":
        if not isinstance(value, list) or not value or len(value) > MAX_VALUES:
            raise Invalid(
                f"{where} must be a list of 1 to {MAX_VALUES} values",
                field=where,
            )
        return Term(path, op, [_scalar(element, where) for element in value])
    if op == "matches":
        return Term(path, op, _pattern(value, where))
    value = _scalar(value, where)
    if op in ("gt", "ge", "lt", "le") and (value is None or isinstance(value, bool)):
        raise Invalid(f"{where} must be a number or text", field=where)
    return Term(path, op, value)


def _parse_count(data: object, is_event: bool) -> Count:
    members = _object(data, "condition.count")
    _refuse_unknown(
        members, {"op", "value", "within"} if is_event else {"op", "value"}, "condition.count"
    )
    op = _comparison(members.get("op", "ge"), "condition.count.op")
    value = members.get("value")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise Invalid(
            "condition.count.value must be a whole number",
            field="condition.count.value",
        )
    within = members.get("within")
    return Count(
        op,
        value,
        _window(within, "condition.count.within") if within is not None else 0,
    )


def _parse_growth(data: object, kind: Kind) -> Growth:
    members = _object(data, "condition.changed")
    _refuse_unknown(members, {"path", "by", "within"}, "condition.changed")
    path = compile_path(members.get("path"), "condition.changed.path", kind)
    by = _number(members.get("by", 1), "condition.changed.by")
    if by <= 0:
        raise Invalid(
            "condition.changed.by must be above 0",
            field="condition.changed.by",
        )
    return Growth(
        path,
        by,
        _window(members.get("within", "10m"), "condition.changed.within"),
    )


def _parse_metric(members: Mapping[str, Any]) -> MetricCondition:
    _refuse_unknown(members, {"metric", "of", "op", "value"}, "condition")
    of = members.get("of", "cluster")
    if not isinstance(of, str) or of not in METRICS:
        raise Invalid(
            f"condition.of must be one of {', '.join(METRICS)}",
            field="condition.of",
        )
    metric = members.get("metric")
    if not isinstance(metric, str) or metric not in METRICS[of]:
        names = ", ".join(sorted(METRICS[of]))
        raise Invalid(
            f"condition.metric of {of} must be one of {names}",
            field="condition.metric",
        )
    op = _comparison(members.get("op", "gt"), "condition.op")
    return MetricCondition(
        metric,
        of,
        op,
        _number(members.get("value"), "condition.value"),
    )


def find_kind(text: object) -> Kind:
    """The kind of a name as people write it (`Pod`, `pods`, `Widget.example.com`).

    Invalid for one that neither Kubernetes nor a collected cluster has.
    """
    if not isinstance(text, str) or not text or len(text) > MAX_PATH:
        raise Invalid("condition.kind is required", field="condition.kind")
    name = text.lower()
    for kind in KINDS.values():
        if name in kind.names or name == f"{kind.plural}.{kind.group}":
            return kind
    row = KindSync.objects.filter(resource_type__iexact=text).order_by("-id").first()
    if row is None and "." not in text:
        row = KindSync.objects.filter(kind__iexact=text).order_by("-id").first()
    if row is None:
        raise Invalid(f"there is no kind {text[:100]!r}", field="condition.kind")
    return Kind(row.kind, row.plural, row.group, row.version, row.namespaced)


def compile_path(text: object, field: str, kind: Kind) -> str:
    """PostgreSQL's jsonpath of a path; Invalid, also where it reaches values of a Secret."""
    path = _text(text, field, MAX_PATH).strip()
    path = path.removeprefix("{").removesuffix("}").removeprefix("$").removeprefix(".")
    place = 0
    compiled = "$"
    first = ""
    while place < len(path):
        # A second point would be a search at any depth.
        is_descent = path.startswith(".") if place == 0 else False
        step = None if is_descent else _STEP.match(path, place)
        if step is None or step.end() == place:
            raise Invalid(
                f"{field} cannot be read at {path[place : place + 40]!r}",
                field=field,
            )
        compiled += _compile_step(step)
        if place == 0:
            first = _key(step)
        place = step.end()
    if not first:
        raise Invalid(f"{field} must begin with a member's name", field=field)
    if is_secret_type(resource_type(kind)) and first not in _SECRET_MEMBERS:
        raise Invalid(
            f"{field}: the values of Secrets cannot be asked for",
            field=field,
        )
    return compiled


def _key(step: "re.Match[str]") -> str:
    if step["key"]:
        return re.sub(r"\\(.)", r"\1", step["key"])
    return step["name"] or ""


def _compile_step(step: "re.Match[str]") -> str:
    if step["any"]:
        return "[*]"
    if step["place"]:
        return f"[{int(step['place'])}]"
    if step["filter"]:
        inner = "".join(f".{json.dumps(key)}" for key in step["filter"].split("."))
        return f"[*] ? (@{inner} == {json.dumps(step['value'])})"
    return f".{json.dumps(_key(step))}"


# --- SQL ------------------------------------------------------------------------------------------
def term_clause(term: Term) -> Clause:
    """The comparison as a condition on the document r.data."""
    # In jsonpath a text is compared with texts and a number with numbers; all else is no match.
    reached = f"{term.path}[*]"
    match term.op:
        case "exists":
            test = Clause(
                sql.SQL("jsonb_path_exists(r.data, %s::jsonpath)"),
                (term.path,),
            )
            return test if term.value else _negate(test)
        case "in":
            choices = " || ".join(f"@ == {json.dumps(value)}" for value in term.value)
            return _exists(f"{reached} ? ({choices})")
        case "matches":
            return _exists(f"{reached} ? (@ like_regex {json.dumps(term.value)})")
        case "ne":
            # One element that differs is enough, and so is none at all.
            differs = _exists(f"{reached} ? (@ != {json.dumps(term.value)})")
            absent = Clause(
                sql.SQL("NOT jsonb_path_exists(r.data, %s::jsonpath)"),
                (term.path,),
            )
            text = sql.SQL("({} OR {})").format(differs.text, absent.text)
            return Clause(text, (*differs.params, *absent.params))
    operator = {"eq": "==", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}[term.op]
    return _exists(f"{reached} ? (@ {operator} {json.dumps(term.value)})")


def _exists(path: str) -> Clause:
    return Clause(sql.SQL("jsonb_path_exists(r.data, %s::jsonpath)"), (path,))


def _negate(clause: Clause) -> Clause:
    return Clause(sql.SQL("NOT {}").format(clause.text), clause.params)


# The sum of the numbers that a path reaches, now and in the log: the last state before the window,
# or where the object is younger, its first.
_GROWTH = sql.SQL("""
(SELECT coalesce(sum(n.value::numeric), 0)
 FROM jsonb_path_query(r.data, %s::jsonpath) AS n(value) WHERE jsonb_typeof(n.value) = 'number')
- coalesce((
  SELECT (SELECT coalesce(sum(n.value::numeric), 0)
          FROM jsonb_path_query(c.data, %s::jsonpath) AS n(value)
          WHERE jsonb_typeof(n.value) = 'number')
  FROM storage_change c
  WHERE c.cluster_id = r.cluster_id AND c.resource_type = r.resource_type
    AND c.namespace = r.namespace AND c.resource_name = r.resource_name
    AND c.uid IS NOT DISTINCT FROM r.uid
  ORDER BY (c.at <= clock_timestamp() - make_interval(secs => %s)) DESC,
    CASE WHEN c.at <= clock_timestamp() - make_interval(secs => %s) THEN -c.seq ELSE c.seq END
  LIMIT 1), 0) >= %s
""")


def where_clause(condition: ObjectCondition) -> Clause:
    """All comparisons of a condition on the row called r (without its count)."""
    clauses = [term_clause(term) for term in condition.where]
    if growth := condition.changed:
        path = f"{growth.path}[*]"
        params = (path, path, growth.within, growth.within, growth.by)
        clauses.append(Clause(_GROWTH, params))
    return all_of(clauses)


def all_of(clauses: list[Clause]) -> Clause:
    """Every one of the conditions."""
    if not clauses:
        return Clause(sql.SQL("true"))
    # CASE keeps the order: what is cheap is asked first, a look into the log last.
    text = sql.SQL(" AND ").join(sql.SQL("({})").format(clause.text) for clause in clauses)
    return Clause(
        text,
        tuple(param for clause in clauses for param in clause.params),
    )


def _try(condition: ObjectCondition) -> None:
    """Invalid when PostgreSQL does not take one of the expressions, such as a broken pattern."""
    for index, term in enumerate(condition.where):
        clause = term_clause(term)
        statement = sql.SQL("SELECT {} FROM (SELECT '{{}}'::jsonb AS data) r").format(clause.text)
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '2s'")
                cursor.execute(statement, clause.params)
                cursor.execute("SET LOCAL statement_timeout = DEFAULT")
        except DatabaseError:
            field = f"condition.where[{index}].value"
            raise Invalid(
                f"{field} is not an expression that can be used",
                field=field,
            ) from None


# --- members --------------------------------------------------------------------------------------
def _object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{field} must be an object", field=field)
    return value


def _refuse_unknown(
    members: Mapping[str, Any],
    known: set[str],
    field: str,
) -> None:
    for name in members:
        if name not in known:
            path = f"{field}.{name}"[:200]
            raise Invalid(f"unknown member {path!r}", field=path)


def _text(value: object, field: str, longest: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"{field} is required", field=field)
    if len(value) > longest or "\0" in value:
        raise Invalid(f"{field} must be at most {longest} characters", field=field)
    return value


def _scalar(value: object, field: str) -> Any:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise Invalid(
            f"{field} must be text, a number, true, false or null",
            field=field,
        )
    if isinstance(value, str) and (len(value) > MAX_VALUE or "\0" in value):
        raise Invalid(f"{field} must be at most {MAX_VALUE} characters", field=field)
    if isinstance(value, int | float) and not abs(value) < 10**18:
        raise Invalid(f"{field} is too large a number", field=field)
    return value


def _pattern(value: object, field: str) -> str:
    pattern = _text(value, field, MAX_PATTERN)
    if _BACK_REFERENCE.search(pattern):
        raise Invalid(
            f"{field} must not refer back to groups or look around",
            field=field,
        )
    return pattern


def _comparison(value: object, field: str) -> str:
    if not isinstance(value, str) or value not in COMPARISONS:
        raise Invalid(
            f"{field} must be one of {', '.join(COMPARISONS)}",
            field=field,
        )
    return value


def _number(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 10**18:
        raise Invalid(f"{field} must be a number", field=field)
    return float(value)


def _window(value: object, field: str) -> int:
    seconds = parse_duration(value, field)
    if not 1 <= seconds <= MAX_WINDOW:
        raise Invalid(f"{field} must be from 1s to 7d", field=field)
    return seconds


def compare(value: float, op: str, bound: float) -> bool:
    """Whether the comparison of a metric or a count holds."""
    match op:
        case "gt":
            return value > bound
        case "ge":
            return value >= bound
        case "lt":
            return value < bound
        case "le":
            return value <= bound
        case "eq":
            return value == bound
    return value != bound


def window_of(condition: Condition) -> timedelta | None:
    """After how long without a change the condition may have ended by itself; None for never."""
    if not isinstance(condition, ObjectCondition):
        return None
    if condition.changed:
        return timedelta(seconds=condition.changed.within)
    if condition.kind.plural == "events" and not condition.kind.group:
        return timedelta(seconds=condition.window)
    return None
