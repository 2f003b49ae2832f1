"""Any JSON that an agent has stored under a kind breaks no reader of its past."""

from typing import Any

import pytest
from django.utils import timezone

from automation.cluster_objects import ClusterObjects
from clusters.kinds import KINDS
from core.api.attributes import Scope
from simcluster.testing import RunningCluster
from storage_api.models import KindSync
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill, thing

DOCUMENTS = (
    "null", "7", '"x"', "[]", "{}", '{"metadata": null}', '{"metadata": []}',
    '{"metadata": {"annotations": []}}', '{"spec": 7}', '{"status": "x"}',
    '{"metadata": {"name": 7, "labels": "x", "managedFields": "x", "ownerReferences": {}}}',
)  # fmt: skip
TYPES = {"pods": "Pod", "deployments": "Deployment"}


@pytest.mark.parametrize("plural", TYPES)
def test_the_past_is_told_beside_odd_documents(emptied: None, admin: Caller, plural: str) -> None:
    kind = TYPES[plural]
    cluster = fill("demo", [thing(kind, "web", "shop")])
    for turn in range(3):
        for number in range(len(DOCUMENTS)):
            text = DOCUMENTS[(number + turn) % len(DOCUMENTS)]
            key = Key("demo", kind, "shop", f"odd-{number}")
            bulk.write([WriteRecord(key, text.encode())])
    place: dict[str, Any] = {"cluster_id": cluster.pk, "namespace": "shop"}
    moment = f"{timezone.now():%Y-%m-%dT%H:%M:%S.%fZ}"
    page = admin.raw("GET", plural, **place, at=moment, pageSize=100)
    assert '"name":"web"' in page.content.decode().replace(" ", "")
    for number in range(len(DOCUMENTS)):
        query = {**place, "kind": plural, "name": f"odd-{number}"}
        assert admin.code("GET", "history", **query) == 0, number
        assert admin.code("GET", "insights/what-changed", **query, since="1h") == 0, number
    objects = ClusterObjects(cluster, lambda _act: Scope())
    (regular,) = objects.read(KINDS[plural])
    assert regular["metadata"]["name"] == "web"


def test_lists_of_a_copy_are_read_beside_odd_documents(
    emptied: None, admin: Caller, apiserver: RunningCluster
) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "capacity": {"cpu": "2"}}
    cluster = fill("demo", [thing("Node", "n1", status=ready), thing("Namespace", "shop")])
    cluster.kubeconfig, cluster.server = apiserver.kubeconfig_yaml, apiserver.url
    cluster.save()
    namespaces = KindSync.objects.get(cluster=cluster, plural="nodes")
    namespaces.pk = None
    namespaces.plural, namespaces.kind, namespaces.resource_type = "namespaces", *["Namespace"] * 2
    namespaces.save()
    # Only what is an object, or the list is asked of the cluster.
    odd = [text for text in DOCUMENTS if text.startswith("{")]
    odd += [
        '{"metadata": "x"}',
        '{"metadata": {"name": "odd"}, "status": "x"}',
        '{"metadata": {"name": "odd-2"}, "status": {"conditions": [7], "capacity": "x"}}',
    ]
    for kind in ("Node", "Namespace"):
        for number, text in enumerate(odd):
            bulk.write([WriteRecord(Key("demo", kind, "", f"odd-{number}"), text.encode())])
    place: dict[str, Any] = {"cluster_id": cluster.pk}
    nodes = admin.data("GET", "metrics/nodes", **place)["metrics"]
    assert {node["node_name"] for node in nodes} == {"n1", "odd", "odd-2"}
    assert admin.data("GET", "metrics/cluster", **place)["metrics"]["nodes"]["ready"] == 1
    names = [
        item["metadata"]["name"]
        for item in admin.data("GET", f"clusters/{cluster.pk}/namespaces")["namespaces"]
    ]
    assert sorted(names) == ["odd", "odd-2", "shop"]
