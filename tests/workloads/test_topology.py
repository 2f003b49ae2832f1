"""What belongs together: /topology."""

import json
from typing import Any

import pytest

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.workloads.conftest import Put, pods_of, template, workload


def ids(graph: dict[str, Any], layer: str = "") -> list[str]:
    return sorted(
        vertex["id"] for vertex in graph["nodes"] if not layer or vertex["layer"] == layer
    )


def edges(graph: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(edge["from"], edge["relation"], edge["to"]) for edge in graph["edges"]}


@pytest.fixture
def shop(put: Put, apiserver: RunningCluster, space: str) -> str:
    """A shop: an Ingress, a Service, a Deployment that reads a ConfigMap and a Secret, a database with a claim; and something beside it."""
    put("configmaps", {"metadata": {"name": "settings"}, "data": {"a": "b"}})
    put("configmaps", {"metadata": {"name": "nobody-reads-me"}})
    container = {
        "name": "main",
        "image": "nginx:1",
        "envFrom": [
            {"configMapRef": {"name": "settings"}},
            {"configMapRef": {"name": "not-needed", "optional": True}},
        ],
        "env": [
            {
                "name": "PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "shop-secret", "key": "password"}},
            }
        ],
    }
    manifest = workload("shop")
    manifest["spec"]["template"]["spec"] = {
        "containers": [container],
        "volumes": [{"name": "gone", "configMap": {"name": "forgotten", "optional": False}}],
    }
    put("deployments", manifest)
    put(
        "services",
        {
            "metadata": {"name": "shop"},
            "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]},
        },
    )
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    paths = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    put(
        "ingresses",
        {
            "metadata": {"name": "shop"},
            "spec": {"rules": [{"host": "shop.example.com", "http": paths}]},
        },
    )
    scaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        "minReplicas": 2,
        "maxReplicas": 3,
    }
    put("horizontalpodautoscalers", {"metadata": {"name": "shop"}, "spec": scaler})
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    put("statefulsets", workload("db", replicas=1, serviceName="db", volumeClaimTemplates=[claim]))
    put(
        "pods",
        {"metadata": {"name": "alone", "labels": {"app": "alone"}}, "spec": template()["spec"]},
    )
    apiserver.wait(
        lambda: (
            len(
                [
                    pod
                    for pod in pods_of(apiserver, space, ready=False)
                    if pod["spec"].get("nodeName")
                ]
            )
            == 4
        )
    )
    return space


def test_the_graph_leads_from_the_entry_to_nodes_configuration_and_volumes(
    admin: Caller, cluster: Cluster, shop: str, apiserver: RunningCluster
) -> None:
    graph = admin.data("GET", "topology", cluster_id=cluster.pk, namespace=shop)
    found, pods = (
        edges(graph),
        [vertex for vertex in ids(graph, "pod") if vertex.startswith("pods/shop")],
    )
    assert {
        ("ingresses/shop", "routes", "services/shop"),
        ("services/shop", "selects", "deployments/shop"),
    } <= found
    assert ("horizontalpodautoscalers/shop", "scales", "deployments/shop") in found
    assert len(pods) == 2
    assert {("deployments/shop", "owns", pod) for pod in pods} <= found
    assert all(any(line[:2] == (pod, "runs on") for line in found) for pod in pods)
    assert {
        ("deployments/shop", "reads", "configmaps/settings"),
        ("deployments/shop", "reads", "secrets/shop-secret"),
    } <= found
    assert ("pods/db-0", "mounts", "persistentvolumeclaims/data-db-0") in found
    assert "pods/alone" in ids(graph)
    assert ids(graph, "workload") == ["deployments/shop", "statefulsets/db"]
    assert not {
        "configmaps/nobody-reads-me",
        "configmaps/not-needed",
        "configmaps/kube-root-ca.crt",
    } & set(ids(graph))
    assert not graph["truncated"]


def test_what_is_named_but_not_there_is_missing_and_secrets_are_not_read(
    admin: Caller, cluster: Cluster, shop: str, apiserver: RunningCluster
) -> None:
    apiserver.requests.clear()
    graph = admin.data("GET", "topology", cluster_id=cluster.pk, namespace=shop)
    presence = {vertex["id"]: vertex["presence"] for vertex in graph["nodes"]}
    assert presence["configmaps/forgotten"] == "missing"
    assert presence["configmaps/settings"] == presence["deployments/shop"] == "found"
    assert presence["secrets/shop-secret"] == "unread"
    assert not [request for request in apiserver.requests if "secrets" in request.path]
    objects = {vertex["id"]: vertex["object"] for vertex in graph["nodes"]}
    assert objects["deployments/shop"]["spec"]["replicas"] == 2
    assert set(objects["configmaps/settings"]) == {"metadata", "spec", "status"}


@pytest.mark.parametrize(
    "kind, name",
    [
        ("deployments", "shop"),
        ("services", "shop"),
        ("ingresses", "shop"),
        ("configmaps", "settings"),
    ],
)
def test_around_one_object_nothing_else_is_shown(
    admin: Caller, cluster: Cluster, shop: str, *, kind: str, name: str
) -> None:
    graph = admin.data(
        "GET", "topology", cluster_id=cluster.pk, namespace=shop, kind=kind, name=name
    )
    found = set(ids(graph))
    assert {"ingresses/shop", "services/shop", "deployments/shop", "configmaps/settings"} <= found
    assert not {"statefulsets/db", "pods/db-0", "pods/alone"} & found


def test_some_kinds_alone_are_shown(admin: Caller, cluster: Cluster, shop: str) -> None:
    where: dict[str, Any] = {"cluster_id": cluster.pk, "namespace": shop}
    graph = admin.data("GET", "topology", kinds="services,Ingress", **where)
    assert ids(graph) == ["ingresses/shop", "services/shop"]
    assert edges(graph) == {("ingresses/shop", "routes", "services/shop")}
    assert admin.code("GET", "topology", kinds="pods,shirts", **where) == 1001


def test_a_replicaset_is_shown_as_its_deployment(
    admin: Caller, cluster: Cluster, shop: str, apiserver: RunningCluster
) -> None:
    name = apiserver.list("replicasets.apps", shop)[0]["metadata"]["name"]
    graph = admin.data(
        "GET", "topology", cluster_id=cluster.pk, namespace=shop, kind="replicasets", name=name
    )
    assert "deployments/shop" in ids(graph)


def test_owners_that_own_each_other_do_no_harm(
    admin: Caller, cluster: Cluster, put: Put, apiserver: RunningCluster, space: str
) -> None:
    # Paused, and without pods: nothing but the owners matters.
    uids = {
        name: put("deployments", workload(name, replicas=0, paused=True))["metadata"]["uid"]
        for name in ("one", "two")
    }
    for name, other in (("one", "two"), ("two", "one")):
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": other,
            "uid": uids[other],
            "controller": True,
        }
        patch = json.dumps({"metadata": {"ownerReferences": [owner]}})
        admin.data(
            "PATCH",
            f"deployments/{name}",
            patch,
            content_type="application/merge-patch+json",
            cluster_id=cluster.pk,
            namespace=space,
        )
    graph = admin.data("GET", "topology", cluster_id=cluster.pk, namespace=space)
    assert graph["edges"] == []


def test_questions_that_make_no_sense_are_refused(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    assert admin.code("GET", "topology", cluster_id=cluster.pk) == 1001
    assert (
        admin.code("GET", "topology", cluster_id=cluster.pk, namespace=space, kind="pods") == 1001
    )
    assert (
        admin.code(
            "GET", "topology", cluster_id=cluster.pk, namespace=space, kind="roles", name="x"
        )
        == 1001
    )
    assert (
        admin.code(
            "GET", "topology", cluster_id=cluster.pk, namespace=space, kind="pods", name="nobody"
        )
        == 1004
    )
