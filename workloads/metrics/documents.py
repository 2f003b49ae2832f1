"""The metrics documents of the KubeGale API (contract 1.10): what a cluster, its nodes and pods have and use.

Cores and bytes; percentages of what there is (nodes) or of the limit, else the request (pods). What nobody measures is null, and so is
what the cluster's credentials may not look at.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import orjson
from django.conf import settings
from django.utils import timezone

from clusters import registry
from clusters.accessible_namespaces import read_accessible
from clusters.client import Chunk, ClusterClient
from clusters.kinds import KINDS
from clusters.lists import ListQuery, list_all
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.quantities import number
from core.errors import Forbidden
from storage_api.services import snapshot
from workloads.actions.protection import count_objects
from workloads.metrics import metrics_sources
from workloads.metrics.metrics_sources import Measurements, ResourceUsage
from workloads.objects import services

T = TypeVar("T")
UNMEASURED = ResourceUsage()


class _Status(msgspec.Struct):
    phase: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Placed(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


_PLACED = msgspec.json.Decoder(_Placed)


@dataclass(frozen=True, slots=True)
class Census:
    """How many objects are in which phase, and how many pods (all, running) are on which node."""

    phases: Counter[str]
    on_nodes: Counter[str]
    running_on_nodes: Counter[str]

    @property
    def total(self) -> int:
        """All of them."""
        return self.phases.total()


def _shown(census: Census | None, *phases: str) -> dict[str, int | None]:
    """{"total", and each phase in lower case}, null where nobody may count."""
    if census is None:
        return dict.fromkeys(["total", *map(str.lower, phases)])
    return {"total": census.total, **{phase.lower(): census.phases[phase] for phase in phases}}


class ClusterCounts:
    """What a cluster holds, counted: from the store where its copy is fresh, else (and if `live`) by asking the cluster.

    None for kinds that its credentials may not list; with credentials for some namespaces only, what these hold is counted. `refusal` is
    the last that was met, `is_known` whether anything could be counted. `age` is that of the oldest copy that was used, None when none was.
    """

    def __init__(self, cluster: Cluster, *, live: bool = False) -> None:
        self.cluster = cluster
        self.age: float | None = None
        self.refusal: Forbidden | None = None
        self.is_known = False
        self._live = live or not settings.LISTS_FROM_STORE or cluster.impersonate

    def _allowed(self, read: Callable[[], T]) -> T | None:
        """What is read, None when the credentials may not."""
        try:
            answer = read()
        except Forbidden as error:
            self.refusal = error
            return None
        self.is_known = True
        return answer

    def census(self, plural: str) -> Census | None:
        """Phases and nodes of a kind's objects."""
        return self._allowed(lambda: self._census(plural))

    def _census(self, plural: str) -> Census:
        kept = None if self._live else snapshot.census(self.cluster, KINDS[plural])
        if kept is None:
            return _live_census(self.cluster, plural)
        counted, age = kept
        self._used(age)
        found = Census(Counter(), Counter(), Counter())
        for phase, node, many in counted:
            found.phases[phase] += many
            found.on_nodes[node] += many
            found.running_on_nodes[node] += many if phase == "Running" else 0
        return found

    def count(self, plural: str) -> int | None:
        """How many there are of a kind."""
        return self._allowed(lambda: self._count(plural))

    def _count(self, plural: str) -> int:
        kept = None if self._live else snapshot.census(self.cluster, KINDS[plural])
        if kept is None:
            client = registry.client(self.cluster)
            return sum(
                read_accessible(
                    self.cluster,
                    KINDS[plural],
                    lambda namespace: count_objects(client, plural, namespace),
                )
            )
        self._used(kept[1])
        return sum(many for _, _, many in kept[0])

    def known_nodes(self) -> list[Object] | None:
        """Every node; None where the credentials may not list them."""
        return self._allowed(self.nodes)

    def nodes(self) -> list[Object]:
        """Every node; Forbidden where the credentials may not list them."""
        listing = services.list_objects(
            self.cluster, KINDS["nodes"], ListQuery(size=100_000), live=self._live
        )
        if listing.age is not None:
            self._used(listing.age)
        return [orjson.loads(item) for item in listing.items]

    def _used(self, age: float) -> None:
        self.age = max(age, self.age or 0.0)


def _live_census(cluster: Cluster, plural: str) -> Census:
    """Counted without parsing more than phase and node."""
    client = registry.client(cluster)
    parts = read_accessible(
        cluster, KINDS[plural], lambda namespace: _census_within(client, plural, namespace)
    )
    whole = Census(Counter(), Counter(), Counter())
    for part in parts:
        whole.phases.update(part.phases)
        whole.on_nodes.update(part.on_nodes)
        whole.running_on_nodes.update(part.running_on_nodes)
    return whole


def _census_within(client: ClusterClient, plural: str, namespace: str) -> Census:
    def read(chunks: Iterator[Chunk]) -> Census:
        census = Census(Counter(), Counter(), Counter())
        for chunk in chunks:
            for item in map(_PLACED.decode, chunk.items or []):
                census.phases[item.status.phase] += 1
                census.on_nodes[item.spec.node_name] += 1
                census.running_on_nodes[item.spec.node_name] += item.status.phase == "Running"
        return census

    return client.read_list(read, KINDS[plural], namespace=namespace or None)


def current_timestamp() -> str:
    """RFC 3339, UTC."""
    return f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"


def _share(used: float | None, total: float | None) -> float | None:
    return round(100 * used / total, 2) if used is not None and total else None


def _cpu(used: float | None, total: float | None) -> Object:
    return {
        "total_cores": total,
        "used_cores": _rounded(used),
        "usage_percentage": _share(used, total),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _bytes(used: float | None, total: float | None) -> Object:
    return {
        "total_bytes": None if total is None else round(total),
        "used_bytes": None if used is None else round(used),
        "usage_percentage": _share(used, total),
    }


def _capacity(nodes: Iterable[Object], resource: str) -> float:
    return sum(number((node["status"].get("capacity") or {}).get(resource)) for node in nodes)


def _total(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; null when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def is_ready(node: Object) -> bool:
    """Whether the node's Ready condition is True."""
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def cluster_metrics(cluster: Cluster, holdings: ClusterCounts) -> Object:
    """{"source", "metrics":{cpu, memory, storage, nodes, pods, services, ingresses, pvs, pvcs}}; Forbidden when the credentials may look at
    none of these."""
    nodes, measured = holdings.known_nodes(), measured_nodes(cluster)
    uses = [measured.uses.get(node["metadata"]["name"], UNMEASURED) for node in nodes or []]
    storage = (
        _total(use.more.get("storage_total") for use in uses)
        or _known_capacity(nodes, "ephemeral-storage")
        or None
    )
    cpu, memory = _known_capacity(nodes, "cpu"), _known_capacity(nodes, "memory")
    metrics = {
        "cluster_id": cluster.pk,
        "timestamp": current_timestamp(),
        "cpu": _cpu(_total(use.cpu for use in uses), cpu),
        "memory": _bytes(_total(use.memory for use in uses), memory),
        "storage": _bytes(_total(use.more.get("storage") for use in uses), storage),
        "nodes": _readiness(nodes),
        "pods": _shown(holdings.census("pods"), "Running", "Pending", "Failed", "Succeeded"),
        "services": {"total": holdings.count("services")},
        "ingresses": {"total": holdings.count("ingresses")},
        "pvs": _shown(
            holdings.census("persistentvolumes"), "Available", "Bound", "Released", "Failed"
        ),
        "pvcs": _shown(holdings.census("persistentvolumeclaims"), "Pending", "Bound", "Lost"),
    }
    if holdings.refusal and not holdings.is_known:
        raise holdings.refusal
    return {"source": measured.source, "metrics": metrics}


def node_metrics(cluster: Cluster, holdings: ClusterCounts, name: str = "") -> Object:
    """{"source", "metrics":[one for each node, or for the named one]}."""
    found = holdings.nodes()
    measured, pods = measured_nodes(cluster), holdings.census("pods")
    shown = [
        _node(cluster, node, measured, pods)
        for node in found
        if not name or node["metadata"]["name"] == name
    ]
    return {"source": measured.source, "metrics": shown}


def measured_nodes(cluster: Cluster) -> Measurements:
    """Every node's use; none where the credentials may not ask for it."""
    return _allowed_measures(lambda: metrics_sources.node_usage(cluster))


def _allowed_measures(measure: Callable[[], Measurements]) -> Measurements:
    try:
        return measure()
    except Forbidden:
        return Measurements("none")


def _known_capacity(nodes: Iterable[Object] | None, resource: str) -> float | None:
    return None if nodes is None else _capacity(nodes, resource)


def _readiness(nodes: Sequence[Object] | None) -> dict[str, int | None]:
    if nodes is None:
        return {"total": None, "ready": None, "not_ready": None}
    ready = sum(map(is_ready, nodes))
    return {"total": len(nodes), "ready": ready, "not_ready": len(nodes) - ready}


def _node(cluster: Cluster, node: Object, measured: Measurements, pods: Census | None) -> Object:
    name = node["metadata"]["name"]
    use, more = measured.uses.get(name, UNMEASURED), measured.uses.get(name, UNMEASURED).more
    storage = more.get("storage_total") or _capacity([node], "ephemeral-storage") or None
    return {
        "node_name": name,
        "cluster_id": cluster.pk,
        "timestamp": use.at or current_timestamp(),
        "cpu": _cpu(use.cpu, _capacity([node], "cpu")),
        "memory": _bytes(use.memory, _capacity([node], "memory")),
        "storage": _bytes(more.get("storage"), storage),
        "network": {
            key: more.get(key) for key in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
        },
        "pods": {
            "total": None if pods is None else pods.on_nodes[name],
            "running": None if pods is None else pods.running_on_nodes[name],
        },
        "conditions": node["status"].get("conditions") or [],
    }


def pod_metrics(
    cluster: Cluster,
    *,
    namespace: str = "",
    name: str = "",
    namespaces: frozenset[str] | None = None,
) -> Object:
    """{"source", "metrics":[one for each pod that may be seen]}."""
    client = registry.client(cluster)
    measured = _allowed_measures(lambda: metrics_sources.pod_usage(cluster, namespace=namespace))
    field = f"metadata.name={name}" if name else ""
    kind = KINDS["pods"]

    def read(within: str) -> list[Object]:
        return list_all(client, kind, within, fieldSelector=field)

    parts = [read(namespace)] if namespace else read_accessible(cluster, kind, read)
    found = [pod for part in parts for pod in part]
    shown = [
        _pod(cluster, pod, measured)
        for pod in found
        if namespaces is None or pod["metadata"]["namespace"] in namespaces
    ]
    return {"source": measured.source, "metrics": shown}


def _pod(cluster: Cluster, pod: Object, measured: Measurements) -> Object:
    metadata, containers = pod["metadata"], pod["spec"]["containers"]
    use = measured.uses.get(f"{metadata['namespace']}/{metadata['name']}", UNMEASURED)
    return {
        "pod_name": metadata["name"],
        "namespace": metadata["namespace"],
        "cluster_id": cluster.pk,
        "timestamp": use.at or current_timestamp(),
        **_resources(use, containers),
        "network": None,
        "containers": [
            {"name": one["name"], **_resources(use.containers.get(one["name"], UNMEASURED), [one])}
            for one in containers
        ],
    }


def _resources(use: ResourceUsage, containers: list[Object]) -> Object:
    """cpu and memory: used, limit and request; a limit counts only when every container has one."""
    cpu_limit, cpu_request = _set(containers, "limits", "cpu"), _set(containers, "requests", "cpu")
    limit, request = _set(containers, "limits", "memory"), _set(containers, "requests", "memory")
    cpu: dict[str, Any] = {
        "used_cores": _rounded(use.cpu),
        "limit_cores": cpu_limit,
        "request_cores": cpu_request,
    }
    memory: dict[str, Any] = {
        "used_bytes": None if use.memory is None else round(use.memory),
        "limit_bytes": None if limit is None else round(limit),
        "request_bytes": None if request is None else round(request),
    }
    return {
        "cpu": {**cpu, "usage_percentage": _share(use.cpu, cpu_limit or cpu_request)},
        "memory": {**memory, "usage_percentage": _share(use.memory, limit or request)},
    }


def _set(containers: list[Object], side: str, resource: str) -> float | None:
    given = [
        ((container.get("resources") or {}).get(side) or {}).get(resource)
        for container in containers
    ]
    known = [number(value) for value in given if value is not None]
    complete = known and (side == "requests" or len(known) == len(given))
    return sum(known) if complete else None
