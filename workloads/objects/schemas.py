"""The schema of a kind, from the cluster's own OpenAPI document (v3).

Cut down to the kind and the schemas that it refers to.
"""

from collections.abc import Iterator
from typing import Any

import orjson
from django.core.cache import cache

from clusters import registry
from clusters.client import ClusterClient
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound

CACHE_SECONDS = 600
REFERENCE = "#/components/schemas/"
# Checking does not need these; descriptions are nine tenths of such a document.
OMITTED = frozenset({"description", "example", "externalDocs", "default"})


def read_schema(cluster: Cluster, api_version: str, kind: str) -> Object:
    """{"root": name, "definitions": {name: schema}}, cached for ten minutes.

    NotFound when the cluster does not describe the kind.
    """
    key = f"schema:{cluster.pk}:{api_version}:{kind}"
    schema: Object | None = cache.get(key)
    if schema is None:
        schema = _download_schema(registry.client(cluster), api_version, kind)
        cache.set(key, schema, CACHE_SECONDS)
    return schema


def _download_schema(client: ClusterClient, api_version: str, kind: str) -> Object:
    group, _, version = api_version.rpartition("/")
    # The core group has no name and another prefix.
    name = f"apis/{group}/{version}" if group else f"api/{version}"
    index = orjson.loads(client.request("GET", "/openapi/v3"))
    if name not in (index.get("paths") or {}):
        raise NotFound(f"the cluster serves no {api_version}", reason="NotFound")
    document = orjson.loads(client.request("GET", f"/openapi/v3/{name}"))
    schemas: Object = (document.get("components") or {}).get("schemas") or {}
    identity = {"group": group, "version": version, "kind": kind}
    for root, schema in schemas.items():
        if identity in (schema.get("x-kubernetes-group-version-kind") or []):
            return {
                "root": root,
                "definitions": _referenced_schemas(schemas, root),
            }
    raise NotFound(
        f"the cluster does not describe {kind} of {api_version}",
        reason="NotFound",
    )


def _referenced_schemas(schemas: Object, root: str) -> Object:
    """The schema and all schemas that it refers to, directly or not."""
    definitions: Object = {}
    queue = [root]
    while queue:
        name = queue.pop()
        if name not in definitions and name in schemas:
            definitions[name] = _without_prose(schemas[name])
            queue += _references(definitions[name])
    return definitions


def _without_prose(schema: Any, *, is_properties: bool = False) -> Any:
    """The schema without OMITTED keys.

    Under `properties` every key is a field's name, so that a field may be called description.
    """
    if isinstance(schema, list):
        return [_without_prose(element) for element in schema]
    if not isinstance(schema, dict):
        return schema
    reduced = {}
    for key, value in schema.items():
        if is_properties or key not in OMITTED:
            has_properties = key == "properties" and not is_properties
            reduced[key] = _without_prose(value, is_properties=has_properties)
    return reduced


def _references(schema: Any) -> Iterator[str]:
    """The names that the schema's `$ref`s point to."""
    if isinstance(schema, list):
        for element in schema:
            yield from _references(element)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REFERENCE)
            else:
                yield from _references(value)
