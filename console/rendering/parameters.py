"""The values of an object that people make parameters of a template most often."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clusters.manifests import Object
from console.rendering.health import get, rows

MAX_SHOWN = 80
POD_SPECS = (
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("spec",),
)
# Fields beside the containers, and whether they are chosen from the beginning.
FIELDS: tuple[tuple[tuple[str, ...], bool], ...] = (
    (("spec", "replicas"), True),
    (("spec", "minReplicas"), True),
    (("spec", "maxReplicas"), True),
    (("spec", "schedule"), True),
    (("spec", "type"), False),
    (("spec", "storageClassName"), False),
    (("spec", "resources", "requests", "storage"), True),
    (("metadata", "name"), False),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that may become a parameter; `path` names its object first, as the API reads it."""

    path: str
    label: str
    value: str
    chosen: bool


def likely_parameters(obj: Object) -> Iterator[Parameter]:
    """Image, replicas, resources, env values and hosts of an object, as far as it has them."""
    name = f"{obj.get('kind')}/{(obj.get('metadata') or {}).get('name')}"
    for steps, chosen in (*_fixed_fields(obj), *_container_fields(obj), *_host_fields(obj)):
        value = _value_at(obj, steps)
        # Objects and lists can be parameters too, but not by a tick.
        if isinstance(value, str | int | float):
            path = write_path(steps)
            yield Parameter(f"{name}:{path}", path, str(value)[:MAX_SHOWN], chosen)
    for key, value in sorted(_config_data(obj).items()):
        path = write_path(("data", key))
        yield Parameter(f"{name}:{path}", path, str(value)[:MAX_SHOWN], False)


Steps = tuple[str | int, ...]


def _fixed_fields(obj: Object) -> Iterator[tuple[Steps, bool]]:
    yield from FIELDS


def _container_fields(obj: Object) -> Iterator[tuple[Steps, bool]]:
    for base in POD_SPECS:
        for field in ("initContainers", "containers"):
            for place, container in enumerate(rows(get(obj, *base, field))):
                start = (*base, field, place)
                yield (*start, "image"), field == "containers"
                for part in ("requests", "limits"):
                    for name in sorted(get(container, "resources", part) or {}):
                        yield (*start, "resources", part, name), True
                for number, variable in enumerate(rows(container.get("env"))):
                    if "value" in variable:
                        yield (*start, "env", number, "value"), True


def _host_fields(obj: Object) -> Iterator[tuple[Steps, bool]]:
    for place, rule in enumerate(rows(get(obj, "spec", "rules"))):
        if "host" in rule:
            yield ("spec", "rules", place, "host"), True
    for place, entry in enumerate(rows(get(obj, "spec", "tls"))):
        for number, _host in enumerate(entry.get("hosts") or []):
            yield ("spec", "tls", place, "hosts", number), True


def _config_data(obj: Object) -> Mapping[str, Any]:
    """The texts of a ConfigMap; those of Secrets become parameters anyway."""
    return (obj.get("data") or {}) if obj.get("kind") == "ConfigMap" else {}


def _value_at(obj: Object, steps: Steps) -> Any:
    value: Any = obj
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def write_path(steps: Steps) -> str:
    """`spec.containers[0].image`; names with other characters stand in brackets and quotes."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif any(character in step for character in ".[]'\" /:"):
            quote = '"' if "'" in step else "'"
            text += f"[{quote}{step}{quote}]"
        else:
            text += f".{step}" if text else step
    return text
