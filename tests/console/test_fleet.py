"""One kind in all clusters, and all that fails; over a collector that runs."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster, running_cluster
from storage_api.models import KindSync
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.storage_api.collecting import collecting
from tests.storage_api.test_fleet_events import fleet
from tests.storage_api.test_multicluster import fill, thing
from tests.storage_api.test_odd_documents import DOCUMENTS

# A fixture of the store's tests, used here as well.
__all__ = ["fleet"]


@pytest.fixture
def apiserver() -> Iterator[RunningCluster]:
    """A cluster of this test alone, in which nothing moves by itself."""
    with running_cluster(controllers=False, kubelet=False) as server:
        yield server


@pytest.fixture
def cluster(transactional_db: None, apiserver: RunningCluster) -> Iterator[Cluster]:
    """That cluster, registered; the store's tables are not Django's to flush."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")
    yield registry.register(name="harbour", kubeconfig_text=apiserver.kubeconfig_yaml)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")


def test_a_kind_and_its_failures_are_shown_over_all_clusters(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster, settings: Any
) -> None:
    settings.CLUSTER_CONNECT_TIMEOUT = 0.3
    spec = {"containers": [{"name": "main", "image": "nginx:1"}]}
    pods = [
        {
            "metadata": {"name": f"p-{number:02}", "namespace": "default"},
            "spec": spec,
            "status": {"phase": "Failed" if number < 3 else "Running"},
        }
        for number in range(60)
    ]
    apiserver.load("pods", pods)
    base = f"/clusters/{cluster.pk}"
    with collecting():
        apiserver.wait(
            lambda: "1–50 of 60" in visitor.get("/all/pods?q=p-").content.decode(), seconds=30
        )
        second = visitor.get("/all/pods?q=p-&page=2").content.decode()
        assert "51–60 of 60" in second
        assert f'<a href="{base}/pods/default/p-55">p-55</a>' in second
        assert f'<a href="{base}">harbour</a>' in second
        newest = visitor.get("/all/pods?q=p-&sort=-name").content.decode()
        assert "p-59" in newest
        assert "p-09" not in newest
        for sort in ("status", "ready", "-restarts", "node"):
            page = visitor.get(f"/all/pods?sort={sort}").content.decode()
            assert 'aria-sort="' in page, sort
        refused = visitor.get("/all/pods?sort=colour")
        assert refused.status_code == 400
        assert "orderby must be one of" in refused.content.decode()
        failed = visitor.get("/all/pods?troubled=1").content.decode()
        assert "1–3 of 3" in failed
        assert visitor.get("/all/pods?phase=Running").content.decode().count("<tr>") == 51
        page = visitor.get("/failing").content.decode()
        assert f'href="{base}/pods/default/p-02"' in page
        assert "p-03" not in page
        assert visitor.get("/all/shoes").status_code == 404
        # Beside a cluster that does not answer, what fails in the others stays.
        Cluster.objects.create(name="dead", server="https://10.0.0.1", status="unreachable")
        page = visitor.get("/troubles").content.decode()
        assert "dead does not answer: what fails there is not counted" in page
        assert f'href="/all/pods?troubled=1&amp;clusters={cluster.pk}"' in page
        assert f'href="{base}/pods/default/p-02"' in page


@pytest.mark.django_db
def test_the_page_of_events_of_all_clusters_has_the_filters_of_a_cluster(
    visitor: Client, fleet: tuple[Cluster, Cluster]
) -> None:
    east = fleet[0]

    def shown(**query: Any) -> set[str]:
        page = visitor.get("/all/events", query).content.decode()
        return set(re.findall(r"<th scope=\"row\"><a [^>]*>(\w+)</a>", page))

    assert shown() == {"BackOff", "Started"}
    for query in (
        {"warnings": "1"},
        {"reason": "BackOff"},
        {"q": "web"},
        {"message": "restarting", "object_kind": "pod", "source": "kubelet"},
    ):
        assert shown(**query) == {"BackOff"}, query
    assert shown(namespace="bank", clusters=str(east.pk)) == {"Started"}
    assert shown(message="nonsense") == set()
    page = visitor.get("/all/events?message=restarting").content.decode()
    assert 'value="restarting"' in page
    assert f'href="/clusters/{east.pk}/pods/shop/web"' in page


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_any_json_that_an_agent_has_stored_breaks_no_page(visitor: Client, kind: str) -> None:
    regular = thing(kind, "web", "shop", spec={"replicas": 2}, status={"phase": "Failed"})
    cluster = fill("reported", [regular])
    for number, text in enumerate(
        [*DOCUMENTS, '{"metadata": "x"}', '{"status": {"phase": "Failed"}}']
    ):
        bulk.write([WriteRecord(Key("reported", kind, "shop", f"odd-{number}"), text.encode())])
    plural = f"{kind.lower()}s"
    for place in (f"/all/{plural}", "/failing"):
        assert ">web<" in visitor.get(place).content.decode(), place
    for place in ("/", "/search?q=odd", "/all/events", f"/clusters/{cluster.pk}"):
        assert visitor.get(place).status_code == 200, place


@pytest.mark.django_db
def test_what_an_agent_has_stored_breaks_no_page(visitor: Client) -> None:
    odd = [
        thing("Pod", "odd", "shop", meta={"labels": 7}, spec={"nodeName": {"a": 1}}),
        thing("Deployment", "odd", "shop", spec=7, status="x"),
    ]
    cluster = fill("reported", odd)
    for place in ("/all/pods", "/all/deployments"):
        assert ">odd<" in visitor.get(place).content.decode(), place
    for plural in ("pods", "deployments"):
        assert visitor.get(f"/clusters/{cluster.pk}/{plural}?namespace=shop").status_code == 200


ODD = {
    "Pod": [
        '{"metadata": {"labels": [1], "annotations": 7, "name": {}, "ownerReferences": "x"}}',
        '{"kind": {}, "spec": "x", "status": {"containerStatuses": [{"state": "x"}]}}',
        '{"spec": {"containers": [{"name": {}, "args": 7}], "nodeName": []}}',
    ],
    "Deployment": [
        '{"metadata": {"annotations": 7, "labels": "x"}, "spec": {"strategy": "x"}}',
        '{"spec": {"strategy": {"rollingUpdate": "x"}, "template": {"spec": {"volumes": [1]}}}}',
    ],
    "Node": [
        '{"metadata": {"labels": [1]}, "status": {"nodeInfo": "x"}}',
        '{"status": {"addresses": [{"type": {}}], "allocatable": 7}}',
    ],
    "ConfigMap": ['{"data": 7}', '{"metadata": {"name": 5, "namespace": [], "uid": {}}}'],
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ODD)
def test_pages_of_a_copy_are_shown_beside_odd_documents(visitor: Client, kind: str) -> None:
    space = "" if kind == "Node" else "shop"
    cluster = fill("reported", [thing(kind, "web", space)])
    with running_cluster(controllers=False, kubelet=False) as server:
        registered = registry.register(name="gone", kubeconfig_text=server.kubeconfig_yaml)
    # Nobody listens at the cluster's address any more: what is shown is the store's copy.
    cluster.kubeconfig, cluster.server = registered.kubeconfig, registered.server
    cluster.save()
    KindSync.objects.update(listed_at=timezone.now())
    texts = [*DOCUMENTS, '{"metadata": "x"}', *ODD[kind]]
    for number, text in enumerate(texts):
        bulk.write([WriteRecord(Key("reported", kind, space, f"odd-{number}"), text.encode())])
    plural = f"{kind.lower()}s"
    for place in (f"/all/{plural}", f"/clusters/{cluster.pk}/{plural}", f"/clusters/{cluster.pk}"):
        assert visitor.get(place).status_code == 200, place
    assert ">web<" in visitor.get(f"/clusters/{cluster.pk}/{plural}").content.decode()
    for part in ("nodes", "namespaces"):
        assert visitor.get(f"/clusters/{cluster.pk}/-/{part}").status_code == 200, part
    for number, text in enumerate(texts):
        base = f"/clusters/{cluster.pk}/{plural}/{space or '-'}/odd-{number}"
        for tab in ("", "/yaml", "/history", "/timeline", "/beside"):
            assert visitor.get(base + tab).status_code == 200, (text, tab)
