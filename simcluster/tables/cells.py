"""Cells of tables: ages, amounts, and the one-word status of a pod."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simcluster import clock
from simcluster.resources import Object

NONE = "<none>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True)
class Column:
    """One column: its heading, and how to fill it."""

    name: str
    cell: Callable[[Object], Any]
    priority: int = 0
    type: str = "string"
    format: str = ""
    description: str = ""

    @classmethod
    def of_path(cls, document: Object) -> "Column":
        """A custom resource's printer column."""
        path = document["jsonPath"]
        kind = document["type"]
        return cls(
            document["name"],
            lambda obj: _path_cell(obj, path, kind),
            priority=document.get("priority", 0),
            type=kind,
            format=document.get("format", ""),
            description=document.get(
                "description",
                f"Custom resource definition column (in JSONPath format): {path}",
            ),
        )


def _list_item(items: list[Any], key: str) -> Any:
    """The item that `[0]` or `[?(@.type=="Ready")]` names; None without one."""
    test = re.match(r'\?\(@\.(\w+)\s*==\s*["\'](.+?)["\']\)', key)
    if test is not None:
        name, expected = test.groups()
        for item in items:
            if item.get(name) == expected:
                return item
    if key.isdigit() and int(key) < len(items):
        return items[int(key)]
    return None


def _path_cell(obj: Object, path: str, kind: str) -> Any:
    value: Any = obj
    for part in re.findall(r"\.([^.\[\]]+)|\[([^\]]+)\]", path):
        key = part[0] or part[1].strip("'\"")
        if isinstance(value, list):
            value = _list_item(value, key)
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            value = None
    if kind == "date":
        try:
            return age_of(value)
        except (ValueError, TypeError):
            # A field of a custom kind may hold any text.
            return "<invalid>"
    return value if value is not None or kind in ("integer", "boolean", "number") else ""


def duration(seconds: float) -> str:
    """A span as kubectl shows it: `54s`, `5m3s`, `3h`, `2d4h`."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 120:
        return f"{max(total, 0)}s"
    minutes, rest = divmod(total, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def age_of(stamp: Any) -> str:
    """The age of a timestamp."""
    if not stamp:
        return UNKNOWN
    return duration((datetime.now(UTC) - clock.parse(str(stamp))).total_seconds())


def age(obj: Object) -> str:
    """The age of an object."""
    return age_of(obj["metadata"].get("creationTimestamp"))


def field_reader(path: str, default: Any = NONE) -> Callable[[Object], Any]:
    """A cell out of a dotted path."""

    def cell(obj: Object) -> Any:
        value: Any = obj
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None or value == "" else value

    return cell


def pod_status(pod: Object) -> str:
    """The STATUS column of a pod."""
    meta = pod["metadata"]
    status = pod.get("status", {})
    reason = status.get("reason") or status.get("phase", "Pending")
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    starting = _init_status(pod)
    reason = starting or _containers_status(status, reason)
    if meta.get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(reason)


def _init_status(pod: Object) -> str:
    statuses = pod.get("status", {}).get("initContainerStatuses") or ()
    for number, container_status in enumerate(statuses):
        state = container_status.get("state") or {}
        ended = state.get("terminated")
        if ended and ended.get("exitCode") == 0:
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended['exitCode'])}"
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{number}/{len(statuses)}"
    return ""


def _containers_status(status: Object, reason: str) -> str:
    running = False
    # kubectl's printer goes backwards: of several reasons the first container's is shown.
    for container_status in reversed(status.get("containerStatuses") or []):
        state = container_status.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif state.get("terminated"):
            ended = state["terminated"]
            reason = ended.get("reason") or (
                f"Signal:{ended['signal']}"
                if ended.get("signal")
                else f"ExitCode:{ended.get('exitCode', 0)}"
            )
        elif container_status.get("ready") and state.get("running"):
            running = True
    if reason == "Completed" and running:
        ready = any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in status.get("conditions") or ()
        )
        return "Running" if ready else "NotReady"
    return reason


def pod_ready(pod: Object) -> str:
    """The READY column of a pod."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    ready = sum(
        bool(container_status.get("ready") and (container_status.get("state") or {}).get("running"))
        for container_status in statuses
    )
    return f"{ready}/{len(pod['spec'].get('containers') or ())}"


def pod_restarts(pod: Object) -> str:
    """The RESTARTS column of a pod."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    count = sum(container_status.get("restartCount", 0) for container_status in statuses)
    ended = [
        ((container_status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        for container_status in statuses
    ]
    last = max(
        (container_status for container_status in ended if container_status),
        default=None,
    )
    return f"{count} ({age_of(last)} ago)" if count and last else str(count)


def containers(template_at: str) -> Callable[[Object], str]:
    """The names of a template's containers."""
    return lambda obj: ",".join(
        container["name"]
        for container in (field_reader(template_at, {})(obj).get("spec") or {}).get("containers")
        or ()
    )


def images(template_at: str) -> Callable[[Object], str]:
    """The images of a template's containers."""
    return lambda obj: ",".join(
        container.get("image", "")
        for container in (field_reader(template_at, {})(obj).get("spec") or {}).get("containers")
        or ()
    )
