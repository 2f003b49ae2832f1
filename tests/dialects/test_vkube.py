"""V-Kube from buying to expiry over HTTP, against simulated clusters, in the document's words (seed 003, contract vkube.md)."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing.models import Deployment, Order, PortClaim
from billing.services import orders
from billing.tasks import expire_orders
from clusters import registry
from clusters.models import Cluster
from core import clock
from simcluster.testing import running_cluster
from tests.dialects.vkube_document import ORDER_KEYS, POD
from tests.vkube import Buyer, container, eventually, follow, label_nodes, patch_node, running

pytestmark = pytest.mark.django_db
BROKEN = b'{"error":{"code":500,"message":"server errror"}}'
EMPTY = b'{"error":{"code":400,"message":"item field empty"}}'


@pytest.fixture(scope="module")
def second_process() -> Iterator[Any]:
    """Another cluster."""
    with running_cluster(nodes=1) as server:
        yield server


@pytest.mark.parametrize("prefix", ["/k8s", "/api/v1/k8s"])
def test_the_whole_cycle(vkube: Any, prefix: str) -> None:
    buyer = Buyer(prefix=prefix, duration=100)
    assert buyer.get("/order")[1]["serviceExpiredDate"] == ""
    assert buyer.get("/pod/status") == (200, {})
    assert buyer.raw("GET", "/pod/log").content == BROKEN

    deployed = buyer.raw("POST", "/deploy", {
        "nodeSelector": {"region": "ausrine"},
        "containers": [
            {
                "name": "container1",
                "imageName": "nginx",
                "ports": [{"containerPort": 80, "hostPort": 2999}],
                "resource": {"memory": "100Mi"},
            }
        ],
    })  # fmt: skip
    assert (deployed.status_code, deployed.content.decode()) == (
        200,
        f'{{"status":"OK","name":"{buyer.name}"}}',
    )
    operation = follow(int(deployed["X-Operation-Id"]))
    assert (operation.state, operation.result["state"]) == ("succeeded", "ready")
    assert Deployment.objects.get(order=buyer.order).state == "ready"

    status = running(buyer)
    assert list(status) == ["name", "podStatus", "podSpec", "annotations"]
    assert status["name"].startswith(buyer.name)
    assert status["podStatus"]["phase"] == "Running"
    assert status["podStatus"]["qosClass"] == "Burstable"
    assert status["podSpec"]["containers"][0]["ports"] == [
        {"hostPort": 2999, "containerPort": 80, "protocol": "TCP"}
    ]
    assert status["podSpec"]["containers"][0]["resources"]["limits"] == {"memory": "100Mi"}
    assert status["podSpec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert status["podSpec"]["nodeSelector"] == {"region": "ausrine"}
    assert status["podSpec"]["imagePullSecrets"] == [{"name": "vkube-registry"}]
    assert status["annotations"]["kubernetes.io/egress-bandwidth"] == "1024M"
    log = buyer.get("/pod/log")
    assert log[0] == 200
    assert isinstance(log[1], str)
    assert "\n" in log[1]

    assert buyer.deploy(container(imageName="nginx:stable"))[0] == 200
    eventually(lambda: running(buyer)["podSpec"]["containers"][0]["image"] == "nginx:stable")
    order = buyer.get("/order")[1]
    assert order["status"] == "OrderFiled"
    assert order["serviceExpiredDate"].endswith("Z")

    assert buyer.now().expires_at == buyer.now().activated_at + timedelta(hours=100)  # type: ignore[operator]
    Order.objects.filter(pk=buyer.order.pk).update(expires_at=clock.now())
    assert buyer.get("/pod/status") == (200, {})
    assert buyer.raw("GET", "/pod/log").content == BROKEN
    assert buyer.deploy() == (403, {"error": {"code": 403, "message": "the order has expired"}})
    assert buyer.get("/order")[1]["status"] == "OrderFiled"
    assert buyer.now().service == "ServiceDone"
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None
    mine = {"v-kube/order": buyer.order.pk}.items()
    eventually(
        lambda: (
            not [
                pod
                for pod in vkube.list("pods", "vkube")
                if mine <= pod["metadata"].get("labels", {}).items()
            ]
        )
    )


def test_status_is_the_api_servers_own_json(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy()
    running(buyer)
    answer = buyer.raw("GET", "/pod/status")
    pod = (
        registry.client(registry.default())
        .request("GET", f"/api/v1/namespaces/vkube/pods/{answer.json()['name']}")
        .decode()
    )
    for part in (b'"lastProbeTime":null', b'"lastState":{}'):
        assert part in answer.content
    for member in ("podStatus", "podSpec", "annotations"):
        raw = json.dumps(answer.json()[member], separators=(",", ":"), ensure_ascii=False)
        assert raw in pod


def test_a_log_can_be_asked_of_one_container_and_of_its_end(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(), container(name="second"))
    running(buyer)
    whole = eventually(
        lambda: buyer.get("/pod/log")[1] if buyer.get("/pod/log")[1].count("\n") > 2 else None
    )
    end = buyer.get("/pod/log?tailLines=1")[1]
    assert end.count("\n") == 1
    assert whole != end
    assert buyer.get("/pod/log?container=second&tail=1")[0] == 200
    assert [
        request.query.get("container")
        for request in vkube.requests
        if request.path.endswith("/log")
    ][-1] in ("second", ["second"])
    assert buyer.get("/pod/log?container=third") == (
        400,
        {"error": {"code": 400, "message": "container not found"}},
    )
    assert buyer.get("/pod/log?tailLines=-1")[0] == 400


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["VKUBE_LOG_STREAMS", "WEB_STREAMS", "WEB_STREAMS_PER_CALLER"])
def test_a_log_can_be_followed_a_few_at_a_time(vkube: Any, settings: Settings, limit: str) -> None:
    setattr(settings, limit, 1)
    buyer = Buyer()
    assert buyer.raw("GET", "/pod/logs").content == BROKEN
    buyer.deploy()
    running(buyer)
    first = buyer.raw("GET", "/pod/logs?tailLines=1")
    assert first["Content-Type"] == "text/event-stream"
    event = next(iter(first.streaming_content))
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert buyer.get("/pod/logs")[0] == 429
    first.close()
    second = buyer.raw("GET", "/pod/logs")
    assert second.status_code == 200
    second.close()


@pytest.mark.django_db(transaction=True)
def test_a_silent_log_shows_who_still_listens_and_ends_with_its_secret(
    vkube: Any, settings: Settings
) -> None:
    settings.VKUBE_LOG_STREAMS = 1
    # The simulated container prints several lines a second: what is silent between two of them is silence enough.
    settings.STREAM_REAUTHORISE_SECONDS = 0.01
    buyer = Buyer()
    buyer.deploy()
    running(buyer)
    stream = buyer.raw("GET", "/pod/logs?tailLines=0")
    # A server that writes to nobody notices, and gives the place back.
    eventually(lambda: next(stream.streaming_content) == b":\n\n")
    secret = orders.rotate_secret(buyer.order)
    deadline = time.monotonic() + 15
    for _ in stream.streaming_content:
        assert time.monotonic() < deadline, "it goes on for whoever has the old secret"
    stream.close()
    buyer.secret = secret
    again = buyer.raw("GET", "/pod/logs?tailLines=1")
    assert again.status_code == 200
    again.close()


# --- regions --------------------------------------------------------------------------------------------------------
def test_regions_are_those_of_ready_and_schedulable_nodes_of_every_cluster(
    vkube: Any, second_process: Any
) -> None:
    assert Client().get("/k8s/regions").content == b'["ausrine","giltine"]'
    label_nodes(second_process, ["laima"])
    registry.register(name="second", kubeconfig_text=second_process.kubeconfig_yaml)
    assert Client().get("/api/v1/k8s/regions").content == b'["ausrine","giltine","laima"]'
    patch_node(vkube, "node-01", {"spec": {"unschedulable": True}})
    assert Client().get("/k8s/regions").json() == ["ausrine", "laima"]
    second_process.faults.add(path="/api/v1/nodes", action="status", code=500)
    assert Client().get("/k8s/regions").json() == ["ausrine"]
    second_process.faults.clear()


def test_regions_never_fail(db: None) -> None:
    assert Client().get("/k8s/regions").content == b"[]"
    Cluster.objects.create(name="dead", kubeconfig="{}", server="https://127.0.0.1:9")
    answer = Client().get("/k8s/regions/")
    assert (answer.status_code, answer.content) == (200, b"[]")


def test_a_cluster_that_hangs_delays_nobody_twice(
    vkube: Any, second_process: Any, settings: Settings
) -> None:
    settings.VKUBE_SURVEY_SECONDS, settings.CLUSTER_READ_TIMEOUT = 1.0, 3.0
    registry.register(name="second", kubeconfig_text=second_process.kubeconfig_yaml)
    second_process.faults.add(path="/api/v1/nodes", action="hang")
    assert Client().get("/k8s/regions").json() == ["ausrine", "giltine"]
    began = time.monotonic()
    assert Client().get("/k8s/regions").json() == ["ausrine", "giltine"]
    assert time.monotonic() - began < 2.9, "it is left alone for a while"
    assert ports({"region": "nowhere", "ports": [80]}) == (
        200,
        b'{"occupied":[],"status":"InternalErr"}',
    )
    second_process.faults.clear()


# --- ports ----------------------------------------------------------------------------------------------------------
def ports(body: Any, prefix: str = "/k8s") -> tuple[int, bytes]:
    data = body if isinstance(body, str) else json.dumps(body)
    answer = Client().post(f"{prefix}/checkports", data, content_type="text/plain")
    return answer.status_code, answer.content


def test_ports_that_pods_services_and_orders_hold_are_occupied(vkube: Any) -> None:
    buyer = Buyer()
    client = registry.client(registry.default())
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3306}]))
    running(buyer)
    example = {"region": "ausrine", "ports": [22, 3306, 1234, 1111]}
    assert ports(example) == (200, b'{"occupied":[22,3306],"status":"PortsOccupied"}')
    assert ports(example, "/api/v1/k8s") == (
        200,
        b'{"occupied":[22,3306],"status":"PortsOccupied"}',
    )
    assert ports({"region": "giltine", "ports": [3306, 1234]}) == (
        200,
        b'{"occupied":[],"status":"NotOccupied"}',
    )
    service = {
        "metadata": {"name": "np"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 31234}]},
    }
    client.request(
        "POST",
        "/api/v1/namespaces/vkube/services",
        body={"apiVersion": "v1", "kind": "Service", **service},
    )
    pod = {
        "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 9100}]}],
        "hostNetwork": True,
        "nodeName": "node-01",
    }
    waiting = {
        "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 4444}]}
        ],
        "nodeSelector": {"region": "giltine", "no": "such"},
    }
    for name, spec in (("host", pod), ("waits", waiting)):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        client.request("POST", "/api/v1/namespaces/vkube/pods", body=body)
    try:
        wanted = {"region": "giltine", "ports": [31234, "9100", 1234, 4444, 9100]}
        assert ports(wanted) == (200, b'{"occupied":[31234,9100,4444],"status":"PortsOccupied"}')
    finally:
        for path in ("services/np", "pods/host", "pods/waits"):
            client.request("DELETE", f"/api/v1/namespaces/vkube/{path}")


def test_one_port_may_come_alone(vkube: Any) -> None:
    assert ports({"region": "ausrine", "ports": 22, "userServiceID": "x"}) == (
        200,
        b'{"occupied":[22],"status":"PortsOccupied"}',
    )
    assert ports({"region": "ausrine", "ports": "1234"}) == (
        200,
        b'{"occupied":[],"status":"NotOccupied"}',
    )


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        [],
        {},
        {"region": "ausrine"},
        {"ports": [1]},
        {"region": "", "ports": [1]},
        {"region": 1, "ports": [1]},
        {"region": "ausrine", "ports": None},
        {"region": "ausrine", "ports": []},
        {"region": "ausrine", "ports": ["http"]},
        {"region": "ausrine", "ports": [True]},
        {"region": "ausrine", "ports": [1.5]},
        {"region": "ausrine", "ports": {}},
    ],
)
def test_missing_fields_of_a_port_check(db: None, body: Any) -> None:
    assert ports(body) == (400, EMPTY)


def test_ports_out_of_range(db: None) -> None:
    for port in (0, 65536, -1):
        assert ports({"region": "ausrine", "ports": [port]}) == (
            400,
            b'{"error":{"code":400,"message":"port out of range"}}',
        )


def test_a_region_that_nobody_has_and_a_cluster_that_cannot_be_asked(vkube: Any) -> None:
    nowhere = {"region": "nowhere", "ports": [80]}
    assert ports(nowhere) == (200, b'{"occupied":[],"status":"NoResource"}')
    patch_node(vkube, "node-01", {"spec": {"unschedulable": True}})
    assert ports({"region": "giltine", "ports": [80]}) == (
        200,
        b'{"occupied":[],"status":"NoResource"}',
    )
    Cluster.objects.create(name="dead", kubeconfig="{}", server="https://127.0.0.1:9")
    assert ports(nowhere) == (200, b'{"occupied":[],"status":"InternalErr"}')
    assert ports({"region": "ausrine", "ports": [80]}) == (
        200,
        b'{"occupied":[],"status":"NotOccupied"}',
    )
    vkube.faults.add(path="/api/v1/pods", action="status", code=500)
    assert ports({"region": "ausrine", "ports": [80]}) == (
        200,
        b'{"occupied":[],"status":"InternalErr"}',
    )


# --- deploying again ------------------------------------------------------------------------------------------------
def test_the_same_deploy_twice_changes_nothing(vkube: Any) -> None:
    buyer = Buyer()
    first = buyer.raw(
        "POST", "/deployment", {"nodeSelector": {"region": "ausrine"}, "containers": [container()]}
    )
    generation = vkube.get("deployments.apps", buyer.name, "vkube")["metadata"]["generation"]
    assert buyer.deploy() == (200, {"status": "OK", "name": buyer.name})
    assert (
        vkube.get("deployments.apps", buyer.name, "vkube")["metadata"]["generation"] == generation
    )
    assert Deployment.objects.filter(order=buyer.order).count() == 1
    assert first.status_code == 200


def test_a_second_deploy_replaces_the_first_and_keeps_the_expiry(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy(container(ports=[{"containerPort": 80, "hostPort": 3010}]))
    ends = buyer.now().expires_at
    assert (
        buyer.deploy(
            container(name="other", ports=[{"containerPort": 80, "hostPort": 3010}]),
            region="ausrine",
        )[0]
        == 200
    )
    assert (
        buyer.deploy(
            container(name="other", ports=[{"containerPort": 80, "hostPort": 3011}]),
            region="giltine",
        )[0]
        == 200
    )
    made = vkube.get("deployments.apps", buyer.name, "vkube")["spec"]["template"]["spec"]
    assert [item["name"] for item in made["containers"]] == ["other"]
    assert made["nodeSelector"] == {"region": "giltine"}
    assert buyer.now().expires_at == ends
    assert list(Deployment.objects.filter(order=buyer.order).values_list("state", flat=True)) == [
        "applied",
        "replaced",
        "replaced",
    ]
    assert list(PortClaim.objects.values_list("region", "port")) == [("giltine", 3011)]


@pytest.mark.parametrize("port", [22, 53, 179, 1023, 2379, 6443, 10250, 10257, 30000, 32767])
def test_ports_of_the_nodes_themselves_are_no_orders(vkube: Any, port: int) -> None:
    buyer = Buyer()
    refusal = {"error": {"code": 400, "message": f"hostPort occupied: {port}"}}
    wanted = container(ports=[{"containerPort": 80, "hostPort": port}])
    assert buyer.deploy(wanted) == (400, refusal)
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None


def test_a_port_of_another_order_is_refused_and_the_order_stays_as_it_was(vkube: Any) -> None:
    first, second = Buyer(), Buyer()
    wanted = container(ports=[{"containerPort": 80, "hostPort": 3020}])
    assert first.deploy(wanted)[0] == 200
    assert second.deploy(wanted) == (
        400,
        {"error": {"code": 400, "message": "hostPort occupied: 3020"}},
    )
    assert (second.now().service, second.now().activated_at) == ("ServicePending", None)
    assert vkube.get("deployments.apps", second.name, "vkube") is None
    assert second.deploy(wanted, region="giltine")[0] == 200


def test_the_system_draws_free_ports_and_keeps_them(vkube: Any, settings: Settings) -> None:
    settings.VKUBE_RANDOM_PORTS = frozenset({20000, 20001, 20002})
    first, second = Buyer(random_ports=True, units=2), Buyer(random_ports=True, units=2)
    two = container(ports=[{"containerPort": 80, "hostPort": 22}, {"containerPort": 443}])
    assert first.deploy(two)[0] == 200

    def drawn(buyer: Buyer) -> dict[int, int]:
        made = vkube.get("deployments.apps", buyer.name, "vkube")["spec"]["template"]["spec"][
            "containers"
        ][0]
        return {port["containerPort"]: port["hostPort"] for port in made["ports"]}

    assert drawn(first) == {80: 20000, 443: 20001}
    assert second.deploy(two) == (
        400,
        {"error": {"code": 400, "message": "no host port is left in this region"}},
    )
    assert second.deploy(container(ports=[{"containerPort": 80}]))[0] == 200
    assert drawn(second) == {80: 20002}
    assert (
        first.deploy(container(imageName="nginx:stable", ports=[{"containerPort": 443}]))[0] == 200
    )
    assert drawn(first) == {443: 20001}


def test_an_order_bound_to_a_region_needs_no_node_selector(vkube: Any) -> None:
    buyer = Buyer(region="giltine")
    answer = buyer.raw(
        "POST",
        "/deploy",
        {"name": buyer.order.pk, "containers": [container(mountPath="/data")], "pvtLogin": True},
    )
    assert answer.status_code == 200
    assert vkube.get("deployments.apps", buyer.name, "vkube")["spec"]["template"]["spec"][
        "nodeSelector"
    ] == {"region": "giltine"}


def test_the_region_decides_the_cluster(vkube: Any, second_process: Any) -> None:
    label_nodes(second_process, ["laima"])
    registry.register(name="second", kubeconfig_text=second_process.kubeconfig_yaml)
    buyer = Buyer()
    assert buyer.deploy(region="laima")[0] == 200
    assert second_process.get("deployments.apps", buyer.name, "vkube")
    assert vkube.get("deployments.apps", buyer.name, "vkube") is None
    assert buyer.deploy(region="ausrine")[0] == 200
    assert vkube.get("deployments.apps", buyer.name, "vkube")
    expire_orders()
    assert second_process.get("deployments.apps", buyer.name, "vkube") is None, (
        "what was left behind is taken away"
    )
    assert vkube.get("deployments.apps", buyer.name, "vkube")


def test_the_namespace_gets_its_quota_and_orders_their_policies(
    vkube: Any, settings: Settings
) -> None:
    settings.VKUBE_NAMESPACE, settings.VKUBE_NAMESPACE_MEMORY, settings.VKUBE_POD_CIDRS = (
        "vkube-boxed",
        "64Gi",
        ["10.244.0.0/16"],
    )
    buyer = Buyer()
    assert buyer.deploy()[0] == 200
    assert (
        vkube.get("resourcequotas", "v-kube", "vkube-boxed")["spec"]["hard"]["limits.memory"]
        == "64Gi"
    )
    assert vkube.get("networkpolicies.networking.k8s.io", buyer.name, "vkube-boxed")
    spec = vkube.get("deployments.apps", buyer.name, "vkube-boxed")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False


# --- refusals -------------------------------------------------------------------------------------------------------
def test_unknown_routes_and_methods_speak_the_document(db: None) -> None:
    for path in ("/k8s/nothing", "/api/v1/k8s/pod", "/k8s/"):
        answer = Client().get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, 404)
    answer = Client().delete("/k8s/regions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, 405)


def test_a_cluster_in_trouble_is_a_server_error(vkube: Any) -> None:
    buyer = Buyer()
    buyer.deploy()
    running(buyer)
    vkube.faults.add(path="/pods", action="status", code=503)
    assert buyer.raw("GET", "/pod/status").content == BROKEN
    assert buyer.raw("GET", "/pod/log").content == BROKEN


# --- the document's own examples ------------------------------------------------------------------------------------
def load_pod(server: Any, buyer: Buyer, document: dict[str, Any], **metadata: Any) -> None:
    """Put a pod into the cluster just as a document shows it."""
    labels = {"app": buyer.name, "v-kube/order": buyer.order.pk}
    meta = {
        "name": document["name"],
        "namespace": "vkube",
        "labels": labels,
        "annotations": document["annotations"],
        **metadata,
    }
    server.load(
        "pods", [{"metadata": meta, "spec": document["podSpec"], "status": document["podStatus"]}]
    )


def deployed_without_pods(buyer: Buyer, server: Any) -> None:
    """The order counts as running, and its Deployment makes no pods."""
    buyer.deploy()
    path = f"/apis/apps/v1/namespaces/vkube/deployments/{buyer.name}"
    registry.connect(server.kubeconfig_yaml).request("DELETE", path)
    mine = {"v-kube/order": buyer.order.pk}.items()
    eventually(
        lambda: (
            not [
                pod
                for pod in server.list("pods", "vkube")
                if mine <= pod["metadata"].get("labels", {}).items()
            ]
        )
    )


def test_the_documents_pod_comes_out_byte_for_byte(vkube: Any) -> None:
    buyer = Buyer()
    deployed_without_pods(buyer, vkube)
    load_pod(vkube, buyer, POD)
    assert buyer.raw("GET", "/pod/status").content.decode() == json.dumps(
        POD, separators=(",", ":")
    )


def test_of_several_pods_the_one_that_stays_and_runs_is_shown(vkube: Any) -> None:
    buyer = Buyer()
    deployed_without_pods(buyer, vkube)
    gone = {"deletionTimestamp": "2026-01-05T00:00:00Z", "deletionGracePeriodSeconds": 10**6}
    load_pod(
        vkube, buyer, {**POD, "name": "going"}, creationTimestamp="2026-01-05T00:00:00Z", **gone
    )
    pending = {**POD, "name": "pending", "podStatus": {"phase": "Pending"}}
    load_pod(vkube, buyer, pending, creationTimestamp="2026-01-04T00:00:00Z")
    assert buyer.get("/pod/status")[1]["name"] == "pending"
    load_pod(vkube, buyer, {**POD, "name": "older"}, creationTimestamp="2026-01-01T00:00:00Z")
    load_pod(
        vkube,
        buyer,
        {**POD, "name": "newer", "annotations": None},
        creationTimestamp="2026-01-02T00:00:00Z",
    )
    answer = buyer.get("/pod/status")[1]
    assert (answer["name"], answer["annotations"]) == ("newer", {})


def test_the_order_has_the_documents_members_in_its_order(db: None) -> None:
    order = Buyer().get("/order")[1]
    assert list(order) == ORDER_KEYS
    assert (order["service"], order["amount"], order["status"]) == (
        "Container Service",
        18000,
        "OrderFiled",
    )


def test_ports_that_answer_can_be_found_by_connecting(vkube: Any, settings: Settings) -> None:
    settings.VKUBE_PORT_PROBE = True
    node = registry.client(registry.default()).request("GET", "/api/v1/nodes/node-01").decode()
    before = json.loads(node)["status"]["addresses"]
    patch_node(
        vkube,
        "node-01",
        {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}},
        "/status",
    )
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert (
                ports({"region": "giltine", "ports": [port]})[1]
                == f'{{"occupied":[{port}],"status":"PortsOccupied"}}'.encode()
            )
        assert (
            ports({"region": "giltine", "ports": [port]})[1]
            == b'{"occupied":[],"status":"NotOccupied"}'
        )
    finally:
        patch_node(vkube, "node-01", {"status": {"addresses": before}}, "/status")
