"""What clusters, nodes and pods use: metrics-server, Prometheus, neither; and the history of it (contract 1.10)."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from clusters import registry
from clusters.models import Cluster
from clusters.quantities import number
from simcluster.testing import RunningCluster, running_cluster
from tests.caller import Caller
from tests.workloads.conftest import Put, pods_of, template, workload
from workloads.metrics import usage_history
from workloads.models import Sample

pytestmark = pytest.mark.django_db


QUANTITIES = {
    **{
        "250m": 0.25,
        "2": 2,
        "1.5": 1.5,
        "128Mi": 2**27,
        "1Gi": 2**30,
        "1k": 1000,
        "12345n": 1.2345e-5,
        "1e3": 1000,
        "1E": 1e18,
    },
    **{"2Ei": 2 * 2**60, "3Ki": 3072, "": 0, None: 0, "x": 0, "1.2.3": 0, "1e": 0},
}


def test_quantities_are_numbers() -> None:
    for text, value in QUANTITIES.items():
        assert number(text) == pytest.approx(value), text


# --- metrics-server -------------------------------------------------------------------------------------------------
def test_raw_lists_are_those_of_the_metrics_api(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str
) -> None:
    put("deployments", workload(replicas=2))
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == 2)
    nodes = admin.data("GET", "nodes/metrics", cluster_id=cluster.pk)
    assert (nodes["kind"], nodes["apiVersion"], nodes["available"]) == (
        "NodeMetricsList",
        "metrics.k8s.io/v1beta1",
        True,
    )
    pods = admin.data("GET", "pods/metrics", cluster_id=cluster.pk, namespace=space)
    assert (pods["kind"], len(pods["items"])) == ("PodMetricsList", 2)


def test_a_cluster_is_counted_and_measured(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str
) -> None:
    put(
        "services",
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        },
    )
    data = admin.data("GET", "metrics/cluster", cluster_id=cluster.pk)
    metrics = data["metrics"]
    assert data["source"] == "metrics-server"
    assert metrics["nodes"] == {
        "total": len(apiserver.list("nodes")),
        "ready": len(apiserver.list("nodes")),
        "not_ready": 0,
    }
    assert metrics["services"]["total"] == len(apiserver.list("services"))
    assert 0 < metrics["cpu"]["used_cores"] < metrics["cpu"]["total_cores"]
    assert metrics["cpu"]["usage_percentage"] == pytest.approx(
        100 * metrics["cpu"]["used_cores"] / metrics["cpu"]["total_cores"], abs=0.01
    )
    assert metrics["storage"]["used_bytes"] is None
    assert set(metrics["pods"]) == {"total", "running", "pending", "failed", "succeeded"}
    assert set(metrics["pvcs"]) == {"total", "pending", "bound", "lost"}


def test_a_pod_is_measured_against_its_limits(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str
) -> None:
    limits = {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "250m"}}
    body = template()
    body["spec"]["containers"][0]["resources"] = limits
    put("pods", {"metadata": {"name": "one"}, "spec": body["spec"]})
    apiserver.wait(lambda: pods_of(apiserver, space))
    query = {"cluster_id": cluster.pk, "namespace": space, "pod_name": "one"}
    (pod,) = apiserver.wait(lambda: _measured(admin, query))
    assert (pod["pod_name"], pod["cpu"]["limit_cores"], pod["cpu"]["request_cores"]) == (
        "one",
        0.5,
        0.25,
    )
    assert pod["memory"]["limit_bytes"] == 2**30
    assert pod["cpu"]["usage_percentage"] == pytest.approx(
        100 * pod["cpu"]["used_cores"] / 0.5, abs=0.01
    )
    assert pod["containers"][0]["name"] == "main"
    assert admin.data("GET", "metrics/pods", **{**query, "pod_name": "none"})["metrics"] == []


def _measured(admin: Caller, query: dict[str, Any]) -> list[dict[str, Any]]:
    metrics: list[dict[str, Any]] = admin.data("GET", "metrics/pods", **query)["metrics"]
    return metrics if metrics and metrics[0]["cpu"]["used_cores"] else []


# --- nobody measures ------------------------------------------------------------------------------------------------
def test_without_anybody_who_measures_the_numbers_are_null(admin: Caller) -> None:
    with running_cluster(nodes=1, metrics=False) as server:
        pk = registry.register(name="blind", kubeconfig_text=server.kubeconfig_yaml).pk
        raw = admin.data("GET", "nodes/metrics", cluster_id=pk)
        assert (raw["items"], raw["available"]) == ([], False)
        data = admin.data("GET", "metrics/nodes", cluster_id=pk)
        assert (data["source"], data["metrics"][0]["cpu"]["used_cores"]) == ("none", None)
        assert data["metrics"][0]["network"] == dict.fromkeys(
            ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
        )
        assert data["metrics"][0]["memory"]["total_bytes"] > 0
        assert usage_history.take_sample(Cluster.objects.get(pk=pk)).cpu is None


# --- Prometheus -----------------------------------------------------------------------------------------------------
class Prometheus(BaseHTTPRequestHandler):
    """Answers each expression with one sample a node, or one series."""

    asked: list[str] = []

    def do_GET(self) -> None:
        """One query."""
        parts = urlsplit(self.path)
        expression = parse_qs(parts.query)["query"][0]
        self.asked.append(expression)
        if parts.path.endswith("query_range"):
            result: list[Any] = [
                {"metric": {}, "values": [[1_700_000_000, "1"], [1_700_000_060, "3"]]}
            ]
        else:
            result = [{"metric": {"node": "node-00"}, "value": [1_700_000_000, "2.5"]}]
        body = json.dumps(
            {"status": "success", "data": {"resultType": "vector", "result": result}}
        ).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    """The address of a server that speaks Prometheus' API."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_clusters_prometheus_is_asked_first(
    admin: Caller, cluster: Cluster, prometheus: str
) -> None:
    assert (
        admin.data("PUT", f"clusters/{cluster.pk}", {"prometheus": prometheus})["prometheus"]
        == prometheus
    )
    data = admin.data("GET", "metrics/nodes", cluster_id=cluster.pk, node_name="node-00")
    assert data["source"] == "prometheus"
    assert (data["metrics"][0]["cpu"]["used_cores"], data["metrics"][0]["network"]["rx_bytes"]) == (
        2.5,
        2.5,
    )
    stats = admin.data("GET", "metrics/stats", cluster_id=cluster.pk, time_range="1h")
    assert (stats["source"], stats["series"]["cpu"]) == (
        "prometheus",
        [[1_700_000_000, 1.0], [1_700_000_060, 3.0]],
    )
    assert stats["summary"]["cpu"] == {"avg": 2.0, "max": 3.0, "min": 1.0}


def test_the_past_of_one_node_or_pod_is_asked_of_prometheus(
    admin: Caller, cluster: Cluster, prometheus: str
) -> None:
    of_pod = {"cluster_id": cluster.pk, "namespace": "default", "pod_name": 'web"} or vector(1) #'}
    assert admin.data("GET", "metrics/stats", **of_pod)["series"] == {"cpu": [], "memory": []}
    admin.data("PUT", f"clusters/{cluster.pk}", {"prometheus": prometheus})
    Prometheus.asked.clear()
    stats = admin.data("GET", "metrics/stats", **of_pod)
    assert (stats["source"], set(stats["series"])) == ("prometheus", {"cpu", "memory"})
    quoted = r'pod="web\"} or vector(1) #"'
    assert all(
        f'container!="POD",namespace="default",{quoted}' in expression
        for expression in Prometheus.asked
    )
    Prometheus.asked.clear()
    admin.data("GET", "metrics/stats", cluster_id=cluster.pk, node_name="node-00")
    assert all('id="/",node="node-00"' in expression for expression in Prometheus.asked)
    assert admin.code("GET", "metrics/stats", cluster_id=cluster.pk, pod_name="web") == 1001


def test_a_prometheus_that_fails_is_passed_over(admin: Caller, cluster: Cluster) -> None:
    admin.data("PUT", f"clusters/{cluster.pk}", {"prometheus": "monitoring/prometheus:9090"})
    assert admin.data("GET", "metrics/nodes", cluster_id=cluster.pk)["source"] == "metrics-server"


def test_the_address_of_a_prometheus_is_checked(admin: Caller, cluster: Cluster) -> None:
    for wrong in (
        "ftp://x",
        "http://169.254.169.254",
        "http://user:pass@host",
        "just words",
        "http://host:99999",
        7,
    ):
        assert admin.code("PUT", f"clusters/{cluster.pk}", {"prometheus": wrong}) == 1001, wrong


# --- over time ------------------------------------------------------------------------------------------------------
def test_samples_are_averaged_over_each_step_and_forgotten_in_time(
    admin: Caller, cluster: Cluster, settings: Any
) -> None:
    start = timezone.now().replace(microsecond=0) - timedelta(minutes=10)
    for minute, cpu in ((0, 1.0), (1, 3.0), (5, None)):
        Sample.objects.create(
            cluster=cluster, at=start + timedelta(minutes=minute), cpu=cpu, memory=2**20, pods=4
        )
    span = {
        "start": start.timestamp(),
        "end": (start + timedelta(minutes=10)).isoformat(),
        "step": "2m",
    }
    data = admin.data("GET", "metrics/stats", cluster_id=cluster.pk, **span)
    first = int(start.timestamp())
    assert data["series"]["cpu"] == [[first, 2.0]]
    assert data["series"]["pods"] == [[first, 4.0], [first + 240, 4.0]]
    assert (data["source"], data["time_range"]["step"], data["summary"]["cpu"]["max"]) == (
        "samples",
        120,
        2.0,
    )
    settings.METRIC_RETENTION_DAYS = 0
    usage_history.delete_expired()
    assert not Sample.objects.exists()


def test_a_sample_notes_what_is_used_now(cluster: Cluster) -> None:
    sample = usage_history.take_sample(cluster)
    assert sample.cpu
    assert sample.memory


def test_a_bad_time_is_refused(admin: Caller, cluster: Cluster) -> None:
    for wrong in (
        {"time_range": "15x"},
        {"time_range": "0h"},
        {"time_range": "1h", "start": "5"},
        {"start": "2026-01-01"},
        {"start": "20", "end": "10"},
        {"time_range": "30d", "step": "1"},
        {"time_range": "9999d"},
    ):
        assert admin.code("GET", "metrics/stats", cluster_id=cluster.pk, **wrong) == 1001, wrong
