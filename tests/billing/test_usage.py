"""Use and its cost: from looks at running pods to the ledger, derivable again at any time."""

import csv
import io
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from pytest_django import Settings

from access.tokens import create_api_token
from billing import pricing
from billing.kubernetes_structs import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
)
from billing.models import Order, Posting, UsageSample
from billing.services import expiry, ledger, orders, usage
from billing.tasks import sample_cluster
from clusters import registry
from core import clock
from storage_api.models import Change
from tests.caller import Caller
from tests.vkube import Buyer, container, eventually, running

pytestmark = pytest.mark.django_db
Run = Callable[..., Any]


def look() -> None:
    """What the periodic task does."""
    sample_cluster(registry.default().pk)


def ago(**time: float) -> datetime:
    return clock.now() - timedelta(**time)


def shift(buyer: Buyer, back: timedelta) -> None:
    """The order was activated earlier than it was."""
    order = buyer.now()
    assert order.activated_at
    Order.objects.filter(pk=order.pk).update(activated_at=order.activated_at - back)


def test_running_time_is_seen_and_charged(vkube: Any, settings: Settings, command: Run) -> None:
    settings.VKUBE_SETTLE_SECONDS = 0
    buyer = Buyer(units=2)
    buyer.deploy(
        container(resource={"memory": "512Mi"}),
        container(name="second", resource={"memory": "1Gi"}),
    )
    running(buyer)
    look()
    look()
    first, second = UsageSample.objects.filter(order=buyer.order).order_by("pk")
    assert first.memory_bytes == 512 * 2**20 + 2**30
    # Kubernetes tells whole seconds, and the container started before the order was activated.
    assert first.since >= buyer.now().activated_at - timedelta(seconds=30)  # type: ignore[operator]
    assert second.running_ms == (second.at - first.at) // timedelta(milliseconds=1)
    paid = ledger.charged_amount(buyer.order)
    assert paid == sum(
        pricing.usage_price(Decimal(90), row.memory_bytes * row.running_ms)
        for row in (first, second)
    )
    assert ledger.balance(buyer.order) == 18000 - paid
    assert command("reconcile_orders", buyer.order.pk) == "1 orders, 0 differences\n"


def test_missed_looks_cost_no_evidence_and_nothing_is_counted_twice(vkube: Any) -> None:
    buyer = Buyer(units=2)
    buyer.deploy(container(resource={"memory": "1Gi"}))
    running(buyer)
    look()
    first = UsageSample.objects.get()
    UsageSample.objects.create(
        order=buyer.order,
        cluster=first.cluster,
        pod_uid=first.pod_uid,
        pod_name=first.pod_name,
        at=clock.now() + timedelta(hours=1),
        since=first.since,
        memory_bytes=first.memory_bytes,
        running_ms=3_600_000,
    )
    look()
    assert UsageSample.objects.order_by("pk").last().running_ms == 0, (
        "the clock went back: nothing is added, nothing is negative"
    )  # type: ignore[union-attr]


def test_the_end_of_a_pod_is_found_in_the_change_log(vkube: Any, command: Run) -> None:
    buyer = Buyer(units=2)
    buyer.deploy(container(resource={"memory": "1Gi"}))
    name = running(buyer)["name"]
    look()
    last = UsageSample.objects.get()
    ended = clock.now()
    for seq, uid in ((1, last.pod_uid), (2, "never seen by a look")):
        Change.objects.create(
            seq=seq,
            at=ended,
            op=Change.DELETED,
            object_id=str(seq),
            cluster_id="simulated",
            resource_type="Pod",
            namespace="vkube",
            resource_name=name,
            uid=uid,
            create_time=ended,
            data={},
        )
    registry.client(registry.default()).request("DELETE", f"/api/v1/namespaces/vkube/pods/{name}")
    eventually(lambda: vkube.get("pods", name, "vkube") is None)
    look()
    look()
    seen = list(UsageSample.objects.filter(pod_uid=last.pod_uid).order_by("pk"))
    assert [row.at for row in seen] == [last.at, ended]
    assert seen[1].running_ms == (ended - last.at) // timedelta(milliseconds=1)
    assert not UsageSample.objects.filter(pod_uid="never seen by a look").exists()
    assert command("reconcile_orders") == "1 orders, 0 differences\n"


@pytest.mark.parametrize(
    ("at", "since", "before", "seconds"),
    [
        (100, 0, None, 100),
        (100, 0, 40, 60),
        (100, 70, 40, 30),
        (100, -50, None, 100),
        (50, 0, 60, 0),
        (50, 80, None, 0),
        (900, 0, 500, 100),
    ],
    ids=[
        "first look",
        "next look",
        "restarted between",
        "before it was paid for",
        "clock back",
        "cluster's clock ahead",
        "past the end",
    ],
)
def test_what_a_look_adds(at: int, since: int, before: int | None, seconds: int) -> None:
    start = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    order = Order(activated_at=start, expires_at=start + timedelta(seconds=600))

    def moment(offset: int) -> datetime:
        return start + timedelta(seconds=offset)

    seen = None if before is None else moment(before)
    assert (
        pricing.running_ms(order, at=moment(at), since=moment(since), before=seen) == seconds * 1000
    )


def test_pods_that_do_not_run_cost_nothing(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(imageName="registry.invalid/no/such-image:never"))
    orphan = Buyer()
    look()
    assert not UsageSample.objects.filter(order=orphan.order).exists()


def test_a_forged_sample_is_found(vkube: Any, command: Run, settings: Settings) -> None:
    settings.VKUBE_SETTLE_SECONDS = 0
    buyer = Buyer()
    buyer.deploy()
    running(buyer)
    look()
    seen = UsageSample.objects.get()
    UsageSample.objects.create(
        order=buyer.order,
        cluster=seen.cluster,
        pod_uid=seen.pod_uid,
        pod_name=seen.pod_name,
        at=clock.now(),
        since=seen.since,
        memory_bytes=seen.memory_bytes,
        running_ms=10**9,
    )
    with pytest.raises(SystemExit):
        command("reconcile_orders")
    assert any("running time of sample" in item.what for item in ledger.differences(buyer.order))


def test_a_refund_gives_back_what_was_not_used(
    vkube: Any, settings: Settings, command: Run
) -> None:
    buyer = Buyer(units=2)
    buyer.deploy(container(resource={"memory": "2Gi"}))
    running(buyer)
    shift(buyer, timedelta(hours=10))
    pod = UsageSample(
        order=buyer.order,
        cluster=registry.default(),
        pod_uid="u",
        pod_name="p",
        at=clock.now(),
        since=ago(hours=10),
    )
    pod.memory_bytes = 2 * 2**30
    pod.running_ms = pricing.running_ms(buyer.now(), at=pod.at, since=pod.since, before=None)
    pod.save()
    refunded = Decimal(command("refund_order", buyer.order.pk)["refunded"])
    used = 18000 - refunded
    assert Decimal(1799) < used < Decimal(1801)
    assert ledger.charged_amount(buyer.order) == used
    assert ledger.balance(buyer.order) == 0
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None
    assert buyer.now().service == "ServiceAbort"
    assert buyer.get("/order")[1]["amountPaid"] == 18000
    assert buyer.get("/pod/status") == (200, {})
    assert buyer.deploy() == (403, {"error": {"code": 403, "message": "the order was refunded"}})
    assert command("reconcile_orders") == "1 orders, 0 differences\n"
    kinds = list(
        Posting.objects.filter(order=buyer.order).order_by("pk").values_list("kind", flat=True)
    )
    assert kinds == ["payment", "charge", "refund"]


def test_an_order_that_was_never_deployed_is_refunded_whole(db: None, command: Run) -> None:
    made = command("create_order", "--units", "2", "--duration", "100", "--paid")
    assert Decimal(command("refund_order", made["id"])["refunded"]) == 18000


# --- over time ------------------------------------------------------------------------------------------------------
@pytest.fixture
def used(db: None, apiserver: Any, cluster: Any) -> Order:
    """An order of the user `buyer` with three hours of use over two days."""
    owner = get_user_model().objects.create_user("buyer", "b@example.com", "not-used-here-1")
    order, _ = orders.pay(
        orders.create(orders.PurchaseRequest(units=2, duration=100, region="=cmd"), owner=owner),
        by="test",
    )
    start = datetime.fromisoformat("2026-03-01T22:00:00+00:00")
    Order.objects.filter(pk=order.pk).update(
        service="ServiceRunning", activated_at=start, expires_at=start + timedelta(hours=100)
    )
    for hour in (1, 2, 3):
        UsageSample.objects.create(
            order=order,
            cluster=cluster,
            pod_uid="u",
            pod_name="p",
            at=start + timedelta(hours=hour),
            since=start,
            memory_bytes=2**30,
            running_ms=3_600_000,
        )
    order.refresh_from_db()
    ledger.charge(order, clock.now())
    return order


def caller(name: str, **token: Any) -> Caller:
    user = get_user_model().objects.get_or_create(username=name)[0]
    row, raw = create_api_token(user, "tests")
    for field, value in token.items():
        setattr(row, field, value)
    row.save()
    return Caller(raw)


def test_use_and_cost_over_time(used: Order, admin: Caller) -> None:
    found = admin.data("GET", f"orders/{used.pk}/usage")
    assert found["items"] == [
        {
            "start": f"2026-03-0{day}T{hour}:00:00Z",
            "running_seconds": 3600,
            "gib_hours": "1",
            "cost": "90",
        }
        for day, hour in ((1, 23), (2, "00"), (2, "01"))
    ]
    assert (found["charged"], found["balance"]) == ("270", "17730")
    days = admin.data("GET", f"orders/{used.pk}/usage", step="day")["items"]
    assert [(row["start"], row["cost"]) for row in days] == [
        ("2026-03-01T00:00:00Z", "90"),
        ("2026-03-02T00:00:00Z", "180"),
    ]
    assert admin.code("GET", f"orders/{used.pk}/usage", step="week") == 1001
    text = b"".join(
        admin.raw("GET", f"orders/{used.pk}/usage", step="day", format="csv").streaming_content
    ).decode()
    assert text.splitlines() == [
        "start,running_seconds,gib_hours,cost",
        "2026-03-01T00:00:00Z,3600,1,90",
        "2026-03-02T00:00:00Z,7200,2,180",
    ]


def test_orders_are_listed_read_and_exported(used: Order, admin: Caller, command: Run) -> None:
    command("create_order", "--units", "1", "--duration", "1")
    assert admin.data("GET", "orders")["total"] == 2
    assert [
        row["id"] for row in admin.data("GET", "orders", service="ServiceRunning")["items"]
    ] == [used.pk]
    assert admin.code("GET", "orders", status="Paid") == 1001
    one = admin.data("GET", f"orders/{used.pk}")
    assert (one["amount"], one["owner"], one["price"]) == ("18000", "buyer", "90")
    assert one["payments"][0]["amount"] == "18000"
    assert "secret" not in str(one)
    assert admin.code("GET", "orders/none") == 1004
    ledger_rows = admin.data("GET", f"orders/{used.pk}/ledger")["items"]
    assert [row["kind"] for row in ledger_rows] == ["payment", "charge"]
    assert all(
        sum(Decimal(entry["amount"]) for entry in row["entries"]) == 0 for row in ledger_rows
    )
    answer = admin.raw("GET", "orders/export", service="ServiceRunning")
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [(row["id"], row["charged"], row["balance"]) for row in rows] == [
        (used.pk, "270", "17730")
    ]
    assert rows[0]["region"] == "'=cmd", "no spreadsheet takes it for a formula"


def test_an_owner_sees_their_own_orders_and_no_others(used: Order, command: Run) -> None:
    other = command("create_order", "--units", "1", "--duration", "1")["id"]
    buyer = caller("buyer")
    assert [row["id"] for row in buyer.data("GET", "orders")["items"]] == [used.pk]
    assert buyer.data("GET", f"orders/{used.pk}/usage")["charged"] == "270"
    assert buyer.data("GET", f"orders/{used.pk}/ledger")["total"] == 2
    for path in (
        f"orders/{other}",
        f"orders/{other}/usage",
        f"orders/{other}/ledger",
        "orders/none",
    ):
        assert buyer.code("GET", path) == 1004
    assert caller("stranger").data("GET", "orders")["total"] == 0
    assert caller("buyer", scopes=["logs"]).code("GET", "orders") == 1005
    assert Caller().raw("GET", "orders").status_code == 401


def test_what_is_left_when_time_is_over_is_forfeited_once(used: Order, command: Run) -> None:
    Order.objects.filter(pk=used.pk).update(expires_at=used.activated_at + timedelta(hours=100))  # type: ignore[operator]
    assert expiry.expire(orders.find(used.pk))
    assert not expiry.expire(orders.find(used.pk))
    assert ledger.balance(used) == 0
    assert [row.kind for row in Posting.objects.filter(order=used).order_by("pk")] == [
        "payment",
        "charge",
        "forfeit",
    ]
    assert command("reconcile_orders") == "1 orders, 0 differences\n"


def memory_of(limit: str | int) -> int:
    """What a running container with this memory limit counts as, in bytes."""
    resources = ResourceRequirements(limits={"memory": limit})
    state = ContainerState(running=ContainerStateRunning("2026-01-01T00:00:00Z"))
    pod = Pod(
        spec=PodSpec(containers=[Container(name="c", resources=resources)]),
        status=PodStatus(
            phase="Running",
            container_statuses=[ContainerStatus(name="c", state=state)],
        ),
    )
    return usage.running_memory(pod)


def test_quantities_of_memory() -> None:
    limits = ("1Gi", "100Mi", "1.5Gi", "1000", "1k", "2e3", 5, "odd")
    expected = [2**30, 100 * 2**20, 3 * 2**29, 1000, 1000, 2000, 5, 0]
    assert [memory_of(limit) for limit in limits] == expected
