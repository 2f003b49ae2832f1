"""What one object refers to by name: pure reading of manifests, with whatever a cluster lets people write in them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clusters.manifests import Object


@dataclass(frozen=True, slots=True)
class Reference:
    """Something named by an object; `optional` when the object can do without."""

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
    """The mappings of a list, or [] for what is none."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def pod_spec(plural: str, item: Object) -> Mapping[str, Any]:
    """The pod's spec, or that of the workload's template."""
    path = {"pods": ("spec",), "cronjobs": ("spec", "jobTemplate", "spec", "template", "spec")}
    return mapping(item, *path.get(plural, ("spec", "template", "spec")))


def template_labels(plural: str, item: Object) -> Mapping[str, Any]:
    """The labels that the workload's pods get."""
    path = {
        "cronjobs": ("spec", "jobTemplate", "spec", "template", "metadata", "labels"),
        "pods": ("metadata", "labels"),
    }
    return mapping(item, *path.get(plural, ("spec", "template", "metadata", "labels")))


def backends(ingress: Object) -> Iterator[Reference]:
    """The Services that an Ingress sends requests to."""
    spec = mapping(ingress, "spec")
    paths = [
        path
        for rule in mappings(spec.get("rules"))
        for path in mappings(mapping(rule, "http").get("paths"))
    ]
    for backend in (mapping(spec, "defaultBackend"), *(mapping(path, "backend") for path in paths)):
        yield from _named("services", mapping(backend, "service").get("name"), "routes")


def _named(
    plural: str, name: object, relation: str, *, optional: object = False
) -> Iterator[Reference]:
    if isinstance(name, str) and name:
        yield Reference(plural, name, relation, optional is True)


def configuration_references(spec: Mapping[str, Any]) -> list[Reference]:
    """ConfigMaps, Secrets and claims of a pod's spec, each once."""
    found = [*_volumes(mappings(spec.get("volumes"))), *_environment(spec)]
    for one in mappings(spec.get("imagePullSecrets")):
        found += _named("secrets", one.get("name"), "pulls with", optional=True)
    kept: dict[tuple[str, str], Reference] = {}
    for reference in found:
        before = kept.get((reference.plural, reference.name))
        # Needed once is needed.
        if before is None or (before.optional and not reference.optional):
            kept[reference.plural, reference.name] = reference
    return list(kept.values())


def _volumes(volumes: Iterable[Mapping[str, Any]]) -> Iterator[Reference]:
    for volume in volumes:
        yield from _sources(volume)
        for source in mappings(mapping(volume, "projected").get("sources")):
            yield from _sources(source, name="name")


def _sources(source: Mapping[str, Any], *, name: str = "secretName") -> Iterator[Reference]:
    config, secret = mapping(source, "configMap"), mapping(source, "secret")
    yield from _named("configmaps", config.get("name"), "mounts", optional=config.get("optional"))
    yield from _named("secrets", secret.get(name), "mounts", optional=secret.get("optional"))
    yield from _named(
        "persistentvolumeclaims",
        mapping(source, "persistentVolumeClaim").get("claimName"),
        "mounts",
    )


def _environment(spec: Mapping[str, Any]) -> Iterator[Reference]:
    for container in (*mappings(spec.get("initContainers")), *mappings(spec.get("containers"))):
        for source in mappings(container.get("envFrom")):
            yield from _keys(mapping(source, "configMapRef"), mapping(source, "secretRef"))
        for variable in mappings(container.get("env")):
            value = mapping(variable, "valueFrom")
            yield from _keys(mapping(value, "configMapKeyRef"), mapping(value, "secretKeyRef"))


def _keys(config: Mapping[str, Any], secret: Mapping[str, Any]) -> Iterator[Reference]:
    yield from _named("configmaps", config.get("name"), "reads", optional=config.get("optional"))
    yield from _named("secrets", secret.get("name"), "reads", optional=secret.get("optional"))


def controller_uid(item: Object) -> str:
    """The uid of the object's controller, or nothing."""
    owners = mappings(mapping(item, "metadata").get("ownerReferences"))
    return next((str(owner.get("uid")) for owner in owners if owner.get("controller") is True), "")


def scale_target(scaler: Object) -> tuple[str, str]:
    """(kind, name) that an autoscaler scales."""
    found = mapping(scaler, "spec", "scaleTargetRef")
    return str(found.get("kind", "")), str(found.get("name", ""))
