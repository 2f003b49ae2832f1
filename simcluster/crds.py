"""CustomResourceDefinitions: their kinds are served as soon as they are written."""

from simcluster import schema
from simcluster.registry import Registry
from simcluster.resources import ALL_VERBS, Object, Resource, Subresource
from simcluster.store import DELETED, Change

STORAGE = "customresourcedefinitions.apiextensions.k8s.io"


def changed(registry: Registry, change: Change) -> None:
    """Serve, change or withdraw the kinds of a definition."""
    if change.previous is not None:
        for resource, _ in _kinds(change.previous.obj):
            registry.table.remove(resource)
            registry.custom_types.pop((resource.group, resource.version, resource.plural), None)
    if change.type == DELETED:
        return
    for resource, document in _kinds(change.record.obj):
        registry.table.add(resource)
        registry.custom_types[resource.group, resource.version, resource.plural] = schema.custom(
            document
        )


def _kinds(definition: Object) -> list[tuple[Resource, Object]]:
    kinds = []
    stored = next(
        (other["name"] for other in definition["spec"]["versions"] if other.get("storage")),
        "",
    )
    for version in definition["spec"]["versions"]:
        if version.get("served", True):
            document = (version.get("schema") or {}).get("openAPIV3Schema") or {
                "x-kubernetes-preserve-unknown-fields": True
            }
            kinds.append((_resource(definition["spec"], version, stored), document))
    return kinds


def _resource(spec: Object, version: Object, stored: str) -> Resource:
    names = spec["names"]
    subresources = {}
    for name in version.get("subresources") or {}:
        kind = names["kind"] if name == "status" else "Scale"
        group, api = (spec["group"], version["name"]) if name == "status" else ("autoscaling", "v1")
        subresources[name] = Subresource(name, kind, ("get", "patch", "update"), group, api)
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        verbs=ALL_VERBS,
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=subresources,
        custom=True,
        storage_version=stored,
    )


def version_of(registry: Registry, resource: Resource) -> Object:
    """The entry of `spec.versions` that a custom kind comes from; empty for built-in kinds."""
    record = (
        registry.store.get(STORAGE, "", f"{resource.plural}.{resource.group}")
        if resource.custom
        else None
    )
    if record is None:
        return {}
    return next(
        (
            version
            for version in record.obj["spec"]["versions"]
            if version["name"] == resource.version
        ),
        {},
    )
