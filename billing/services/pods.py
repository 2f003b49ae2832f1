"""The pod behind an order: its raw state and its log."""

from dataclasses import dataclass, replace

import msgspec
from django.conf import settings

from billing.models import Deployment, Order
from billing.services import deployments, inventory
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import Internal, Invalid
from workloads.objects.logs import FollowedLog, LogOptions, read_log_text

EMPTY = msgspec.Raw(b"{}")


class RawMeta(msgspec.Struct, rename="camel"):
    """Metadata; the annotations stay bytes."""

    name: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    annotations: msgspec.Raw = EMPTY


class Phase(msgspec.Struct):
    """The one word of a status that choosing needs."""

    phase: str = ""


class Names(msgspec.Struct):
    """A pod's containers."""

    containers: list[inventory.Container] = []


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


def current(order: Order) -> tuple[Cluster, Deployment, RawPod] | None:
    """The order's pod: one that stays before one that goes, a running one first, then the newest; None when there is none."""
    row = deployments.live(order) if order.service == Order.Service.RUNNING else None
    if row is None:
        return None
    selector = f"app={order.service_name}"
    found = inventory.items(
        registry.client(row.cluster),
        KINDS["pods"],
        RawPod,
        namespace=row.namespace,
        labelSelector=selector,
    )
    return (row.cluster, row, max(found, key=_preference)) if found else None


def _preference(pod: RawPod) -> tuple[bool, bool, str]:
    phase = msgspec.json.decode(pod.status, type=Phase).phase
    return (
        pod.metadata.deletion_timestamp is None,
        phase == "Running",
        pod.metadata.creation_timestamp,
    )


def status(order: Order) -> PodDocument | None:
    """The pod as the cluster shows it; None when nothing runs."""
    found = current(order)
    if found is None:
        return None
    pod = found[2]
    annotations = bytes(pod.metadata.annotations)
    return PodDocument(
        pod.metadata.name,
        bytes(pod.status),
        bytes(pod.spec),
        b"{}" if annotations == b"null" else annotations,
    )


def log(order: Order, options: LogOptions) -> str:
    """The whole log of one container, at most VKUBE_LOG_BYTES of it; Internal when nothing runs, Invalid for an unknown container."""
    cluster, namespace, pod, found = _log_source(order, options)
    options = replace(found, limit_bytes=settings.VKUBE_LOG_BYTES)
    return read_log_text(cluster, namespace, pod, options)


def follow_log(order: Order, options: LogOptions, *, pause: float) -> FollowedLog:
    """The log as it grows, None whenever nothing came for `pause` seconds; fails as `log` does, before the first byte."""
    cluster, namespace, pod, found = _log_source(order, options)
    caller = f"order {order.pk}"
    return FollowedLog(cluster, namespace, pod, found, pause=pause, caller=caller, counted=False)


def _log_source(order: Order, options: LogOptions) -> tuple[Cluster, str, str, LogOptions]:
    """Whose log is meant: the first container's unless one is named."""
    found = current(order)
    if found is None:
        raise Internal("no pod runs for this order", reason="no_pod")
    cluster, row, pod = found
    names = [container.name for container in msgspec.json.decode(pod.spec, type=Names).containers]
    if options.container and options.container not in names:
        raise Invalid("container not found", field="container")
    return (
        cluster,
        row.namespace,
        pod.metadata.name,
        replace(options, container=options.container or names[0]),
    )
