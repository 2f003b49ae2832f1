"""Queries to a cluster's Prometheus, through its API server or at an address of its own."""

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
def _address_client(address: str) -> ClusterClient:
    return ClusterClient(Access(server=address), registry.client_limits())


def instant(cluster: Cluster, expression: str) -> list[Sample]:
    """The vector of an expression now: [{"metric":{…},"value":[seconds,"text"]}].

    ClusterUnavailable when the address does not answer like a Prometheus.
    """
    return _query(cluster, "query", query=expression)


def over_time(
    cluster: Cluster, expression: str, *, start: float, end: float, step: int
) -> list[Sample]:
    """The matrix of an expression: [{"metric":{…},"values":[[seconds,"text"],…]}].

    `start` and `end` are seconds of the epoch, `step` is in seconds.
    """
    return _query(
        cluster,
        "query_range",
        query=expression,
        start=start,
        end=end,
        step=step,
    )


def _query(cluster: Cluster, call: str, **parameters: object) -> list[Sample]:
    path = f"/api/v1/{call}"
    if service := SERVICE.match(cluster.prometheus):
        # Through the API server's proxy: the cluster's own credentials reach it.
        base = f"/api/v1/namespaces/{service['namespace']}/services/{service['service']}/proxy"
        body = registry.client(cluster).request(
            "GET",
            f"{base}{path}",
            query=parameters,
        )
    else:
        body = _address_client(cluster.prometheus).request(
            "GET",
            path,
            query=parameters,
        )
    try:
        answer = orjson.loads(body)
        result = answer["data"]["result"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ClusterUnavailable(
            "the address does not answer like a Prometheus", reason="bad_answer"
        ) from None
    return result if isinstance(result, list) else []
