"""What clusters, nodes and pods use, now and over time (contract 1.10)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Invalid
from workloads.api.objects import FRESH
from workloads.api.request_target import RequestTarget
from workloads.metrics import cost, documents, metrics_sources, pod_resources, usage_history
from workloads.metrics.documents import ClusterCounts

LISTED = record(
    required=("kind", "apiVersion", "items", "available"),
    kind=TEXT,
    apiVersion=TEXT,
    items=array(OBJECT),
    available=BOOLEAN,
)
SOURCE = {
    "type": "string",
    "enum": ["prometheus", "metrics-server", "none"],
}


class MetricsView(DialectView):
    """What the metrics routes share."""

    def target(
        self, request: Request, plural: str, verb: str = "metrics"
    ) -> tuple[RequestTarget, Scope]:
        """The target and what of it the caller may see; `plural` is what the numbers are about."""
        target = RequestTarget(self, request)
        # "metrics" is about the whole cluster and no kind of object.
        kind = KINDS.get(plural)
        namespaced = kind is not None and kind.namespaced
        act = AccessAttributes(
            verb,
            plural,
            kind.group if kind else "",
            target.cluster_text,
            target.namespace if namespaced else "",
            cluster_scoped=kind is not None and not namespaced,
        )
        scope = authorise(self, request, act)
        target.check()
        if request.query_params.get("at"):
            raise Invalid(
                "at: usage is measured now; /metrics/stats has earlier times",
                field="at",
            )
        return target, scope


def _response_with_age(answer: Object, counts: ClusterCounts) -> Response:
    headers = {} if counts.age is None else {"X-Data-Age": f"{counts.age:.3f}"}
    return Response(answer, headers=headers)


class RawNodeMetrics(MetricsView):
    """GET /nodes/metrics."""

    operations = {
        "get": OperationSchema("metrics.k8s.io's NodeMetricsList", LISTED, query=(CLUSTER,))
    }

    def get(self, request: Request) -> Any:
        """NodeMetricsList; `available` is false and items are empty without a metrics-server."""
        target, _ = self.target(request, "nodes")
        return metrics_sources.raw_metrics(
            target.cluster(),
            "nodes",
            selector=target.option("labelSelector"),
        )


class RawPodMetrics(MetricsView):
    """GET /pods/metrics."""

    operations = {
        "get": OperationSchema(
            "metrics.k8s.io's PodMetricsList",
            LISTED,
            query=(CLUSTER, NAMESPACE),
        )
    }

    def get(self, request: Request) -> Any:
        """PodMetricsList; `available` is false and items are empty without a metrics-server."""
        target, scope = self.target(request, "pods", "list")
        listing = metrics_sources.raw_metrics(
            target.cluster(),
            "pods",
            namespace=target.namespace,
            selector=target.option("labelSelector"),
        )
        # metrics.k8s.io has no selector for namespaces.
        if scope.namespaces is not None:
            listing["items"] = [
                item
                for item in listing["items"]
                if item["metadata"]["namespace"] in scope.namespaces
            ]
        return listing


class ClusterMetrics(MetricsView):
    """GET /metrics/cluster."""

    operations = {
        "get": OperationSchema(
            "What a cluster has and uses",
            record(source=SOURCE, metrics=OBJECT),
            query=(CLUSTER, FRESH),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","metrics":{…}}; null where there is no metrics source.

        X-Data-Age is the age in seconds of the store's copy, when counts came from the store.
        """
        target, _ = self.target(request, "metrics")
        counts = ClusterCounts(target.cluster(), live=target.flag("fresh"))
        return _response_with_age(documents.cluster_metrics(counts.cluster, counts), counts)


class NodeMetrics(MetricsView):
    """GET /metrics/nodes."""

    operations = {
        "get": OperationSchema(
            "What nodes have and use",
            record(source=SOURCE, metrics=array(OBJECT)),
            query=(CLUSTER, QueryParameter("node_name", TEXT), FRESH),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","metrics":[…]}."""
        target, _ = self.target(request, "nodes")
        counts = ClusterCounts(target.cluster(), live=target.flag("fresh"))
        return _response_with_age(
            documents.node_metrics(counts.cluster, counts, target.option("node_name")),
            counts,
        )


class PodMetrics(MetricsView):
    """GET /metrics/pods."""

    operations = {
        "get": OperationSchema(
            "What pods use",
            record(source=SOURCE, metrics=array(OBJECT)),
            query=(CLUSTER, NAMESPACE, QueryParameter("pod_name", TEXT)),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","metrics":[…]}."""
        target, scope = self.target(request, "pods", "list")
        name = target.option("pod_name")
        return documents.pod_metrics(
            target.cluster(),
            namespace=target.namespace,
            name=name,
            namespaces=scope.namespaces,
        )


NUMBER = nullable({"type": "number"})
USED = record(
    namespace=TEXT,
    name=TEXT,
    pods=INTEGER,
    cpu=record(used_cores=NUMBER, request_cores=NUMBER, limit_cores=NUMBER),
    memory=record(used_bytes=NUMBER, request_bytes=NUMBER, limit_bytes=NUMBER),
)


class ResourceUse(MetricsView):
    """GET /metrics/usage."""

    operations = {
        "get": OperationSchema(
            "What pods request, what limits them and what they use, summed",
            record(source=SOURCE, items=array(USED)),
            query=(
                CLUSTER,
                NAMESPACE,
                QueryParameter(
                    "by", {"type": "string", "enum": list(pod_resources.GROUPINGS)}, required=True
                ),
                QueryParameter(
                    "names",
                    TEXT,
                    description="Only of these, as a comma list of namespace/name; of nodes and "
                    "namespaces their names.",
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","items":[…]} by pod, node, namespace or workload, at most seconds old."""
        grouping = request.query_params.get("by", "")
        # Sums by node tell of pods in every namespace; all others are about pods one may list.
        if grouping == "nodes":
            target, scope = self.target(request, "nodes")
        else:
            target, scope = self.target(request, "pods", "list")
        namespaces = scope.namespaces
        if target.namespace:
            namespaces = frozenset({target.namespace})
        resources = pod_resources.read_resources(target.cluster())
        sums = pod_resources.sum_resources(resources, grouping, namespaces)
        names = target.option("names")
        keys = set(names.split(",")) if names else None
        items = []
        for key, total in sorted(sums.items()):
            if keys is not None and key not in keys:
                continue
            namespace, _, name = key.rpartition("/")
            items.append(
                {"namespace": namespace, "name": name, **pod_resources.describe_sum(total)}
            )
        return {"source": resources.source, "items": items}


COST = record(
    pods=INTEGER,
    billed_cores=NUMBER,
    billed_bytes=INTEGER,
    cpu_per_hour=NUMBER,
    memory_per_hour=NUMBER,
    per_hour=NUMBER,
    per_month=NUMBER,
)


class ClusterCost(MetricsView):
    """GET /metrics/cost."""

    operations = {
        "get": OperationSchema(
            "What the namespaces of a cluster cost, by what is requested or used",
            record(
                source=SOURCE,
                prices=OBJECT,
                total=COST,
                items=array(record(namespace=TEXT, **COST["properties"])),
            ),
            query=(CLUSTER, NAMESPACE),
        )
    }

    def get(self, request: Request) -> Any:
        """{"source","prices","total","items":[…]}, of the namespaces that the caller may see."""
        target, scope = self.target(request, "pods", "list")
        namespaces = scope.namespaces
        if target.namespace:
            namespaces = frozenset({target.namespace})
        resources = pod_resources.read_resources(target.cluster())
        sums = pod_resources.sum_resources(resources, "namespaces", namespaces)
        items = [
            {"namespace": namespace, **cost.describe_cost(total)}
            for namespace, total in sorted(sums.items())
        ]
        return {
            "source": resources.source,
            "prices": cost.describe_prices(),
            "total": cost.add_costs(items),
            "items": items,
        }


class Statistics(MetricsView):
    """GET /metrics/stats."""

    operations = {
        "get": OperationSchema(
            "What a cluster used over time; what one node or pod used, "
            "out of the cluster's Prometheus",
            record(
                source=TEXT,
                time_range=record(start=TEXT, end=TEXT, step=INTEGER),
                series=OBJECT,
                summary=OBJECT,
            ),
            query=(
                CLUSTER,
                QueryParameter("time_range", TEXT, description="15m, 1h, 6h, 24h, 7d …"),
                *(
                    QueryParameter(name, TEXT)
                    for name in (
                        "start",
                        "end",
                        "step",
                        "node_name",
                        "namespace",
                        "pod_name",
                    )
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"time_range","series":{"cpu":[[ts,v]],"memory","pods"},"summary","source"}."""
        parameters = request.query_params
        usage_scope = usage_history.UsageScope(
            node=parameters.get("node_name", ""),
            namespace=parameters.get("namespace", ""),
            pod=parameters.get("pod_name", ""),
        )
        if usage_scope.pod:
            target, _ = self.target(request, "pods", "get")
            if usage_scope.node or not usage_scope.namespace:
                raise Invalid(
                    "pod_name needs a namespace, and excludes node_name",
                    field="pod_name",
                )
        else:
            target, _ = self.target(request, "nodes" if usage_scope.node else "metrics")
            # A namespace without a pod means nothing here.
            usage_scope = usage_history.UsageScope(node=usage_scope.node)
        time_range = usage_history.time_range(
            span=target.option("time_range"),
            start=target.option("start"),
            end=target.option("end"),
            step=target.option("step"),
        )
        return usage_history.statistics(target.cluster(), time_range, usage_scope)
