"""Helm releases in the console: the list, one release and its revisions, and the way from its objects to it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from access import grants
from access.policy import Role
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make
from tests.workloads.conftest import workload
from tests.workloads.test_releases import PASSWORD, Records, packed, release


@pytest.fixture
def recorded(admin: Caller, cluster: Cluster, make: Make, apiserver: RunningCluster) -> Records:
    """A release of two revisions, and its Deployment as Helm makes it."""
    records = Records(admin, cluster, make.space)
    records.add(1, status="superseded")
    records.add(2, image="nginx:2")
    helm = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": "shop",
            "meta.helm.sh/release-namespace": make.space,
        },
    }
    make("deployments", {**workload("web"), "metadata": {"name": "web", **helm}})
    return records


def test_broken_and_too_large_records_are_shown_as_such(
    recorded: Records, visitor: Client, cluster: Cluster, make: Make
) -> None:
    recorded.add(1, name="torn", text="bm90IGd6aXA=")
    recorded.add(1, name="vast", text=packed({**release(1), "more": "x" * (9 * 1024 * 1024)}))
    address = f"/clusters/{cluster.pk}/-/releases"
    page = visitor.get(address, {"namespace": make.space}).content.decode()
    assert "The record is broken" in page
    assert "The record is too large" in page
    for name, sentence in (("torn", "it is broken"), ("vast", "larger than 8 MiB")):
        for part in ("", "/values", "/manifest", "/history"):
            answer = visitor.get(f"{address}/{make.space}/{name}{part}")
            assert (answer.status_code, sentence in answer.content.decode()) == (200, True)
    refused = visitor.get(f"{address}/{make.space}/torn/history", {"from": 1, "to": 1})
    assert refused.status_code == 400
    assert visitor.get(f"{address}/{make.space}/none").status_code == 404
    assert visitor.get(f"{address}/{make.space}/shop/wonders").status_code == 404
    empty = visitor.get(address, {"namespace": "no-such-namespace"}).content.decode()
    assert "No releases here" in empty


def test_a_viewer_sees_a_release_without_its_values(
    recorded: Records, cluster: Cluster, make: Make
) -> None:
    user = User.objects.create_user("victor", password=None)
    grants.give(user=user, role=Role.VIEWER, cluster=str(cluster.pk), namespace=make.space)
    viewer = Client()
    viewer.force_login(user)
    address = f"/clusters/{cluster.pk}/-/releases/{make.space}/shop"
    for part in ("", "/values", "/manifest", "/history?from=1&to=2&what=values"):
        page = viewer.get(address + part).content.decode()
        assert "shop" in page
        assert PASSWORD not in page
    assert "***" in viewer.get(f"{address}/values").content.decode()


def test_a_release_is_read_from_its_object_to_what_its_last_revision_changed(
    walk: Walk, recorded: Records, cluster: Cluster, make: Make
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{make.space}/web")
    page.get_by_role("link", name="shop", exact=True).click()
    expect(page.get_by_role("heading", name="shop", level=1)).to_be_visible()
    expect(page.get_by_text("Open the shop.")).to_be_visible()
    objects = page.get_by_role("region", name="Objects")
    expect(objects.get_by_role("link", name="web")).to_be_visible()
    expect(objects).to_contain_text("missing")
    assert walk.axe() == []
    walk.picture("release", full=True)
    page.get_by_role("link", name="Values").click()
    expect(page.get_by_label("What was set")).to_contain_text(PASSWORD)
    assert walk.axe() == []
    page.get_by_role("link", name="History").last.click()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".diff .added")).to_contain_text("nginx:2")
    assert walk.axe() == []
    walk.picture("history", full=True)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert not walk.is_wider_than_the_window()
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_text("This is revision 1.")).to_be_visible()
    walk.open(f"/clusters/{cluster.pk}/-/releases?namespace={make.space}")
    expect(page.get_by_role("link", name="shop", exact=True)).to_be_visible()
    assert walk.axe() == []
    assert not walk.is_wider_than_the_window()
    walk.picture("releases")
