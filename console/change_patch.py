"""Small changes of an object without its YAML: what a form shows, and the patch that it becomes.

The patch has only what was changed, so it undoes nothing that anybody else changed meanwhile. It is
a strategic merge patch for kinds with containers, whose lists are merged by name as kubectl does.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clusters.manifests import LAST_APPLIED
from console.editing.pair_lines import EntryError, as_lines, parse_lines, plain_values
from console.rendering.health import Object, get, rows

# Where the containers of a kind are; a Job's template cannot be changed.
CONTAINER_PATHS: Mapping[str, tuple[str, ...]] = {
    "pods": ("spec",),
    "deployments": ("spec", "template", "spec"),
    "statefulsets": ("spec", "template", "spec"),
    "daemonsets": ("spec", "template", "spec"),
    "replicasets": ("spec", "template", "spec"),
    "cronjobs": ("spec", "jobTemplate", "spec", "template", "spec"),
}
KINDS_WITH_REPLICAS = frozenset({"deployments", "statefulsets", "replicasets"})
CONTAINER_LISTS = ("initContainers", "containers")
AMOUNTS = (
    ("requests", "cpu"),
    ("limits", "cpu"),
    ("requests", "memory"),
    ("limits", "memory"),
)


@dataclass(frozen=True, slots=True)
class ContainerForm:
    """One container: what can be changed, as texts of the form.

    `path` is where it is in the object, as an API server writes it.
    `references` are the variables that come from elsewhere, or have several lines: they stay.
    """

    name: str
    image: str
    amounts: Mapping[str, str]
    env: str
    references: Sequence[str]
    path: str = ""
    is_init: bool = False


@dataclass(frozen=True, slots=True)
class ChangeForm:
    """All that can be changed of an object; `replicas` is "" for kinds without."""

    labels: str
    annotations: str = ""
    # Annotations of several lines: they stay.
    long_annotations: Sequence[str] = ()
    replicas: str = ""
    containers: Sequence[ContainerForm] = field(default_factory=list)
    # Of a pod only images and labels can be changed.
    only_images: bool = False


def describe(plural: str, item: Object) -> ChangeForm:
    """The form of an object as it is."""
    path = CONTAINER_PATHS.get(plural)
    annotations = _annotations(item)
    plain = plain_values(annotations)
    replicas = get(item, "spec", "replicas") if plural in KINDS_WITH_REPLICAS else None
    return ChangeForm(
        labels=as_lines(get(item, "metadata", "labels") or {}),
        annotations=as_lines(plain),
        long_annotations=[name for name in annotations if name not in plain],
        replicas="" if replicas is None else str(replicas),
        containers=_container_forms(item, path) if path else [],
        only_images=plural == "pods",
    )


def _container_forms(item: Object, path: tuple[str, ...]) -> list[ContainerForm]:
    """The forms of init containers, which run first, and of the containers after them."""
    forms = []
    for member in CONTAINER_LISTS:
        for index, container in enumerate(rows(get(item, *path, member))):
            form = _container_form(container)
            place = f"{'.'.join([*path, member])}[{index}]"
            forms.append(replace(form, path=place, is_init=member == "initContainers"))
    return forms


def _annotations(item: Object) -> dict[str, str]:
    """The annotations of an object without kubectl's copy of it, which nobody writes by hand."""
    annotations = get(item, "metadata", "annotations") or {}
    return {str(k): str(v) for k, v in annotations.items() if k != LAST_APPLIED}


def digest(form: ChangeForm) -> str:
    """A short text that differs when anything that the form shows does."""
    return hashlib.sha256(repr(form).encode()).hexdigest()[:32]


def _container_form(container: Object) -> ContainerForm:
    resources = container.get("resources") or {}
    amounts = {
        f"{side}.{resource}": str((resources.get(side) or {}).get(resource, ""))
        for side, resource in AMOUNTS
    }
    plain = _plain_env(container)
    names = [str(variable.get("name")) for variable in rows(container.get("env"))]
    return ContainerForm(
        name=str(container.get("name", "")),
        image=str(container.get("image", "")),
        amounts=amounts,
        env=as_lines(plain),
        references=[name for name in names if name not in plain],
    )


def _plain_env(container: Object) -> dict[str, str]:
    """The variables that a line can hold."""
    return {
        str(variable["name"]): str(variable.get("value", ""))
        for variable in rows(container.get("env"))
        if "valueFrom" not in variable and str(variable.get("value", "")).isprintable()
    }


def build_patch(plural: str, item: Object, entered: Mapping[str, str]) -> dict[str, Any]:
    """The patch from the object to what was entered; {} when nothing differs.

    `entered` has "labels", "annotations", "replicas" and for each container "NAME.image",
    "NAME.env" and "NAME.requests.cpu" and so on; what is missing stays. EntryError for what
    cannot be read.
    """
    current = describe(plural, item)
    patch: dict[str, Any] = {}
    metadata = _metadata_patch(item, current, entered)
    if metadata:
        patch["metadata"] = metadata
    replicas = entered.get("replicas", current.replicas).strip()
    if current.replicas and replicas != current.replicas:
        if not (replicas.isascii() and replicas.isdigit() and len(replicas) < 10):
            raise EntryError(replicas[:100], "replicas")
        patch["spec"] = {"replicas": int(replicas)}
    path = CONTAINER_PATHS.get(plural)
    for member in CONTAINER_LISTS if path else ():
        containers = rows(get(item, *(path or ()), member))
        changes = [_container_patch(container, entered) for container in containers]
        changes = [change for change in changes if len(change) > 1]
        if changes:
            place = patch
            for name in path or ():
                place = place.setdefault(name, {})
            place[member] = changes
    return patch


def _metadata_patch(
    item: Object, form: ChangeForm, entered: Mapping[str, str]
) -> dict[str, dict[str, str | None]]:
    """The changes of labels and annotations."""
    labels = get(item, "metadata", "labels") or {}
    before = {
        "labels": {str(k): str(v) for k, v in labels.items()},
        "annotations": plain_values(_annotations(item)),
    }
    patch: dict[str, dict[str, str | None]] = {}
    for name, values in before.items():
        if name not in entered:
            continue
        after = parse_lines(entered[name], name)
        if name == "annotations":
            require_free(after, form.long_annotations, name)
        if changes := _difference(values, after):
            patch[name] = changes
    return patch


def require_free(names: Iterable[str], reserved: Sequence[str], field: str) -> None:
    """EntryError for a name that is that of something which the form does not show as a line."""
    for name in names:
        if name in reserved:
            raise EntryError(name, field)


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """The members that differ; None for one that is gone."""
    changed: dict[str, str | None] = {
        name: value for name, value in after.items() if before.get(name) != value
    }
    return changed | {name: None for name in before if name not in after}


def _container_patch(container: Object, entered: Mapping[str, str]) -> dict[str, Any]:
    """The changes of one container beside its name."""
    form = _container_form(container)
    patch: dict[str, Any] = {"name": form.name}
    image = entered.get(f"{form.name}.image", form.image).strip()
    if image != form.image:
        patch["image"] = image
    for side, resource in AMOUNTS:
        before = form.amounts[f"{side}.{resource}"]
        after = entered.get(f"{form.name}.{side}.{resource}", before).strip()
        if after != before:
            amounts = patch.setdefault("resources", {}).setdefault(side, {})
            # Null takes the member away.
            amounts[resource] = after or None
    field = f"{form.name}.env"
    if field in entered:
        after_env = parse_lines(entered[field], field)
        require_free(after_env, form.references, field)
        if env := _env_patch(container, after_env):
            patch["env"] = env
    return patch


def _env_patch(container: Object, after: Mapping[str, str]) -> list[dict[str, Any]]:
    changes = _difference(_plain_env(container), after)
    return [
        {"name": name, "$patch": "delete"} if value is None else {"name": name, "value": value}
        for name, value in changes.items()
    ]
