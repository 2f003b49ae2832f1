"""What pods request and use, summed by pod, workload, node and namespace; lists sorted by it."""

import itertools
from typing import Any

import pytest

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.workloads.conftest import Put, pods_of, template, workload

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def uncached(settings: Any) -> None:
    """Every call computes the numbers again."""
    settings.USAGE_CACHE_SECONDS = 0


def resources(cpu: str, memory: str, limit: str) -> dict[str, Any]:
    """Requests, and a limit of CPU."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": limit}}


def usage(admin: Caller, cluster: Cluster, by: str, **query: str) -> list[dict[str, Any]]:
    """The items of /metrics/usage."""
    items: list[dict[str, Any]] = admin.data(
        "GET", "metrics/usage", cluster_id=cluster.pk, by=by, **query
    )["items"]
    return items


def test_requests_of_a_deployment_are_those_of_its_pods(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str
) -> None:
    body = workload(replicas=2)
    pod_spec = body["spec"]["template"]["spec"]
    pod_spec["containers"][0]["resources"] = resources("250m", "64Mi", "500m")
    # A sidecar counts with the containers; an init container only if it asks for more than they.
    pod_spec["initContainers"] = [
        {
            "name": "proxy",
            "image": "proxy:1",
            "restartPolicy": "Always",
            "resources": resources("50m", "16Mi", "100m"),
        },
        {"name": "setup", "image": "setup:1", "resources": resources("1", "1Mi", "1")},
    ]
    put("deployments", body)
    apiserver.wait(lambda: len(pods_of(apiserver, space, ready=False)) == 2)
    (web,) = usage(admin, cluster, "deployments", namespace=space)
    assert (web["namespace"], web["name"], web["pods"]) == (space, "web", 2)
    assert web["cpu"]["request_cores"] == pytest.approx(2 * 1.05)
    assert web["memory"]["request_bytes"] == 2 * 80 * 2**20
    (total,) = usage(admin, cluster, "namespaces", names=space)
    assert total["cpu"] == pytest.approx(web["cpu"])
    nodes = usage(admin, cluster, "nodes")
    assert sum(node["pods"] for node in nodes) == len(
        [pod for pod in apiserver.list("pods") if pod["spec"].get("nodeName")]
    )
    assert admin.code("GET", "metrics/usage", cluster_id=cluster.pk, by="shoes") == 1001


def test_lists_narrow_to_namespaces_and_sort_by_what_objects_use(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str
) -> None:
    for name in ("one", "two", "three"):
        put("pods", {"metadata": {"name": name}, "spec": template()["spec"]})
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == 3)

    def measured() -> dict[str, float] | None:
        rows = usage(admin, cluster, "pods", namespace=space)
        used = {row["name"]: row["memory"]["used_bytes"] for row in rows}
        return used if None not in used.values() else None

    apiserver.wait(measured)
    query = {"cluster_id": cluster.pk, "namespace_in": f"{space},no-such", "orderby": "-memory"}
    before = measured()
    items = admin.data("GET", "pods", **query)["items"]
    after = measured()
    names = [item["metadata"]["name"] for item in items]
    assert sorted(names) == ["one", "three", "two"]
    # The simulator's numbers move: only an order that held both before and after is certain.
    for first, second in itertools.pairwise(names):
        assert before
        assert after
        assert max(before[first], after[first]) >= min(before[second], after[second])
    assert admin.code("GET", "configmaps", cluster_id=cluster.pk, orderby="cpu") == 1001
    both = {"namespace": space, "namespace_in": space}
    assert admin.code("GET", "pods", cluster_id=cluster.pk, **both) == 1001
