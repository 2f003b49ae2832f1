"""What one object refers to by name.

Pure; manifests may contain anything that a cluster accepts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clusters.manifests import Object


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that another one names; `optional` when that one can do without it."""

    plural: str
    name: str
    relation: str
    optional: bool = False


def mapping(value: object, *path: str) -> Mapping[str, Any]:
    """The mapping at a path, or {} where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list, or [] when the value is no list."""
    if not isinstance(value, list):
        return []
    return [element for element in value if isinstance(element, Mapping)]


def pod_spec(plural: str, item: Object) -> Mapping[str, Any]:
    """The pod's spec, or that of the workload's template."""
    path = {
        "pods": ("spec",),
        "cronjobs": ("spec", "jobTemplate", "spec", "template", "spec"),
    }
    return mapping(item, *path.get(plural, ("spec", "template", "spec")))


def template_labels(plural: str, item: Object) -> Mapping[str, Any]:
    """The labels that the workload's pods get."""
    path = {
        "cronjobs": (
            "spec",
            "jobTemplate",
            "spec",
            "template",
            "metadata",
            "labels",
        ),
        "pods": ("metadata", "labels"),
    }
    return mapping(item, *path.get(plural, ("spec", "template", "metadata", "labels")))


def backends(ingress: Object) -> Iterator[Reference]:
    """The Services that an Ingress sends requests to."""
    spec = mapping(ingress, "spec")
    ingress_backends = [mapping(spec, "defaultBackend")]
    for rule in mappings(spec.get("rules")):
        paths = mappings(mapping(rule, "http").get("paths"))
        ingress_backends += [mapping(path, "backend") for path in paths]
    for backend in ingress_backends:
        yield from _references("services", mapping(backend, "service").get("name"), "routes")


def _references(
    plural: str, name: object, relation: str, *, optional: object = False
) -> Iterator[Reference]:
    """One reference, or none when the manifest has no usable name."""
    if isinstance(name, str) and name:
        yield Reference(plural, name, relation, optional is True)


def configuration_references(spec: Mapping[str, Any]) -> list[Reference]:
    """ConfigMaps, Secrets and claims of a pod's spec, each once."""
    references = [
        *_volumes(mappings(spec.get("volumes"))),
        *_environment(spec),
    ]
    # A kubelet without the pull secret tries to pull the image all the same.
    for pull_secret in mappings(spec.get("imagePullSecrets")):
        name = pull_secret.get("name")
        references += _references("secrets", name, "pulls with", optional=True)
    unique: dict[tuple[str, str], Reference] = {}
    for reference in references:
        key = (reference.plural, reference.name)
        previous = unique.get(key)
        # An object that is required in one place is required.
        if previous is None or (previous.optional and not reference.optional):
            unique[key] = reference
    return list(unique.values())


def _volumes(volumes: Iterable[Mapping[str, Any]]) -> Iterator[Reference]:
    for volume in volumes:
        # A volume is one source itself, or projects several.
        yield from _sources(volume)
        for source in mappings(mapping(volume, "projected").get("sources")):
            yield from _sources(source, name="name")


def _sources(source: Mapping[str, Any], *, name: str = "secretName") -> Iterator[Reference]:
    # A secret is called secretName in a volume, but name in a projected one.
    config = mapping(source, "configMap")
    secret = mapping(source, "secret")
    yield from _references(
        "configmaps",
        config.get("name"),
        "mounts",
        optional=config.get("optional"),
    )
    yield from _references(
        "secrets",
        secret.get(name),
        "mounts",
        optional=secret.get("optional"),
    )
    yield from _references(
        "persistentvolumeclaims",
        mapping(source, "persistentVolumeClaim").get("claimName"),
        "mounts",
    )


def _environment(spec: Mapping[str, Any]) -> Iterator[Reference]:
    for container in (
        *mappings(spec.get("initContainers")),
        *mappings(spec.get("containers")),
    ):
        for source in mappings(container.get("envFrom")):
            yield from _keys(
                mapping(source, "configMapRef"),
                mapping(source, "secretRef"),
            )
        for variable in mappings(container.get("env")):
            value = mapping(variable, "valueFrom")
            yield from _keys(
                mapping(value, "configMapKeyRef"),
                mapping(value, "secretKeyRef"),
            )


def _keys(config: Mapping[str, Any], secret: Mapping[str, Any]) -> Iterator[Reference]:
    yield from _references(
        "configmaps",
        config.get("name"),
        "reads",
        optional=config.get("optional"),
    )
    yield from _references(
        "secrets",
        secret.get("name"),
        "reads",
        optional=secret.get("optional"),
    )


def controller_uid(item: Object) -> str:
    """The uid of the object's controller; "" without one."""
    for owner in mappings(mapping(item, "metadata").get("ownerReferences")):
        # Other owners only matter to garbage collection.
        if owner.get("controller") is True:
            return str(owner.get("uid"))
    return ""


def scale_target(scaler: Object) -> tuple[str, str]:
    """(kind, name) that an autoscaler scales."""
    target = mapping(scaler, "spec", "scaleTargetRef")
    return str(target.get("kind", "")), str(target.get("name", ""))
