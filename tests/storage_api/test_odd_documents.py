"""Any JSON that an agent has stored under a kind breaks no reader of its past."""

from typing import Any

import pytest
from django.utils import timezone

from automation.cluster_objects import ClusterObjects
from clusters.kinds import KINDS
from core.api.attributes import Scope
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
