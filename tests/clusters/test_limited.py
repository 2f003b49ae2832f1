"""Credentials that may look into one namespace only: it is known, lists come out of it, what cannot be counted is null."""

import logging
import uuid
from typing import Any

import pytest
import yaml

from billing.tasks import sample_cluster as sample_orders
from clusters import registry
from clusters.models import Cluster
from clusters.tasks import check_cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from workloads.models import Sample
from workloads.tasks import remove_cluster_debug_pods, sample_cluster

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(apiserver: RunningCluster) -> str:
    """A namespace with two pods, beside one that is nobody's business."""
    name = f"home-{uuid.uuid4().hex[:6]}"
    apiserver.load_pods(2, namespace=name, prefix="mine")
    apiserver.load_pods(1, namespace=f"{name}-other", prefix="foreign")
    return name


@pytest.fixture
def kubeconfig(apiserver: RunningCluster, admin: Caller, home: str) -> dict[str, Any]:
    """The kubeconfig of somebody with a Role in the namespace."""
    user = f"user-{home}"
    client = registry.connect(apiserver.kubeconfig_yaml)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{home}"
    rules = [{"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    client.request("POST", f"{rbac}/roles", body={"metadata": {"name": "r"}, "rules": rules})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    client.request("POST", f"{rbac}/rolebindings", body=binding)
    return apiserver.add_user(user)


@pytest.fixture
def limited(kubeconfig: dict[str, Any], home: str) -> Cluster:
    """Such a cluster; the context names the namespace."""
    kubeconfig["contexts"][0]["context"]["namespace"] = home
    return registry.register(name="limited", kubeconfig_text=yaml.safe_dump(kubeconfig))


def test_the_contexts_namespace_is_known_and_lists_come_out_of_it(
    admin: Caller, limited: Cluster, home: str
) -> None:
    assert admin.data("GET", f"clusters/{limited.pk}")["namespaces"] == [home]
    where = {"cluster_id": limited.pk}
    pods = admin.data("GET", "pods", **where)
    names = [item["metadata"]["name"] for item in pods["items"]]
    assert (pods["total"], [name[:4] for name in names]) == (2, ["mine", "mine"])
    page = admin.data("GET", "pods", **where, page=2, pageSize=1, orderby="-name")
    assert [item["metadata"]["name"] for item in page["items"]] == [min(names)]
    spaces = admin.data("GET", f"clusters/{limited.pk}/namespaces")["namespaces"]
    assert [item["metadata"]["name"] for item in spaces] == [home]
    assert admin.data("GET", "events", **where)["total"] >= 0
    assert admin.code("GET", "nodes", **where) != 0
    # They may not read the namespace itself; that is no reason to refuse what is inside.
    for plural in ("resourcequotas", "limitranges"):
        assert admin.data("GET", f"namespaces/{home}/{plural}", **where)["total"] == 0
    for name, method in (("pods/nope", "GET"), ("pods/nope/logs", "GET"), ("pods/nope", "DELETE")):
        answer = admin(method, name, **where, namespace=home)
        assert answer["code"] in (1004, 1005), answer
        assert "namespaces" not in answer["msg"]


def test_namespaces_can_be_typed(admin: Caller, kubeconfig: dict[str, Any], home: str) -> None:
    body = {"name": "limited", "kubeconfig": yaml.safe_dump(kubeconfig)}
    made = admin.data("POST", "clusters", body)
    assert made["namespaces"] == []
    assert admin.code("GET", "pods", cluster_id=made["id"]) != 0
    path = f"clusters/{made['id']}"
    for wrong in ("home", ["A"], ["a/b"], [5], [""], ["x"] * 300):
        assert admin.code("PUT", path, {"namespaces": wrong}) == 1001
    assert admin.data("PUT", path, {"namespaces": [home, "gone"]})["namespaces"] == sorted(
        [home, "gone"]
    )
    assert admin.data("GET", "pods", cluster_id=made["id"])["total"] == 2
    assert admin.data("GET", "events", cluster_id=made["id"])["total"] >= 0
    admin.data("PUT", path, {"namespaces": ["gone"]})
    assert admin.code("GET", "events", cluster_id=made["id"]) == 1005


def test_what_cannot_be_counted_is_null(admin: Caller, limited: Cluster) -> None:
    overview = admin.data("GET", "multicluster/overview")
    (shown,) = overview["clusters"]
    assert shown["counts"]["nodes"] is None
    assert shown["counts"]["pods"]["total"] == 2
    assert overview["totals"]["nodes"] is None
    assert overview["totals"]["pods"] == 2
    (problem,) = overview["partial_errors"]
    assert "may not list" in problem["msg"]
    assert "nodes" in problem["msg"]


def test_the_metrics_document_is_null_where_nobody_can_count(
    admin: Caller, limited: Cluster, home: str
) -> None:
    for fresh in ("false", "true"):
        answer = admin.data("GET", "metrics/cluster", cluster_id=limited.pk, fresh=fresh)
        shown = answer["metrics"]
        assert answer["source"] == "none"
        assert shown["nodes"] == {"total": None, "ready": None, "not_ready": None}
        assert shown["cpu"] == {"total_cores": None, "used_cores": None, "usage_percentage": None}
        assert set(shown["memory"].values()) == {None}
        assert set(shown["storage"].values()) == {None}
        assert set(shown["pvs"].values()) == {None}
        assert shown["pods"]["total"] == 2
        assert (shown["services"], shown["ingresses"]) == ({"total": 0}, {"total": None})
    pods = admin.data("GET", "metrics/pods", cluster_id=limited.pk)["metrics"]
    assert {pod["namespace"] for pod in pods} == {home}
    sample_cluster.apply((limited.pk,), throw=True)
    sample = Sample.objects.get(cluster=limited)
    assert (sample.pods, sample.cpu, sample.memory) == (2, None, None)

    Cluster.objects.filter(pk=limited.pk).update(namespaces=[])
    assert admin.code("GET", "metrics/cluster", cluster_id=limited.pk) == 1005


def test_a_namespace_that_refuses_takes_nothing_from_the_others(
    admin: Caller, limited: Cluster, home: str
) -> None:
    spaces = sorted([home, f"{home}-other"])
    Cluster.objects.filter(pk=limited.pk).update(namespaces=spaces)
    where = {"cluster_id": limited.pk}
    assert admin.data("GET", "pods", **where)["total"] == 2
    assert admin.data("GET", "metrics/cluster", **where)["metrics"]["pods"]["total"] == 2
    assert admin.data("GET", "events", **where)["total"] >= 0
    (shown,) = admin.data("GET", "multicluster/overview")["clusters"]
    assert shown["counts"]["pods"]["total"] == 2


def test_periodic_tasks_log_a_line_and_no_traceback(
    limited: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    Cluster.objects.filter(pk=limited.pk).update(namespaces=[])
    with caplog.at_level(logging.INFO):
        for task in (check_cluster, sample_cluster, remove_cluster_debug_pods, sample_orders):
            task.apply((limited.pk,), throw=True)
    assert not [record for record in caplog.records if record.exc_info]
    assert limited.name in caplog.text
