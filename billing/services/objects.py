"""An order's objects in a cluster: applying, scaling, restarting and deleting them."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.conf import settings

from billing import manifests
from billing.kubernetes_structs import LabelledObject
from billing.models import Order
from billing.services import inventory
from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import ClusterUnavailable, Conflict, DomainError, Forbidden, NotFound
from core.retry import retry_on_conflict

log = logging.getLogger(__name__)
Companions = Sequence[tuple[str, Object]]
RESTARTED = "kubectl.kubernetes.io/restartedAt"
# Which deploy wrote the Deployment: a process that died cannot say whether its write arrived.
DEPLOY_ANNOTATION = "v-kube/deployment"
# After that no further write of an apply begins.
APPLY_SECONDS = 60


class AnnotatedMeta(msgspec.Struct):
    """An object's annotations."""

    annotations: dict[str, str] | None = None


class PodTemplate(msgspec.Struct):
    """A pod template."""

    metadata: AnnotatedMeta = msgspec.field(default_factory=AnnotatedMeta)


class WorkloadSpec(msgspec.Struct):
    """The specification of a workload, as far as its pods are concerned."""

    template: PodTemplate = msgspec.field(default_factory=PodTemplate)


class AnnotatedObject(msgspec.Struct):
    """An object of which only the annotations matter: its own and those of its pod template."""

    metadata: AnnotatedMeta = msgspec.field(default_factory=AnnotatedMeta)
    spec: WorkloadSpec = msgspec.field(default_factory=WorkloadSpec)


def apply(
    order: Order,
    cluster: Cluster,
    manifest: Object,
    companions: Companions,
    *,
    number: int,
) -> None:
    """Create or replace the order's objects, and delete the companions of what ran before.

    `number` is the row of the deploy, an annotation that `read_deploy_number` reads later.
    ClusterUnavailable when the cluster is so slow that no write could begin within APPLY_SECONDS.
    """
    client = registry.client(cluster)
    deadline = time.monotonic() + APPLY_SECONDS
    annotations = {**manifest["metadata"].get("annotations", {}), DEPLOY_ANNOTATION: str(number)}
    numbered = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
    # The order of writes matters: what the pod needs stands before it starts.
    _prepare_namespace(client, deadline)
    if settings.VKUBE_POD_CIDRS:
        put(client, KINDS["networkpolicies"], manifests.network_policy(order), deadline=deadline)
    for resource, body in companions:
        put(client, KINDS[resource], body, deadline=deadline)
    put(client, KINDS["deployments"], numbered, deadline=deadline)
    # Only now: until the Deployment was replaced, the old pod used the old companions.
    current = {body["metadata"]["name"] for _, body in companions}
    try:
        _delete_companions(client, settings.VKUBE_NAMESPACE, str(order.service_name), current)
    except DomainError:
        # The deploy is done; the next one, or the end of the order, deletes them.
        log.warning("companions of %s could not be deleted now", order.service_name)


def scale(cluster: Cluster, namespace: str, name: str, replicas: int) -> None:
    """Set how many pods the order has."""
    _patch(cluster, namespace, name, {"replicas": replicas})


def restart(cluster: Cluster, namespace: str, name: str, at: datetime) -> None:
    """Have a new pod made, as `kubectl rollout restart` does."""
    annotations = {RESTARTED: at.isoformat(timespec="milliseconds")}
    template = {"metadata": {"annotations": annotations}}
    _patch(cluster, namespace, name, {"template": template})


def _patch(cluster: Cluster, namespace: str, name: str, spec: Object) -> None:
    client = registry.client(cluster)
    client.patch(
        KINDS["deployments"],
        name,
        {"spec": spec},
        patch="strategic",
        namespace=namespace,
    )


def read_deploy_number(cluster: Cluster, namespace: str, name: str) -> int | None:
    """The number of the deploy in the cluster; None without a Deployment or a number on it."""
    existing = _read(registry.client(cluster), KINDS["deployments"], name, namespace)
    annotations = (existing.metadata.annotations if existing else None) or {}
    number = annotations.get(DEPLOY_ANNOTATION, "")
    return int(number) if number.isascii() and number.isdigit() else None


def undo(cluster: Cluster, namespace: str, name: str) -> bool:
    """Delete what `apply` left of a first deploy; False when the cluster refuses that now."""
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


def put(
    client: ClusterClient,
    kind: Kind,
    body: Object,
    *,
    deadline: float | None = None,
) -> None:
    """Create the object or replace it, regardless of its version.

    A conflict with another writer is tried again. Nothing is sent after the `deadline`, a monotonic
    time: ClusterUnavailable.
    """
    name = body["metadata"]["name"]
    space = body["metadata"].get("namespace")

    def write() -> None:
        existing = _read(client, kind, name, space)
        if deadline is not None and time.monotonic() > deadline:
            raise ClusterUnavailable("the cluster took too long to answer", reason="timeout")
        if existing is None:
            client.create(kind, body, namespace=space)
        else:
            client.replace(kind, name, _keep_annotations(body, existing), namespace=space)

    # NotFound: the object was deleted between our read and our write.
    retry_on_conflict(write, conflicts=(Conflict, NotFound))


def _read(
    client: ClusterClient, kind: Kind, name: str, namespace: str | None
) -> AnnotatedObject | None:
    """The annotations of an object; None when it does not exist."""
    try:
        body = client.get(kind, name, namespace=namespace)
    except NotFound:
        return None
    return msgspec.json.decode(body, type=AnnotatedObject)


def _keep_annotations(body: Object, existing: AnnotatedObject) -> Object:
    """The body with the annotations of controllers and of a restart.

    Without them replacing an object by an equal one would be a change, and start a new pod.
    """
    own = body["metadata"].get("annotations", {})
    annotations = {**(existing.metadata.annotations or {}), **own}
    merged = {**body, "metadata": {**body["metadata"], "annotations": annotations}}
    restarted = (existing.spec.template.metadata.annotations or {}).get(RESTARTED)
    if restarted is None or body["kind"] != "Deployment":
        return merged
    template = body["spec"]["template"]
    template_annotations = {**template["metadata"]["annotations"], RESTARTED: restarted}
    metadata = {**template["metadata"], "annotations": template_annotations}
    spec = {**body["spec"], "template": {**template, "metadata": metadata}}
    return {**merged, "spec": spec}


def delete(client: ClusterClient, namespace: str, name: str) -> None:
    """Delete an order's Deployment with its pods, its NetworkPolicy and its companions.

    What is gone already is fine.
    """
    options: Object = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        # The cluster deletes ReplicaSet and pods after it has answered.
        "propagationPolicy": "Background",
    }
    for kind in (KINDS["deployments"], KINDS["networkpolicies"]):
        try:
            client.delete(
                kind,
                name,
                namespace=namespace,
                options=options,
            )
        except NotFound:
            continue
    _delete_companions(client, namespace, name, set())


def _delete_companions(
    client: ClusterClient,
    namespace: str,
    name: str,
    but: set[str],
) -> None:
    """Delete the order's ConfigMaps and Secrets, all `but` the named ones."""
    for resource in ("configmaps", "secrets"):
        kind = KINDS[resource]
        try:
            rows = inventory.list_objects(
                client,
                kind,
                LabelledObject,
                namespace=namespace,
                labelSelector=f"{manifests.LABEL},app={name}",
            )
            for row in rows:
                if row.metadata.name not in but:
                    client.delete(kind, row.metadata.name, namespace=namespace)
        except (Forbidden, NotFound):
            # Credentials that may not read them could not have made them.
            continue
