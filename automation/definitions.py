"""Tasks as people write them: reading a body, and showing a task."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from alerts.conditions import format_duration, parse_duration
from alerts.rules import require_entries
from automation import schedules, types
from automation.models import Run, Task
from automation.types.base import HIDDEN, TaskType
from clusters import registry
from clusters.kinds import quote_segment
from core.errors import ClusterNotFound, Invalid, NotFound
from core.times import rfc3339
from manifest_templates import values
from storage_api.query import selectors

MAX_NAME = 200
MAX_DESCRIPTION = 4000
MAX_NAMES = 500
MAX_SELECTOR = 4000
MAX_RETRIES = 10
MAX_SECONDS = 86_400
MAX_DEADLINE = 30 * 86_400
# The members of a task that a body may have.
FIELDS = (
    "name",
    "description",
    "type",
    "params",
    "targets",
    "schedule",
    "concurrency",
    "deadline",
    "timeout",
    "retries",
    "approval",
    "on_failure",
    "notify",
    "enabled",
)
TARGETS = ("clusters", "namespaces", "label_selector", "names")


def find(pk: object) -> Task:
    """The task by id; NotFound."""
    text = str(pk)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    row = Task.objects.select_related("owner").filter(pk=number).first()
    if row is None:
        raise NotFound("there is no such task")
    return row


def find_by_name(reference: str) -> Task:
    """The task by its id or name; NotFound, Invalid for a name that several have."""
    rows = list(Task.objects.select_related("owner").filter(name=reference)[:2])
    if len(rows) > 1:
        raise Invalid(f"several tasks are called {reference!r}; give the id")
    return rows[0] if rows else find(reference)


def params_of(row: Task | Run) -> dict[str, Any]:
    """The parameters as they are, with secrets."""
    params: dict[str, Any] = orjson.loads(row.params)
    return params


def apply_body(
    task: Task,
    body: Mapping[str, Any],
    now: datetime,
) -> Task:
    """The task with the body's members, not saved; Invalid with `field` for what is wrong.

    Members that the body leaves out stay as they are. `notify` is read elsewhere, as it depends on
    who asks.
    """
    kind_before = task.type
    readers: dict[str, Callable[[Any], Any]] = {
        "name": _name,
        "description": lambda value: _text(value, "description", MAX_DESCRIPTION),
        "type": lambda value: types.find(value if isinstance(value, str) else "").name,
        "targets": parse_targets,
        "concurrency": lambda value: _choice(
            value,
            "concurrency",
            Task.Concurrency.values,
        ),
        "on_failure": lambda value: _choice(
            value,
            "on_failure",
            Task.OnFailure.values,
        ),
        "approval": lambda value: _flag(value, "approval"),
        "enabled": lambda value: _flag(value, "enabled"),
        "retries": _retries,
    }
    for member, reader in readers.items():
        if member in body:
            setattr(task, member, reader(body[member]))
    if "schedule" in body and body["schedule"] != task.schedule:
        task.schedule = schedules.parse(body["schedule"], now)
    if "deadline" in body:
        task.deadline_seconds = _seconds(body["deadline"], "deadline", MAX_DEADLINE)
    if "timeout" in body:
        task.timeout_seconds = _seconds(
            body["timeout"],
            "timeout",
            MAX_SECONDS,
            smallest=1,
        )
    for member in ("name", "type"):
        if not getattr(task, member):
            raise Invalid(f"{member} is required", field=member)
    kind = types.find(task.type)
    if kind_before and task.type != kind_before and "params" not in body:
        raise Invalid("another type needs its own params", field="params")
    before = params_of(task) if task.params and task.type == kind_before else {}
    params = body.get("params", before)
    task.params = orjson.dumps(check_params(task.type, params, before)).decode()
    if task.on_failure == Task.OnFailure.ROLLBACK and not kind.supports_rollback:
        raise Invalid(f"{kind.name} cannot be rolled back", field="on_failure")
    if task.targets and not kind.has_targets:
        raise Invalid(f"{kind.name} has no targets", field="targets")
    return task


def check_params(
    type_name: str,
    params: object,
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The parameters with defaults; Invalid, whose field is `params.…`, for wrong ones.

    What an answer hid, and comes back as it was shown, is taken from `before`.
    """
    kind = types.find(type_name)
    if not isinstance(params, dict | None):
        raise Invalid("params must be an object", field="params")
    try:
        complete: dict[str, Any] = values.check_values(
            dict(kind.params_schema),
            _with_hidden(_as_stored(kind, params or {}, before or {}), before or {}),
        )
        _make_whole(kind, complete)
        kind.check(complete)
    except Invalid as error:
        field = str(error.details.get("field") or "")
        path = "params" if field in ("", "values") else f"params.{field}"
        if field.startswith("params"):
            path = field
        raise Invalid(error.message, **{**error.details, "field": path}) from None
    return complete


def _make_whole(kind: TaskType, params: dict[str, Any]) -> None:
    """Integers of the schema as such: JSON Schema takes 2.0 for one, and a slice does not."""
    for name, schema in kind.params_schema["properties"].items():
        if "integer" in schema.get("type", ()) and isinstance(params.get(name), float):
            params[name] = int(params[name])


def _as_stored(
    kind: TaskType,
    params: Mapping[str, Any],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The parameters with those of `before` that come back as an answer showed them."""
    shown = kind.shown(before) if before else {}
    return {
        name: before[name] if name in before and value == shown.get(name) else value
        for name, value in params.items()
    }


def _with_hidden(value: Any, before: Any) -> Any:
    """The value with what stands in `before` wherever it is only the sign of something hidden."""
    if value == HIDDEN:
        return before if before not in ({}, None) else value
    if isinstance(value, dict):
        old = before if isinstance(before, dict) else {}
        return {
            name: _with_hidden(
                member,
                old.get(name),
            )
            for name, member in value.items()
        }
    if isinstance(value, list):
        earlier = before if isinstance(before, list) and len(before) == len(value) else []
        return [
            _with_hidden(member, earlier[place] if earlier else None)
            for place, member in enumerate(value)
        ]
    return value


def parse_targets(value: object) -> dict[str, Any]:
    """Targets as they are stored; Invalid for unknown members, clusters and impossible names."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid("targets must be an object", field="targets")
    for name in value:
        if name not in TARGETS:
            raise Invalid(
                f"unknown member {f'targets.{name}'[:200]!r}",
                field=f"targets.{name}",
            )
    targets: dict[str, Any] = {}
    for member in ("clusters", "namespaces", "names"):
        names = value.get(member)
        if names is None:
            continue
        field = f"targets.{member}"
        require_entries(names, field)
        read = _cluster_ids if member == "clusters" else _names
        targets[member] = read(names, field)
    selector = value.get("label_selector")
    if selector not in (None, ""):
        text = _text(selector, "targets.label_selector", MAX_SELECTOR)
        if selectors.labels(text) is None:
            raise Invalid(
                "targets.label_selector is not a label selector such as app=web,tier!=db",
                field="targets.label_selector",
            )
        targets["label_selector"] = text
    return targets


def _cluster_ids(value: object, field: str) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise Invalid(
            f"{field} must be a list of at most {MAX_NAMES} ids",
            field=field,
        )
    ids = []
    for element in value:
        if isinstance(element, bool) or not isinstance(element, int | str):
            raise Invalid(f"{field} must hold ids of clusters", field=field)
        try:
            ids.append(registry.find(str(element)).pk)
        except ClusterNotFound as error:
            raise ClusterNotFound(error.message, field=field) from None
    return sorted(set(ids))


def _names(value: object, field: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise Invalid(
            f"{field} must be a list of at most {MAX_NAMES} names",
            field=field,
        )
    for name in value:
        if not isinstance(name, str) or not name or len(name) > 253:
            raise Invalid(f"{field} must hold names", field=field)
        quote_segment(name, field)
    return list(dict.fromkeys(value))


def _seconds(
    value: object,
    field: str,
    largest: int,
    *,
    smallest: int = 0,
) -> int:
    seconds = parse_duration(value, field)
    if not smallest <= seconds <= largest:
        raise Invalid(
            f"{field} must be from {format_duration(smallest)} to {format_duration(largest)}",
            field=field,
        )
    return seconds


def _name(value: object) -> str:
    name = _text(value, "name", MAX_NAME, required=True).strip()
    # It stands in subjects of mails, and on one line of a log.
    if not name.isprintable():
        raise Invalid("name must be one line of text", field="name")
    return name


def _retries(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
        raise Invalid(
            f"retries must be a number from 0 to {MAX_RETRIES}",
            field="retries",
        )
    return value


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


# --- answers --------------------------------------------------------------------------------------
def stopped_reason(task: Task) -> str:
    """Why an enabled task does not run; "" when it does."""
    if not task.owner.is_active:
        return f"its owner {task.owner.get_username()} is switched off"
    return task.stopped_reason


def represent(task: Task, last_run: Run | None = None) -> dict[str, Any]:
    """The task as JSON data, without secrets."""
    kind = types.TYPES.get(task.type)
    stopped = stopped_reason(task)
    upcoming = task.next_run_at if task.enabled and not stopped else None
    return {
        "id": task.pk,
        "name": task.name,
        "description": task.description,
        "type": task.type,
        "params": kind.shown(params_of(task)) if kind else {},
        "targets": task.targets,
        "schedule": task.schedule,
        "concurrency": task.concurrency,
        "deadline": format_duration(task.deadline_seconds),
        "timeout": format_duration(task.timeout_seconds),
        "retries": task.retries,
        "approval": task.approval,
        "on_failure": task.on_failure,
        "notify": sorted(channel.pk for channel in task.notify.all()),
        "enabled": task.enabled,
        "owner": task.owner.get_username(),
        "next_run_at": rfc3339(upcoming),
        "stopped": bool(stopped),
        "stopped_reason": stopped or None,
        "last_run": (
            {
                "id": last_run.pk,
                "state": last_run.state,
                "scheduled_at": rfc3339(last_run.scheduled_at),
                "finished_at": rfc3339(last_run.finished_at),
            }
            if last_run
            else None
        ),
        "created_at": rfc3339(task.created_at),
        "updated_at": rfc3339(task.updated_at),
    }


def represent_definition(run: Run) -> dict[str, Any]:
    """What the run does or did, as its task was when the run was made; without secrets."""
    definition = run.definition
    kind = types.TYPES.get(definition.get("type", run.task.type))
    return {
        "name": definition.get("name", run.task.name),
        "type": definition.get("type", run.task.type),
        "params": kind.shown(params_of(run)) if kind else {},
        "targets": definition.get("targets", {}),
        "on_failure": definition.get("on_failure", Task.OnFailure.STOP),
        "retries": definition.get("retries", 0),
        "timeout": format_duration(definition.get("timeout_seconds", 0)),
        "approval": definition.get("approval", run.decided_by is not None),
    }
