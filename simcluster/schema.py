"""The types of objects, read from the OpenAPI documents when first asked for."""

import gzip
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import orjson

from simcluster.resources import Object, Resource

_DATA = files("simcluster").joinpath("data")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_ATOMIC_NAMES = {"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", _QUANTITY}


@cache
def document_v2() -> bytes:
    """The recorded `/openapi/v2` document."""
    return gzip.decompress(_DATA.joinpath("openapi-v2.json.gz").read_bytes())


@cache
def recorded_v3(group_version: str) -> bytes | None:
    """The recorded `/openapi/v3/...` document of a group version; None when there is none."""
    name = (
        f"apis_{group_version.replace('/', '_')}"
        if "/" in group_version
        else f"api_{group_version}"
    )
    path = _DATA.joinpath("openapi-v3", f"{name}.json.gz")
    return gzip.decompress(path.read_bytes()) if path.is_file() else None


@cache
def _definitions(group_version: str) -> Object:
    """Definitions of a group version.

    From its v3 document where recorded, since that tells structs from pointers; else from v2.
    """
    recorded = recorded_v3(group_version)
    if recorded is not None:
        definitions: Object = orjson.loads(recorded)["components"]["schemas"]
        return definitions
    return _definitions_v2()


@cache
def _definitions_v2() -> Object:
    definitions: Object = orjson.loads(document_v2())["definitions"]
    return definitions


class Node:
    """The type of one value: its fields, items, and how it merges."""

    def __init__(self, document: Object, definitions: Object, name: str = "") -> None:
        self.definitions = definitions
        self.name = name
        self.document = document

    @cached_property
    def type(self) -> str:
        """A type of JSON Schema, or `map`, `int-or-string`, `quantity` or `any`."""
        document = self.document
        if self.name == _QUANTITY or self.name.endswith(".Quantity"):
            return "quantity"
        # A port or a maxSurge: `80` and `"25%"` are both right.
        if document.get("format") == "int-or-string" or document.get("x-kubernetes-int-or-string"):
            return "int-or-string"
        kind: str = document.get("type", "any")
        if kind == "object" and "properties" not in document:
            # An object without known fields is a map, or anything at all (RawExtension).
            return "map" if "additionalProperties" in document else "any"
        if kind == "any" and "properties" in document:
            return "object"
        return kind

    @cached_property
    def fields(self) -> "dict[str, Node]":
        """The fields of an object."""
        return {
            key: self._child(value) for key, value in self.document.get("properties", {}).items()
        }

    @cached_property
    def items(self) -> "Node":
        """The type of an array's items, or of a map's values."""
        child = self.document.get("items") or self.document.get("additionalProperties")
        return self._child(child if isinstance(child, dict) else {})

    @property
    def required(self) -> list[str]:
        """Fields that must be there."""
        names: list[str] = self.document.get("required", [])
        return names

    @property
    def struct(self) -> bool:
        """Whether the field is always present as an object, even if empty."""
        # Go structs without a pointer are never absent; the v3 document gives them `default: {}`.
        return self.document.get("default") == {}

    @property
    def atomic(self) -> bool:
        """Whether the value is owned and replaced as a whole."""
        if self.type == "array":
            # A list without a type is atomic: a manager owns it whole.
            return bool(self.document.get("x-kubernetes-list-type", "atomic") == "atomic")
        return (
            bool(self.document.get("x-kubernetes-map-type") == "atomic")
            or self.type == "any"
            or self.name in _ATOMIC_NAMES
        )

    @property
    def set(self) -> bool:
        """Whether an array is a set of scalars."""
        return self.document.get("x-kubernetes-list-type") == "set"

    @property
    def list_keys(self) -> list[str]:
        """The keys that identify the items of an associative list (server-side apply)."""
        keys: list[str] = self.document.get("x-kubernetes-list-map-keys", [])
        return keys

    @property
    def merge_key(self) -> str:
        """The key by which a strategic merge pairs list items; empty when it replaces the list."""
        strategy = self.document.get("x-kubernetes-patch-strategy", "")
        return (
            str(self.document.get("x-kubernetes-patch-merge-key", ""))
            if "merge" in strategy.split(",")
            else ""
        )

    @property
    def merges(self) -> bool:
        """Whether a strategic merge patch adds to a list of scalars."""
        return "merge" in str(self.document.get("x-kubernetes-patch-strategy", "")).split(",")

    @property
    def open(self) -> bool:
        """Whether unknown fields are preserved."""
        return bool(self.document.get("x-kubernetes-preserve-unknown-fields")) or self.type == "any"

    def default_of(self, key: str) -> Any:
        """The default of an array item's key (the protocol of a port), else None."""
        child = self.items.fields.get(key)
        value = child.document.get("default") if child else None
        return value or None

    def _child(self, document: Object) -> "Node":
        reference = document.get("$ref")
        # v3 wraps a reference in allOf to give it a default of its own.
        for part in document.get("allOf", ()):
            reference = reference or part.get("$ref")
        if reference is None:
            return Node(document, self.definitions)
        name = reference.rpartition("/")[2]
        target = self.definitions.get(name) or _definitions_v2().get(name, {})
        # The siblings of a reference win over the definition.
        own = {key: value for key, value in document.items() if key not in ("$ref", "allOf")}
        return Node({**target, **own}, self.definitions, name)


ANY = Node({}, {})


def _names_kind(document: Object, resource: Resource, kind: str) -> bool:
    group_version_kind = {
        "group": resource.group,
        "version": resource.version,
        "kind": kind,
    }
    return group_version_kind in document.get("x-kubernetes-group-version-kind", ())


@cache
def built_in(resource: Resource) -> Node:
    """The type of a built-in kind."""
    definitions = _definitions(resource.group_version)
    for name, document in definitions.items():
        if _names_kind(document, resource, resource.kind):
            return Node(document, definitions, name)
    return ANY


def custom(document: Object) -> Node:
    """The type of a custom resource out of its `openAPIV3Schema`."""
    meta = _definitions_v2()[_META]
    properties = {
        **document.get("properties", {}),
        "metadata": meta,
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
    }
    return Node(
        {**document, "type": "object", "properties": properties},
        _definitions_v2(),
    )
