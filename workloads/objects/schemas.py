"""What a cluster says that objects of a kind look like: its own OpenAPI (v3), cut down to one kind and what that refers to."""

from collections.abc import Iterator
from typing import Any

import orjson
from django.core.cache import cache

from clusters import registry
from clusters.client import ClusterClient
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound

KEPT_SECONDS = 600
REFERENCE = "#/components/schemas/"
# What checking needs; descriptions are nine tenths of such a document.
LEFT_OUT = frozenset({"description", "example", "externalDocs", "default"})


def read_schema(cluster: Cluster, api_version: str, kind: str) -> Object:
    """{"root": name, "definitions": {name: schema}}; NotFound when the cluster describes no such kind. Kept for ten minutes."""
    key = f"schema:{cluster.pk}:{api_version}:{kind}"
    kept: Object | None = cache.get(key)
    if kept is None:
        kept = _read(registry.client(cluster), api_version, kind)
        cache.set(key, kept, KEPT_SECONDS)
    return kept


def _read(client: ClusterClient, api_version: str, kind: str) -> Object:
    group, _, version = api_version.rpartition("/")
    name = f"apis/{group}/{version}" if group else f"api/{version}"
    index = orjson.loads(client.request("GET", "/openapi/v3"))
    if name not in (index.get("paths") or {}):
        raise NotFound(f"the cluster serves no {api_version}", reason="NotFound")
    found = orjson.loads(client.request("GET", f"/openapi/v3/{name}"))
    schemas: Object = (found.get("components") or {}).get("schemas") or {}
    root = next((one for one, schema in schemas.items() if _is(schema, group, version, kind)), None)
    if root is None:
        raise NotFound(f"the cluster does not describe {kind} of {api_version}", reason="NotFound")
    return {"root": root, "definitions": _closure(schemas, root)}


def _is(schema: Object, group: str, version: str, kind: str) -> bool:
    wanted = {"group": group, "version": version, "kind": kind}
    return any(one == wanted for one in schema.get("x-kubernetes-group-version-kind") or [])


def _closure(schemas: Object, root: str) -> Object:
    """The schema and all that it refers to, however far."""
    kept: Object = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name not in kept and name in schemas:
            kept[name] = _bare(schemas[name])
            waiting += _references(kept[name])
    return kept


def _bare(schema: Any, *, names: bool = False) -> Any:
    """The schema without its prose; under `properties` every word is a name."""
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _bare(value, names=key == "properties" and not names)
        for key, value in schema.items()
        if names or key not in LEFT_OUT
    }


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _references(one)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REFERENCE)
            else:
                yield from _references(value)
