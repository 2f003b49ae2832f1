"""Travelling in time: the versions of an object, what it was, bringing one back; in a real browser over a collector that runs."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from playwright.sync_api import expect

from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster, running_cluster
from tests.caller import Caller
from tests.console.browser import Walk
from tests.storage_api.collecting import collecting, eventually

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def apiserver() -> Iterator[RunningCluster]:
    """A cluster of this test alone, in which nothing moves by itself."""
    with running_cluster(controllers=False, kubelet=False) as found:
        yield found


@pytest.fixture
def cluster(transactional_db: None, apiserver: RunningCluster) -> Iterator[Cluster]:
    """That cluster, registered; the store's tables are not Django's to flush."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")
    yield registry.register(name="past", kubeconfig_text=apiserver.kubeconfig_yaml)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")


def test_somebody_looks_at_an_old_version_and_brings_it_back(
    walk: Walk, admin: Caller, cluster: Cluster, apiserver: RunningCluster
) -> None:
    where = {"cluster_id": cluster.pk, "kind": "configmaps", "namespace": "default", "name": "conf"}

    def lines() -> int:
        return len(admin.data("GET", "history", **where)["items"])

    with collecting():
        for number, (method, path, value) in enumerate(
            (("POST", PATH, "good"), ("PUT", f"{PATH}/conf", "<b>bad</b>")), 1
        ):
            registry.client(cluster).request(
                method, path, body={"metadata": {"name": "conf"}, "data": {"v": value}}
            )
            eventually(lambda number=number: lines() == number)
        page = walk.open(f"/clusters/{cluster.pk}/configmaps/default/conf/history")
        expect(page.locator("td.was", has_text="good")).to_be_visible()
        expect(page.locator("td.is", has_text="<b>bad</b>")).to_be_visible()
        page.locator("#moment").press("ArrowLeft")
        expect(page.locator("#then")).to_contain_text("Changed since then")
        expect(page.locator("#then td.was")).to_have_text("good")
        walk.picture("then")
        assert not walk.axe()
        page.locator("#then").get_by_role("link", name="Restore").click()
        expect(
            page.get_by_text("The object in the cluster would be changed like this:")
        ).to_be_visible()
        page.get_by_role("button", name="Restore").click()
        expect(page.get_by_role("status")).to_contain_text("was restored")
        assert (apiserver.get("configmaps", "conf", "default") or {})["data"] == {"v": "good"}
        eventually(lambda: lines() == 3)
        page = walk.open(f"/clusters/{cluster.pk}/configmaps/default/conf/timeline")
        expect(page.get_by_role("row", name="data.v")).to_have_count(2)
        assert not walk.axe()
        registry.client(cluster).request("DELETE", f"{PATH}/conf")
        eventually(lambda: admin.data("GET", "history", **where)["items"][0]["op"] == "delete")
        page = walk.open("/history?kind=configmaps&op=gone")
        page.get_by_role("link", name="conf", exact=True).click()
        expect(page.get_by_text("It was deleted from the cluster")).to_be_visible()
        page.get_by_role("link", name="Restore").first.click()
        expect(page.get_by_text("it would be created again as it was")).to_be_visible()
        expect(page.locator("pre.document")).to_contain_text("data:\n  v: good")
        page.get_by_role("button", name="Restore").click()
        expect(page.get_by_role("status")).to_contain_text("was restored")
        assert apiserver.get("configmaps", "conf", "default")


def listed_kinds(admin: Caller, cluster: Cluster) -> set[str]:
    """The kinds whose objects the store has."""
    kinds = admin.data("GET", f"clusters/{cluster.pk}/sync")["kinds"]
    return {kind["plural"] for kind in kinds if kind["listed_at"]}


def test_a_cluster_that_does_not_answer_shows_its_copy_with_its_age(
    transactional_db: None, visitor: Client, admin: Caller, settings: Any
) -> None:
    settings.STORE_FRESH_SECONDS = 1
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")
    with running_cluster(controllers=False, kubelet=False) as server:
        cluster = registry.register(name="gone", kubeconfig_text=server.kubeconfig_yaml)
        body = {"metadata": {"name": "conf"}, "data": {"v": "1"}}
        registry.client(cluster).request("POST", PATH, body=body)
        broken = {
            "metadata": {"name": "broken-pod", "namespace": "default"},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
            "status": {"phase": "Failed"},
        }
        server.load("pods", [broken])
        search = {"clusters": cluster.pk, "keyword": "conf"}
        with collecting():
            eventually(lambda: "broken-pod" in visitor.get("/failing").content.decode())
            eventually(
                lambda: any(
                    item["metadata"]["name"] == "conf"
                    for item in admin.data("GET", "multicluster/resources/configmaps", **search)[
                        "items"
                    ]
                )
            )
            # The pages below show more than the one kind.
            eventually(lambda: {"events", "namespaces", "nodes"} <= listed_kinds(admin, cluster))

    def has_copy() -> bool:
        answer = visitor.get(f"/clusters/{cluster.pk}/configmaps?q=conf")
        text = answer.content.decode()
        return (
            answer.status_code == 200
            and "What is shown is the copy of" in text
            and ">conf<" in text
        )

    eventually(has_copy)
    # Parts of pages say nothing of their own beside it.
    for part in ("namespaces", "namespaces/choose", "nodes"):
        assert visitor.get(f"/clusters/{cluster.pk}/-/{part}").status_code == 200, part
    base = f"/clusters/{cluster.pk}/configmaps/default/conf"
    for tab in ("", "/yaml", "/history"):
        answer = visitor.get(base + tab)
        text = answer.content.decode()
        assert answer.status_code == 200, tab
        assert "What is shown is the copy of" in text
        assert f"{base}/act/delete" not in text
        assert 'disabled title="Nothing can be changed' in text
    assert visitor.get(f"{base}/beside").status_code == 200
    # What needs the cluster leads to what is there without it.
    answer = visitor.get(f"{base}/change")
    assert answer.status_code == 502
    assert f'<a class="button" href="{base}">' in answer.content.decode()
    for page in ("/", f"/clusters/{cluster.pk}"):
        text = visitor.get(page).content.decode()
        assert 'class="status bad">unreachable' in text, page
    assert "0 reachable" in visitor.get("/").content.decode()
    # What does not answer is in no sum, so what fails there is not in its list either.
    for page in ("/troubles", "/failing"):
        text = visitor.get(page).content.decode()
        assert "does not answer: what fails there is not counted" in text, page
        assert "broken-pod" not in text, page
    assert "broken-pod" in visitor.get(f"/troubles?cluster={cluster.pk}").content.decode()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change")
