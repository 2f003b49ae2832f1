"""Rules as PrometheusRule objects, as the Prometheus operator reads them, both ways."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from alerts import annotations as templates
from alerts.conditions import format_duration
from alerts.label_conventions import severity_of
from alerts.models import Rule
from clusters import yamlreader
from clusters.manifests import to_yaml
from core.errors import Invalid

API_VERSION = "monitoring.coreos.com/v1"
MOST_RULES = 500
_RULE_MEMBERS = frozenset(
    {"alert", "expr", "for", "labels", "annotations"},
)
_GROUP_MEMBERS = frozenset({"name", "rules"})


@dataclass(frozen=True, slots=True)
class ImportedRule:
    """A rule of a text as a body of ours."""

    group: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Omission:
    """What cannot be taken over, and why."""

    group: str
    rule: str
    what: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """The omission for an answer."""
        return {
            "group": self.group,
            "rule": self.rule,
            "what": self.what,
            "reason": self.reason,
        }


# --- out ------------------------------------------------------------------------------------------
def export(rules: Iterable[Rule]) -> str:
    """A PrometheusRule of the promql rules; comments name those that have no query."""
    taken = []
    head = ""
    for rule in rules:
        if rule.source == Rule.Source.PROMQL:
            taken.append(_represent(rule))
        else:
            # In quotes, so that no name can end the comment.
            head += f"# left out: {rule.name!r} has the source {rule.source}\n"
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "PrometheusRule",
        "metadata": {"name": "kubegale"},
        "spec": {"groups": [{"name": "kubegale", "rules": taken}] if taken else []},
    }
    return head + to_yaml(manifest)


def _represent(rule: Rule) -> dict[str, Any]:
    shown: dict[str, Any] = {"alert": rule.name, "expr": rule.condition.get("query", "")}
    if rule.for_seconds:
        shown["for"] = format_duration(rule.for_seconds)
    shown["labels"] = {"severity": rule.severity, **rule.labels}
    annotations = dict(rule.annotations)
    if rule.description:
        annotations.setdefault(
            "description",
            rule.description,
        )
    if annotations:
        shown["annotations"] = annotations
    return shown


# --- in -------------------------------------------------------------------------------------------
def read(content: object) -> tuple[list[ImportedRule], list[Omission]]:
    """The rules of a text and what cannot be taken over; Invalid for a text that is none.

    A text holds PrometheusRules, Lists of them, or a rule file of Prometheus (`groups:`).
    """
    if not isinstance(content, str) or not content.strip():
        raise Invalid("content must be YAML", field="content")
    yamlreader.check_size(content, "content")
    rules: list[ImportedRule] = []
    omissions: list[Omission] = []
    try:
        documents = [part.value for part in yamlreader.parse(content)]
    except (yaml.YAMLError, ValueError, Invalid) as error:
        sentence = error.message if isinstance(error, Invalid) else str(error).splitlines()[0]
        raise Invalid(
            f"content is not YAML: {sentence}"[:300],
            field="content",
        ) from None
    for group in _groups(documents, omissions):
        _read_group(group, rules, omissions)
        if len(rules) > MOST_RULES:
            raise Invalid(
                f"content holds more than {MOST_RULES} rules",
                field="content",
            )
    return rules, omissions


def _groups(
    documents: Iterable[Any],
    omissions: list[Omission],
) -> Iterator[Mapping[str, Any]]:
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise Invalid(
                "content must hold PrometheusRules",
                field="content",
            )
        kind = document.get("kind")
        if kind in ("List", "PrometheusRuleList"):
            items = document.get("items")
            yield from _groups(
                items if isinstance(items, list) else [],
                omissions,
            )
            continue
        if kind not in (None, "PrometheusRule"):
            omissions.append(
                Omission("", "", f"kind {kind}"[:200], "it is no PrometheusRule"),
            )
            continue
        holder = document if kind is None else document.get("spec")
        groups = holder.get("groups") if isinstance(holder, dict) else None
        if not isinstance(groups, list):
            raise Invalid(
                "content has no spec.groups",
                field="content",
            )
        for group in groups:
            if not isinstance(group, dict):
                raise Invalid(
                    "a group must be an object",
                    field="content",
                )
            yield group


def _read_group(
    group: Mapping[str, Any], rules: list[ImportedRule], omissions: list[Omission]
) -> None:
    name = str(group.get("name", ""))[:200]
    omissions += [
        Omission(
            name,
            "",
            str(member)[:200],
            "groups have no such member here",
        )
        for member in group
        if member not in _GROUP_MEMBERS
    ]
    items = group.get("rules")
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            omissions.append(
                Omission(name, "", "rule", "a rule must be an object"),
            )
        elif "record" in item:
            title = str(item["record"])[:200]
            omissions.append(
                Omission(name, title, "rule", "recording rules are Prometheus' own"),
            )
        elif not item.get("alert") or not item.get("expr"):
            title = str(item.get("alert", ""))[:200]
            omissions.append(
                Omission(name, title, "rule", "alert and expr are required"),
            )
        else:
            rules.append(
                ImportedRule(name, _read_rule(name, item, omissions)),
            )


def _read_rule(
    group: str,
    item: Mapping[str, Any],
    omissions: list[Omission],
) -> dict[str, Any]:
    title = str(item["alert"])[:200]
    omissions += [
        Omission(
            group,
            title,
            str(member)[:200],
            "rules have no such member here",
        )
        for member in item
        if member not in _RULE_MEMBERS
    ]
    labels = _texts(item.get("labels"))
    labels.pop("alertname", None)
    severity = labels.pop("severity", "")
    known = severity_of(severity)
    if severity and known is None:
        reason = "severities are info, warning and critical; it counts as warning"
        omissions.append(
            Omission(group, title, f"severity {severity}"[:200], reason),
        )
    annotations = _texts(item.get("annotations"))
    for name, text in {**labels, **annotations}.items():
        for expression in templates.unsupported(text):
            reason = "the expression stays as it stands"
            omissions.append(
                Omission(group, title, f"{name}: {expression}"[:200], reason),
            )
    return {
        "name": title,
        "source": "promql",
        "severity": known or "warning",
        "condition": {"query": str(item["expr"]).strip()},
        "for": item.get("for") or "0s",
        "labels": labels,
        "annotations": annotations,
    }


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(name): _text(text) for name, text in value.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
