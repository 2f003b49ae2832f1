"""An order's objects in a cluster: applied as a whole, replaced whatever their version, deleted."""

import time

import msgspec
from django.conf import settings

from billing import manifests
from billing.models import Order
from clusters import services as registry
from clusters.client import ClusterClient
from clusters.documents import Object
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from kubegale.errors import ClusterUnavailable, Conflict, DomainError, NotFound

TRIES = 4
# Which deploy wrote the Deployment: a process that died cannot say whether its write arrived.
NUMBER = "v-kube/deployment"
APPLY_SECONDS = 60
# The write that began just in time, and what undoing a first deploy asks of the cluster.
REQUESTS_AFTERWARDS = 6


class Notes(msgspec.Struct):
    """An object's annotations."""

    annotations: dict[str, str] | None = None


class Annotated(msgspec.Struct):
    """An object of which only the annotations matter."""

    metadata: Notes = msgspec.field(default_factory=Notes)


def apply(order: Order, cluster: Cluster, manifest: Object, *, number: int) -> None:
    """Create or replace the order's objects.

    `number` is the row of the deploy, noted on the Deployment so that `applied` can tell it later.
    ClusterUnavailable when the cluster is so slow that another call may take over meanwhile.
    """
    client = registry.client(cluster)
    deadline = time.monotonic() + APPLY_SECONDS
    annotations = {**manifest["metadata"].get("annotations", {}), NUMBER: str(number)}
    numbered = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
    _prepare_namespace(client, deadline)
    if settings.VKUBE_POD_CIDRS:
        put(client, KINDS["networkpolicies"], manifests.network_policy(order), deadline=deadline)
    put(client, KINDS["deployments"], numbered, deadline=deadline)


def longest_apply() -> float:
    """Seconds after which an `apply`, its undoing included, is over for certain."""
    answer = settings.CLUSTER_CONNECT_TIMEOUT + settings.CLUSTER_READ_TIMEOUT
    return float(APPLY_SECONDS + REQUESTS_AFTERWARDS * answer)


def applied(cluster: Cluster, namespace: str, name: str) -> int | None:
    """The number of the deploy that the cluster has; None when there is no Deployment or no number on it."""
    notes = _annotations(registry.client(cluster), KINDS["deployments"], name, namespace) or {}
    number = notes.get(NUMBER, "")
    return int(number) if number.isascii() and number.isdigit() else None


def undo(cluster: Cluster, namespace: str, name: str) -> bool:
    """Take back what `apply` left of a first deploy; False when the cluster cannot be brought to it now."""
    try:
        delete(registry.client(cluster), namespace, name)
    except (DomainError, ValueError):
        return False
    return True


def _prepare_namespace(client: ClusterClient, deadline: float) -> None:
    try:
        client.get(KINDS["namespaces"], settings.VKUBE_NAMESPACE)
    except NotFound:
        put(client, KINDS["namespaces"], manifests.namespace(), deadline=deadline)
    if settings.VKUBE_NAMESPACE_MEMORY:
        put(client, KINDS["resourcequotas"], manifests.quota(), deadline=deadline)


def put(client: ClusterClient, kind: Kind, body: Object, *, deadline: float | None = None) -> None:
    """Create the object or replace it, whatever its version; what others do to it meanwhile is tried again.

    Nothing is sent after the `deadline`, a monotonic time: ClusterUnavailable.
    """
    name = body["metadata"]["name"]
    space = body["metadata"].get("namespace")
    for last in (*[False] * (TRIES - 1), True):
        try:
            notes = _annotations(client, kind, name, space)
            if deadline is not None and time.monotonic() > deadline:
                raise ClusterUnavailable("the cluster takes too long", reason="timeout")
            if notes is None:
                client.create(kind, body, namespace=space)
            else:
                # What controllers noted there stays, or replacing like with like would count as a change.
                merged = {**notes, **body["metadata"].get("annotations", {})}
                replacement = {**body, "metadata": {**body["metadata"], "annotations": merged}}
                client.replace(kind, name, replacement, namespace=space)
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
