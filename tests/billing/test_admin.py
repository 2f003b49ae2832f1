"""Orders in the admin: sold, paid, refunded by hand; secrets seen once."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from pytest_django import Settings

from billing.models import Order, Plan, Webhook
from billing.services import orders

pytestmark = pytest.mark.django_db
FORM = {
    "units": "2",
    "duration": "100",
    "region": "ausrine",
    "ports": "User Specified Service Port",
    "address": "AR1",
    "public_key": "",
    "owner": "",
}
INLINES = {
    f"{name}-{field}": "0"
    for name in ("payments", "deployments")
    for field in ("TOTAL_FORMS", "INITIAL_FORMS")
}


@pytest.fixture
def browser() -> Client:
    """An administrator, signed in."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", "root@example.com", None))
    return client


def act(browser: Client, action: str, *found: Order) -> Any:
    return browser.post(
        "/admin/billing/order/",
        {"action": action, "_selected_action": [order.pk for order in found]},
    )


def test_an_order_is_made_paid_and_refunded_on_the_pages(browser: Client) -> None:
    plan = orders.find_plan("standard")
    answer = browser.post("/admin/billing/order/add/", {**FORM, **INLINES, "plan": plan.pk})
    assert answer.status_code == 302, re.findall(r"error[^<]*<[^<]*", answer.content.decode())[:5]
    order = Order.objects.get()
    assert (order.amount, order.region, order.status) == (18000, "ausrine", "OrderPending")
    page = act(browser, "pay", order)
    secret = re.search(r"<code>([1-9A-Za-z]{30})</code>", page.content.decode())
    assert secret
    assert "no-store" in page["Cache-Control"]
    assert (
        Client().get("/k8s/order", headers={"secret": secret[1]}).json()["status"] == "OrderFiled"
    )
    for path in ("", f"{order.pk}/change/"):
        shown = browser.get(f"/admin/billing/order/{path}").content.decode()
        assert "18000" in shown
        assert secret[1] not in shown
        assert Order.objects.get().secret_digest not in shown
    fresh = re.search(
        r"<code>([1-9A-Za-z]{30})</code>", act(browser, "rotate_secret", order).content.decode()
    )
    assert fresh
    assert fresh[1] != secret[1]
    assert act(browser, "refund", order).status_code == 302
    order.refresh_from_db()
    assert (order.status, order.service) == ("OrderFiled", "ServiceAbort")
    assert (
        "cannot be refunded"
        in browser.get(act(browser, "refund", order)["Location"]).content.decode()
    )


def test_what_cannot_be_sold_is_refused_on_the_page(browser: Client) -> None:
    plan = orders.find_plan("standard")
    page = browser.post(
        "/admin/billing/order/add/", {**FORM, **INLINES, "plan": plan.pk, "units": "3"}
    )
    assert page.status_code == 200
    assert "units must be one of" in page.content.decode()
    assert not Order.objects.exists()


def test_only_owner_and_address_of_an_order_can_change(browser: Client) -> None:
    order = orders.create(orders.PurchaseRequest(units=2, duration=1))
    user = get_user_model().objects.get(username="root")
    form = {**FORM, **INLINES, "units": "16", "address": "AR2", "owner": user.pk}
    assert browser.post(f"/admin/billing/order/{order.pk}/change/", form).status_code == 302
    order.refresh_from_db()
    assert (order.units, order.address, order.owner_id) == (2, "AR2", user.pk)
    assert (
        browser.post(f"/admin/billing/order/{order.pk}/delete/", {"post": "yes"}).status_code == 403
    )


def test_every_page_opens(browser: Client) -> None:
    orders.pay(orders.create(orders.PurchaseRequest(units=1, duration=1)), by="test")
    for page in ("plan", "order", "deployment", "posting", "usagesample", "webhook", "delivery"):
        assert browser.get(f"/admin/billing/{page}/").status_code == 200


def test_a_plan_is_checked(browser: Client) -> None:
    form = {"name": "odd", "price": "1", "units": "[3]", "regions": "[]", "active": "on"}
    assert browser.post("/admin/billing/plan/add/", form).status_code == 200
    assert browser.post("/admin/billing/plan/add/", {**form, "units": "[4, 1]"}).status_code == 302
    assert Plan.objects.get(name="odd").units == [1, 4]


def test_the_key_of_a_webhook_is_shown_once(browser: Client, settings: Settings) -> None:
    form = {"url": "https://example.com/hook", "events": '["order.paid"]', "active": "on"}
    page = browser.post("/admin/billing/webhook/add/", form)
    key = Webhook.objects.get().key
    assert key in page.content.decode().replace("&#x2B;", "+").replace("&#x3D;", "=")
    assert (
        key
        not in browser.get(
            f"/admin/billing/webhook/{Webhook.objects.get().pk}/change/"
        ).content.decode()
    )
    assert (
        browser.post(
            "/admin/billing/webhook/add/", {**form, "url": "http://169.254.169.254/"}
        ).status_code
        == 200
    )
    assert Webhook.objects.count() == 1
