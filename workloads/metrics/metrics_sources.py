"""What nodes and pods use, by whoever measures it in a cluster: Prometheus, metrics-server, or nobody."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from clusters import prometheus, registry
from clusters.accessible_namespaces import read_accessible
from clusters.kinds import KINDS, segment
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.quantities import number
from core.errors import ClusterUnavailable, DomainError, NotFound

log = logging.getLogger(__name__)
METRICS_API = "/apis/metrics.k8s.io/v1beta1"
WINDOW = "5m"
NODE_QUERIES = {
    "cpu": f'sum by (node) (rate(container_cpu_usage_seconds_total{{id="/"}}[{WINDOW}]))',
    "memory": 'sum by (node) (container_memory_working_set_bytes{id="/"})',
    "storage": 'sum by (node) (container_fs_usage_bytes{id="/"})',
    "storage_total": 'sum by (node) (container_fs_limit_bytes{id="/"})',
    "rx_bytes": 'sum by (node) (container_network_receive_bytes_total{id="/"})',
    "tx_bytes": 'sum by (node) (container_network_transmit_bytes_total{id="/"})',
    "rx_packets": 'sum by (node) (container_network_receive_packets_total{id="/"})',
    "tx_packets": 'sum by (node) (container_network_transmit_packets_total{id="/"})',
}


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Cores and bytes in use, and what else is known; null means that nobody measures it."""

    cpu: float | None = None
    memory: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    containers: Mapping[str, "ResourceUsage"] = field(default_factory=dict)
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Measurements:
    """Uses by name (`namespace/name` for pods), and who measured them: prometheus, metrics-server or none."""

    source: str
    uses: Mapping[str, ResourceUsage] = field(default_factory=dict)


def raw_metrics(
    cluster: Cluster, plural: str, *, namespace: str = "", selector: str = ""
) -> Object:
    """metrics.k8s.io's own list; empty, with available false, where the cluster has no metrics-server."""

    def read(within: str) -> Object:
        return _raw_within(cluster, plural, within, selector)

    if namespace or plural != "pods":
        return read(namespace)
    first, *others = read_accessible(cluster, KINDS[plural], read)
    items = [item for part in (first, *others) for item in part.get("items") or []]
    return first | {"items": items} if others else first


def _raw_within(cluster: Cluster, plural: str, namespace: str, selector: str) -> Object:
    space = f"/namespaces/{segment(namespace, 'namespace')}" if namespace else ""
    kind = "PodMetricsList" if plural == "pods" else "NodeMetricsList"
    query = {"labelSelector": selector}
    try:
        found: Any = orjson.loads(
            registry.client(cluster).request("GET", f"{METRICS_API}{space}/{plural}", query=query)
        )
    except (NotFound, ClusterUnavailable) as error:
        if isinstance(error, ClusterUnavailable) and "status" not in error.details:
            raise
        return {
            "kind": kind,
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {},
            "items": [],
            "available": False,
        }
    if not isinstance(found, dict):
        raise ClusterUnavailable(
            "the cluster's answer is no list of measurements", reason="bad_answer"
        )
    return {**found, "available": True}


def node_usage(cluster: Cluster) -> Measurements:
    """Every node's use."""
    return _by_prometheus(cluster, _nodes_of_prometheus) or _by_server(
        raw_metrics(cluster, "nodes"), _node_use
    )


def pod_usage(cluster: Cluster, *, namespace: str = "") -> Measurements:
    """Every pod's use, container by container where that is known."""
    return _by_prometheus(cluster, _pods_of_prometheus, namespace) or _by_server(
        raw_metrics(cluster, "pods", namespace=namespace), _pod_use
    )


def _by_prometheus(cluster: Cluster, read: Any, *arguments: str) -> Measurements | None:
    """What Prometheus says; None when there is none, when it fails or knows nothing."""
    if not cluster.prometheus:
        return None
    try:
        uses = read(cluster, *arguments)
    except DomainError as error:
        log.warning("the Prometheus of cluster %s did not answer: %s", cluster.pk, error.message)
        return None
    return Measurements("prometheus", uses) if uses else None


def _by_server(listing: Object, read: Any) -> Measurements:
    if not listing["available"]:
        return Measurements("none")
    return Measurements("metrics-server", dict(read(item) for item in listing.get("items") or []))


def _amounts(usage: Mapping[str, Any]) -> ResourceUsage:
    return ResourceUsage(number(usage.get("cpu")), number(usage.get("memory")))


def _node_use(item: Object) -> tuple[str, ResourceUsage]:
    return item["metadata"]["name"], replace(_amounts(item["usage"]), at=item.get("timestamp"))


def _pod_use(item: Object) -> tuple[str, ResourceUsage]:
    containers = {one["name"]: _amounts(one["usage"]) for one in item.get("containers") or []}
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}", replace(
        _sum(containers), at=item.get("timestamp")
    )


def _sum(containers: Mapping[str, ResourceUsage]) -> ResourceUsage:
    cpu, memory = (
        sum(use.cpu or 0.0 for use in containers.values()),
        sum(use.memory or 0.0 for use in containers.values()),
    )
    return ResourceUsage(cpu, memory, containers=containers)


def _values(
    cluster: Cluster, expression: str, *labels: str
) -> Iterator[tuple[tuple[str, ...], float]]:
    for sample in prometheus.instant(cluster, expression):
        key = tuple(sample["metric"].get(label, "") for label in labels)
        if all(key):
            yield key, float(sample["value"][1])


def _nodes_of_prometheus(cluster: Cluster) -> dict[str, ResourceUsage]:
    found: dict[str, dict[str, float]] = {}
    for name, expression in NODE_QUERIES.items():
        for (node,), value in _values(cluster, expression, "node"):
            found.setdefault(node, {})[name] = value
    return {
        node: ResourceUsage(values.pop("cpu", None), values.pop("memory", None), values)
        for node, values in found.items()
    }


def _pods_of_prometheus(cluster: Cluster, namespace: str) -> dict[str, ResourceUsage]:
    """`namespace` is a DNS label by now: `segment` checked nothing here, so quotes are escaped all the same."""
    space = (
        ""
        if not namespace
        else ',namespace="'
        + namespace.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        + '"'
    )
    labels, within = ("namespace", "pod", "container"), f'container!="",container!="POD"{space}'
    found: dict[str, dict[str, ResourceUsage]] = {}
    cpu = f"sum by ({','.join(labels)}) (rate(container_cpu_usage_seconds_total{{{within}}}[{WINDOW}]))"
    for (space_name, pod, container), value in _values(cluster, cpu, *labels):
        found.setdefault(f"{space_name}/{pod}", {})[container] = ResourceUsage(cpu=value)
    memory = f"sum by ({','.join(labels)}) (container_memory_working_set_bytes{{{within}}})"
    for (space_name, pod, container), value in _values(cluster, memory, *labels):
        containers = found.setdefault(f"{space_name}/{pod}", {})
        containers[container] = replace(containers.get(container, ResourceUsage()), memory=value)
    return {pod: _sum(containers) for pod, containers in found.items()}
