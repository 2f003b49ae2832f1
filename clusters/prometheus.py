"""Asking a cluster's Prometheus, reached through its API server or at an address of its own."""

from functools import lru_cache
from typing import Any

import orjson

from clusters import registry
from clusters.address_policy import SERVICE
from clusters.client import ClusterClient
from clusters.kubeconfig import Access
from clusters.models import Cluster
from core.errors import ClusterUnavailable

Sample = dict[str, Any]


@lru_cache(maxsize=256)
def _outside(address: str) -> ClusterClient:
    return ClusterClient(Access(server=address), registry.limits())


def instant(cluster: Cluster, expression: str) -> list[Sample]:
    """The vector that an expression gives now: [{"metric":{…},"value":[seconds,"text"]}]."""
    return _ask(cluster, "query", query=expression)


def over_time(
    cluster: Cluster, expression: str, *, start: float, end: float, step: int
) -> list[Sample]:
    """The matrix over a time (epoch seconds): [{"metric":{…},"values":[[seconds,"text"],…]}]."""
    return _ask(cluster, "query_range", query=expression, start=start, end=end, step=step)


def _ask(cluster: Cluster, call: str, **query: object) -> list[Sample]:
    """ClusterUnavailable when it does not answer like a Prometheus."""
    if inside := SERVICE.match(cluster.prometheus):
        base = f"/api/v1/namespaces/{inside['namespace']}/services/{inside['service']}/proxy"
        body = registry.client(cluster).request("GET", f"{base}/api/v1/{call}", query=query)
    else:
        body = _outside(cluster.prometheus).request("GET", f"/api/v1/{call}", query=query)
    try:
        answer = orjson.loads(body)
        result = answer["data"]["result"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ClusterUnavailable(
            "the address does not answer like a Prometheus", reason="bad_answer"
        ) from None
    return result if isinstance(result, list) else []
