"""What goes wrong, and what then: each a stated outcome (docs/billing.md, When something goes wrong)."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from billing.models import Delivery, Deployment, Order, PortClaim, Posting
from billing.services import deployments, expiry, orders, webhooks
from billing.tasks import expire_orders, sample_cluster
from clusters import registry
from clusters.models import Cluster
from core import clock
from core.errors import Conflict
from operations.models import Operation
from tests.vkube import Buyer, container, eventually, follow, label_nodes, patch_node, running

pytestmark = pytest.mark.django_db
BROKEN = {"error": {"code": 500, "message": "server errror"}}
parallel = pytest.mark.django_db(transaction=True)


def overdue(buyer: Buyer) -> None:
    """The order's time was over a second ago."""
    now = clock.now()
    Order.objects.filter(pk=buyer.order.pk).update(
        activated_at=now - timedelta(hours=1), expires_at=now - timedelta(seconds=1)
    )


def kinds(buyer: Buyer) -> list[str]:
    return list(
        Posting.objects.filter(order=buyer.order).order_by("pk").values_list("kind", flat=True)
    )


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls in threads, each with a database connection of its own; what each returned or raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(timeout=10)
        try:
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


# --- the cluster is down --------------------------------------------------------------------------------------------
def test_a_cluster_that_is_down_at_expiry_is_tried_until_it_is_done_and_billed_once(
    vkube: Any, settings: Settings
) -> None:
    settings.VKUBE_SETTLE_SECONDS = 0
    buyer = Buyer()
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3100}]))
    running(buyer)
    sample_cluster(registry.default().pk)
    overdue(buyer)
    vkube.faults.add(path="/namespaces/vkube", action="status", code=503)
    expire_orders()
    expire_orders()
    row = Deployment.objects.get(order=buyer.order)
    assert (buyer.now().service, row.state, row.attempts) == ("ServiceDone", "removing", 2)
    assert kinds(buyer)[-1] == "forfeit"
    books = kinds(buyer)
    assert PortClaim.objects.filter(port=3100).exists(), "its pod still holds the port"
    assert vkube.get("deployments.apps", buyer.name, "vkube")
    vkube.faults.clear()
    sample_cluster(registry.default().pk)
    expire_orders()
    row.refresh_from_db()
    assert (row.state, kinds(buyer)) == ("removed", books)
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None
    assert not PortClaim.objects.exists()


def test_a_cluster_that_is_no_longer_registered_ends_the_trying(
    vkube: Any, cluster: Cluster
) -> None:
    buyer = Buyer()
    buyer.deploy()
    registry.remove(cluster)
    overdue(buyer)
    expire_orders()
    row = Deployment.objects.get(order=buyer.order)
    assert (row.state, row.error) == ("abandoned", "its cluster is no longer registered")


@pytest.mark.parametrize("code", [403, 409, 422, 429, 500])
def test_a_deploy_that_the_cluster_refuses_leaves_the_order_as_it_was(
    vkube: Any, settings: Settings, code: int
) -> None:
    settings.VKUBE_POD_CIDRS = ["10.244.0.0/16"]
    buyer = Buyer()
    before = Order.objects.filter(pk=buyer.order.pk).values().get()
    vkube.faults.add(path="/deployments", method="POST", action="status", code=code)
    assert buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3110}])) == (500, BROKEN)
    assert Order.objects.filter(pk=buyer.order.pk).values().get() == before
    assert not Deployment.objects.exists()
    assert not PortClaim.objects.exists()
    assert not Operation.objects.exists()
    assert vkube.get("networkpolicies.networking.k8s.io", buyer.name, "vkube") is None


def test_a_redeploy_that_the_cluster_refuses_keeps_what_ran(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3120}]))
    vkube.faults.add(path="/deployments", method="PUT", action="status", code=500)
    assert buyer.deploy(container(name="other")) == (500, BROKEN)
    assert [row.state for row in Deployment.objects.filter(order=buyer.order)] == ["applied"]
    assert list(PortClaim.objects.values_list("port", flat=True)) == [3120]
    assert (
        vkube.get("deployments.apps", buyer.name, "vkube")["spec"]["template"]["spec"][
            "containers"
        ][0]["name"]
        == "container1"
    )


def test_nothing_is_deployed_while_it_cannot_be_known_where_a_region_is(vkube: Any) -> None:
    Cluster.objects.create(name="dead", kubeconfig="{}", server="https://127.0.0.1:9")
    assert Buyer().deploy(region="nowhere") == (500, BROKEN)
    assert Buyer().deploy(region="ausrine")[0] == 200


# --- clocks ---------------------------------------------------------------------------------------------------------
def test_a_clock_that_goes_back_revives_nobody(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy()
    overdue(buyer)
    expire_orders()
    # What ran until then is a charge, the rest is forfeited: how much of each depends on the clock.
    postings = kinds(buyer)
    assert postings[0] == "payment"
    assert len(postings) > 1
    Order.objects.filter(pk=buyer.order.pk).update(expires_at=clock.now() + timedelta(days=1))
    assert buyer.deploy()[0] == 403
    assert buyer.get("/pod/status") == (200, {})
    expire_orders()
    assert kinds(buyer) == postings


# --- two at once ----------------------------------------------------------------------------------------------------
@parallel
def test_two_workers_expire_one_order_once(vkube: Any) -> None:
    webhooks.Webhook.objects.create(
        url="https://example.com/", key="whsec_x", events=["service.done"]
    )
    buyer = Buyer()
    buyer.deploy()
    overdue(buyer)
    order = buyer.now()
    assert sorted(at_once(*[lambda: expiry.expire(order)] * 3)) == [False, False, True]
    assert (kinds(buyer).count("forfeit"), kinds(buyer)[-1]) == (1, "forfeit")
    assert Delivery.objects.count() == 1
    at_once(deployments.remove_pending, deployments.remove_pending)
    assert Deployment.objects.get(order=order).state == "removed"


@parallel
def test_two_deploys_at_once_with_one_secret_end_as_one_of_them(vkube: Any) -> None:
    buyer = Buyer()
    vkube.faults.add(path="/deployments", action="delay", seconds=0.2)
    answers = at_once(
        *[lambda name=name: buyer.deploy(container(name=name)) for name in ("one", "two", "three")]
    )
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}
    live = Deployment.objects.get(order=buyer.order, state__in=Deployment.LIVE)
    made = vkube.get("deployments.apps", buyer.name, "vkube")["spec"]["template"]["spec"][
        "containers"
    ]
    assert [item["name"] for item in made] == [live.containers[0]["name"]]


@parallel
def test_two_orders_that_want_one_port_at_once_get_it_once(vkube: Any) -> None:
    buyers = [Buyer(), Buyer()]
    vkube.faults.add(path="/deployments", action="delay", seconds=0.2)
    wanted = container(ports=[{"containerPort": 80, "hostPort": 3130}])
    answers = at_once(*[lambda buyer=buyer: buyer.deploy(wanted) for buyer in buyers])
    assert sorted(status for status, _ in answers) == [200, 400]
    assert PortClaim.objects.count() == 1


@parallel
def test_a_refund_during_a_first_deploy_leaves_nothing_running(vkube: Any) -> None:
    buyer = Buyer()
    slow = vkube.faults.add(path="/deployments", method="POST", action="delay", seconds=1.0)

    def refund() -> Any:
        eventually(lambda: slow.struck)
        return expiry.refund(buyer.order, by="test")

    deployed, refunded = at_once(buyer.deploy, refund)
    assert deployed[0] == 200
    assert refunded > 17_990
    assert buyer.now().service == "ServiceAbort"
    assert Deployment.objects.get(order=buyer.order).state == "removed"
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None


@parallel
def test_a_slow_cluster_holds_no_row_and_a_second_deploy_is_a_conflict(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy()
    slow = vkube.faults.add(path="/deployments", method="PUT", action="delay", seconds=1.5)

    def call_meanwhile() -> Any:
        eventually(lambda: slow.struck)
        with orders.transaction.atomic():
            orders.lock(buyer.order, patience_ms=1)
        return buyer.deploy(container(name="late"))

    deployed, late = at_once(lambda: buyer.deploy(container(name="early")), call_meanwhile)
    assert (deployed[0], late[0]) == (200, 409)
    live = Deployment.objects.get(order=buyer.order, state__in=Deployment.LIVE)
    assert (live.containers[0]["name"], live.state) == ("early", "applied")


@parallel
def test_time_that_is_over_during_a_redeploy_leaves_nothing_running(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3150}]))
    slow = vkube.faults.add(path="/deployments", method="PUT", action="delay", seconds=1.0)
    overdue_call: list[int] = []

    def expire() -> None:
        eventually(lambda: slow.struck)
        overdue(buyer)
        overdue_call.append(expiry.expire_due())

    at_once(
        lambda: buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3151}])), expire
    )
    assert overdue_call == [1]
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None
    assert {row.state for row in Deployment.objects.filter(order=buyer.order)} == {"removed"}
    assert not PortClaim.objects.exists()


# --- a process dies between its two transactions --------------------------------------------------------------------
def died_while_applying(buyer: Buyer) -> Deployment:
    """What the database has when the process that deployed died before it recorded the cluster's answer."""
    row = Deployment.objects.filter(order=buyer.order).latest("pk")
    Deployment.objects.filter(pk=row.pk).update(state="applying", operation=None)
    before = Deployment.objects.filter(order=buyer.order, state="replaced").order_by("-pk")
    Deployment.objects.filter(pk__in=before[:1]).update(state="applied")
    return row


def test_a_deploy_whose_process_died_after_the_cluster_accepted_is_finished(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3160}]))
    row = died_while_applying(buyer)
    Order.objects.filter(pk=buyer.order.pk).update(
        service="ServicePending", activated_at=None, expires_at=None
    )
    vkube.faults.add(path="/deployments", action="status", code=503)
    expire_orders()
    row.refresh_from_db()
    assert row.state == "applying", "the cluster cannot be asked yet"
    vkube.faults.clear()
    expire_orders()
    row.refresh_from_db()
    assert (row.state, buyer.now().service) == ("applied", "ServiceRunning")
    assert row.operation is not None
    assert list(PortClaim.objects.values_list("port", flat=True)) == [3160]


def test_a_deploy_whose_process_died_before_the_cluster_was_asked_is_forgotten(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3161}]))
    died_while_applying(buyer)
    Order.objects.filter(pk=buyer.order.pk).update(
        service="ServicePending", activated_at=None, expires_at=None
    )
    registry.client(registry.default()).request(
        "DELETE", f"/apis/apps/v1/namespaces/vkube/deployments/{buyer.name}"
    )
    expire_orders()
    assert buyer.now().service == "ServicePending"
    assert not Deployment.objects.exists()
    assert not PortClaim.objects.exists()


def test_the_next_deploy_takes_over_from_a_process_that_died(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(name="first"))
    buyer.deploy(container(name="second"))
    died_while_applying(buyer)
    assert buyer.deploy(container(name="third"))[0] == 200
    states = Deployment.objects.filter(order=buyer.order).order_by("pk")
    assert [row.state for row in states] == ["replaced", "replaced", "applied"]
    pod = vkube.get("deployments.apps", buyer.name, "vkube")["spec"]["template"]["spec"]
    assert [item["name"] for item in pod["containers"]] == ["third"]


DEPLOY = """
from billing import containers
from billing.services import deployments, orders
order = orders.find({order!r})
body = {{"nodeSelector": {{"region": "ausrine"}}, "containers": [{container!r}]}}
deployments.deploy(order, containers.parse(body, order))
"""


@parallel
def test_the_order_of_a_killed_process_is_free_at_once(vkube: Any) -> None:
    buyer = Buyer()
    slow = vkube.faults.add(path="/deployments/", method="GET", action="delay", seconds=30.0)
    database = connection.settings_dict
    credentials = f"{quote(database['USER'])}:{quote(database['PASSWORD'])}"
    address = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
    environ = {
        **os.environ,
        "DATABASE_URL": f"postgres://{credentials}@{address}",
        "VKUBE_NAMESPACE": "vkube",
    }
    script = DEPLOY.format(order=buyer.order.pk, container=container(name="killed"))
    process = subprocess.Popen([sys.executable, "manage.py", "shell", "-c", script], env=environ)
    try:
        eventually(lambda: slow.struck or process.poll() is not None)
        assert process.poll() is None
        assert Deployment.objects.get(order=buyer.order).state == "applying"
        assert buyer.deploy()[0] == 409, "it is under way"
    finally:
        process.kill()
        process.wait(timeout=30)
    vkube.faults.clear()
    eventually(lambda: buyer.deploy(container(name="next"))[0] == 200)
    row = Deployment.objects.get(order=buyer.order)
    assert (row.state, row.containers[0]["name"]) == ("applied", "next")


def test_an_order_refunded_after_its_process_died_runs_nothing(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy()
    row = died_while_applying(buyer)
    expiry.refund(buyer.now(), by="test")
    expire_orders()
    row.refresh_from_db()
    assert row.state == "removed"
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None


@parallel
def test_an_order_held_for_too_long_is_a_conflict_and_no_error(vkube: Any) -> None:
    buyer, held, done = Buyer(), threading.Event(), threading.Event()

    def hold() -> None:
        with orders.transaction.atomic():
            orders.lock(buyer.order)
            held.set()
            done.wait(timeout=30)

    def try_it() -> Any:
        held.wait(timeout=10)
        try:
            with orders.transaction.atomic():
                return orders.lock(buyer.order, patience_ms=50)
        finally:
            done.set()

    assert isinstance(at_once(hold, try_it)[1], Conflict)


# --- the ground moves -----------------------------------------------------------------------------------------------
def test_a_region_label_that_disappears_stops_deploys_there_and_nothing_else(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy()
    running(buyer)
    patch_node(vkube, "node-00", {"metadata": {"labels": {"region": None}}})
    patch_node(vkube, "node-02", {"metadata": {"labels": {"region": None}}})
    assert Client().get("/k8s/regions").json() == ["giltine"]
    assert buyer.deploy(container(name="other")) == (
        400,
        {"error": {"code": 400, "message": "region not found"}},
    )
    assert running(buyer)["podSpec"]["containers"][0]["name"] == "container1"
    overdue(buyer)
    expire_orders()
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None


def test_a_port_taken_between_check_and_deploy_is_refused(vkube: Any) -> None:
    body = json.dumps({"region": "ausrine", "ports": [3140]})
    check = Client().post("/k8s/checkports", body, content_type="application/json")
    assert check.json()["status"] == "NotOccupied"
    wanted = container(ports=[{"containerPort": 80, "hostPort": 3140}])
    assert Buyer().deploy(wanted)[0] == 200
    late = Buyer()
    assert late.deploy(wanted) == (
        400,
        {"error": {"code": 400, "message": "hostPort occupied: 3140"}},
    )
    assert late.now().service == "ServicePending"


def test_a_deploy_whose_pod_finds_no_place_is_recorded_with_the_clusters_reason(
    vkube: Any, settings: Settings
) -> None:
    settings.VKUBE_READY_SECONDS = 2
    vkube.faults.add(path="/deployments$", method="POST", action="delay", seconds=0.5)
    label_nodes(vkube, ["giltine", "ausrine"])
    buyer = Buyer()
    for name in ("node-00", "node-01", "node-02"):
        patch_node(vkube, name, {"spec": {"taints": [{"key": "full", "effect": "NoSchedule"}]}})
    try:
        answer = buyer.raw(
            "POST", "/deploy", {"nodeSelector": {"region": "ausrine"}, "containers": [container()]}
        )
        operation = follow(int(answer["X-Operation-Id"]))
    finally:
        for name in ("node-00", "node-01", "node-02"):
            patch_node(vkube, name, {"spec": {"taints": None}})
    row = Deployment.objects.get(order=buyer.order)
    assert (operation.state, operation.reason, row.state) == ("failed", "not_ready", "failed")
    assert "nodes are available" in row.error
    assert buyer.now().service == "ServiceRunning"
    again = buyer.raw(
        "POST", "/deploy", {"nodeSelector": {"region": "ausrine"}, "containers": [container()]}
    )
    assert follow(int(again["X-Operation-Id"])).state == "succeeded"
    row.refresh_from_db()
    assert (row.state, row.error) == ("ready", "")


def test_what_a_dead_worker_left_in_a_cluster_is_cleared_away(
    vkube: Any, settings: Settings
) -> None:
    buyer, other = Buyer(), Buyer()
    other.deploy()
    client = registry.client(registry.default())
    labels = {"app": buyer.name, "v-kube/order": buyer.order.pk}
    stray = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": buyer.name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            },
        },
    }
    foreign = {**stray, "metadata": {"name": "foreign", "labels": {"v-kube/order": "0" * 24}}}
    for body in (stray, foreign):
        client.request("POST", "/apis/apps/v1/namespaces/vkube/deployments", body=body)
    sample_cluster(registry.default().pk)
    assert vkube.get("deployments.apps", buyer.name, "vkube"), (
        "it may be a deploy that is under way"
    )
    settings.VKUBE_STRAY_SECONDS = -1
    sample_cluster(registry.default().pk)
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None
    assert vkube.get("deployments.apps", other.name, "vkube")
    assert vkube.get("deployments.apps", "foreign", "vkube"), (
        "what another installation made is none of our business"
    )
    client.request("DELETE", "/apis/apps/v1/namespaces/vkube/deployments/foreign")
