"""What people do to running things: scale, roll back, drain a node, act on many at once, bring back what was; in a real browser."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from clusters import registry
from clusters.models import Cluster
from operations.models import Operation
from simcluster.testing import RunningCluster, running_cluster
from tests.caller import Caller
from tests.console.browser import PHONE, Walk
from tests.turning import finish, take_turn
from tests.workloads.conftest import pods_of, template, workload

pytestmark = pytest.mark.django_db(transaction=True)
Put = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[RunningCluster]:
    """A cluster whose nodes may be drained without disturbing other tests."""
    with running_cluster(nodes=4) as server:
        yield server


@pytest.fixture
def apiserver(own_cluster: RunningCluster) -> RunningCluster:
    """In place of the shared server."""
    own_cluster.requests.clear()
    return own_cluster


@pytest.fixture
def cluster(transactional_db: None, apiserver: RunningCluster) -> Cluster:
    """The cluster, registered."""
    return registry.register(name="own", kubeconfig_text=apiserver.kubeconfig_yaml, default=True)


@pytest.fixture
def space(admin: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin.data(
        "POST", "namespaces", {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
    )
    return name


@pytest.fixture
def put(admin: Caller, cluster: Cluster, space: str) -> Put:
    """Makes an object in the namespace."""

    def make(plural: str, content: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = admin.data(
            "POST", plural, {"cluster_id": cluster.pk, "namespace": space, "content": content}
        )
        return made

    return make


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Waits that fit a cluster which runs twenty times as fast as in life."""
    settings.DRAIN_POLL_SECONDS = settings.ROLLOUT_POLL_SECONDS = 0.05
    settings.DRAIN_RETRY_SECONDS = 0.1


def operation_of(page: Page) -> Operation:
    """The operation whose page is shown."""
    page.wait_for_url(re.compile(r"/operations/\d+$"))
    return Operation.objects.get(pk=int(page.url.rpartition("/")[2]))


def ends_well(page: Page) -> None:
    """Finish the operation that is shown; its page must say so by itself."""
    finish(operation_of(page).pk)
    expect(page.locator("#operation h1 + span")).to_contain_text("succeeded")


def test_somebody_scales_a_deployment(
    walk: Walk, put: Put, cluster: Cluster, space: str, apiserver: RunningCluster
) -> None:
    put("deployments", workload(replicas=1))
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/web")
    expect(page.get_by_role("heading", name="web", exact=True)).to_be_visible()
    expect(page.get_by_text("Latest events")).to_be_visible()
    walk.picture("detail")
    assert not walk.axe()
    page.get_by_role("link", name="Scale").click()
    expect(page.get_by_text("There are 1 now.")).to_be_visible()
    page.get_by_label("Replicas").fill("3")
    walk.picture("form")
    page.get_by_role("button", name="Scale").click()
    ends_well(page)
    walk.picture("done")
    assert len(pods_of(apiserver, space)) == 3
    page.get_by_role("link", name="Deployment web").click()
    expect(page.get_by_text("3/3")).to_be_visible()


def test_somebody_rolls_back_after_reading_the_difference(
    walk: Walk, put: Put, admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster
) -> None:
    put("deployments", workload(replicas=1, image="nginx:1"))
    where = {"cluster_id": cluster.pk, "namespace": space}
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}}}
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == 1)
    admin.data(
        "PATCH",
        "deployments/web",
        json.dumps(patch),
        content_type="application/strategic-merge-patch+json",
        **where,
    )
    apiserver.wait(
        lambda: len(admin.data("GET", "deployments/web/revisions", **where)["items"]) == 2
    )
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/web")
    expect(page.get_by_role("link", name="Roll back")).to_have_count(0)
    page.get_by_role("link", name="Revisions").click()
    expect(page.get_by_role("row", name=re.compile("nginx:2"))).to_contain_text("current")
    page.get_by_role("row", name=re.compile("nginx:1")).get_by_role(
        "link", name="Compare and roll back"
    ).click()
    expect(page.locator(".diff .added")).to_contain_text("nginx:1")
    expect(page.locator(".diff .removed")).to_contain_text("nginx:2")
    walk.picture("diff")
    assert not walk.axe()
    page.get_by_role("button", name="Roll back").click()
    ends_well(page)
    assert (
        apiserver.get("deployments.apps", "web", space)["spec"]["template"]["spec"]["containers"][
            0
        ]["image"]
        == "nginx:1"
    )


def test_somebody_drains_a_node_and_the_progress_survives_a_reload(
    walk: Walk, put: Put, admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster
) -> None:
    put("deployments", workload(replicas=3))
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == 3)
    node = pods_of(apiserver, space)[0]["spec"]["nodeName"]
    put("pods", {"metadata": {"name": "lonely"}, "spec": {**template()["spec"], "nodeName": node}})
    page = walk.open(f"/clusters/{cluster.pk}/nodes/-/{node}")
    page.get_by_role("link", name="Drain").click()
    expect(page.get_by_text("blocks the drain")).to_be_visible()
    expect(page.get_by_role("button", name="Drain")).to_be_disabled()
    page.get_by_label("Force: also delete pods without a controller").check()
    expect(page.get_by_text("blocks the drain")).to_have_count(0)
    walk.picture("preview")
    assert not walk.axe()
    assert not Operation.objects.exists()
    assert not apiserver.get("nodes", node)["spec"].get("unschedulable")
    page.get_by_role("button", name="Drain").click()
    take_turn(operation_of(page).pk)
    expect(page.locator("#operation h1 + span")).to_contain_text("running")
    page.reload()
    expect(page.get_by_text(f"{space}/lonely")).to_be_visible()
    walk.picture("progress")
    assert not walk.axe()
    ends_well(page)
    walk.picture("done")
    assert apiserver.get("pods", "lonely", space) is None
    page.get_by_role("link", name=f"Node {node}").click()
    page.get_by_role("link", name="Uncordon").click()
    page.get_by_role("button", name="Uncordon").click()
    expect(page.get_by_role("status")).to_contain_text("was uncordoned")
    assert not apiserver.get("nodes", node)["spec"].get("unschedulable")


def test_an_operation_stops_when_it_is_asked_to(
    walk: Walk, put: Put, admin: Caller, cluster: Cluster, space: str
) -> None:
    put("deployments", workload(replicas=1))
    made = admin.data(
        "POST",
        "deployments/web/scale",
        {"cluster_id": cluster.pk, "namespace": space, "replicas": 2},
    )
    page = walk.open("/operations")
    page.locator(f'a[href="/operations/{made["operation_id"]}"]').click()
    expect(page.get_by_role("heading", name="Scale web 1 → 2")).to_be_visible()
    page.get_by_role("button", name="Cancel operation").click()
    expect(page.locator("#operation h1 + span")).to_contain_text("cancelled")


def test_many_objects_are_deleted_at_once_and_no_others(
    walk: Walk, put: Put, cluster: Cluster, space: str, apiserver: RunningCluster
) -> None:
    for name in ("one", "two", "three"):
        put("configmaps", {"metadata": {"name": name}})
    page = walk.open(f"/clusters/{cluster.pk}/configmaps?namespace={space}")
    for name in ("one", "two"):
        page.get_by_role("checkbox", name=f"{space}/{name}").check()
    expect(page.locator("#bulk")).to_contain_text("2 chosen")
    walk.picture("chosen")
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete: 2 objects")).to_be_visible()
    # Nothing here is protected: no name has to be typed.
    expect(page.get_by_label("Type")).to_have_count(0)
    page.get_by_role("button", name="Delete").click()
    ends_well(page)
    assert {item["metadata"]["name"] for item in apiserver.list("configmaps", space)} - {
        "kube-root-ca.crt"
    } == {"three"}


def test_deleting_names_what_goes_along_and_asks_for_the_name_of_what_is_protected(
    walk: Walk,
    visitor: Client,
    put: Put,
    cluster: Cluster,
    space: str,
    apiserver: RunningCluster,
) -> None:
    put("deployments", workload(replicas=2))
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == 2)
    put("configmaps", {"metadata": {"name": "plain"}})
    plain = f"/clusters/{cluster.pk}/configmaps/{space}/plain/act/delete"
    form = visitor.get(plain).content.decode()
    assert "History keeps its last version" in form
    assert 'name="typed"' not in form
    assert visitor.post(plain).status_code == 302
    apiserver.wait(lambda: apiserver.get("configmaps", "plain", space) is None)
    cluster.protected = True
    cluster.save()
    # Who does not type the name is refused by the API itself.
    bare = visitor.post(f"/clusters/{cluster.pk}/deployments/{space}/web/act/delete")
    assert bare.status_code == 409
    many = {"verb": "delete", "row": [f"{space}/web"]}
    bulk = visitor.post(f"/clusters/{cluster.pk}/deployments/-/_many", many).content.decode()
    assert 'name="typed"' in bulk
    assert "is in the protected cluster" in bulk
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/web")
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_text("2 pods go with it")).to_be_visible()
    page.get_by_label("Type").fill("wep")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("Type web to confirm")
    assert apiserver.get("deployments.apps", "web", space)
    page.get_by_label("Type").fill("web")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("is being deleted")
    apiserver.wait(lambda: apiserver.get("deployments.apps", "web", space) is None)


def test_an_open_page_follows_its_object_to_the_end(
    walk: Walk, put: Put, admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster
) -> None:
    put("deployments", workload(replicas=1))
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == 1)
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/web")
    expect(page.locator("#state")).to_contain_text("Ready")
    admin.data("POST", "deployments/web/pause", {"cluster_id": cluster.pk, "namespace": space})
    # Coming back to a tab asks at once; an open one asks every ten seconds.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#state")).to_contain_text("Paused")
    admin.data("DELETE", "deployments/web", cluster_id=cluster.pk, namespace=space)
    apiserver.wait(lambda: apiserver.get("deployments.apps", "web", space) is None)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("It was deleted from the cluster.")).to_be_visible()


def test_the_pages_of_an_object_fit_a_telephone(
    walker: Callable[..., Walk],
    person: Any,
    put: Put,
    cluster: Cluster,
    space: str,
    apiserver: RunningCluster,
) -> None:
    put("deployments", workload(replicas=1))
    walk, address = walker(person, size=PHONE), f"/clusters/{cluster.pk}/deployments/{space}/web"
    for path in ("", "/events", "/revisions", "/yaml", "/history", "/act/scale", "/act/delete"):
        page = walk.open(address + path)
        page.wait_for_load_state("networkidle")
        assert not walk.is_wider_than_the_window(), path
    page = walk.open(address)
    expect(page.get_by_text("Latest events")).to_be_visible()
    walk.picture("telephone", full=True)
