"""The resource table: which kinds the server serves, out of the recorded discovery document."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import orjson

Object = dict[str, Any]

# The same objects under two groups: they are stored once, under the first.
SHARED_STORAGE = {("events.k8s.io", "events"): ("", "events")}
ALL_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Subresource:
    """One path below an object, such as `scale`."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One served kind: its names, scope, verbs and subresources."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    verbs: tuple[str, ...] = ALL_VERBS
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: dict[str, Subresource] = field(default_factory=dict, hash=False, compare=False)
    custom: bool = False
    storage_version: str = ""

    @property
    def group_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage(self) -> str:
        """The key of the collection that holds the objects: `deployments.apps`, `pods`."""
        group, plural = SHARED_STORAGE.get((self.group, self.plural), (self.group, self.plural))
        return f"{plural}.{group}" if group else plural

    @property
    def qualified(self) -> str:
        """The name as error messages write it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage_hash(self) -> str:
        """The `storageVersionHash` of discovery."""
        group = SHARED_STORAGE.get((self.group, self.plural), (self.group, self.plural))[0]
        # Discovery hashes the version that is stored, not the one that is served.
        version = "v1" if group != self.group else self.version
        digest = hashlib.sha256(
            f"{group}/{self.storage_version or version}/{self.kind}".encode()
        ).digest()
        return base64.b64encode(digest[:8]).decode()


def _subresource(document: Object) -> Subresource:
    kind = document["responseKind"]
    return Subresource(
        document["subresource"],
        kind["kind"],
        tuple(document["verbs"]),
        kind["group"],
        kind["version"],
    )


def resource_of(document: Object, *, group: str, version: str) -> Resource:
    """Read one entry of an aggregated discovery document."""
    return Resource(
        group=group,
        version=version,
        plural=document["resource"],
        kind=document["responseKind"]["kind"],
        namespaced=document["scope"] == "Namespaced",
        singular=document["singularResource"],
        verbs=tuple(document["verbs"]),
        short_names=tuple(document.get("shortNames", ())),
        categories=tuple(document.get("categories", ())),
        subresources={
            sub["subresource"]: _subresource(sub) for sub in document.get("subresources", ())
        },
    )


def built_in() -> Iterator[Resource]:
    """The kinds of a bare Kubernetes 1.36 cluster, in the order of its discovery."""
    for group in orjson.loads(files("simcluster").joinpath("data/discovery.json").read_bytes()):
        for version in group["versions"]:
            for document in version["resources"]:
                yield resource_of(
                    document,
                    group=group["metadata"].get("name", ""),
                    version=version["version"],
                )


class ResourceTable:
    """The kinds that are served now; custom ones come and go."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self._kinds: dict[tuple[str, str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._resources.values()))

    def add(self, resource: Resource) -> None:
        """Serve a kind."""
        self._resources[resource.group, resource.version, resource.plural] = resource
        self._kinds[resource.group, resource.version, resource.kind] = resource

    def remove(self, resource: Resource) -> None:
        """Stop serving a kind."""
        self._resources.pop((resource.group, resource.version, resource.plural), None)
        self._kinds.pop((resource.group, resource.version, resource.kind), None)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The kind behind a path, or None."""
        return self._resources.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The kind that an object names, or None."""
        group, _, version = api_version.rpartition("/")
        return self._kinds.get((group, version, kind))

    def of_storage(self, storage: str) -> Resource:
        """The first served version of a collection (`deployments.apps`); KeyError when unknown."""
        for resource in self._resources.values():
            if resource.storage == storage:
                return resource
        raise KeyError(storage)
