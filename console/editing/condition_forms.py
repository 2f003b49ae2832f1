"""The condition of an alert rule as the fields of a form, and back.

What a condition may be is the API's to decide: the form only turns texts into values.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from clusters.manifests import read_mapping, to_yaml
from console.api_client import ApiRefusal
from console.messages import translate_message
from core.errors import Invalid

# Python's reader takes these for numbers, JSON does not.
NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})
# Rows of comparisons that stand empty below those that are filled in.
EMPTY_ROWS = 2
MIN_ROWS = 3
MAX_ROWS = 20


@dataclass(frozen=True, slots=True)
class ConditionFields:
    """The fields of one condition; every value is the text of its input.

    `where` are (path, op, value); `metric` is `of/metric`.
    """

    kind: str = ""
    where: tuple[tuple[str, str, str], ...] = ()
    count_op: str = "ge"
    count_value: str = ""
    count_within: str = ""
    changed_path: str = ""
    changed_by: str = ""
    changed_within: str = ""
    metric: str = "cluster/up"
    metric_op: str = "gt"
    metric_value: str = ""
    query: str = ""

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The comparisons with empty rows below them."""
        count = min(max(len(self.where) + EMPTY_ROWS, MIN_ROWS), MAX_ROWS)
        empty = [("", "eq", "")] * (count - len(self.where))
        return [*self.where, *empty]


def fields_of(source: str, condition: Mapping[str, Any]) -> ConditionFields | None:
    """The fields that say the same as a condition; None for one that no fields can say."""
    match source:
        case "metric":
            return ConditionFields(
                metric=f"{condition.get('of', 'cluster')}/{condition.get('metric', '')}",
                metric_op=str(condition.get("op", "gt")),
                metric_value=value_text(condition.get("value", "")),
            )
        case "promql":
            return ConditionFields(query=str(condition.get("query", "")))
    where = condition.get("where") or []
    count = condition.get("count") or {}
    changed = condition.get("changed") or {}
    if not isinstance(where, list):
        return None
    if not all(isinstance(part, Mapping) for part in (*where, count, changed)):
        return None
    terms = tuple(
        (
            str(term.get("path", "")),
            str(term.get("op", "eq")),
            value_text(term.get("value", "")),
        )
        for term in where
    )
    return ConditionFields(
        kind=str(condition.get("kind", "")),
        where=terms,
        count_op=str(count.get("op", "ge")),
        count_value=value_text(count.get("value", "")),
        count_within=value_text(count.get("within", "")),
        changed_path=str(changed.get("path", "")),
        changed_by=value_text(changed.get("by", "")),
        changed_within=value_text(changed.get("within", "")),
    )


def read_fields(post: QueryDict) -> dict[str, Any]:
    """The condition that the fields of a form say, by the form's source."""
    source = post.get("source", "")
    if source == "metric":
        of, _slash, metric = post.get("metric", "").partition("/")
        return {
            "of": of,
            "metric": metric,
            "op": post.get("metric_op", "gt"),
            "value": parse_value(_text(post, "metric_value")),
        }
    if source == "promql":
        return {"query": post.get("query", "").replace("\r\n", "\n").strip()}
    condition: dict[str, Any] = {"where": _read_terms(post)}
    if source == "state":
        condition["kind"] = _text(post, "kind")
    else:
        condition["kind"] = "Event"
    if count := _text(post, "count_value"):
        condition["count"] = {
            "op": post.get("count_op", "ge"),
            "value": parse_value(count),
        }
        within = _text(post, "count_within")
        if within and source == "event":
            condition["count"]["within"] = within
    if source == "state" and (path := _text(post, "changed_path")):
        changed: dict[str, Any] = {"path": path}
        if by := _text(post, "changed_by"):
            changed["by"] = parse_value(by)
        if within := _text(post, "changed_within"):
            changed["within"] = within
        condition["changed"] = changed
    return condition


def entered_fields(post: QueryDict) -> ConditionFields:
    """The fields as they were entered, to be shown again."""
    rows = zip(
        post.getlist("path"),
        post.getlist("op"),
        post.getlist("value"),
        strict=False,
    )
    names = [field.name for field in dataclasses.fields(ConditionFields) if field.name != "where"]
    return ConditionFields(
        where=tuple(row for row in rows if row[0].strip()),
        **{name: post.get(name, "") for name in names},
    )


def _read_terms(post: QueryDict) -> list[dict[str, Any]]:
    """The comparisons with a path."""
    rows = zip(
        post.getlist("path"),
        post.getlist("op"),
        post.getlist("value"),
        strict=False,
    )
    terms = []
    for path, op, text in rows:
        if not path.strip():
            continue
        value: Any = parse_value(text.strip())
        if op == "in" and not isinstance(value, list):
            words = text.split(",")
            value = [parse_value(word.strip()) for word in words if word.strip()]
        if op == "exists" and value == "":
            value = True
        if op == "matches":
            # A pattern of digits is still a pattern.
            value = text
        terms.append({"path": path.strip(), "op": op, "value": value})
    return terms


def _text(post: QueryDict, name: str) -> str:
    return post.get(name, "").strip()


def parse_value(text: str) -> Any:
    """The value of a text: JSON where it is JSON, else the text itself.

    So `3` is a number, `"3"` and `True` are texts, as conditions of Kubernetes need them.
    """
    if text in NO_NUMBERS:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def value_text(value: Any) -> str:
    """The text that `parse_value` reads as the value."""
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def read_yaml(text: str, field: str) -> Any:
    """A mapping that was entered as YAML or JSON; {} for nothing; ApiRefusal for anything else."""
    if not text.strip():
        return {}
    try:
        return read_mapping(text)
    except Invalid as error:
        message = translate_message(error.message)
        raise ApiRefusal(1001, message, {"field": field}, 400) from None


def read_texts(text: str, field: str) -> dict[str, str]:
    """Labels or annotations that were entered as YAML; numbers and booleans become texts."""
    texts = {}
    for name, value in read_yaml(text, field).items():
        texts[str(name)] = value if isinstance(value, str) else value_text(value)
    return texts


def yaml_of(data: Mapping[str, Any]) -> str:
    """A mapping as YAML for a field; "" for an empty one."""
    return to_yaml(dict(data)) if data else ""
