"""The form of a task: parameters by the schema of its type, and everything else around them.

What a task may be is the API's to decide: the form only turns texts into values.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from django.http import QueryDict
from django.utils.translation import gettext as _

from clusters.manifests import MASK, to_yaml
from console import choice_labels
from console.api_client import ApiRefusal
from console.editing.value_forms import WORDS, Schema, read_values
from console.messages import translate_message
from core.api.parsing import WHOLE_NUMBER

# Values that are a text or a document: as fields they are texts, however they are stored.
DOCUMENTS = frozenset({"content", "body"})
LONG = 500_000
NEW_TASK: Mapping[str, Any] = {
    "name": "",
    "description": "",
    "params": {},
    "targets": {},
    "schedule": None,
    "concurrency": "forbid",
    "deadline": "10m",
    "timeout": "1h",
    "retries": 0,
    "approval": False,
    "on_failure": "stop",
    "notify": [],
    "enabled": True,
}


# --- parameters -----------------------------------------------------------------------------------
def param_schema(kind: Mapping[str, Any], templates: Iterable[Mapping[str, Any]] = ()) -> Schema:
    """The schema of a type's parameters with texts in the viewer's language.

    `templates` are those that the person may deploy: their names stand for the ids.
    """
    schema = {**kind["params_schema"], "properties": {}}
    for name, part in kind["params_schema"].get("properties", {}).items():
        row = dict(part)
        for member in ("title", "description"):
            if row.get(member):
                row[member] = _(row[member])
        if name in DOCUMENTS:
            row |= {"type": "string", "maxLength": LONG}
            row.pop("default", None)
        add_words(name, row)
        if name == "min_age":
            row["type"] = "string"
        if name == "template_id":
            names = {str(template["id"]): _template_name(template) for template in templates}
            row |= {"enum": [int(id) for id in names], WORDS: names}
        schema["properties"][name] = row
    return schema


def _template_name(template: Mapping[str, Any]) -> str:
    name: str = template["name"]
    return translate_message(name) if template.get("built_in") else name


def add_words(parameter: str, schema: dict[str, Any]) -> None:
    """Give the choices of a parameter, or of its elements, the words of the page."""
    items = schema.get("items")
    if isinstance(items, Mapping) and "enum" in items:
        inner = dict(items)
        add_words(parameter, inner)
        schema["items"] = inner
    if isinstance(schema.get("enum"), list):
        choices = [value for value in schema["enum"] if isinstance(value, str)]
        schema[WORDS] = {value: choice_labels.task_choice(parameter, value) for value in choices}


def param_rows(
    kind: Mapping[str, Any],
    params: Mapping[str, Any],
) -> list[tuple[str, str, bool]]:
    """The parameters of a task for people: (title, text, whether it has several lines)."""
    schemas = kind["params_schema"].get("properties", {})
    rows = []
    for name, value in params.items():
        title = (schemas.get(name) or {}).get("title") or name
        text = _param_text(name, value)
        rows.append((_(title), text, "\n" in text))
    return rows


def _param_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, str):
        return choice_labels.task_choice(name, value)
    if isinstance(value, list) and all(isinstance(element, str) for element in value):
        return ", ".join(choice_labels.task_choice(name, element) for element in value)
    return to_yaml(value).strip() if isinstance(value, dict | list) else str(value)


def shown_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as the fields of the form take them."""
    texts = {
        name: value if isinstance(value, str) else to_yaml(value)
        for name, value in params.items()
        if name in DOCUMENTS and value is not None
    }
    return {name: value for name, value in params.items() if name not in DOCUMENTS} | texts


def read_params(schema: Schema, posted: QueryDict) -> dict[str, Any]:
    """The parameters that were entered; hidden ones that were left alone are masks.

    ApiRefusal with `params.…` as its field for a text that is no such value.
    """
    try:
        params = read_values(schema, posted)
    except ApiRefusal as refusal:
        details = {**refusal.details, "field": f"params.{refusal.details.get('field', '')}"}
        raise ApiRefusal(refusal.code, refusal.message, details, refusal.status) from None
    for place in posted.getlist("kept"):
        if place in schema["properties"]:
            params.setdefault(place, MASK)
    if isinstance(params.get("body"), str):
        params["body"] = _json_or_text(params["body"])
    return params


def _json_or_text(text: str) -> Any:
    """An object or a list that was written as JSON; the text itself for everything else."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


# --- everything else ------------------------------------------------------------------------------
def task_values(task: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """The texts of the form for a task; `zone` is that of a schedule that has none yet."""
    targets = task["targets"]
    schedule = task["schedule"] or {}
    when = "none"
    if schedule:
        when = "at" if "at" in schedule else "cron"
    return {
        **task,
        "clusters": [str(cluster) for cluster in targets.get("clusters") or []],
        "namespaces": ", ".join(targets.get("namespaces") or []),
        "label_selector": targets.get("label_selector") or "",
        "names": ", ".join(targets.get("names") or []),
        "when": when,
        "cron": schedule.get("cron", ""),
        "timezone": schedule.get("timezone", zone),
        "at": schedule.get("at", ""),
        "notify": [str(channel) for channel in task["notify"]],
    }


def entered_values(posted: QueryDict) -> dict[str, Any]:
    """The texts of the form as they were entered, to be shown again."""
    return {
        **{name: posted.get(name, "") for name in posted},
        "clusters": posted.getlist("clusters"),
        "notify": posted.getlist("notify"),
    }


def read_task(
    posted: QueryDict,
    kind: Mapping[str, Any],
    schema: Schema,
    *,
    zone: ZoneInfo,
) -> dict[str, Any]:
    """The task as the API takes it; ApiRefusal with its field for what cannot be read."""
    retries = _text(posted, "retries") or "0"
    return {
        "name": _text(posted, "name"),
        "description": posted.get("description", "").replace("\r\n", "\n").strip(),
        "type": kind["name"],
        "params": read_params(schema, posted),
        "targets": _read_targets(posted) if kind["has_targets"] else {},
        "schedule": read_schedule(posted, zone),
        "concurrency": posted.get("concurrency", "forbid"),
        "deadline": _text(posted, "deadline") or "10m",
        "timeout": _text(posted, "timeout") or "1h",
        "retries": int(retries) if WHOLE_NUMBER.match(retries) else retries,
        "approval": "approval" in posted,
        "on_failure": posted.get("on_failure", "stop"),
        "notify": [int(id) for id in posted.getlist("notify") if id.isdecimal()],
        "enabled": "enabled" in posted,
    }


def _read_targets(posted: QueryDict) -> dict[str, Any]:
    targets: dict[str, Any] = {}
    if clusters := posted.getlist("clusters"):
        targets["clusters"] = [int(id) if id.isdecimal() else id for id in clusters]
    for name in ("namespaces", "names"):
        words = posted.get(name, "").replace(",", "\n").splitlines()
        if names := [word.strip() for word in words if word.strip()]:
            targets[name] = names
    if selector := _text(posted, "label_selector"):
        targets["label_selector"] = selector
    return targets


def read_schedule(posted: QueryDict, zone: ZoneInfo) -> dict[str, str] | None:
    """The schedule that was entered; a moment without an offset is one of the viewer's zone."""
    match posted.get("when"):
        case "cron":
            return {"cron": _text(posted, "cron"), "timezone": _text(posted, "timezone") or "UTC"}
        case "at":
            return {"at": _moment(_text(posted, "at"), zone)}
    return None


def _moment(text: str, zone: ZoneInfo) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo else moment.replace(tzinfo=zone).isoformat()


def _text(posted: QueryDict, name: str) -> str:
    return posted.get(name, "").strip()


def field_place(field: str) -> str:
    """Where the form shows what the API says about a field.

    Parameters have the places of their values, everything else begins with `task:`: a parameter
    may be called as a member of the task is.
    """
    inner = field.removeprefix("params.")
    return inner if inner != field else f"task:{field}"
