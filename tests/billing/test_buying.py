"""Buying: orders, payments and secrets, by the commands that an operator uses."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import IntegrityError, InternalError, transaction
from django.test import Client
from pytest_django import Settings

from billing import credentials, pricing
from billing.models import Entry, Order, Payment, Plan, Posting
from billing.services import ledger

pytestmark = pytest.mark.django_db
Run = Callable[..., Any]
INVALID = b'{"error":{"code":401,"message":"secret invalid"}}'


def order_of(secret: str, path: str = "/k8s/order") -> Any:
    return Client().get(path, headers={"secret": secret})


def test_an_order_is_the_documents_object(command: Run) -> None:
    made = command("create_order", "--units", "2", "--duration", "100", "--paid")
    answer = order_of(made["secret"])
    order = Order.objects.get(pk=made["id"])
    created, updated = int(order.created_at.timestamp()), int(order.updated_at.timestamp())
    assert answer.status_code == 200
    assert answer.content.decode() == (
        f'{{"createdAt":{created},"updatedAt":{updated},"duration":100,"serviceExpiredDate":"","amount":18000,"amountPaid":18000,'
        f'"serviceID":"{order.plan.service_id}","service":"Container Service","serviceCategoryID":"{order.plan.category_id}",'
        f'"provider":"v-kube-service","address":"","recipient":"","id":"{order.pk}",'
        '"serviceOptions":{"portSpecification":"User Specified Service Port","resourceUnit":"2-Unit-Resource"},'
        '"status":"OrderFiled","publicKey":""}'
    )


def test_the_secret_is_read_whatever_the_case_of_its_header_and_under_both_prefixes(
    command: Run,
) -> None:
    secret = command(
        "create_order",
        "--units",
        "1",
        "--duration",
        "1",
        "--paid",
        "--region",
        "ausrine",
        "--random-ports",
    )["secret"]
    for path in ("/k8s/order", "/api/v1/k8s/order", "/api/v1/k8s/order/"):
        answer = Client().get(path, headers={"SeCrEt": secret})
        assert answer.json()["serviceOptions"] == {
            "portSpecification": "System Random Map Port",
            "resourceUnit": "1-Unit-Resource",
            "region": "ausrine",
        }


def test_an_unpaid_order_has_no_secret_and_the_last_payment_issues_it(command: Run) -> None:
    made = command("create_order", "--units", "2", "--duration", "100")
    assert made["secret"] is None
    first = command("pay_order", made["id"], "--amount", "17999", "--reference", "transfer 1")
    assert (first["status"], first["amountPaid"], first["secret"]) == ("OrderPending", 17999, None)
    for wrong in ("2", "0", "-1", "0.5", "NaN", "Infinity", "money"):
        with pytest.raises(CommandError):
            command("pay_order", made["id"], "--amount", wrong)
    last = command("pay_order", made["id"])
    assert (last["status"], last["amountPaid"]) == ("OrderFiled", 18000)
    assert order_of(last["secret"]).json()["amountPaid"] == 18000
    with pytest.raises(CommandError, match="OrderFiled already"):
        command("pay_order", made["id"])
    assert list(Payment.objects.order_by("at").values_list("amount", "reference")) == [
        (Decimal(17999), "transfer 1"),
        (Decimal(1), ""),
    ]


def test_a_secret_is_thirty_base58_characters_and_only_its_keyed_hash_is_kept(command: Run) -> None:
    made = command("create_order", "--units", "1", "--duration", "1", "--paid")
    assert re.fullmatch(f"[{credentials.ALPHABET}]{{30}}", made["secret"])
    order = Order.objects.get(pk=made["id"])
    assert order.secret_digest == credentials.digest(made["secret"])
    assert made["secret"] not in str(Order.objects.filter(pk=order.pk).values().get())


def test_a_rotated_secret_opens_and_the_old_one_does_not(command: Run) -> None:
    made = command("create_order", "--units", "1", "--duration", "1", "--paid")
    fresh = command("rotate_order_secret", made["id"])
    assert fresh["secret"] != made["secret"]
    assert order_of(fresh["secret"]).status_code == 200
    assert (order_of(made["secret"]).status_code, order_of(made["secret"]).content) == (
        401,
        INVALID,
    )
    unpaid = command("create_order", "--units", "1", "--duration", "1")
    with pytest.raises(CommandError, match="no secret yet"):
        command("rotate_order_secret", unpaid["id"])


def test_secrets_outlive_a_new_secret_key_while_the_old_one_is_a_fallback(
    command: Run, settings: Settings
) -> None:
    secret = command("create_order", "--units", "1", "--duration", "1", "--paid")["secret"]
    old, settings.SECRET_KEY = settings.SECRET_KEY, "quite another key, long enough for everyone"
    assert order_of(secret).status_code == 401
    settings.SECRET_KEY_FALLBACKS = [old]
    assert order_of(secret).status_code == 200


@pytest.mark.parametrize("secret", ["", " ", "x", "2Vu3Kd" + "x" * 24, "x" * 65, "é" * 30, "a\tb"])
@pytest.mark.parametrize("path", ["/k8s/order", "/api/v1/k8s/pod/log", "/k8s/pod/status"])
def test_a_wrong_secret_is_one_and_the_same_refusal(secret: str, path: str) -> None:
    answer = Client().get(
        path, headers={"secret": secret.encode().decode("latin-1")} if secret else {}
    )
    assert (answer.status_code, answer.content) == (401, INVALID)
    assert not answer.has_header("WWW-Authenticate")


def test_guessing_is_counted_by_address_and_slowed(command: Run, settings: Settings) -> None:
    settings.THROTTLE_BAD_SECRET = "3/min"
    secret = command("create_order", "--units", "1", "--duration", "1", "--paid")["secret"]
    there, elsewhere = {"REMOTE_ADDR": "192.0.2.7"}, {"REMOTE_ADDR": "192.0.2.8"}
    for _ in range(5):
        Client().get("/k8s/order", headers={"secret": secret}, **there)  # type: ignore[arg-type]
        Client().get("/k8s/order", **there)  # type: ignore[arg-type]
    guesses = [
        Client().get("/k8s/order", headers={"secret": f"guess{n}"}, **there).status_code
        for n in range(4)
    ]  # type: ignore[arg-type]
    assert guesses == [401, 401, 401, 429]
    right = Client().get("/k8s/order", headers={"secret": secret}, **there)  # type: ignore[arg-type]
    assert right.status_code == 200, "others behind the address are none of its owner's doing"
    slowed = Client().get("/k8s/order", headers={"secret": "guess"}, **there)  # type: ignore[arg-type]
    assert (slowed.status_code, slowed.json()["error"]["code"]) == (429, 429)
    assert int(slowed["Retry-After"]) >= 60
    assert Client().get("/k8s/order", headers={"secret": secret}, **elsewhere).status_code == 200  # type: ignore[arg-type]


def test_undocumented_errors_can_be_switched_to_documented_ones(settings: Settings) -> None:
    settings.VKUBE_DOCUMENTED_ERRORS_ONLY = True
    answer = order_of("wrong")
    assert (answer.status_code, answer.content) == (
        500,
        b'{"error":{"code":500,"message":"server errror"}}',
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--units", "3", "--duration", "1"], "units must be one of 1, 2, 4, 8, 16"),
        (["--units", "2", "--duration", "0"], "duration must be from 1"),
        (["--units", "2", "--duration", "1", "--plan", "none"], "plan 'none' does not exist"),
        (["--units", "2", "--duration", "1", "--owner", "nobody"], "user 'nobody' does not exist"),
        (["--units", "2", "--duration", "1", "--region", "x" * 64], "too long"),
    ],
)
def test_what_cannot_be_bought_is_refused_in_one_sentence(
    command: Run, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence):
        command("create_order", *arguments)
    assert not Order.objects.exists()


def test_a_plan_sets_price_sizes_and_regions(command: Run) -> None:
    Plan.objects.create(name="small", price=Decimal("0.0333"), units=[1], regions=["ausrine"])
    with pytest.raises(CommandError, match="region must be one of ausrine"):
        command("create_order", "--units", "1", "--duration", "10", "--plan", "small")
    made = command(
        "create_order", "--units", "1", "--duration", "10", "--plan", "small", "--region", "ausrine"
    )
    assert Order.objects.get(pk=made["id"]).amount == 1, "coins are whole and rounded up"
    Plan.objects.filter(name="small").update(active=False)
    with pytest.raises(CommandError, match="not on sale"):
        command(
            "create_order",
            "--units",
            "1",
            "--duration",
            "1",
            "--plan",
            "small",
            "--region",
            "ausrine",
        )


def test_a_step_of_duration_is_as_long_as_it_was_when_it_was_bought(
    command: Run, settings: Settings
) -> None:
    settings.VKUBE_DURATION_SECONDS = 60
    order = Order.objects.get(pk=command("create_order", "--units", "1", "--duration", "10")["id"])
    settings.VKUBE_DURATION_SECONDS = 3600
    order.refresh_from_db()
    assert (order.seconds, order.amount) == (600, Decimal(15))


def test_use_of_all_memory_all_the_time_costs_exactly_the_purchase() -> None:
    price = Decimal("12.34567891")
    bought = pricing.purchase_price(price=price, units=2, seconds=100 * 3600)
    used = pricing.usage_price(price, 2 * 2**30 * 100 * 3600 * 1000)
    assert used == Decimal("2469.135782")
    assert used <= bought < used + 1


# --- the ledger's own rules -----------------------------------------------------------------------------------------
def paid(command: Run) -> Order:
    return Order.objects.get(
        pk=command("create_order", "--units", "2", "--duration", "100", "--paid")["id"]
    )


def test_a_payment_is_owed_as_service(command: Run) -> None:
    order = paid(command)
    assert ledger.balance(order) == 18000
    assert sorted(Entry.objects.values_list("account", "amount")) == [
        ("cash", Decimal(18000)),
        (f"prepaid/{order.pk}", Decimal(-18000)),
    ]
    assert command("reconcile_orders") == "1 orders, 0 differences\n"


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_an_unbalanced_posting(command: Run) -> None:
    order = paid(command)

    @transaction.atomic
    def post_one_side() -> None:
        posting = Posting.objects.create(order=order, kind="charge", key="x", at=order.created_at)
        Entry.objects.create(posting=posting, account="cash", amount=1)

    with pytest.raises(IntegrityError, match="out of balance"):
        post_one_side()
    assert Posting.objects.count() == 1


@pytest.mark.parametrize("model", [Entry, Posting, Payment])
def test_the_books_only_ever_grow(command: Run, model: Any) -> None:
    paid(command)
    with (
        pytest.raises((InternalError, IntegrityError), match="only ever grows"),
        transaction.atomic(),
    ):
        model.objects.all()._raw_delete(using="default")
    assert model.objects.exists()


def test_reconciling_names_what_does_not_derive(command: Run) -> None:
    order = paid(command)
    ledger.post(
        order,
        "charge",
        key="forged",
        at=order.created_at,
        debit=ledger.prepaid_account(order),
        credit="revenue",
        amount=Decimal(5),
    )
    with pytest.raises(SystemExit):
        command("reconcile_orders")
    found = list(ledger.differences(order))
    assert [(item.what, item.booked, item.derived) for item in found] == [
        ("amount of forged", "5.00000000", "0E-8")
    ]
