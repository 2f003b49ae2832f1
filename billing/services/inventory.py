"""Nodes, pods and Services of the clusters, read with the fewest fields."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from django.conf import settings
from django.core.cache import cache

from billing.kubernetes_structs import Node, Pod, Service
from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from clusters.wire import Chunk
from core.errors import ClusterUnavailable, DomainError

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
WORKERS = 32
# One pool for the whole process: a cluster that hangs occupies a thread of it, not its caller.
_executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="survey")
FINISHED = {"Succeeded", "Failed"}


def region_labels() -> list[str]:
    """The node labels that may name a region, in order of precedence."""
    labels = (settings.VKUBE_REGION_LABEL, settings.VKUBE_REGION_FALLBACK_LABEL)
    return [label for label in labels if label]


def node_region(node: Node) -> tuple[str, str] | None:
    """(label, value) that names the node's region; None without one."""
    labels = node.metadata.labels or {}
    for label in region_labels():
        if value := labels.get(label):
            return label, value
    return None


def list_objects(
    client: ClusterClient,
    kind: Kind,
    shape: type[T],
    *,
    namespace: str = "",
    **query: object,
) -> list[T]:
    """Every object of a kind as `shape`, read in chunks; "" as `namespace` is the whole cluster.

    `query` are parameters of the list (labelSelector, fieldSelector). ClusterUnavailable when the
    cluster does not answer, or answers what does not fit the shape.
    """
    decoder = msgspec.json.Decoder(shape)

    def read(chunks: Iterator[Chunk]) -> list[T]:
        return [decoder.decode(item) for chunk in chunks for item in chunk.items or []]

    try:
        return client.read_list(
            read,
            kind,
            namespace=namespace or None,
            query=query,
        )
    except msgspec.DecodeError:
        raise ClusterUnavailable(
            f"the cluster's {kind.plural} cannot be read", reason="bad_answer"
        ) from None


def list_nodes(client: ClusterClient) -> list[Node]:
    """Every node."""
    return list_objects(client, KINDS["nodes"], Node)


def list_active_pods(client: ClusterClient) -> list[Pod]:
    """Every pod that has not finished, pending ones included."""
    selector = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))
    pods = list_objects(client, KINDS["pods"], Pod, fieldSelector=selector)
    return [pod for pod in pods if pod.status.phase not in FINISHED]


def list_services(client: ClusterClient) -> list[Service]:
    """Every Service."""
    return list_objects(client, KINDS["services"], Service)


# --- all clusters at once -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Survey(Generic[R]):
    """What each reachable cluster answered, and which clusters did not answer."""

    answers: list[tuple[Cluster, R]]
    silent: list[Cluster]


def survey_clusters(ask: Callable[[ClusterClient], R]) -> Survey[R]:
    """Call `ask` for every registered cluster at once; the default cluster is first in the answers.

    A cluster that fails or takes longer than VKUBE_SURVEY_SECONDS is silent. A slow one is not
    asked again for CLUSTER_CIRCUIT_SECONDS.
    """
    clusters = list(registry.clusters().order_by("-is_default", "id"))
    # A cluster that was slow a moment ago is not asked, and counts as silent.
    futures = {
        cluster.pk: _executor.submit(_ask_cluster, cluster, ask)
        for cluster in clusters
        if not cache.get(_slow_key(cluster))
    }
    done, late = wait(futures.values(), timeout=settings.VKUBE_SURVEY_SECONDS)
    result: Survey[R] = Survey([], [])
    for cluster in clusters:
        future = futures.get(cluster.pk)
        if future in late:
            # Its thread ends with the client's own time-out.
            cache.set(_slow_key(cluster), True, settings.CLUSTER_CIRCUIT_SECONDS)
        answer = future.result() if future is not None and future in done else None
        if answer is None:
            result.silent.append(cluster)
        else:
            result.answers.append((cluster, answer))
    return result


def _slow_key(cluster: Cluster) -> str:
    return f"vkube:slow:{cluster.pk}"


def _ask_cluster(cluster: Cluster, ask: Callable[[ClusterClient], R]) -> R | None:
    try:
        return ask(registry.client(cluster))
    except DomainError as error:
        log.warning("cluster %s cannot be asked: %s", cluster.name, error.message)
        return None
