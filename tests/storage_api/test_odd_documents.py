"""Any JSON that an agent has stored under a kind breaks no reader of that kind."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from automation.cluster_objects import ClusterObjects
from automation.inspection.cluster import InspectionScope, inspect_cluster
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.api.attributes import Scope
from simcluster.testing import RunningCluster, running_cluster
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill, thing
from tests.console.conftest import person as person
from tests.console.conftest import visitor as visitor

pytestmark = pytest.mark.django_db
DOCUMENTS = (
    "null",
    "7",
    '"x"',
    "[]",
    "{}",
    '{"metadata": null}',
    '{"metadata": []}',
    '{"metadata": "x"}',
    '{"metadata": {"annotations": []}}',
    '{"metadata": {"name": 7, "labels": "x", "managedFields": "x", "ownerReferences": {}}}',
    '{"metadata": {"creationTimestamp": 7, "uid": [], "ownerReferences": [7]}}',
    '{"spec": 7}',
    '{"status": "x"}',
    '{"spec": {"containers": 7, "template": []}, "status": {"conditions": 7}}',
)
TYPES = {"pods": "Pod", "deployments": "Deployment", "nodes": "Node", "configmaps": "ConfigMap"}
NAMES = [f"odd-{number}" for number in range(len(DOCUMENTS))]




@pytest.fixture(scope="module")
def server() -> Iterator[RunningCluster]:
    """An API server with the regular objects, which knows nothing of what an agent stores."""
    with running_cluster(controllers=False, kubelet=False) as server:
        server.load("namespaces", [{"metadata": {"name": "shop"}}])
        for plural, kind in TYPES.items():
            body = regular(plural, kind)
            group = KINDS[plural].group
            server.load(f"{plural}.{group}" if group else plural, [body])
        yield server


def regular(plural: str, kind: str) -> dict[str, Any]:
    """The object of a kind that is as it should be."""
    return thing(kind, f"web-{plural}", "" if plural == "nodes" else "shop", spec={})[1]


@pytest.fixture
def cluster(server: RunningCluster) -> Cluster:
    """A cluster whose kinds hold odd documents, each changed twice, beside the regular object."""
    cluster = fill("demo", [(kind, regular(plural, kind)) for plural, kind in TYPES.items()])
    cluster.kubeconfig = server.kubeconfig_yaml
    cluster.server = server.url
    cluster.save()
    for turn in range(3):
        bulk.write(
            [
                WriteRecord(
                    Key("demo", kind, "" if plural == "nodes" else "shop", name),
                    DOCUMENTS[(number + turn) % len(DOCUMENTS)].encode(),
                )
                for plural, kind in TYPES.items()
                for number, name in enumerate(NAMES)
            ]
        )
    return cluster


def check(answer: Any, door: str) -> str:
    """The text of an answer that is neither a failure of the server nor of a statement."""
    text: str = answer.content.decode()
    assert answer.status_code < 500, (door, text[:500])
    assert "too large" not in text, (door, text[:500])
    if answer["Content-Type"].startswith("application/json"):
        body = json.loads(text)
        assert body.get("code", 0) not in REFUSALS, (door, text[:500])
    return text


# What a caller is not to blame for: an odd document is no bad parameter.
REFUSALS = {1001, 1500, 1999}
LISTS: list[tuple[str, dict[str, Any]]] = [
    ("{plural}", {}),
    ("{plural}", {"at": "now"}),
    ("{plural}", {"keyword": "web"}),
    ("{plural}", {"orderby": "-name"}),
    ("{plural}", {"labelSelector": "!missing"}),
    ("{plural}", {"labelSelector": "!missing", "at": "now"}),
    ("multicluster/resources/{plural}", {}),
    ("multicluster/resources/{plural}", {"at": "now"}),
    ("multicluster/resources/{plural}", {"labelSelector": "!missing"}),
    ("multicluster/resources/{plural}", {"orderby": "-age"}),
    ("multicluster/resources/{plural}", {"compact": "true"}),
    ("multicluster/search", {"keyword": "web"}),
]
READS: list[tuple[str, dict[str, Any]]] = [
    ("history", {"resource": "{plural}"}),
    ("history", {"resource": "{plural}", "intended": "true"}),
    ("history", {"resource": "{plural}", "intended": "true", "changed": "true"}),
    ("history", {"resource": "{plural}", "deleted": "true"}),
    ("insights/what-changed", {"since": "1h", "kind": "{plural}"}),
    ("insights/what-changed", {"since": "1h"}),
    ("topology", {}),
    ("topology", {"at": "now"}),
    ("events", {"at": "now"}),
    ("multicluster/events", {}),
    ("multicluster/overview", {}),
    ("multicluster/search", {"keyword": "odd"}),
    ("store", {}),
]
OBJECT_READS: list[tuple[str, dict[str, Any]]] = [
    ("{plural}/{name}", {}),
    ("{plural}/{name}", {"at": "now"}),
    ("history", {"resource": "{plural}", "name": "{name}"}),
    ("history", {"resource": "{plural}", "name": "{name}", "intended": "true"}),
    ("history", {"resource": "{plural}", "name": "{name}", "documents": "true"}),
    ("insights/what-changed", {"since": "1h", "kind": "{plural}", "name": "{name}"}),
    ("insights/why-failing", {"kind": "{plural}", "name": "{name}"}),
    ("multicluster/compare", {"kind": "{plural}", "name": "{name}"}),
]
PAGES = ("", "/why", "/yaml", "/events", "/timeline", "/topology", "/history", "/beside", "/menu")


def fill_in(value: str, plural: str, name: str = "") -> str:
    """The address or parameter for a kind and a name."""
    return value.replace("{plural}", plural).replace("{name}", name)


def ask(caller: Caller, cluster: Cluster, door: Any, *, plural: str, name: str = "") -> str:
    """The checked answer of a door of the API."""
    address, parameters = door
    place: dict[str, Any] = {"cluster_id": cluster.pk, "pageSize": 100}
    if plural != "nodes":
        place["namespace"] = "shop"
    if address.startswith("multicluster"):
        place = {"pageSize": 100}
    for key, value in parameters.items():
        moment = f"{timezone.now():%Y-%m-%dT%H:%M:%S.%fZ}"
        place[key] = moment if value == "now" else fill_in(value, plural, name)
    answer = caller.raw("GET", fill_in(address, plural, name), **place)
    return check(answer, f"{address} {place}")


@pytest.mark.parametrize("plural", TYPES)
def test_lists_hold_what_is_regular(admin: Caller, cluster: Cluster, plural: str) -> None:
    for door in LISTS:
        assert f"web-{plural}" in ask(admin, cluster, door, plural=plural), door
    for door in READS:
        ask(admin, cluster, door, plural=plural)


@pytest.mark.parametrize("plural", TYPES)
def test_each_odd_object_is_read(admin: Caller, cluster: Cluster, plural: str) -> None:
    for door in OBJECT_READS:
        for name in NAMES:
            ask(admin, cluster, door, plural=plural, name=name)


@pytest.mark.parametrize("plural", TYPES)
def test_pages_of_odd_objects_are_shown(visitor: Client, cluster: Cluster, plural: str) -> None:
    base = f"/clusters/{cluster.pk}/{plural}"
    for path in (base, f"/all/{plural}", "/failing", "/recent-changes", "/history"):
        check(visitor.get(path), path)
    place = "-" if plural == "nodes" else "shop"
    moment = f"{timezone.now():%Y-%m-%dT%H:%M:%S.%fZ}"
    for name in NAMES:
        for page in PAGES:
            check(visitor.get(f"{base}/{place}/{name}{page}"), f"{page} {name}")
        for page in ("", "/yaml", "/topology"):
            path = f"{base}/{place}/{name}{page}"
            check(visitor.get(path, {"at": moment}), f"{page} {name} then")


def test_automation_reads_what_is_regular(cluster: Cluster) -> None:
    objects = ClusterObjects(cluster, lambda _act: Scope())
    for plural in TYPES:
        names = [body["metadata"]["name"] for body in objects.read(KINDS[plural])]
        assert f"web-{plural}" in names
    report = inspect_cluster(objects, InspectionScope())
    assert report
