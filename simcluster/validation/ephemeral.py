"""Rules of ephemeral containers: only added, only to a pod that is there, never changed again."""

from collections.abc import Iterator
from typing import Any

from simcluster.resources import Object
from simcluster.validation.causes import (
    Cause,
    duplicate,
    forbidden,
    missing_reference,
    required,
)
from simcluster.validation.metadata import label_causes
from simcluster.validation.pods import container_causes

SUBRESOURCE = "ephemeralcontainers"
FIELD = "spec.ephemeralContainers"
# What only containers have that a pod was made with.
FORBIDDEN_FIELDS = (
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
)


def restricted_to_containers(obj: Object, old: Object) -> Object:
    """The old pod with the new ephemeral containers: the subresource drops all other changes."""
    meta = dict(obj["metadata"])
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        meta.pop(key, None)
        if key in old["metadata"]:
            meta[key] = old["metadata"][key]
    spec = {key: value for key, value in old["spec"].items() if key != "ephemeralContainers"}
    if containers := (obj.get("spec") or {}).get("ephemeralContainers"):
        spec["ephemeralContainers"] = containers
    return {**old, "metadata": meta, "spec": spec}


def creation_causes(obj: Object) -> Iterator[Cause]:
    """A new pod has none."""
    if obj["spec"].get("ephemeralContainers"):
        yield forbidden(FIELD, "cannot be set on create")


def update_causes(obj: Object, old: Object) -> Iterator[Cause]:
    """The containers of an update through the subresource."""
    containers = obj["spec"].get("ephemeralContainers") or []
    yield from _causes(obj["spec"], containers)
    by_name = {container.get("name"): container for container in containers}
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container["name"]
        if name not in by_name:
            yield forbidden(FIELD, f'existing ephemeral containers "{name}" may not be removed\n')
        elif by_name[name] != container:
            yield forbidden(FIELD, f'existing ephemeral containers "{name}" may not be changed\n')


def _causes(spec: Object, containers: list[Object]) -> Iterator[Cause]:
    others = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    targets = {container["name"] for container in others}
    names = set(targets)
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    for index, container in enumerate(containers):
        field = f"{FIELD}[{index}]"
        name: Any = container.get("name", "")
        if not name:
            yield required(f"{field}.name")
        elif name in names:
            yield duplicate(f"{field}.name", name)
        else:
            yield from label_causes(f"{field}.name", name)
        names.add(name)
        yield from container_causes(field, container, volumes)
        target = container.get("targetContainerName")
        if target and target not in targets:
            yield missing_reference(f"{field}.targetContainerName", target)
        for key in FORBIDDEN_FIELDS:
            if container.get(key):
                yield forbidden(f"{field}.{key}", "cannot be set for an Ephemeral Container")
