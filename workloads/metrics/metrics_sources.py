"""What nodes and pods use, from the cluster's Prometheus or else its metrics-server."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from clusters import prometheus, registry
from clusters.accessible_namespaces import read_accessible
from clusters.kinds import KINDS, quote_segment
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.quantities import number
from core.errors import ClusterUnavailable, DomainError, NotFound

log = logging.getLogger(__name__)
METRICS_API = "/apis/metrics.k8s.io/v1beta1"
# rate() needs two samples: this is enough for scrapes every minute, also when one fails.
WINDOW = "5m"
# The cgroup "/" is the sum of everything on a node.
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
    """Cores and bytes in use; None where there is no measurement.

    `more` has further numbers by the names of NODE_QUERIES, `containers` the usage of each
    container, `at` the time of the measurement (RFC 3339) when it is known.
    """

    cpu: float | None = None
    memory: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    containers: Mapping[str, "ResourceUsage"] = field(default_factory=dict)
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Measurements:
    """Usage by name (`namespace/name` of pods), and its source.

    `source` is prometheus, metrics-server or none.
    """

    source: str
    usage: Mapping[str, ResourceUsage] = field(default_factory=dict)


def raw_metrics(
    cluster: Cluster,
    plural: str,
    *,
    namespace: str = "",
    selector: str = "",
) -> Object:
    """The list of metrics.k8s.io for nodes or pods, with an additional member `available`.

    Without a metrics-server it is empty and `available` is false.
    """

    def read(accessible_namespace: str) -> Object:
        return _read_metrics(cluster, plural, accessible_namespace, selector)

    if namespace or plural != "pods":
        return read(namespace)
    # One list of the whole cluster, or one for each namespace that the credentials may read.
    first, *others = read_accessible(cluster, KINDS[plural], read)
    if not others:
        return first
    items = [item for listing in (first, *others) for item in listing.get("items") or []]
    return first | {"items": items}


def _read_metrics(cluster: Cluster, plural: str, namespace: str, selector: str) -> Object:
    namespace_path = f"/namespaces/{quote_segment(namespace, 'namespace')}" if namespace else ""
    path = f"{METRICS_API}{namespace_path}/{plural}"
    client = registry.client(cluster)
    try:
        listing: Any = orjson.loads(client.request("GET", path, query={"labelSelector": selector}))
    except NotFound:
        return _no_metrics(plural)
    except ClusterUnavailable as error:
        # With a status it is the API server's 503: the aggregated API has no backend.
        if "status" not in error.details:
            raise
        return _no_metrics(plural)
    if not isinstance(listing, dict):
        raise ClusterUnavailable(
            "the cluster's answer is not a list of metrics",
            reason="bad_answer",
        )
    return {**listing, "available": True}


def _no_metrics(plural: str) -> Object:
    return {
        "kind": "PodMetricsList" if plural == "pods" else "NodeMetricsList",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [],
        "available": False,
    }


def node_usage(cluster: Cluster) -> Measurements:
    """Every node's usage; Forbidden when the credentials may not read it."""
    measurements = _from_prometheus(cluster, lambda: _prometheus_nodes(cluster))
    if measurements is None:
        measurements = _from_metrics_server(raw_metrics(cluster, "nodes"), _node_entry)
    return measurements


def pod_usage(cluster: Cluster, *, namespace: str = "") -> Measurements:
    """Every pod's usage, and that of its containers; Forbidden when it may not be read."""
    measurements = _from_prometheus(cluster, lambda: _prometheus_pods(cluster, namespace))
    if measurements is None:
        listing = raw_metrics(cluster, "pods", namespace=namespace)
        measurements = _from_metrics_server(listing, _pod_entry)
    return measurements


def _from_prometheus(
    cluster: Cluster, read: Callable[[], dict[str, ResourceUsage]]
) -> Measurements | None:
    """Prometheus' answer; None when the cluster has none, when it fails or has no numbers."""
    if not cluster.prometheus:
        return None
    try:
        usage = read()
    except DomainError as error:
        log.warning(
            "the Prometheus of cluster %s did not answer: %s",
            cluster.pk,
            error.message,
        )
        return None
    return Measurements("prometheus", usage) if usage else None


def _from_metrics_server(
    listing: Object,
    entry: Callable[[Object], tuple[str, ResourceUsage]],
) -> Measurements:
    if not listing["available"]:
        return Measurements("none")
    usage = dict(entry(item) for item in listing.get("items") or [])
    return Measurements("metrics-server", usage)


def _parsed_usage(usage: Mapping[str, Any]) -> ResourceUsage:
    return ResourceUsage(number(usage.get("cpu")), number(usage.get("memory")))


def _node_entry(item: Object) -> tuple[str, ResourceUsage]:
    usage = _parsed_usage(item["usage"])
    return item["metadata"]["name"], replace(usage, at=item.get("timestamp"))


def _pod_entry(item: Object) -> tuple[str, ResourceUsage]:
    containers = {
        container["name"]: _parsed_usage(container["usage"])
        for container in item.get("containers") or []
    }
    name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    return name, replace(_sum_containers(containers), at=item.get("timestamp"))


def _sum_containers(
    containers: Mapping[str, ResourceUsage],
) -> ResourceUsage:
    cpu = sum(usage.cpu or 0.0 for usage in containers.values())
    memory = sum(usage.memory or 0.0 for usage in containers.values())
    return ResourceUsage(cpu, memory, containers=containers)


def _labelled_values(
    cluster: Cluster, expression: str, *labels: str
) -> Iterator[tuple[tuple[str, ...], float]]:
    """(the values of these labels, the number) of each sample that has all of them."""
    for sample in prometheus.instant(cluster, expression):
        key = tuple(sample["metric"].get(label, "") for label in labels)
        if all(key):
            yield key, float(sample["value"][1])


def _prometheus_nodes(cluster: Cluster) -> dict[str, ResourceUsage]:
    numbers: dict[str, dict[str, float]] = {}
    for name, expression in NODE_QUERIES.items():
        for (node,), value in _labelled_values(cluster, expression, "node"):
            numbers.setdefault(node, {})[name] = value
    usage = {}
    # What is left after cpu and memory is `more`.
    for node, more in numbers.items():
        cpu = more.pop("cpu", None)
        memory = more.pop("memory", None)
        usage[node] = ResourceUsage(cpu, memory, more)
    return usage


def _prometheus_pods(cluster: Cluster, namespace: str) -> dict[str, ResourceUsage]:
    # cAdvisor also reports each pod's pause container and the sum of a pod, without a name.
    matchers = 'container!="",container!="POD"'
    if namespace:
        matchers += f",namespace={quoted_label(namespace)}"
    labels = ("namespace", "pod", "container")
    grouping = f"sum by ({','.join(labels)})"
    cpu = f"{grouping} (rate(container_cpu_usage_seconds_total{{{matchers}}}[{WINDOW}]))"
    memory = f"{grouping} (container_memory_working_set_bytes{{{matchers}}})"
    pods: dict[str, dict[str, ResourceUsage]] = {}
    for (pod_namespace, pod, container), value in _labelled_values(cluster, cpu, *labels):
        containers = pods.setdefault(f"{pod_namespace}/{pod}", {})
        containers[container] = ResourceUsage(cpu=value)
    for (pod_namespace, pod, container), value in _labelled_values(cluster, memory, *labels):
        containers = pods.setdefault(f"{pod_namespace}/{pod}", {})
        usage = containers.get(container, ResourceUsage())
        containers[container] = replace(usage, memory=value)
    return {pod: _sum_containers(containers) for pod, containers in pods.items()}


def quoted_label(text: str) -> str:
    """A label's value as a PromQL string; it cannot end the string and continue the query."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
