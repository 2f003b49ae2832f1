"""What the clusters have, read with the fewest fields: nodes, pods and services, as far as selling needs them."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from django.conf import settings
from django.core.cache import cache

from clusters import registry
from clusters.client import Chunk, ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from core.errors import ClusterUnavailable, DomainError

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
CHUNK = 500
WORKERS = 32
# Kept: a cluster that hangs keeps its thread, not its caller.
_executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="survey")
FINISHED = {"Succeeded", "Failed"}


class Meta(msgspec.Struct, rename="camel"):
    """Metadata, as far as it matters here."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class Condition(msgspec.Struct):
    """One condition of a node."""

    type: str = ""
    status: str = ""


class NodeAddress(msgspec.Struct):
    """One address of a node."""

    type: str = ""
    address: str = ""


class NodeSpec(msgspec.Struct):
    """Whether pods may be scheduled there."""

    unschedulable: bool = False


class NodeStatus(msgspec.Struct):
    """Conditions and addresses."""

    conditions: list[Condition] | None = None
    addresses: list[NodeAddress] | None = None


class Node(msgspec.Struct):
    """A node."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)

    def usable(self) -> bool:
        """Ready and open for new pods."""
        ready = any(
            item.type == "Ready" and item.status == "True" for item in self.status.conditions or []
        )
        return ready and not self.spec.unschedulable

    def region(self) -> tuple[str, str] | None:
        """(label, value) that names its region."""
        labels = self.metadata.labels or {}
        for label in region_labels():
            if value := labels.get(label):
                return label, value
        return None


class Port(msgspec.Struct, rename="camel"):
    """One port of a container."""

    container_port: int = 0
    host_port: int = 0
    protocol: str = "TCP"


class Resources(msgspec.Struct):
    """Limits."""

    limits: dict[str, str | int | float] | None = None


class Container(msgspec.Struct):
    """One container as specified."""

    name: str = ""
    ports: list[Port] | None = None
    resources: Resources = msgspec.field(default_factory=Resources)


class PodSpec(msgspec.Struct, rename="camel"):
    """Where a pod runs and which ports it takes."""

    node_name: str = ""
    host_network: bool = False
    node_selector: dict[str, str] | None = None
    containers: list[Container] = []
    init_containers: list[Container] | None = None


class Running(msgspec.Struct, rename="camel"):
    """A running container."""

    started_at: str = ""


class ContainerState(msgspec.Struct):
    """What a container is doing."""

    running: Running | None = None


class ContainerStatus(msgspec.Struct):
    """One container as it is."""

    name: str = ""
    state: ContainerState = msgspec.field(default_factory=ContainerState)


class PodStatus(msgspec.Struct, rename="camel"):
    """What a pod is doing."""

    phase: str = ""
    container_statuses: list[ContainerStatus] | None = None


class Pod(msgspec.Struct):
    """A pod."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ServicePort(msgspec.Struct, rename="camel"):
    """One port of a service."""

    node_port: int = 0


class ServiceSpec(msgspec.Struct, rename="camel"):
    """The ports a service opens on every node."""

    ports: list[ServicePort] | None = None
    health_check_node_port: int = 0


class Service(msgspec.Struct):
    """A service."""

    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class Labelled(msgspec.Struct):
    """Any object of which only the metadata matters."""

    metadata: Meta = msgspec.field(default_factory=Meta)


def region_labels() -> list[str]:
    """The node labels that name a region, first come first served."""
    return [
        label
        for label in (settings.VKUBE_REGION_LABEL, settings.VKUBE_REGION_FALLBACK_LABEL)
        if label
    ]


def items(
    client: ClusterClient, kind: Kind, shape: type[T], *, namespace: str = "", **query: object
) -> list[T]:
    """Every object of a kind, read in chunks; once more in one piece when the list went stale on the way."""
    decoder = msgspec.json.Decoder(shape)

    def read(chunks: Iterator[Chunk]) -> list[T]:
        return [decoder.decode(item) for chunk in chunks for item in chunk.items or []]

    try:
        return client.read_list(read, kind, namespace=namespace or None, query=query)
    except msgspec.DecodeError:
        raise ClusterUnavailable(
            f"the cluster's {kind.plural} cannot be read", reason="bad_answer"
        ) from None


def nodes(client: ClusterClient) -> list[Node]:
    """Every node."""
    return items(client, KINDS["nodes"], Node)


def active_pods(client: ClusterClient) -> list[Pod]:
    """Every pod that has not finished, pending ones too."""
    selector = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))
    found = items(client, KINDS["pods"], Pod, fieldSelector=selector)
    return [pod for pod in found if pod.status.phase not in FINISHED]


def services(client: ClusterClient) -> list[Service]:
    """Every service."""
    return items(client, KINDS["services"], Service)


# --- all clusters at once -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Survey(Generic[R]):
    """What each reachable cluster answered, and which could not be asked."""

    answers: list[tuple[Cluster, R]]
    silent: list[Cluster]


def survey(ask: Callable[[ClusterClient], R]) -> Survey[R]:
    """Ask every registered cluster at once, the default one first in the answers.

    One that fails or takes longer than VKUBE_SURVEY_SECONDS is silent; a slow one is then left alone for CLUSTER_CIRCUIT_SECONDS.
    """
    clusters = list(registry.clusters().order_by("-is_default", "id"))
    asked = {
        cluster.pk: _executor.submit(_ask_cluster, cluster, ask)
        for cluster in clusters
        if not cache.get(_slow_key(cluster))
    }
    done, late = wait(asked.values(), timeout=settings.VKUBE_SURVEY_SECONDS)
    found: Survey[R] = Survey([], [])
    for cluster in clusters:
        future = asked.get(cluster.pk)
        if future in late:
            cache.set(_slow_key(cluster), True, settings.CLUSTER_CIRCUIT_SECONDS)
        answer = future.result() if future is not None and future in done else None
        if answer is None:
            found.silent.append(cluster)
        else:
            found.answers.append((cluster, answer))
    return found


def _slow_key(cluster: Cluster) -> str:
    return f"vkube:slow:{cluster.pk}"


def _ask_cluster(cluster: Cluster, ask: Callable[[ClusterClient], R]) -> R | None:
    try:
        return ask(registry.client(cluster))
    except DomainError as error:
        log.warning("cluster %s cannot be asked: %s", cluster.name, error.message)
        return None
