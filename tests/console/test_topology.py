"""What belongs together as a picture, and the same in words."""

from typing import Any

from django.contrib.auth.models import User
from playwright.sync_api import expect

from clusters.models import Cluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.workloads.conftest import workload


def shop(make: Make, pods: int = 2) -> str:
    """A shop behind an Ingress, with a ConfigMap that is there and one that is not; its namespace."""
    make("configmaps", {"metadata": {"name": "settings"}, "data": {"a": "b"}})
    manifest: dict[str, Any] = workload("shop", replicas=pods)
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [
        {"configMapRef": {"name": "settings"}}
    ]
    manifest["spec"]["template"]["spec"]["volumes"] = [
        {"name": "gone", "configMap": {"name": "forgotten", "optional": False}}
    ]
    make("deployments", manifest)
    make(
        "services",
        {
            "metadata": {"name": "shop"},
            "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]},
        },
    )
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    make(
        "ingresses",
        {
            "metadata": {"name": "shop"},
            "spec": {"rules": [{"host": "shop.example.com", "http": http}]},
        },
    )
    make(
        "pods",
        {
            "metadata": {"name": "beside"},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
        },
        running=True,
    )
    return make.space


def test_an_application_is_drawn_from_its_entry_to_its_nodes(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    space = shop(make)
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/shop/topology")
    boxes = page.locator("#topology .box")
    for one in ("ingresses/shop", "services/shop", "deployments/shop", "configmaps/settings"):
        expect(page.locator(f'#topology .box[data-id="{one}"]')).to_be_visible()
    expect(page.locator('#topology .box[data-id^="pods/shop-"]')).to_have_count(2)
    expect(page.locator("#topology .missing")).to_contain_text("forgotten")
    assert page.locator('#topology .box[data-id="pods/beside"]').count() == 0
    page.locator('#topology .box[data-id="services/shop"]').hover()
    expect(page.locator("#topology path.near").first).to_be_attached()
    assert walk.axe() == []
    walk.picture("graph")
    page.get_by_text("The same as a list").click()
    expect(
        page.get_by_role("listitem").filter(has_text="Ingress shop sends requests to Service shop")
    ).to_be_visible()
    assert boxes.count() >= 7
    page.locator('#topology .box[data-id="services/shop"]').click()
    expect(page).to_have_url(f"{walk.base}/clusters/{cluster.pk}/services/{space}/shop")


def test_many_pods_are_folded_and_a_namespace_is_drawn_whole(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    space = shop(make, pods=9)
    walk = walker(person, size=PHONE)
    page = walk.open(f"/clusters/{cluster.pk}/namespaces/-/{space}/topology")
    expect(page.locator("#topology .more")).to_contain_text("and 4 more pods")
    expect(page.locator('#topology .box[data-id^="pods/shop-"]')).to_have_count(5)
    expect(page.locator('#topology .box[data-id="pods/beside"]')).to_have_count(1)
    assert not walk.is_wider_than_the_window()
    walk.picture("phone")
    # The graph opens at the object that the page is about, the tabs at the current one.
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/shop/topology")
    here = page.locator("#topology .here rect").first.bounding_box()
    walk.picture("here")
    assert here
    assert 0 <= here["x"] <= PHONE[0] - here["width"], here
    expect(page.locator("nav.tabs [aria-current]")).to_be_in_viewport(ratio=0.9)


def test_an_empty_namespace_says_how_to_begin(walk: Walk, cluster: Cluster, make: Make) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/namespaces/-/{make.space}/topology")
    expect(page.get_by_role("heading", name="No related objects yet")).to_be_visible()
    page.get_by_role("link", name="Create", exact=True).click()
    expect(page.locator("#editor")).to_contain_text(f"namespace: {make.space}")
