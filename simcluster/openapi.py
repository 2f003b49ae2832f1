"""The OpenAPI documents: recorded ones, and those of other groups built from the schemas."""

import copy
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from simcluster import schema
from simcluster.resources import Object, Resource, ResourceTable
from simcluster.schema import Node

_WRITES = {
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
}
_PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "schema": {"type": "string", "uniqueItems": True},
    }
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


@cache
def _recorded_index() -> dict[str, Object]:
    recorded: dict[str, Object] = orjson.loads(
        files("simcluster").joinpath("data/openapi-v3-index.json").read_bytes()
    )
    return recorded


def index(table: ResourceTable) -> Object:
    """`/openapi/v3`: where each group version's document is."""
    paths = dict(_recorded_index())
    for resource in table:
        name = f"apis/{resource.group_version}" if resource.group else f"api/{resource.version}"
        if name not in paths:
            digest = (
                # kubectl caches a document by its hash, so a new kind must change it.
                hashlib.sha512(repr(sorted(other.plural for other in table)).encode())
                .hexdigest()
                .upper()
            )
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return {"paths": dict(sorted(paths.items()))}


def document(
    table: ResourceTable, path: str, types: "dict[tuple[str, str, str], Node]"
) -> bytes | None:
    """`/openapi/v3/{path}`: one group version's document; None when nothing is served there."""
    group_version = path.removeprefix("apis/").removeprefix("api/")
    recorded = schema.recorded_v3(group_version) if path.startswith("api") else None
    # The real documents describe their groups better than any that is built.
    if recorded is not None:
        return recorded
    served = [resource for resource in table if resource.group_version == group_version]
    if served:
        return orjson.dumps(_build_document(served, types))
    return (
        orjson.dumps(
            {
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": "v1.36.2"},
                "paths": {},
            }
        )
        if path in _recorded_index()
        else None
    )


def _build_document(served: list[Resource], types: "dict[tuple[str, str, str], Node]") -> Object:
    paths: Object = {}
    schemas: Object = {}
    for resource in served:
        name, body = _schema_of(resource, types)
        schemas[name] = body
        paths.update(_paths(resource, name))
    _close(schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schema_of(resource: Resource, types: "dict[tuple[str, str, str], Node]") -> tuple[str, Object]:
    gvk = [
        {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        }
    ]
    if resource.custom:
        # The real server names the schemas of custom kinds like Java packages.
        reverse = ".".join(reversed(resource.group.split(".")))
        node = types.get((resource.group, resource.version, resource.plural), schema.ANY)
        return f"{reverse}.{resource.version}.{resource.kind}", {
            **node.document,
            "x-kubernetes-group-version-kind": gvk,
        }
    node = schema.built_in(resource)
    return node.name or resource.kind, node.document


def _close(schemas: Object) -> None:
    """Add every definition that is referred to, with references in the v3 form."""
    definitions = orjson.loads(schema.document_v2())["definitions"]
    waiting = list(schemas)
    while waiting:
        name = waiting.pop()
        # The definitions are cached and shared with other documents.
        schemas[name] = _rewritten(copy.deepcopy(schemas[name]))
        for reference in _references(schemas[name]):
            if reference not in schemas and reference in definitions:
                schemas[reference] = definitions[reference]
                waiting.append(reference)


def _rewritten(value: Any) -> Any:
    if isinstance(value, list):
        return [_rewritten(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: _rewritten(item) for key, item in value.items() if key != "$ref"}
    reference = value.get("$ref")
    if isinstance(reference, str):
        target = {"$ref": "#/components/schemas/" + reference.rpartition("/")[2]}
        # OpenAPI 3.0 ignores what stands next to a $ref.
        return {**result, "allOf": [target]} if result else target
    return result


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [reference for item in value for reference in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"].rpartition("/")[2]] if isinstance(value.get("$ref"), str) else []
    return own + [reference for item in value.values() for reference in _references(item)]


def _paths(resource: Resource, name: str) -> Object:
    prefix = f"/apis/{resource.group_version}" if resource.group else f"/api/{resource.version}"
    base = (
        f"{prefix}/namespaces/{{namespace}}/{resource.plural}"
        if resource.namespaced
        else f"{prefix}/{resource.plural}"
    )
    body = {"$ref": f"#/components/schemas/{name}"}
    single: Object = {"get": _operation(resource, "get", body)}
    every: Object = {"get": _operation(resource, "list", body)}
    for verb, method in _WRITES.items():
        if verb in resource.verbs:
            (every if verb == "create" else single)[method] = _operation(resource, verb, body)
    return {base: every, base + "/{name}": single}


def _operation(resource: Resource, action: str, body: Object) -> Object:
    operation: Object = {
        "operationId": f"{action}{resource.kind}",
        "responses": {
            "200": {
                "description": "OK",
                "content": {"application/json": {"schema": body}},
            }
        },
        "x-kubernetes-action": {"create": "post", "update": "put"}.get(action, action),
        "x-kubernetes-group-version-kind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
    }
    if action in _WRITES:
        operation["parameters"] = _PARAMETERS
        types = _PATCHES if action == "patch" else ("*/*",)
        operation["requestBody"] = {
            "content": {media_type: {"schema": body} for media_type in types}
        }
    return operation
