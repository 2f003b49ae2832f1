"""One object in one cluster: reading and patching it, and telling which part of it is missing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import Forbidden, NamespaceNotFound, NotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The object that an action is about; `namespace` is "" for cluster-wide kinds."""

    cluster: Cluster
    kind: Kind
    namespace: str
    name: str
    # The first JSON read ("before") and that of the latest change ("after"), for the audit trail.
    versions: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def client(self) -> ClusterClient:
        """The client of the object's cluster."""
        return registry.client(self.cluster)

    def read(self, *, subresource: str | None = None) -> Object:
        """The object as it is now.

        NotFound without it, NamespaceNotFound when it is the namespace that does not exist.
        """
        path = self.kind.path(
            namespace=self.namespace or None,
            name=self.name,
            subresource=subresource,
        )
        raw = call_with_namespace_check(
            self.client,
            self.kind,
            self.namespace,
            lambda: self.client.request("GET", path),
        )
        # The audit trail compares with the state before the first change, however often it is read.
        self.versions.setdefault("before", raw)
        return _parse_object(raw)

    def patch(
        self,
        body: object,
        *,
        patch: str = "merge",
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """The object after a merge, strategic or json patch."""
        raw = call_with_namespace_check(
            self.client,
            self.kind,
            self.namespace,
            lambda: self.client.patch(
                self.kind,
                self.name,
                body,
                patch=patch,
                namespace=self.namespace or None,
                subresource=subresource,
                query={"dryRun": "All" if dry_run else ""},
            ),
        )
        if not dry_run:
            self.versions["after"] = raw
        return _parse_object(raw)


def _parse_object(raw: bytes) -> Object:
    item: Object = orjson.loads(raw)
    return item


def call_with_namespace_check(
    client: ClusterClient, kind: Kind, namespace: str, call: Callable[[], T]
) -> T:
    """What `call` returns; its NotFound becomes NamespaceNotFound when the namespace is missing."""
    try:
        return call()
    except NotFound as error:
        if kind == KINDS["namespaces"]:
            raise NamespaceNotFound(error.message, **error.details) from error
        if kind.namespaced and namespace and not isinstance(error, NamespaceNotFound):
            require_namespace(client, namespace)
        raise


def require_namespace(client: ClusterClient, namespace: str) -> None:
    """NamespaceNotFound unless the namespace exists, as far as the credentials may see that."""
    try:
        client.get(KINDS["namespaces"], namespace)
    except Forbidden:
        # Rights inside a namespace do not include reading the Namespace object itself.
        return
    except NotFound as error:
        raise NamespaceNotFound(error.message, **error.details) from error


def controller_of(item: Object) -> dict[str, Any]:
    """The owner reference that controls an object, or {}."""
    owners = item["metadata"].get("ownerReferences")
    # A list out of the store may hold what an agent has written there.
    for owner in owners if isinstance(owners, list) else []:
        if isinstance(owner, dict) and owner.get("controller"):
            return dict(owner)
    return {}
