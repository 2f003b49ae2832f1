"""The pod behind an order: its raw state and its log."""

from dataclasses import dataclass, replace

import msgspec
from django.conf import settings

from billing.kubernetes_structs import Container
from billing.models import Deployment, Order
from billing.services import deployments, inventory
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import Internal, Invalid
from workloads.objects.logs import FollowedLog, LogOptions, read_log_text

# What stands for a member that the API server leaves out.
EMPTY = msgspec.Raw(b"{}")


class RawMeta(msgspec.Struct, rename="camel"):
    """Metadata; the annotations stay bytes."""

    name: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    annotations: msgspec.Raw = EMPTY


class PodPhase(msgspec.Struct):
    """The phase of a pod's status."""

    phase: str = ""


class ContainerNames(msgspec.Struct):
    """A pod's containers."""

    containers: list[Container] = []


class RawPod(msgspec.Struct):
    """A pod whose parts stay the API server's bytes."""

    metadata: RawMeta = msgspec.field(default_factory=RawMeta)
    spec: msgspec.Raw = EMPTY
    status: msgspec.Raw = EMPTY


@dataclass(frozen=True, slots=True)
class PodDocument:
    """Name, status, spec and annotations, each as the API server printed it."""

    name: str
    status: bytes
    spec: bytes
    annotations: bytes


def find_pod(order: Order) -> tuple[Cluster, Deployment, RawPod] | None:
    """The order's pod with its cluster and deploy; None when nothing runs.

    Of several pods one that is not being deleted comes first, then a running one, then the newest.
    """
    row = deployments.find_live(order) if order.service == Order.Service.RUNNING else None
    if row is None:
        return None
    pods = inventory.list_objects(
        registry.client(row.cluster),
        KINDS["pods"],
        RawPod,
        namespace=row.namespace,
        labelSelector=f"app={order.service_name}",
    )
    if not pods:
        return None
    return row.cluster, row, max(pods, key=_preference)


def _preference(pod: RawPod) -> tuple[bool, bool, str]:
    phase = msgspec.json.decode(pod.status, type=PodPhase).phase
    return (
        pod.metadata.deletion_timestamp is None,
        phase == "Running",
        pod.metadata.creation_timestamp,
    )


def read_pod(order: Order) -> PodDocument | None:
    """The pod as the cluster shows it; None when nothing runs."""
    running = find_pod(order)
    if running is None:
        return None
    _, _, pod = running
    annotations = bytes(pod.metadata.annotations)
    # A pod without annotations, in the document's shape.
    if annotations == b"null":
        annotations = b"{}"
    return PodDocument(
        pod.metadata.name,
        bytes(pod.status),
        bytes(pod.spec),
        annotations,
    )


def read_log(order: Order, options: LogOptions) -> str:
    """The log of one container, at most VKUBE_LOG_BYTES of it.

    Internal when nothing runs, Invalid for an unknown container.
    """
    cluster, namespace, pod, options = _log_source(order, options)
    options = replace(options, limit_bytes=settings.VKUBE_LOG_BYTES)
    return read_log_text(cluster, namespace, pod, options)


def follow_log(order: Order, options: LogOptions, *, pause: float) -> FollowedLog:
    """The log as it grows; yields None whenever nothing came for `pause` seconds.

    Fails as `read_log` does, before the first byte.
    """
    cluster, namespace, pod, options = _log_source(order, options)
    caller = f"order {order.pk}"
    return FollowedLog(
        cluster,
        namespace,
        pod,
        options,
        pause=pause,
        caller=caller,
        counted=False,
    )


def _log_source(order: Order, options: LogOptions) -> tuple[Cluster, str, str, LogOptions]:
    """(cluster, namespace, pod, options): of the first container unless one is named."""
    running = find_pod(order)
    if running is None:
        raise Internal("no pod runs for this order", reason="no_pod")
    cluster, row, pod = running
    containers = msgspec.json.decode(pod.spec, type=ContainerNames).containers
    names = [container.name for container in containers]
    if options.container and options.container not in names:
        raise Invalid("container not found", field="container")
    options = replace(options, container=options.container or names[0])
    return cluster, row.namespace, pod.metadata.name, options
