"""One object in one cluster: reading and patching it, and saying what exactly is missing."""

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
    # The JSON first read (`before`) and that of the latest change (`after`): what the audit trail compares.
    seen: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def client(self) -> ClusterClient:
        """The door to its cluster."""
        return registry.client(self.cluster)

    def read(self, *, subresource: str | None = None) -> Object:
        """The object as it is now; NamespaceNotFound when it is the namespace that is missing."""
        path = self.kind.path(
            namespace=self.namespace or None, name=self.name, subresource=subresource
        )
        raw = call_with_namespace_check(
            self.client, self.kind, self.namespace, lambda: self.client.request("GET", path)
        )
        self.seen.setdefault("before", raw)
        return _object(raw)

    def patch(
        self,
        body: object,
        *,
        patch: str = "merge",
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """The object after a merge, strategic or json patch."""
        space, query = self.namespace or None, {"dryRun": "All" if dry_run else ""}
        raw = call_with_namespace_check(
            self.client,
            self.kind,
            self.namespace,
            lambda: self.client.patch(
                self.kind,
                self.name,
                body,
                patch=patch,
                namespace=space,
                subresource=subresource,
                query=query,
            ),
        )
        if not dry_run:
            self.seen["after"] = raw
        return _object(raw)


def _object(raw: bytes) -> Object:
    found: Object = orjson.loads(raw)
    return found


def call_with_namespace_check(
    client: ClusterClient, kind: Kind, namespace: str, call: Callable[[], T]
) -> T:
    """Run the call; when its object is missing, say whether the namespace is."""
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
        # What may be done inside a namespace has nothing to do with the right to read the namespace itself.
        return
    except NotFound as error:
        raise NamespaceNotFound(error.message, **error.details) from error


def controller_of(item: Object) -> dict[str, Any]:
    """The owner reference that controls an object, or {}."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return dict(owner)
    return {}
