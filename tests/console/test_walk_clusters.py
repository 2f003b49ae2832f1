"""People walk through the console: signing in, a cluster of their own, a pod that fails, a table that follows."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from playwright.sync_api import expect

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.console.browser import DESK, PHONE, Walk
from tests.console.conftest import Walker

PASSWORD = "a-long-Passphrase-7"


@pytest.fixture
def space(apiserver: RunningCluster) -> Iterator[str]:
    """A namespace with a workload whose pod cannot start, and one that runs."""
    name = f"w-{uuid.uuid4().hex[:8]}"
    crash = {
        "name": "main",
        "ready": False,
        "restartCount": 7,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }
    crash["lastState"] = {"terminated": {"exitCode": 3, "reason": "Error"}}
    fine = {"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}}
    apiserver.load(
        "pods", [pod(name, "api-broken", "Running", crash), pod(name, "web-fine", "Running", fine)]
    )
    yield name
    for one in ("api-broken", "web-fine"):
        apiserver.store.remove("pods", name, one)


def pod(space: str, name: str, phase: str, state: dict[str, Any]) -> dict[str, Any]:
    """A pod with one container."""
    return {
        "metadata": {"name": name, "namespace": space, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
        "status": {"phase": phase, "containerStatuses": [state]},
    }


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_somebody_new_signs_in_and_registers_a_cluster(
    walker: Walker, apiserver: RunningCluster, size: tuple[int, int]
) -> None:
    cache.clear()
    User.objects.create_superuser("grace", "grace@example.com", PASSWORD)
    walk = walker(None, size=size)
    page = walk.open("/")
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password").fill("not it")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="No clusters yet")).to_be_visible()
    page.locator("main").get_by_role("link", name="Register a cluster").last.click()
    page.locator("#register [name=name]").fill("by hand")
    page.get_by_label("Kubeconfig", exact=False).first.fill("kind: Config")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    page.get_by_label("Kubeconfig", exact=False).first.fill(apiserver.kubeconfig_yaml)
    page.get_by_role("button", name="Try the connection").click()
    expect(page.get_by_text("Nothing is saved yet.")).to_be_visible()
    assert not Cluster.objects.exists()
    walk.picture("tried")
    assert not walk.axe()
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="by hand")).to_be_visible()
    expect(page.get_by_text("by hand is registered.")).to_be_visible()
    assert Cluster.objects.get().name == "by hand"
    assert not walk.is_wider_than_the_window()
    assert not walk.axe()


def test_a_pod_that_fails_is_found_by_narrowing_its_table(
    walk: Walk, cluster: Cluster, space: str
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods?namespace={space}")
    rows = page.locator("#table tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("With problems").check()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("CrashLoopBackOff")
    assert "troubled=1" in page.url
    walk.picture("troubled")
    page.get_by_label("With problems").uncheck()
    expect(rows).to_have_count(2)
    page.get_by_label("Filter by name").press_sequentially("API-BR")
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="api-broken").click()
    expect(page.get_by_role("heading", name=re.compile("api-broken"))).to_be_visible()
    assert page.url.endswith(f"/clusters/{cluster.pk}/pods/{space}/api-broken")


def test_a_desk_shows_every_column_of_a_workload_at_once(
    walk: Walk, cluster: Cluster, apiserver: RunningCluster, space: str
) -> None:
    labels = {"app": "shop"}
    image = "registry.example.com/a-team-with-a-long-name/storefront:2026.11.29-rc1"
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main"}]}}
    template["spec"]["containers"][0]["image"] = image
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    spec["strategy"] = {}
    metadata = {"name": "a-shop-with-a-long-name", "namespace": space}
    apiserver.load("deployments.apps", [{"metadata": metadata, "spec": spec}])
    page = walk.open(f"/clusters/{cluster.pk}/deployments?namespace={space}")
    row = page.locator("#table tbody tr")
    expect(row).to_have_count(1)
    box = page.locator("#table .scroll")
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    tail = row.locator(".image .tail")
    expect(tail).to_have_text("storefront:2026.11.29-rc1")
    assert tail.evaluate("tail => tail.scrollWidth - tail.clientWidth") <= 0
    edge = row.locator("td").last.bounding_box()
    assert edge
    assert edge["x"] + edge["width"] <= page.evaluate("innerWidth")


def test_a_table_follows_its_cluster_and_keeps_what_is_chosen(
    walk: Walk, cluster: Cluster, apiserver: RunningCluster, space: str
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods?namespace={space}&sort=name")
    page.locator('tr[data-row$="web-fine"] input').check()
    page.evaluate("document.querySelector('#table tbody tr').before = 'kept'")
    fine = {"name": "main", "ready": True, "restartCount": 1, "state": {"running": {}}}
    apiserver.load("pods", [pod(space, "newcomer", "Pending", fine)])
    expect(page.locator("#table tbody tr")).to_have_count(3)
    assert [text.split("\n")[0] for text in page.locator("#table tbody th").all_inner_texts()] == [
        "api-broken",
        "newcomer",
        "web-fine",
    ]
    assert page.locator('tr[data-row$="web-fine"] input').is_checked()
    assert page.evaluate("document.querySelector('#table tbody tr').before") == "kept"
    apiserver.store.remove("pods", space, "newcomer")
    expect(page.locator("#table tbody tr")).to_have_count(2)


def test_filter_sort_and_namespace_go_together_and_back_undoes_them(
    walk: Walk, cluster: Cluster, space: str
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods")
    names = page.locator("#table tbody th a")
    page.get_by_label("Namespace").select_option(space)
    expect(names).to_have_text(["api-broken", "web-fine"])
    page.get_by_role("link", name="Restarts").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Restarts")
    page.get_by_role("link", name="Restarts").click()
    expect(names).to_have_text(["web-fine", "api-broken"])
    page.get_by_label("Filter by name").fill("e")
    expect(page).to_have_url(re.compile("q=e"))
    expect(names).to_have_text(["web-fine", "api-broken"])
    assert "sort=restarts" in page.url
    assert f"namespace={space}" in page.url
    page.go_back()
    expect(page).not_to_have_url(re.compile("q=e"))
    expect(names).to_have_text(["web-fine", "api-broken"])
    assert page.get_by_label("Filter by name").input_value() == ""


def test_keys_lead_to_the_search_and_to_rooms(walk: Walk, cluster: Cluster) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/pods")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search all clusters")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Clusters")).to_be_visible()


def test_the_drawer_of_a_phone_opens_and_leads_on(
    walker: Walker, person: User, cluster: Cluster
) -> None:
    walk = walker(person, size=PHONE)
    page = walk.open(f"/clusters/{cluster.pk}")
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Deployments").click()
    expect(page.get_by_role("heading", name="Deployments", exact=True)).to_be_visible()
    assert not walk.is_wider_than_the_window()


PAGES = (
    "/",
    "/clusters/{}",
    "/clusters/{}/pods",
    "/clusters/{}/nodes",
    "/clusters/register",
    "/search?q=node",
)


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["light desk", "dark phone"]
)
def test_no_page_has_a_serious_fault_of_accessibility(
    walker: Walker, person: User, cluster: Cluster, space: str, scheme: str, size: tuple[int, int]
) -> None:
    walk = walker(person, size=size, color_scheme=scheme)
    for address in PAGES:
        page = walk.open(address.format(cluster.pk))
        page.wait_for_load_state("networkidle")
        assert not walk.axe(), address
        assert not walk.is_wider_than_the_window(), address


def test_times_are_of_the_viewers_zone(walker: Walker, person: User, cluster: Cluster) -> None:
    walk = walker(person, timezone_id="Asia/Shanghai")
    page = walk.open(f"/clusters/{cluster.pk}")
    moment = page.locator("time[data-moment]").first
    shown, meant = moment.inner_text(), moment.get_attribute("datetime")
    assert page.evaluate(
        "([shown, meant]) => new Date(shown.replace(' ', 'T') + '+08:00').getTime() === new Date(meant).getTime()",
        [shown, meant],
    )
    # The server knows it from the second page on.
    page.reload()
    html = page.evaluate("fetch(location.href).then((answer) => answer.text())")
    assert f">{shown}<" in html
