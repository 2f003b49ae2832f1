"""An order's objects in a cluster: applied as a whole, replaced whatever their version, deleted."""

import msgspec
from django.conf import settings

from billing import manifests
from billing.models import Order
from clusters import services as registry
from clusters.client import ClusterClient
from clusters.documents import Object
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from kubegale.errors import Conflict, DomainError, NotFound

TRIES = 4


class Notes(msgspec.Struct):
    """An object's annotations."""

    annotations: dict[str, str] | None = None


class Annotated(msgspec.Struct):
    """An object of which only the annotations matter."""

    metadata: Notes = msgspec.field(default_factory=Notes)


def apply(order: Order, cluster: Cluster, manifest: Object, *, fresh: bool) -> None:
    """Create or replace the order's objects; of a first deploy that fails nothing is left over."""
    client = registry.client(cluster)
    try:
        _prepare_namespace(client)
        if settings.VKUBE_POD_CIDRS:
            put(client, KINDS["networkpolicies"], manifests.network_policy(order))
        put(client, KINDS["deployments"], manifest)
    except DomainError:
        if fresh:
            _undo(client, manifest)
        raise


def _undo(client: ClusterClient, manifest: Object) -> None:
    try:
        delete(client, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    except DomainError:
        # The sweep for strays finds whatever a cluster keeps that we could not take back.
        return


def _prepare_namespace(client: ClusterClient) -> None:
    try:
        client.get(KINDS["namespaces"], settings.VKUBE_NAMESPACE)
    except NotFound:
        put(client, KINDS["namespaces"], manifests.namespace())
    if settings.VKUBE_NAMESPACE_MEMORY:
        put(client, KINDS["resourcequotas"], manifests.quota())


def put(client: ClusterClient, kind: Kind, body: Object) -> None:
    """Create the object or replace it, whatever its version; what others do to it meanwhile is tried again."""
    name, space = body["metadata"]["name"], body["metadata"].get("namespace")
    for last in (*[False] * (TRIES - 1), True):
        try:
            if (notes := _annotations(client, kind, name, space)) is None:
                client.create(kind, body, namespace=space)
            else:
                # What controllers noted there stays, or replacing like with like would count as a change.
                kept = {**body, "metadata": {**body["metadata"], "annotations": notes}}
                client.replace(kind, name, kept, namespace=space)
        except (Conflict, NotFound):
            if last:
                raise
        else:
            return


def _annotations(
    client: ClusterClient, kind: Kind, name: str, namespace: str | None
) -> dict[str, str] | None:
    """An object's annotations; None when there is no object."""
    try:
        found = client.get(kind, name, namespace=namespace)
    except NotFound:
        return None
    return msgspec.json.decode(found, type=Annotated).metadata.annotations or {}


def delete(client: ClusterClient, namespace: str, name: str) -> None:
    """Delete an order's Deployment, its pods and its NetworkPolicy; what is gone already is fine."""
    options: Object = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
    }
    for kind in (KINDS["deployments"], KINDS["networkpolicies"]):
        try:
            client.delete(kind, name, namespace=namespace, options=options)
        except NotFound:
            continue
