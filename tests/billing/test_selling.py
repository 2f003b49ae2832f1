"""Orders made, paid, refunded and given new secrets over the API."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access.models import AuditEntry
from billing.models import Order, Payment, Plan
from tests.caller import Caller

pytestmark = pytest.mark.django_db


def made(admin: Caller, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = admin.data("POST", "orders", {"units": 2, "duration": 10, **more})
    return found


def code_with(secret: str) -> int:
    return int(Caller().client.get("/k8s/order", headers={"secret": secret}).status_code)


def test_an_order_is_made_paid_and_opened_with_its_secret(admin: Caller, vkube: Any) -> None:
    get_user_model().objects.create(username="buyer")
    order = made(admin, owner="buyer", region="ausrine", random_ports=True)
    assert (order["status"], order["amount"], order["owner"], order["secret"]) == (
        "OrderPending",
        "1800",
        "buyer",
        None,
    )
    part = admin.data(
        "POST", f"orders/{order['id']}/pay", {"amount": 800, "reference": "transfer 1"}
    )
    assert (part["status"], part["amount_paid"], part["secret"]) == ("OrderPending", "800", None)
    whole = admin.data("POST", f"orders/{order['id']}/pay")
    assert (whole["status"], whole["amount_paid"], code_with(whole["secret"])) == (
        "OrderFiled",
        "1800",
        200,
    )
    assert admin.code("POST", f"orders/{order['id']}/pay") == 1008
    assert "secret" not in admin.data("GET", f"orders/{order['id']}")
    assert whole["secret"] not in str(list(AuditEntry.objects.values()))


def test_a_new_secret_kills_the_old_one(admin: Caller) -> None:
    order = made(admin, paid=True)
    fresh = admin.data("POST", f"orders/{order['id']}/secret")["secret"]
    assert (code_with(order["secret"]), code_with(fresh)) == (401, 200)
    assert admin.code("POST", f"orders/{made(admin)['id']}/secret") == 1008


def test_a_refund_asks_first_and_then_gives_back_what_was_not_used(admin: Caller) -> None:
    order = made(admin, paid=True)
    asked = admin("POST", f"orders/{order['id']}/refund", {"reference": "sorry"})
    assert (asked["code"], asked["data"]["impact"]["warnings"]) == (
        1010,
        ["1800 would go back, as things are now"],
    )
    assert Order.objects.get(pk=order["id"]).service == "ServicePending"
    done = admin.data(
        "POST",
        f"orders/{order['id']}/refund",
        {"reference": "sorry", "confirm_token": asked["data"]["confirm_token"]},
    )
    assert (done["refunded"], done["service"]) == ("1800", "ServiceAbort")
    assert Payment.objects.filter(order=order["id"]).count() == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"units": 3, "duration": 1},
        {"units": 1, "duration": 0},
        {"units": True, "duration": 1},
        {"units": 1, "duration": 1, "plan": "gold"},
        {"units": 1, "duration": 1, "owner": "nobody"},
        {"units": 1, "duration": 1, "region": "x" * 64},
        {"units": 1, "duration": 1, "address": "\0"},
    ],
)
def test_what_cannot_be_bought_makes_no_order(admin: Caller, body: dict[str, Any]) -> None:
    assert admin.code("POST", "orders", body) in (1001, 1004)
    assert not Order.objects.exists()


@pytest.mark.parametrize("amount", ["1.5", "nan", "-1", "0", "1801", "", "x", True, [1], "9" * 40])
def test_odd_amounts_are_refused(admin: Caller, amount: object) -> None:
    order = made(admin)
    expected = 0 if amount == "" else 1001
    assert admin.code("POST", f"orders/{order['id']}/pay", {"amount": amount}) == expected


def test_what_is_on_sale_and_where(admin: Caller, vkube: Any) -> None:
    Plan.objects.create(name="old", active=False)
    found = admin.data("GET", "orders/plans")
    assert [(plan["name"], plan["price"], plan["units"]) for plan in found["items"]] == [
        ("standard", "90", [1, 2, 4, 8, 16])
    ]
    assert found["regions"] == ["ausrine", "giltine"]
