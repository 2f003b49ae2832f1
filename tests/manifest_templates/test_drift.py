"""Drift of a deployment: what the store's copies of its objects have that was not rendered."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters import registry
from clusters.manifests import MASK
from manifest_templates.drift import object_changes
from simcluster.testing import RunningCluster, running_cluster
from storage_api.services import sync
from tests.caller import Caller
from tests.manifest_templates.test_deployments import SECRET, Deployed
from tests.storage_api.collecting import collecting, eventually
from tests.storage_api.conftest import emptied
from tests.storage_api.test_collector import watching

__all__ = ["emptied"]
SPACE = "shop"


@pytest.fixture
def shop(emptied: None) -> Iterator[tuple[RunningCluster, Deployed]]:
    """A collected cluster with a namespace, and a template with one version."""
    user = get_user_model().objects.create_superuser("admin", "admin@example.com", None)
    caller = Caller(create_api_token(user, "tests")[1])
    with running_cluster(controllers=False, kubelet=False) as server:
        cluster = registry.register(name="followed", kubeconfig_text=server.kubeconfig_yaml)
        content = {"metadata": {"name": SPACE}}
        caller.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
        with collecting():
            eventually(lambda: watching("followed"))
            eventually(lambda: all(copy.serves(10) for copy in sync.list_freshness(cluster)))
            yield server, Deployed(caller, cluster, SPACE)


def drift(shop: Deployed, pk: int, caller: Caller | None = None) -> dict[tuple[str, str], Any]:
    """By kind and name, once the store can say it of every kind."""
    detail = eventually(lambda: _known(shop, pk, caller))
    return {(row["kind"], row["name"]): row for row in detail["drift"]}


def _known(shop: Deployed, pk: int, caller: Caller | None) -> Any:
    detail = shop.detail(pk, caller)
    return None if detail["drift_unknown"] else detail


def replace_value(shop: Deployed, path: str, patch: dict[str, Any]) -> None:
    """What somebody else does to an object."""
    options = {"cluster_id": shop.cluster.pk, "namespace": SPACE}
    shop.caller.data("PATCH", path, patch, content_type="application/merge-patch+json", **options)


def test_drift_follows_the_cluster_without_asking_it(
    shop: tuple[RunningCluster, Deployed],
) -> None:
    server, deployed = shop
    pk = deployed.start()
    eventually(lambda: drift(deployed, pk) == {})
    # The API server has `500m` where the template says 0.5, and defaults of its own.
    server.requests.clear()
    replace_value(deployed, "deployments/web", {"spec": {"replicas": 3}})
    replace_value(deployed, "secrets/door", {"stringData": {"key": "something-else"}})
    replace_value(deployed, "configmaps/careless", {"data": {"line": "x", "more": "y"}})
    deployed.caller.data(
        "DELETE",
        "configmaps/extra",
        cluster_id=deployed.cluster.pk,
        namespace=SPACE,
        confirm="true",
    )
    rows = eventually(lambda: len(found := drift(deployed, pk)) == 4 and found)
    web = rows["Deployment", "web"]
    assert (web["state"], web["namespace"]) == ("changed", SPACE)
    assert web["changes"] == [{"path": "spec.replicas", "before": 1, "after": 3}]
    assert rows["ConfigMap", "extra"]["state"] == "missing"
    door = rows["Secret", "door"]["changes"]
    assert [row["path"] for row in door] == ["data.key"]
    # A key that was not applied is nobody's business.
    assert rows["ConfigMap", "careless"]["changes"] == [
        {"path": "data.line", "before": MASK, "after": "x"}
    ]
    shown = json.dumps(list(rows.values()))
    assert SECRET not in shown
    assert "something-else" not in shown
    user = get_user_model().objects.create_user("looker")
    grants.give(user=user, role=Role.VIEWER, cluster=str(deployed.cluster.pk), namespace=SPACE)
    looker = Caller(create_api_token(user, "script")[1])
    assert drift(deployed, pk, looker).keys() == rows.keys()
    server.requests.clear()
    deployed.detail(pk)
    asked = [each.path for each in server.requests if "watch" not in each.query]
    assert not [path for path in asked if f"/namespaces/{SPACE}/" in path]
    # An upgrade to the same brings everything back.
    deployed.done(deployed.act("upgrade", pk))
    eventually(lambda: drift(deployed, pk) == {})


def test_a_copy_that_is_not_fresh_is_said_to_be_so(admin: Caller, cluster: Any) -> None:
    space = f"drift-{cluster.pk}"
    content = {"metadata": {"name": space}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    deployed = Deployed(admin, cluster, space)
    detail = deployed.detail(deployed.start())
    assert detail["drift"] == []
    assert {(row["cluster"], row["kind"]) for row in detail["drift_unknown"]} == {
        (cluster.name, kind) for kind in ("ConfigMap", "Secret", "Deployment")
    }


def pod(**container: Any) -> dict[str, Any]:
    """The manifest of a Pod with one container."""
    spec = {"containers": [{"name": "main", "image": "nginx:1", **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize(
    ("applied", "live", "paths"),
    [
        (pod(resources={"limits": {"cpu": 0.5, "memory": "1Gi"}}),
         pod(resources={"limits": {"cpu": "500m", "memory": "1024Mi"}}), []),
        (pod(resources={"limits": {"cpu": 0.5}}), pod(resources={"limits": {"cpu": "501m"}}),
         ["spec.containers[0].resources.limits.cpu"]),
        (pod(env=[{"name": "A", "value": "1.0"}]), pod(env=[{"name": "A", "value": "1"}]),
         ["spec.containers[0].env[0].value"]),
        (pod(env=[{"name": "A", "value": "1"}]),
         pod(env=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]), []),
        (pod(ports=[{"containerPort": 80}]),
         pod(ports=[{"containerPort": 80, "protocol": "TCP"}]), []),
        (pod(args=["a"]), pod(args=["a", "b"]), ["spec.containers[0].args"]),
        (pod(stdin=False, env=[]), pod(), []),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1.0"}},
         {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}, ["data.a"]),
        ({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
          "spec": {"ingress": [{"ports": [{"port": 80}]}]}},
         {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
          "spec": {"ingress": [{"ports": [{"port": 80}, {"port": 22}]}]}},
         ["spec.ingress[0].ports"]),
        ({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}},
         {"apiVersion": "v1", "kind": "Secret", "data": {"a": "Yg=="}}, []),
    ],
    ids=["same-quantity", "other-quantity", "no-quantity", "merged-list", "port-default",
         "plain-list", "says-nothing", "text", "rules", "secret"],
)  # fmt: skip
def test_only_what_was_applied_counts(
    applied: dict[str, Any], live: dict[str, Any], paths: list[str]
) -> None:
    assert [row["path"] for row in object_changes(applied, live)] == paths
