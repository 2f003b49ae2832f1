"""The rooms of the house: tenants, orders, tokens, people, audit, the store; in a real browser."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from access.models import ApiToken, AuditEntry, Grant
from billing.models import Order
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.console.browser import PHONE, Walk

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "a-long-Passphrase-7"


@pytest.fixture
def tenant(apiserver: RunningCluster) -> str:
    """A name that no namespace has."""
    return f"team-{uuid.uuid4().hex[:6]}"


def test_somebody_makes_a_tenant_with_a_quota_and_a_member(
    walk: Walk, cluster: Cluster, tenant: str, apiserver: RunningCluster
) -> None:
    User.objects.create(username="mia")
    page = walk.open("/tenants")
    page.get_by_role("link", name="Quota plans").click()
    page.get_by_label("Name", exact=True).fill("small")
    page.get_by_label("Pods").fill("3")
    page.get_by_role("button", name="Create a plan").click()
    expect(page.get_by_role("status")).to_contain_text("Plan small was created")
    page.get_by_role("link", name="Tenants").first.click()
    page.get_by_role("link", name="Create a tenant").first.click()
    page.get_by_label("Name", exact=True).fill(tenant)
    page.get_by_label("First member").fill("nobody")
    page.get_by_label("Quota plan").select_option("small")
    assert not walk.axe()
    page.get_by_role("button", name="Create a tenant").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    expect(page.get_by_label("Name", exact=True)).to_have_value(tenant)
    assert apiserver.get("namespaces", tenant) is None
    page.get_by_label("First member").fill("mia")
    page.get_by_role("button", name="Create a tenant").click()
    expect(page.get_by_role("heading", name=tenant)).to_be_visible()
    expect(page.get_by_text("0 / 3", exact=True).last).to_be_visible()
    walk.picture("made")
    assert not walk.axe()
    assert Grant.objects.get(user__username="mia").namespace == tenant
    page.get_by_role("button", name="Remove mia").click()
    expect(page.get_by_text("Nobody yet.")).to_be_visible()
    assert not Grant.objects.filter(user__username="mia").exists()
    page.get_by_text("Change quota").click()
    page.get_by_role("textbox", name="Pods").fill("7")
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_text("0 / 7", exact=True).last).to_be_visible()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("is being deleted")
    apiserver.wait(
        lambda: (
            apiserver.get("namespaces", tenant) or {"metadata": {"deletionTimestamp": "gone"}}
        )["metadata"].get("deletionTimestamp")
    )


def test_somebody_makes_an_order_notes_its_payment_and_refunds_it(
    walk: Walk, vkube: Any, person: User
) -> None:
    page = walk.open("/orders")
    page.get_by_role("link", name="Create an order").first.click()
    page.get_by_label("Units").select_option("2")
    page.get_by_label("Duration in hours").fill("10")
    page.get_by_label("Region").select_option("ausrine")
    page.get_by_label("Owner").fill("nobody")
    page.get_by_role("button", name="Create an order").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    page.get_by_label("Owner").fill(person.username)
    walk.picture("form")
    assert not walk.axe()
    page.get_by_role("button", name="Create an order").click()
    expect(page.get_by_text("not paid")).to_be_visible()
    order = Order.objects.get()
    assert (order.units, order.region, order.owner) == (2, "ausrine", person)
    page.get_by_label("Reference").fill("transfer 7")
    page.get_by_role("button", name="Record payment").click()
    secret = page.locator("#secret").inner_text()
    assert Caller().client.get("/k8s/order", headers={"secret": secret}).status_code == 200
    page.get_by_role("link", name="To the order").click()
    expect(page.get_by_text("1800").first).to_be_visible()
    assert secret not in page.content()
    walk.picture("paid")
    assert not walk.axe()
    page.get_by_role("link", name="Refund").click()
    expect(page.get_by_text("1800 would be refunded now")).to_be_visible()
    page.get_by_label("Type").fill(order.pk)
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_role("status")).to_contain_text("1800 was refunded")
    order.refresh_from_db()
    assert order.service == "ServiceAbort"


def test_a_token_is_shown_once_and_revoked(walk: Walk, person: User) -> None:
    page = walk.open("/tokens")
    page.get_by_label("What it is for").fill("deploys")
    page.get_by_label("read objects").check()
    page.get_by_label("simulated").check()
    page.get_by_role("button", name="Create a token").click()
    raw = page.locator("#secret").inner_text()
    caller = Caller(raw)
    assert caller.data("GET", "clusters")["total"] == 1
    page.get_by_role("link", name="I have it").click()
    assert raw not in page.content()
    expect(page.get_by_text("valid", exact=True)).to_be_visible()
    walk.picture("tokens")
    assert not walk.axe()
    page.get_by_role("button", name="Revoke deploys").click()
    expect(page.get_by_text("revoked", exact=True)).to_be_visible()
    assert caller("GET", "clusters")["code"] == 2001
    row = ApiToken.objects.get()
    assert (row.scopes, row.clusters) == (["read"], ["simulated"])


def test_a_person_is_made_given_a_role_and_switched_off(walk: Walk, cluster: Cluster) -> None:
    page = walk.open("/people")
    form = page.locator("form", has=page.get_by_role("button", name="Create a user"))
    form.get_by_label("Username").fill("vera")
    form.get_by_label("Password").fill("12345")
    form.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("password")
    assert not User.objects.filter(username="vera").exists()
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button").click()
    expect(page.get_by_role("heading", name="vera")).to_be_visible()
    page.get_by_label("Role").select_option("operator")
    page.locator("main select[name=cluster]").select_option(label="simulated")
    page.get_by_role("button", name="Grant a role").click()
    expect(page.get_by_role("button", name="Revoke operator from vera")).to_be_visible()
    walk.picture("person")
    assert not walk.axe()
    assert (
        Caller()("POST", "/api/v1/auth/login", {"username": "vera", "password": PASSWORD})["code"]
        == 0
    )
    page.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_text("deactivated").first).to_be_visible()
    assert (
        Caller()("POST", "/api/v1/auth/login", {"username": "vera", "password": PASSWORD})["code"]
        == 2001
    )


def test_a_group_is_made_given_a_role_and_members_and_deleted(walk: Walk, cluster: Cluster) -> None:
    User.objects.create(username="gil")
    page = walk.open("/groups")
    page.get_by_label("Name", exact=True).fill("oidc:/platform")
    page.get_by_role("button", name="Create a group").click()
    expect(page.get_by_role("heading", name="oidc:/platform")).to_be_visible()
    page.get_by_label("Role").select_option("operator")
    page.locator("main select[name=cluster]").select_option(label="simulated")
    page.get_by_role("button", name="Grant a role").click()
    expect(page.get_by_role("button", name="Revoke operator from oidc:/platform")).to_be_visible()
    page.get_by_label("Username").fill("nobody")
    page.get_by_role("button", name="Add member").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    page.get_by_label("Username").fill("gil")
    page.get_by_role("button", name="Add member").click()
    walk.picture("group")
    assert not walk.axe()
    page.get_by_role("link", name="gil").click()
    expect(page.get_by_role("checkbox", name="oidc:/platform")).to_be_checked()
    page.get_by_role("link", name="oidc:/platform").first.click()
    page.get_by_role("button", name="Remove gil").click()
    expect(page.get_by_text("Nobody yet.")).to_be_visible()
    page.get_by_role("link", name="Groups").last.click()
    walk.picture("groups")
    assert not walk.axe()
    page.get_by_role("link", name="oidc:/platform").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No groups")).to_be_visible()
    assert not Grant.objects.filter(role="operator").exists()


def test_what_was_done_stands_in_the_audit_room(
    walk: Walk, cluster: Cluster, admin: Caller
) -> None:
    admin.data("POST", "plans", {"name": "tiny", "hard": {"pods": "1"}})
    assert AuditEntry.objects.filter(verb="create", kind="plans").exists()
    page = walk.open("/audit")
    expect(page.get_by_role("row", name=re.compile("create.*plans tiny"))).to_contain_text(
        "success"
    )
    walk.picture("audit")
    assert not walk.axe()
    page.get_by_label("Verb").fill("delete")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing fits the filter.")).to_be_visible()


def test_documents_of_the_store_are_read_in_their_own_words(
    walk: Walk, admin: Caller, cluster: Cluster
) -> None:
    address = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters/BCS-1/namespaces/shop/Pod/web-1"
    assert admin("PUT", address, {"data": {"kind": "Pod", "note": "<b>bold</b>"}})["code"] == 0
    page = walk.open("/store")
    page.locator("section", has=page.get_by_role("heading", name="BCS-1")).get_by_role(
        "link", name="Pod"
    ).click()
    page.get_by_role("link", name="web-1").click()
    expect(page.locator("pre.document")).to_contain_text("note: <b>bold</b>")
    expect(page.locator("pre.document")).to_contain_text("resourceName: web-1")


def test_the_rooms_fit_a_telephone(
    walker: Callable[..., Walk], person: User, cluster: Cluster
) -> None:
    walk = walker(person, size=PHONE)
    for path in (
        "/operations",
        "/history",
        "/tenants",
        "/tenants/new",
        "/orders",
        "/orders/new",
        "/audit",
        "/tokens",
        "/people",
        "/groups",
        "/store",
    ):
        walk.open(path).wait_for_load_state("load")
        assert not walk.is_wider_than_the_window(), path
        # The others are looked at by the walks above.
        assert path not in ("/operations", "/history", "/people", "/store") or not walk.axe(), path
        walk.picture(path.strip("/").replace("/", "-"), full=True)
