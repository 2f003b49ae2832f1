"""What kinds look like, as the cluster describes them: /schemas."""

import pytest

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller


def test_a_kind_comes_with_all_that_it_refers_to(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster
) -> None:
    query = {"cluster_id": cluster.pk, "api_version": "apps/v1", "kind": "Deployment"}
    found = admin.data("GET", "schemas", **query)
    root = found["definitions"][found["root"]]
    assert {"apiVersion", "kind", "metadata", "spec", "status"} == set(root["properties"])
    container = next(
        schema
        for name, schema in found["definitions"].items()
        if name.endswith("core.v1.Container")
    )
    assert container["properties"]["image"]["type"] == "string"
    assert "description" not in str(root)
    before = len(apiserver.requests)
    assert admin.data("GET", "schemas", **query) == found
    assert len(apiserver.requests) == before


@pytest.mark.parametrize("name", ["deployments", "deployment", "DEPLOY", "deploy"])
def test_a_kind_may_be_called_by_any_of_its_names(
    admin: Caller, cluster: Cluster, name: str
) -> None:
    query = {"cluster_id": cluster.pk, "api_version": "apps/v1", "kind": name}
    assert admin.data("GET", "schemas", **query)["root"].endswith("apps.v1.Deployment")


def test_what_the_cluster_does_not_describe_is_not_found(admin: Caller, cluster: Cluster) -> None:
    assert (
        admin.code(
            "GET", "schemas", cluster_id=cluster.pk, api_version="apps/v1", kind="Deploymint"
        )
        == 1004
    )
    assert (
        admin.code(
            "GET",
            "schemas",
            cluster_id=cluster.pk,
            api_version="nothing.example.com/v1",
            kind="Widget",
        )
        == 1004
    )
    assert admin.code("GET", "schemas", cluster_id=cluster.pk, kind="Pod") == 1001
