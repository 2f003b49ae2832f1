"""Rules as people write them: reading a body, saving, switching on and off, deleting."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Q

from alerts import conditions, lifecycle, presets, scopes
from alerts.handover import mark_groups_due
from alerts.models import Alert, Channel, Rule, Severity
from clusters import dns_names, registry
from core.errors import Invalid, NotFound
from core.times import rfc3339
from storage_api.services.sync import database_now
from tenants.models import Tenant

MAX_LABELS = 50
MAX_TEXT = 4000
MAX_NAMES = 200
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
# What the evaluation adds itself.
_OWN_LABELS = frozenset({"alertname", "severity"})
FIELDS = (
    "name",
    "description",
    "severity",
    "scope",
    "source",
    "condition",
    "for",
    "labels",
    "annotations",
    "no_data",
    "group_by",
    "repeat",
    "enabled",
)


def with_preset(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with what its `preset` says of members that it leaves out."""
    key = body.get("preset") or ""
    if not key:
        return dict(body)
    preset = next((preset for preset in presets.PRESETS if preset["id"] == key), None)
    if preset is None:
        raise Invalid(f"there is no preset {str(key)[:60]!r}", field="preset")
    return {**{name: preset[name] for name in preset if name != "id"}, **body}


def apply_body(rule: Rule, body: Mapping[str, Any]) -> Rule:
    """The rule with the body's members, not saved; Invalid with `field` for what is wrong.

    Members that the body leaves out stay as they are.
    """
    readers: dict[str, Callable[[Any], Any]] = {
        "name": _name,
        "description": lambda value: _text(value, "description", MAX_TEXT),
        "severity": lambda value: _choice(value, "severity", Severity.values),
        "source": lambda value: _choice(value, "source", Rule.Source.values),
        "scope": parse_scope,
        "labels": _labels,
        "annotations": _annotations,
        "no_data": lambda value: _choice(value, "no_data", Rule.NoData.values),
        "group_by": _group_by,
        "preset": lambda value: _text(value, "preset", 60),
    }
    for member, reader in readers.items():
        if member in body:
            setattr(rule, member, reader(body[member]))
    if "for" in body:
        rule.for_seconds = conditions.parse_duration(body["for"], "for")
    if "repeat" in body:
        rule.repeat_seconds = conditions.parse_duration(body["repeat"], "repeat")
        if rule.repeat_seconds < 60:
            raise Invalid("repeat must be at least 1m", field="repeat")
    if "enabled" in body:
        rule.enabled = _flag(body["enabled"], "enabled")
    if "condition" in body:
        rule.condition = body["condition"]
    for member in ("name", "source", "condition"):
        if not getattr(rule, member):
            raise Invalid(f"{member} is required", field=member)
    conditions.parse(rule.source, rule.condition)
    scopes.label_clauses(rule)
    return rule


def parse_scope(value: object) -> dict[str, Any]:
    """The scope of a rule; Invalid for unknown members, clusters and names of namespaces."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid("scope must be an object", field="scope")
    for name in value:
        if name not in ("clusters", "namespaces", "labelSelector"):
            raise Invalid(
                f"unknown member {f'scope.{name}'[:200]!r}",
                field=f"scope.{name}",
            )
    scope: dict[str, Any] = {}
    clusters = value.get("clusters")
    if clusters is not None:
        require_entries(clusters, "scope.clusters")
        scope["clusters"] = _cluster_ids(clusters)
    namespaces = value.get("namespaces")
    if namespaces is not None:
        require_entries(namespaces, "scope.namespaces")
        names = _names(namespaces, "scope.namespaces")
        if not all(dns_names.LABEL.match(name) for name in names):
            raise Invalid(
                "scope.namespaces must hold names",
                field="scope.namespaces",
            )
        scope["namespaces"] = names
    selector = value.get("labelSelector")
    if selector not in (None, ""):
        scope["labelSelector"] = _text(selector, "scope.labelSelector", MAX_TEXT)
    return scope


def require_entries(value: object, field: str) -> None:
    """Invalid for an empty list where a list chooses: only what is absent stands for all."""
    if value == []:
        raise Invalid(
            f"{field} is empty, which chooses nothing: leave it out to choose all",
            field=field,
        )


def _cluster_ids(value: object) -> list[int]:
    field = "scope.clusters"
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise Invalid(
            f"{field} must be a list of at most {MAX_NAMES} ids",
            field=field,
        )
    ids = []
    for element in value:
        if isinstance(element, bool) or not isinstance(element, int | str):
            raise Invalid(f"{field} must hold ids of clusters", field=field)
        ids.append(registry.find(str(element)).pk)
    return sorted(set(ids))


def channels_of(
    value: object,
    usable: Q,
    field: str = "channels",
) -> list[Channel]:
    """The channels that a body names by id, of those that the caller may use; Invalid."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise Invalid(f"{field} must be a list of ids", field=field)
    for element in value:
        if isinstance(element, bool) or not isinstance(element, int):
            raise Invalid(f"{field} must be a list of ids", field=field)
    rows = {row.pk: row for row in Channel.objects.filter(usable, pk__in=value)}
    missing = [pk for pk in value if pk not in rows]
    if missing:
        raise Invalid(f"there is no channel {missing[0]}", field=field)
    return list(rows.values())


def find(pk: str | int) -> Rule:
    """The rule; NotFound."""
    text = str(pk)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    row = Rule.objects.select_related("owner", "tenant").filter(pk=number).first()
    if row is None:
        raise NotFound("there is no such rule")
    return row


def save(rule: Rule, channels: Iterable[Channel] | None) -> Rule:
    """Save a rule; the next turn of the evaluation looks at everything for it once."""
    with transaction.atomic():
        if rule.pk:
            rule.generation += 1
            rule.evaluate_at = None
            rule.last_error = ""
        rule.save()
        if channels is not None:
            rule.channels.set(channels)
            # A channel that is new to the rule hears of what fires already.
            firing = rule.alerts.filter(state=Alert.State.FIRING).values_list(
                "pk",
                flat=True,
            )
            mark_groups_due(firing, database_now())
        if not rule.enabled:
            lifecycle.resolve_rule(rule, database_now(), "the rule was switched off")
    return rule


def switch(rule: Rule, enabled: bool) -> Rule:
    """Switch a rule on or off; switched off, its alerts are resolved."""
    if rule.enabled != enabled:
        rule.enabled = enabled
        save(rule, None)
    return rule


def delete(rule: Rule) -> None:
    """Delete a rule; its alerts are resolved first and stay in the history."""
    with transaction.atomic():
        lifecycle.resolve_rule(rule, database_now(), "the rule was deleted")
        rule.delete()


def represent(rule: Rule, counts: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The rule as JSON data; `counts` are of its alerts by state."""
    counts = counts or {}
    state = "inactive"
    if counts.get("pending"):
        state = "pending"
    if counts.get("firing"):
        state = "firing"
    return {
        "id": rule.pk,
        "name": rule.name,
        "description": rule.description,
        "severity": rule.severity,
        "scope": rule.scope,
        "source": rule.source,
        "condition": rule.condition,
        "for": conditions.format_duration(rule.for_seconds),
        "labels": rule.labels,
        "annotations": rule.annotations,
        "no_data": rule.no_data,
        "tasks": rule.tasks,
        "channels": sorted(channel.pk for channel in rule.channels.all()),
        "group_by": rule.group_by,
        "repeat": conditions.format_duration(rule.repeat_seconds),
        "enabled": rule.enabled,
        "preset": rule.preset,
        "tenant_id": rule.tenant_id,
        "owner": rule.owner.get_username(),
        "state": state,
        "pending": counts.get("pending", 0),
        "firing": counts.get("firing", 0),
        "created_at": rfc3339(rule.created_at),
        "updated_at": rfc3339(rule.updated_at),
        "last_evaluated_at": rfc3339(rule.last_evaluated_at),
        "last_error": rule.last_error,
    }


def count_alerts(rules: Iterable[Rule]) -> dict[int, dict[str, int]]:
    """Rule's id -> how many of its alerts are pending and firing."""
    rows = Alert.objects.filter(rule__in=list(rules)).exclude(state=Alert.State.RESOLVED)
    counts: dict[int, dict[str, int]] = {}
    for pk, state in rows.values_list("rule_id", "state"):
        by_state = counts.setdefault(pk or 0, {})
        by_state[state] = by_state.get(state, 0) + 1
    return counts


def find_tenant(value: object) -> Tenant:
    """The tenant by id; Invalid."""
    if isinstance(value, int) and not isinstance(value, bool):
        row = Tenant.objects.select_related("cluster").filter(pk=value).first()
        if row is not None:
            return row
    raise Invalid("there is no such tenant", field="tenant_id")


# --- members --------------------------------------------------------------------------------------
def _text(
    value: object,
    field: str,
    longest: int,
    *,
    required: bool = False,
) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Invalid(f"{field} must be text", field=field)
    if required and not value.strip():
        raise Invalid(f"{field} is required", field=field)
    if len(value) > longest:
        raise Invalid(f"{field} must be at most {longest} characters", field=field)
    return value


def _name(value: object) -> str:
    name = _text(value, "name", 200, required=True)
    if not name.isprintable():
        raise Invalid("name must be one line of text", field="name")
    return name


def _choice(
    value: object,
    field: str,
    choices: Iterable[str],
) -> str:
    if not isinstance(value, str) or value not in set(choices):
        raise Invalid(f"{field} must be one of {', '.join(choices)}", field=field)
    return value


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid(f"{field} must be true or false", field=field)
    return value


def _names(value: object, field: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise Invalid(
            f"{field} must be a list of at most {MAX_NAMES} names",
            field=field,
        )
    if not all(isinstance(name, str) for name in value):
        raise Invalid(f"{field} must hold texts", field=field)
    return sorted(set(value))


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
        _text(text, f"{field}.{name}", MAX_TEXT)
    return dict(value)


def _labels(value: object) -> dict[str, str]:
    labels = _texts(value, "labels")
    for name in _OWN_LABELS & labels.keys():
        raise Invalid(
            f"the label {name} is set by the rule itself",
            field=f"labels.{name}",
        )
    return labels


def _annotations(value: object) -> dict[str, str]:
    return _texts(value, "annotations")


def _group_by(value: object) -> list[str]:
    names = _names(value, "group_by") if value is not None else []
    if not all(_LABEL.match(name) for name in names):
        raise Invalid("group_by must hold names of labels", field="group_by")
    return names
