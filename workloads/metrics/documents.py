"""The metrics documents of the KubeGale API (contract 1.10): what clusters, nodes and pods use.

Cores and bytes; percentages are of the capacity (nodes) or of the limit, else the request (pods).
Null is what nothing measures, and what the cluster's credentials may not read.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import orjson
from django.conf import settings
from django.utils import timezone

from clusters import registry
from clusters.accessible_namespaces import read_accessible
from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import ListQuery, list_all
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.quantities import number
from clusters.wire import Chunk
from core.errors import Forbidden
from storage_api.services import snapshot
from workloads.actions.protection import count_objects
from workloads.metrics import metrics_sources
from workloads.metrics.metrics_sources import (
    Measurements,
    ResourceUsage,
)
from workloads.objects import lists

T = TypeVar("T")
UNMEASURED = ResourceUsage()


class _Status(msgspec.Struct):
    phase: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _ObjectHead(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


# Decodes phase and node and skips the rest: counting pods must not parse megabytes.
_HEADS = msgspec.json.Decoder(_ObjectHead)


@dataclass(frozen=True, slots=True)
class Census:
    """Numbers of objects by phase, and numbers of pods (all, running) by node."""

    phases: Counter[str] = field(default_factory=Counter)
    on_nodes: Counter[str] = field(default_factory=Counter)
    running_on_nodes: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The number of all objects."""
        return self.phases.total()

    def add(self, phase: str, node: str, count: int = 1) -> None:
        """Count objects in a phase on a node."""
        self.phases[phase] += count
        self.on_nodes[node] += count
        # Also 0, so that a node without running pods has an entry.
        self.running_on_nodes[node] += count if phase == "Running" else 0

    def merge(self, other: "Census") -> None:
        """Add another census' numbers."""
        self.phases.update(other.phases)
        self.on_nodes.update(other.on_nodes)
        self.running_on_nodes.update(other.running_on_nodes)


def _phase_counts(census: Census | None, *phases: str) -> dict[str, int | None]:
    """{"total", and each phase in lower case}; all null when they may not be counted."""
    if census is None:
        return dict.fromkeys(["total", *map(str.lower, phases)])
    counts: dict[str, int | None] = {"total": census.total}
    for phase in phases:
        counts[phase.lower()] = census.phases[phase]
    return counts


class ClusterCounts:
    """Counts a cluster's objects: in the store when its copy is fresh, else (and if `live`) there.

    Counts are None for kinds that the credentials may not list; credentials for some namespaces
    count what these contain. `refusal` is the latest Forbidden, `is_known` whether anything could
    be counted, `age` the age in seconds of the oldest copy that was used, None without one.
    """

    def __init__(self, cluster: Cluster, *, live: bool = False) -> None:
        self.cluster = cluster
        self.age: float | None = None
        self.refusal: Forbidden | None = None
        self.is_known = False
        # The store answers everyone alike, so clusters that check each caller are read live.
        self._live = live or not settings.LISTS_FROM_STORE or cluster.impersonate

    def _read_if_allowed(self, read: Callable[[], T]) -> T | None:
        """What `read` returns; None when the credentials may not."""
        try:
            answer = read()
        except Forbidden as error:
            self.refusal = error
            return None
        self.is_known = True
        return answer

    def census(self, plural: str) -> Census | None:
        """Phases and nodes of a kind's objects."""
        return self._read_if_allowed(lambda: self._census(plural))

    def _census(self, plural: str) -> Census:
        stored = self._stored_census(plural)
        if stored is None:
            return _live_census(self.cluster, plural)
        census = Census()
        for phase, node, count in stored:
            census.add(phase, node, count)
        return census

    def _stored_census(self, plural: str) -> list[tuple[str, str, int]] | None:
        """(phase, node, count) out of the store; None when its copy is not fresh."""
        if self._live:
            return None
        stored = snapshot.census(self.cluster, KINDS[plural])
        if stored is None:
            return None
        counts, age = stored
        self._note_age(age)
        return counts

    def count(self, plural: str) -> int | None:
        """The number of a kind's objects."""
        return self._read_if_allowed(lambda: self._count(plural))

    def _count(self, plural: str) -> int:
        stored = self._stored_census(plural)
        if stored is not None:
            return sum(count for _, _, count in stored)
        client = registry.client(self.cluster)
        counts = read_accessible(
            self.cluster,
            KINDS[plural],
            lambda namespace: count_objects(client, plural, namespace),
        )
        return sum(counts)

    def nodes_if_allowed(self) -> list[Object] | None:
        """Every node; None when the credentials may not list them."""
        return self._read_if_allowed(self.nodes)

    def nodes(self) -> list[Object]:
        """Every node; Forbidden when the credentials may not list them."""
        listing = lists.list_objects(
            self.cluster,
            KINDS["nodes"],
            ListQuery(size=100_000),
            live=self._live,
        )
        if listing.age is not None:
            self._note_age(listing.age)
        return [node for item in listing.items if (node := _regular_node(orjson.loads(item)))]

    def _note_age(self, age: float) -> None:
        # The oldest copy decides how old the whole document is.
        self.age = max(age, self.age or 0.0)


def _regular_node(node: Any) -> Object | None:
    """The node with status and amounts as Kubernetes has them; None without a name.

    A list out of the store may hold what an agent has stored there.
    """
    metadata = node.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return None
    status = node.get("status")
    shapes = (("conditions", list), ("allocatable", dict), ("capacity", dict))
    if not isinstance(status, dict):
        return {**node, "status": {}}
    odd = {name for name, shape in shapes if not isinstance(status.get(name, shape()), shape)}
    regular = {name: value for name, value in status.items() if name not in odd}
    if "conditions" in regular:
        entries = regular["conditions"]
        regular["conditions"] = [entry for entry in entries if isinstance(entry, dict)]
    return {**node, "status": regular}


def _live_census(cluster: Cluster, plural: str) -> Census:
    client = registry.client(cluster)
    parts = read_accessible(
        cluster,
        KINDS[plural],
        lambda namespace: _namespace_census(client, plural, namespace),
    )
    census = Census()
    for part in parts:
        census.merge(part)
    return census


def _namespace_census(client: ClusterClient, plural: str, namespace: str) -> Census:
    def read(chunks: Iterator[Chunk]) -> Census:
        census = Census()
        for chunk in chunks:
            # Only the few fields that are counted are decoded: a cluster may have many thousand
            # pods.
            for item in map(_HEADS.decode, chunk.items or []):
                census.add(item.status.phase, item.spec.node_name)
        return census

    return client.read_list(read, KINDS[plural], namespace=namespace or None)


def current_timestamp() -> str:
    """Now, RFC 3339 in UTC."""
    return f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"


def _percentage(used: float | None, total: float | None) -> float | None:
    return round(100 * used / total, 2) if used is not None and total else None


def _cpu(used: float | None, total: float | None) -> Object:
    return {
        "total_cores": total,
        "used_cores": _rounded_cores(used),
        "usage_percentage": _percentage(used, total),
    }


def _rounded_cores(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _rounded_bytes(value: float | None) -> int | None:
    return None if value is None else round(value)


def _bytes(used: float | None, total: float | None) -> Object:
    return {
        "total_bytes": _rounded_bytes(total),
        "used_bytes": _rounded_bytes(used),
        "usage_percentage": _percentage(used, total),
    }


def _capacity(nodes: Iterable[Object], resource: str) -> float:
    return sum(number((node["status"].get("capacity") or {}).get(resource)) for node in nodes)


def _optional_capacity(nodes: Iterable[Object] | None, resource: str) -> float | None:
    return None if nodes is None else _capacity(nodes, resource)


def _total(values: Iterable[float | None]) -> float | None:
    """The sum of the numbers that there are; None without any."""
    numbers = [value for value in values if value is not None]
    # A sum of nothing would show as 0, as if it were measured.
    return sum(numbers) if numbers else None


def is_ready(node: Object) -> bool:
    """Whether the node's Ready condition is True."""
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in conditions
    )


def cluster_metrics(cluster: Cluster, counts: ClusterCounts) -> Object:
    """{"source", "metrics"} of a cluster.

    The metrics are cpu, memory, storage, nodes, pods, services, ingresses, pvs and pvcs. Forbidden
    when the credentials may read none of these.
    """
    nodes = counts.nodes_if_allowed()
    measured = measured_nodes(cluster)
    usage = [measured.usage.get(node["metadata"]["name"], UNMEASURED) for node in nodes or []]
    # The file systems' sizes as measured; else what the nodes report, which is less precise.
    storage = _total(node.more.get("storage_total") for node in usage)
    storage = storage or _optional_capacity(nodes, "ephemeral-storage") or None
    used_storage = _total(node.more.get("storage") for node in usage)
    metrics = {
        "cluster_id": cluster.pk,
        "timestamp": current_timestamp(),
        "cpu": _cpu(
            _total(node.cpu for node in usage),
            _optional_capacity(nodes, "cpu"),
        ),
        "memory": _bytes(
            _total(node.memory for node in usage),
            _optional_capacity(nodes, "memory"),
        ),
        "storage": _bytes(used_storage, storage),
        "nodes": _readiness(nodes),
        "pods": _phase_counts(
            counts.census("pods"),
            "Running",
            "Pending",
            "Failed",
            "Succeeded",
        ),
        "services": {"total": counts.count("services")},
        "ingresses": {"total": counts.count("ingresses")},
        "pvs": _phase_counts(
            counts.census("persistentvolumes"),
            "Available",
            "Bound",
            "Released",
            "Failed",
        ),
        "pvcs": _phase_counts(
            counts.census("persistentvolumeclaims"),
            "Pending",
            "Bound",
            "Lost",
        ),
    }
    # A document of nulls only would hide that the credentials are the reason.
    if counts.refusal and not counts.is_known:
        raise counts.refusal
    return {"source": measured.source, "metrics": metrics}


def node_metrics(cluster: Cluster, counts: ClusterCounts, name: str = "") -> Object:
    """{"source", "metrics": a list with each node, or only the one of that name}.

    Forbidden when the credentials may not list nodes.
    """
    nodes = counts.nodes()
    measured = measured_nodes(cluster)
    pods = counts.census("pods")
    metrics = [
        _node(cluster, node, measured, pods)
        for node in nodes
        if not name or node["metadata"]["name"] == name
    ]
    return {"source": measured.source, "metrics": metrics}


def measured_nodes(cluster: Cluster) -> Measurements:
    """Every node's usage; none when the credentials may not read it."""
    return _measure_if_allowed(lambda: metrics_sources.node_usage(cluster))


def _measure_if_allowed(
    measure: Callable[[], Measurements],
) -> Measurements:
    try:
        return measure()
    except Forbidden:
        return Measurements("none")


def _readiness(
    nodes: Sequence[Object] | None,
) -> dict[str, int | None]:
    # Null, not 0: the credentials may not see the nodes.
    if nodes is None:
        return {"total": None, "ready": None, "not_ready": None}
    ready = sum(is_ready(node) for node in nodes)
    return {
        "total": len(nodes),
        "ready": ready,
        "not_ready": len(nodes) - ready,
    }


def _node(
    cluster: Cluster,
    node: Object,
    measured: Measurements,
    pods: Census | None,
) -> Object:
    name = node["metadata"]["name"]
    usage = measured.usage.get(name, UNMEASURED)
    more = usage.more
    storage = more.get("storage_total") or _capacity([node], "ephemeral-storage") or None
    return {
        "node_name": name,
        "cluster_id": cluster.pk,
        "timestamp": usage.at or current_timestamp(),
        "cpu": _cpu(usage.cpu, _capacity([node], "cpu")),
        "memory": _bytes(usage.memory, _capacity([node], "memory")),
        "storage": _bytes(more.get("storage"), storage),
        "network": {
            key: more.get(key)
            for key in (
                "rx_bytes",
                "tx_bytes",
                "rx_packets",
                "tx_packets",
            )
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
    """{"source", "metrics": a list with each pod in the namespaces that the caller may see}."""
    client = registry.client(cluster)
    kind = KINDS["pods"]
    # A field selector rather than a get, so that several namespaces may have a pod of that name.
    field_selector = f"metadata.name={name}" if name else ""
    measured = _measure_if_allowed(lambda: metrics_sources.pod_usage(cluster, namespace=namespace))

    def read(accessible_namespace: str) -> list[Object]:
        return list_all(
            client,
            kind,
            accessible_namespace,
            fieldSelector=field_selector,
        )

    parts = [read(namespace)] if namespace else read_accessible(cluster, kind, read)
    pods = [pod for part in parts for pod in part]
    if namespaces is not None:
        pods = [pod for pod in pods if pod["metadata"]["namespace"] in namespaces]
    metrics = [_pod(cluster, pod, measured) for pod in pods]
    return {"source": measured.source, "metrics": metrics}


def _pod(cluster: Cluster, pod: Object, measured: Measurements) -> Object:
    metadata = pod["metadata"]
    containers = pod["spec"]["containers"]
    usage = measured.usage.get(f"{metadata['namespace']}/{metadata['name']}", UNMEASURED)
    container_metrics = []
    for container in containers:
        container_usage = usage.containers.get(container["name"], UNMEASURED)
        resources = _resources(container_usage, [container])
        container_metrics.append({"name": container["name"], **resources})
    return {
        "pod_name": metadata["name"],
        "namespace": metadata["namespace"],
        "cluster_id": cluster.pk,
        "timestamp": usage.at or current_timestamp(),
        **_resources(usage, containers),
        "network": None,
        "containers": container_metrics,
    }


def _resources(usage: ResourceUsage, containers: list[Object]) -> Object:
    """{"cpu", "memory"}, each with usage, limit, request and percentage.

    The percentage is of the limit, else of the request.
    """
    cpu_limit = _sum_resource(containers, "limits", "cpu")
    cpu_request = _sum_resource(containers, "requests", "cpu")
    memory_limit = _sum_resource(containers, "limits", "memory")
    memory_request = _sum_resource(containers, "requests", "memory")
    cpu: dict[str, Any] = {
        "used_cores": _rounded_cores(usage.cpu),
        "limit_cores": cpu_limit,
        "request_cores": cpu_request,
        "usage_percentage": _percentage(usage.cpu, cpu_limit or cpu_request),
    }
    memory: dict[str, Any] = {
        "used_bytes": _rounded_bytes(usage.memory),
        "limit_bytes": _rounded_bytes(memory_limit),
        "request_bytes": _rounded_bytes(memory_request),
        "usage_percentage": _percentage(usage.memory, memory_limit or memory_request),
    }
    return {"cpu": cpu, "memory": memory}


def _sum_resource(containers: list[Object], side: str, resource: str) -> float | None:
    """The sum of the containers' `limits` or `requests`; None without one."""
    values = []
    for container in containers:
        quantities = (container.get("resources") or {}).get(side) or {}
        if quantities.get(resource) is not None:
            values.append(number(quantities[resource]))
    # A pod is limited only when every one of its containers is.
    is_complete = side == "requests" or len(values) == len(containers)
    return sum(values) if values and is_complete else None
