"""What changed, ranked; why something fails: the routes, and the pages that show them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.test import Client

from access.models import AuditEntry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.access.conftest import Person
from tests.access.conftest import person as person
from tests.caller import Caller
from tests.storage_api.collecting import eventually
from tests.storage_api.test_multicluster import fill
from tests.workloads.conftest import put as put
from tests.workloads.conftest import space as space
from tests.workloads.conftest import workload

pytestmark = pytest.mark.django_db
Put = Callable[..., dict[str, Any]]
WHAT = "insights/what-changed"
WHY = "insights/why-failing"


def document(kind: str, name: str, namespace: str = "shop", **members: Any) -> dict[str, Any]:
    """An object as the store keeps it, made just now."""
    return {
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"u-{kind}-{name}",
            "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
        **members,
    }


def store(
    cluster: Cluster, *documents: dict[str, Any], gone: tuple[str, str] | None = None
) -> None:
    """Write as the collector does."""
    records = []
    for body in documents:
        metadata = body["metadata"]
        key = Key(cluster.name, body["kind"], metadata["namespace"], metadata["name"])
        records.append(WriteRecord(key, orjson.dumps(body)))
    if gone:
        kind, name = gone
        records.append(WriteRecord(Key(cluster.name, kind, "shop", name), None))
    bulk.write(records)


@pytest.fixture
def changed() -> Cluster:
    """A cluster in which an image, a label and a status changed, and a Service was deleted."""
    cluster = fill("insights", [])
    web = document("Deployment", "web", spec={"replicas": 2, "image": "web:1"}, status={})
    web["spec"] = {
        "replicas": 2,
        "template": {"spec": {"containers": [{"name": "c", "image": "web:1"}]}},
    }
    store(cluster, web, document("Service", "web", spec={}), document("Deployment", "api", spec={}))
    newer = orjson.loads(orjson.dumps(web))
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    store(cluster, newer)
    quiet = orjson.loads(orjson.dumps(newer))
    quiet["status"] = {"readyReplicas": 1}
    store(cluster, quiet)
    labelled = document("Deployment", "api", spec={})
    labelled["metadata"]["labels"] = {"a": "b"}
    store(cluster, labelled, gone=("Service", "web"))
    return cluster


def test_changes_are_ranked_by_likely_harm(admin: Caller, changed: Cluster) -> None:
    page = admin.data("GET", WHAT, clusters=changed.name, since="10m")
    kinds = [(item["kind"], item["name"], item["op"]) for item in page["items"]]
    # The changed status is none of these; the image of a workload in trouble stands first.
    assert kinds[0] == ("Deployment", "web", "change")
    assert kinds.index(("Service", "web", "delete")) == 1
    assert kinds.count(("Deployment", "web", "change")) == 1
    assert page["total"] == len(kinds)
    assert not AuditEntry.objects.filter(kind="secrets").exists()
    first = page["items"][0]
    assert "the image changed" in first["reasons"]
    assert first["troubled"] is True
    assert first["harm"] > page["items"][1]["harm"] > page["items"][-1]["harm"]
    assert first["summary"].startswith("Deployment shop/web: the image changed")
    only = admin.data("GET", WHAT, clusters=changed.name, kind="deploy", name="api")
    assert {item["name"] for item in only["items"]} == {"api"}
    paged = admin.data("GET", WHAT, clusters=changed.name, pageSize=1, page=2)
    assert [item["kind"] for item in paged["items"]] == ["Service"]
    assert admin.data("GET", WHAT, cluster_id=changed.pk, namespace="other")["items"] == []


def test_what_cannot_be_asked_is_refused(admin: Caller, changed: Cluster) -> None:
    for query, code in (
        ({"since": "soon"}, 1001),
        ({"since": "2999-01-01T00:00:00Z"}, 1001),
        ({"clusters": "nowhere"}, 1002),
        ({"kind": "unicorns"}, 1004),
        ({"name": "a\0b"}, 1001),
    ):
        assert admin("GET", WHAT, **query)["code"] == code, query
    for query, code in (
        ({}, 1001),
        ({"cluster_id": changed.pk}, 1001),
        ({"cluster_id": changed.pk, "kind": "pods"}, 1001),
        ({"cluster_id": changed.pk, "kind": "unicorns", "name": "a"}, 1004),
        ({"cluster_id": 999_999, "kind": "pods", "name": "a", "namespace": "b"}, 1002),
    ):
        assert admin("GET", WHY, **query)["code"] == code, query


def test_changes_of_others_are_not_shown(person: Person, changed: Cluster) -> None:
    elsewhere = person("viewer", cluster=fill("insights-2", []))
    assert elsewhere.data("GET", WHAT)["items"] == []
    assert person("viewer", cluster=changed).data("GET", WHAT)["items"]


@pytest.fixture
def broken(put: Put) -> str:
    """A Deployment whose image does not exist."""
    put("deployments", workload(replicas=1, image="registry.example.com/web:missing"))
    return "web"


def test_one_answer_says_why_an_object_fails(
    admin: Caller,
    cluster: Cluster,
    apiserver: RunningCluster,
    space: str,
    broken: str,
) -> None:
    query = {"cluster_id": cluster.pk, "namespace": space, "kind": "deploy", "name": broken}

    def reasons() -> list[str]:
        answer = admin.data("GET", WHY, **query)
        return [cause["reason"] for cause in answer["causes"]]

    eventually(lambda: {"ErrImagePull", "ImagePullBackOff"} & set(reasons()))
    answer = admin.data("GET", WHY, **query)
    assert answer["healthy"] is False
    assert answer["object"]["status"] == "0 of 1 ready"
    assert answer["summary"].startswith(f"Deployment {space}/web (0 of 1 ready)")
    assert answer["causes"][0]["advice"]
    assert answer["pods"][0]["containers"][0]["state"] == "waiting"
    assert answer["events"]
    (pod,) = {entry["name"] for entry in answer["pods"]}
    of_pod = admin.data("GET", WHY, **{**query, "kind": "Pod", "name": pod})
    assert [owner["kind"] for owner in of_pod["owners"]] == ["ReplicaSet", "Deployment"]
    assert of_pod["causes"]


def test_parts_need_their_rights(
    person: Person, admin: Caller, cluster: Cluster, space: str, put: Put
) -> None:
    put("configmaps", {"metadata": {"name": "mine"}})
    query = {"cluster_id": cluster.pk, "namespace": space, "kind": "cm", "name": "mine"}
    viewer = person("viewer", cluster=cluster, namespace=space)
    assert viewer.data("GET", WHY, **query)["healthy"] is True
    assert viewer("GET", WHY, **{**query, "namespace": "kube-system"})["code"] == 1005
    stranger = person("viewer", cluster=cluster, namespace="kube-system")
    assert stranger("GET", WHY, **query)["code"] == 1005


def test_logs_are_read_by_right_and_audited(
    person: Person, cluster: Cluster, space: str, put: Put
) -> None:
    body = workload(replicas=1)
    annotations = {"simcluster.dev/never-ready": "true"}
    body["spec"]["template"]["metadata"]["annotations"] = annotations
    body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/", "port": 80}
    }
    put("deployments", body)
    query = {"cluster_id": cluster.pk, "namespace": space, "kind": "deployments", "name": "web"}
    viewer = person("viewer", cluster=cluster, namespace=space)
    answer = eventually(
        lambda: (data := viewer.data("GET", WHY, **query)) and data["logs"] and data
    )
    assert answer["logs"]["container"] == "main"
    assert AuditEntry.objects.filter(verb="logs", name=answer["logs"]["pod"]).exists()
    assert viewer.data("GET", WHY, **query, logs="false")["logs"] is None
    without = person("viewer", cluster=cluster, namespace=space, scopes=["read"])
    refused = without.data("GET", WHY, **query)
    assert refused["logs"] is None
    assert any("may not read logs" in part for part in refused["unread"])


def test_pages_show_both(
    client: Client,
    django_user_model: Any,
    admin: Caller,
    changed: Cluster,
    cluster: Cluster,
    space: str,
    broken: str,
) -> None:
    client.force_login(django_user_model.objects.get(username="admin"))
    overview = client.get("/").content.decode()
    assert 'hx-get="/recent-changes"' in overview
    rows = client.get("/recent-changes").content.decode()
    assert "the image changed" in rows
    assert "insights" in rows
    address = f"/clusters/{cluster.pk}/deployments/{space}/{broken}"

    def why() -> str:
        page = client.get(address).content.decode()
        return client.get(f"{address}/why").content.decode() if f"{address}/why" in page else ""

    card = eventually(lambda: (text := why()) and "ImagePull" in text and text)
    assert re.search(r"<h2>Why it fails</h2>", card)
