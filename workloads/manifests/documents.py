"""A text of manifests as a list of objects, each with its place in the text and in a cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from clusters.kinds import KINDS, Kind, custom_kind
from clusters.manifest_text import Document, Problem, documents
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import DomainError, Invalid, NamespaceNotFound, NotFound
from workloads.objects.discovery import served_resources

# Objects of one call; kubectl has no limit, but each object costs requests to a cluster.
MAX_OBJECTS = 500
CRD = KINDS["customresourcedefinitions"]
NAMESPACE = KINDS["namespaces"]
BUILT_IN: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.name): kind for kind in KINDS.values()
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a text.

    `index` counts from 0. `obj` is None when the document is no object: `problems` says why.
    """

    index: int
    source: Document
    obj: Object | None
    problems: tuple[Problem, ...] = ()

    @property
    def line(self) -> int:
        """The line of the text, from 1, where the document begins; 0 for one that has no text."""
        node = self.source.node
        return self.source.before + (node.start_mark.line if node else 0) + 1


def read_manifests(content: object) -> list[Manifest]:
    """The objects of a text or of a JSON value; the items of a List one by one.

    Invalid when there is none, or more than MAX_OBJECTS.
    """
    try:
        pieces = documents(content_text(content), most=MAX_OBJECTS)
    except Invalid as error:
        raise Invalid(error.message, field="content") from None
    if not pieces:
        raise Invalid("content holds no object", field="content")
    if len(pieces) > MAX_OBJECTS:
        raise Invalid(f"content has more than {MAX_OBJECTS} objects", field="content")
    return [Manifest(index, piece, piece.obj, piece.problems) for index, piece in enumerate(pieces)]


def content_text(content: object) -> str:
    """Manifests as one text; a JSON value becomes a stream of JSON. Invalid for anything else."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict | list):
        values = content if isinstance(content, list) else [content]
        return "\n".join(orjson.dumps(value).decode() for value in values)
    raise Invalid("content must be text or an object", field="content")


def require_readable(manifests: Iterable[Manifest]) -> None:
    """Invalid, with line and column, when a document of the text cannot be read."""
    for manifest in manifests:
        for problem in manifest.problems:
            raise Invalid(
                f"document {manifest.index}: {problem.message}"
                f" (line {problem.line}, column {problem.column + 1})",
                field="content",
                line=problem.line,
                column=problem.column + 1,
            )


def merge_patch(target: Any, patch: Any) -> Any:
    """A JSON merge patch applied to a value (RFC 7386); both stay as they are."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """A manifest and where in a cluster its object is, or why it has no place there.

    `kind` is None and `error` says why for an object that cannot be sent. `is_defined_here` marks a
    custom kind whose definition stands in the same text and is not served yet.
    """

    manifest: Manifest
    obj: Object
    kind: Kind | None
    namespace: str = ""
    name: str = ""
    error: DomainError | None = None
    is_defined_here: bool = False

    @property
    def kind_name(self) -> str:
        """The kind that the manifest names, "" when it names none."""
        return str(self.obj.get("kind") or "")

    def identity(self) -> dict[str, Any]:
        """{"index","kind","namespace","name"}: how answers name the object."""
        return {
            "index": self.manifest.index,
            "kind": printable(self.kind_name),
            "namespace": printable(self.namespace),
            "name": printable(self.name),
        }


def new_namespaces(planned: Iterable[PlannedObject]) -> frozenset[str]:
    """The names of the namespaces that the text itself has."""
    return frozenset(item.name for item in planned if item.kind == NAMESPACE)


def stands_on_new(item: PlannedObject, error: DomainError, namespaces: frozenset[str]) -> bool:
    """Whether a dry run failed only because it does not create what the text creates.

    `namespaces` are those of `new_namespaces`.
    """
    if item.is_defined_here and isinstance(error, NotFound):
        return True
    return isinstance(error, NamespaceNotFound) and item.namespace in namespaces


def printable(text: str) -> str:
    """The text without NUL characters, which PostgreSQL stores in no row."""
    return text.replace("\x00", "\ufffd")


class KindResolver:
    """Finds the kinds of manifests: built-in ones, those a cluster serves, those a text defines."""

    def __init__(self, cluster: Cluster, manifests: Iterable[Manifest] = ()) -> None:
        self._cluster = cluster
        # By apiVersion: {kind: Kind} as the cluster serves them; asked for once.
        self._served: dict[str, dict[str, Kind]] = {}
        self._defined = _defined_kinds(manifests)

    def resolve(self, api_version: str, name: str) -> tuple[Kind, bool]:
        """(the kind, whether only the text defines it so far); NotFound in kubectl's words."""
        if built_in := BUILT_IN.get((api_version, name)):
            return built_in, False
        if served := self._served_kinds(api_version).get(name):
            return served, False
        if defined := self._defined.get((api_version, name)):
            return defined, True
        raise NotFound(
            f'no matches for kind "{name[:100]}" in version "{api_version[:100]}"',
            reason="NotFound",
        )

    def _served_kinds(self, api_version: str) -> Mapping[str, Kind]:
        if api_version not in self._served:
            self._served[api_version] = self._discover(api_version)
        return self._served[api_version]

    def _discover(self, api_version: str) -> dict[str, Kind]:
        group, _, version = api_version.rpartition("/")
        try:
            resources = served_resources(self._cluster, group, version)
        except (NotFound, Invalid):
            return {}
        return {
            str(resource["kind"]): custom_kind(
                group,
                version,
                resource["name"],
                name=resource["kind"],
                namespaced=bool(resource["namespaced"]),
            )
            for resource in resources
        }


def _defined_kinds(manifests: Iterable[Manifest]) -> dict[tuple[str, str], Kind]:
    """The kinds of the CustomResourceDefinitions of a text, by apiVersion and kind."""
    kinds: dict[tuple[str, str], Kind] = {}
    for manifest in manifests:
        obj = manifest.obj or {}
        spec = obj.get("spec")
        if obj.get("kind") != CRD.name or not isinstance(spec, dict):
            continue
        names = spec.get("names")
        versions = spec.get("versions")
        if not isinstance(names, dict) or not isinstance(versions, list):
            continue
        for version in versions:
            try:
                kind = custom_kind(
                    str(spec.get("group") or ""),
                    str(version["name"]),
                    str(names.get("plural") or ""),
                    name=str(names.get("kind") or ""),
                    namespaced=spec.get("scope") != "Cluster",
                )
            except (Invalid, KeyError, TypeError):
                # The API server says what is wrong with the definition.
                continue
            kinds[kind.api_version, kind.name] = kind
    return kinds


def plan(
    cluster: Cluster,
    manifests: Iterable[Manifest],
    *,
    namespace: str = "",
    patch: Mapping[str, Any] | None = None,
) -> list[PlannedObject]:
    """Where each object goes in a cluster; `patch` is a merge patch over each of them.

    Invalid when an object names another namespace than the call does. An object without a place
    (no such kind, no namespace, no name) has an error of its own.
    """
    sources = list(manifests)
    resolver = KindResolver(cluster, sources)
    planned = []
    for manifest in sources:
        obj = merge_patch(manifest.obj or {}, patch) if patch else dict(manifest.obj or {})
        planned.append(_plan_object(resolver, manifest, obj, namespace))
    return planned


def _plan_object(
    resolver: KindResolver, manifest: Manifest, obj: Object, namespace: str
) -> PlannedObject:
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    own = as_text(metadata.get("namespace"))
    name = as_text(metadata.get("name"))
    try:
        kind, is_defined_here = resolver.resolve(*_type_of(obj))
        _check_name(metadata, name)
        if not kind.namespaced:
            return PlannedObject(manifest, obj, kind, "", name, is_defined_here=is_defined_here)
        if namespace and own and own != namespace:
            raise NamespaceMismatch(
                f"document {manifest.index}: namespace {own[:100]!r} of the content"
                f" is not {namespace!r}",
                field="namespace",
            )
        place = own or namespace
        if not place:
            raise Invalid("namespace is required", field="namespace")
        placed = {**obj, "metadata": {**metadata, "namespace": place}}
        return PlannedObject(manifest, placed, kind, place, name, None, is_defined_here)
    except NamespaceMismatch:
        raise
    except DomainError as error:
        return PlannedObject(manifest, obj, None, own, name, error)


class NamespaceMismatch(Invalid):
    """An object names another namespace than the call that holds it."""


def as_text(value: object) -> str:
    """The value when it is text, else ""."""
    return value if isinstance(value, str) else ""


def _type_of(obj: Object) -> tuple[str, str]:
    for field in ("apiVersion", "kind"):
        if not as_text(obj.get(field)):
            raise Invalid(f"{field} is required", field=field)
    return obj["apiVersion"], obj["kind"]


def _check_name(metadata: Mapping[str, Any], name: str) -> None:
    if name:
        return
    if metadata.get("generateName"):
        # Each apply would make another object, and server-side apply refuses it.
        raise Invalid("generateName cannot be applied: give metadata.name", field="metadata.name")
    raise Invalid("metadata.name is required", field="metadata.name")
