"""What clusters, nodes and pods use, now and over time (contract 1.10)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.api.auth import Act, Scope, authorise
from core.api.dialect import DialectView
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    OBJECT,
    TEXT,
    Described,
    Query,
    array,
    record,
)
from core.errors import Invalid
from workloads.api.objects import FRESH, Target
from workloads.metrics import documents, metrics_sources, usage_history
from workloads.metrics.documents import ClusterCounts

LISTED = record(
    required=("kind", "apiVersion", "items", "available"),
    kind=TEXT,
    apiVersion=TEXT,
    items=array(OBJECT),
    available=BOOLEAN,
)
SOURCE = {"type": "string", "enum": ["prometheus", "metrics-server", "none"]}


class MetricsView(DialectView):
    """What the metrics routes share."""

    def target(self, request: Request, kind: str, verb: str = "metrics") -> tuple[Target, Scope]:
        """The target and what of it the caller may see; `kind` is what the numbers are about."""
        target, known = Target(self, request), KINDS.get(kind)
        scoped = bool(known and known.namespaced)
        space = target.namespace if scoped else ""
        act = Act(
            verb,
            kind,
            known.group if known else "",
            target.cluster_text,
            space,
            cluster_scoped=bool(known) and not scoped,
        )
        scope = authorise(self, request, act)
        target.check()
        if request.query_params.get("at"):
            raise Invalid(
                "at: what is used is measured now; /metrics/stats knows earlier times", field="at"
            )
        return target, scope


def _aged(answer: Object, holdings: ClusterCounts) -> Response:
    return Response(
        answer, headers={} if holdings.age is None else {"X-Data-Age": f"{holdings.age:.3f}"}
    )


class RawNodeMetrics(MetricsView):
    """GET /nodes/metrics."""

    operations = {"get": Described("metrics.k8s.io's NodeMetricsList", LISTED, query=(CLUSTER,))}

    def get(self, request: Request) -> Any:
        """NodeMetricsList; `available` is false and items are empty without a metrics-server."""
        target, _ = self.target(request, "nodes")
        return metrics_sources.raw_metrics(
            target.cluster(), "nodes", selector=target.option("labelSelector")
        )


class RawPodMetrics(MetricsView):
    """GET /pods/metrics."""

    operations = {
        "get": Described("metrics.k8s.io's PodMetricsList", LISTED, query=(CLUSTER, NAMESPACE))
    }

    def get(self, request: Request) -> Any:
        """PodMetricsList; `available` is false and items are empty without a metrics-server."""
        target, scope = self.target(request, "pods", "list")
        found = metrics_sources.raw_metrics(
            target.cluster(),
            "pods",
            namespace=target.namespace,
            selector=target.option("labelSelector"),
        )
        if scope.namespaces is not None:
            found["items"] = [
                item for item in found["items"] if item["metadata"]["namespace"] in scope.namespaces
            ]
        return found


class ClusterMetrics(MetricsView):
    """GET /metrics/cluster."""

    operations = {
        "get": Described(
            "What a cluster has and uses",
            record(source=SOURCE, metrics=OBJECT),
            query=(CLUSTER, FRESH),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","metrics":{…}}; null where nobody measures. X-Data-Age tells that counts came out of the store, which had this age."""
        target, _ = self.target(request, "metrics")
        holdings = ClusterCounts(target.cluster(), live=target.flag("fresh"))
        return _aged(documents.cluster_metrics(holdings.cluster, holdings), holdings)


class NodeMetrics(MetricsView):
    """GET /metrics/nodes."""

    operations = {
        "get": Described(
            "What nodes have and use",
            record(source=SOURCE, metrics=array(OBJECT)),
            query=(CLUSTER, Query("node_name", TEXT), FRESH),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","metrics":[…]}."""
        target, _ = self.target(request, "nodes")
        holdings = ClusterCounts(target.cluster(), live=target.flag("fresh"))
        return _aged(
            documents.node_metrics(holdings.cluster, holdings, target.option("node_name")), holdings
        )


class PodMetrics(MetricsView):
    """GET /metrics/pods."""

    operations = {
        "get": Described(
            "What pods use",
            record(source=SOURCE, metrics=array(OBJECT)),
            query=(CLUSTER, NAMESPACE, Query("pod_name", TEXT)),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","metrics":[…]}."""
        target, scope = self.target(request, "pods", "list")
        name = target.option("pod_name")
        return documents.pod_metrics(
            target.cluster(), namespace=target.namespace, name=name, namespaces=scope.namespaces
        )


class Statistics(MetricsView):
    """GET /metrics/stats."""

    operations = {
        "get": Described(
            "What a cluster used over time; what one node or pod used, out of the cluster's Prometheus",
            record(
                source=TEXT,
                time_range=record(start=TEXT, end=TEXT, step=INTEGER),
                series=OBJECT,
                summary=OBJECT,
            ),
            query=(
                CLUSTER,
                Query("time_range", TEXT, description="15m, 1h, 6h, 24h, 7d …"),
                *(
                    Query(name, TEXT)
                    for name in ("start", "end", "step", "node_name", "namespace", "pod_name")
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"time_range","series":{"cpu":[[ts,v]],"memory","pods"},"summary","source"}."""
        about = usage_history.UsageScope(
            *(request.query_params.get(name, "") for name in ("node_name", "namespace", "pod_name"))
        )
        if about.pod:
            target, _ = self.target(request, "pods", "get")
            if about.node or not about.namespace:
                raise Invalid(
                    "pod_name needs a namespace, and excludes node_name", field="pod_name"
                )
        else:
            target, _ = self.target(request, "nodes" if about.node else "metrics")
            about = usage_history.UsageScope(node=about.node)
        given = {name: target.option(name) for name in ("start", "end", "step")}
        span = usage_history.time_range(span=target.option("time_range"), **given)
        return usage_history.statistics(target.cluster(), span, about)
