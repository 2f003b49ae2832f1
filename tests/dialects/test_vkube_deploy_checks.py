"""V-Kube: a deploy is checked whole before anything is touched (contract 3.6); no cluster is needed to refuse."""

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing import containers, manifests
from billing.models import Order
from billing.services import orders
from core.errors import Invalid
from tests.registry_server import running_registry

pytestmark = pytest.mark.django_db


def container(**changes: Any) -> dict[str, Any]:
    return {"name": "container1", "imageName": "nginx", "resource": {"memory": "100Mi"}, **changes}


def body(*given: Any, region: str = "ausrine") -> dict[str, Any]:
    return {"nodeSelector": {"region": region}, "containers": list(given) or [container()]}


@pytest.fixture
def bought() -> tuple[Order, str]:
    """An order of two units, paid."""
    order, secret = orders.pay(
        orders.create(orders.PurchaseRequest(units=2, duration=1)), by="test"
    )
    assert secret
    return order, secret


def deploy(secret: str, content: Any, prefix: str = "/api/v1/k8s") -> tuple[int, str]:
    data = content if isinstance(content, str) else json.dumps(content)
    answer = Client().post(
        f"{prefix}/deploy", data, content_type="text/plain", headers={"secret": secret}
    )
    return answer.status_code, answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "item field empty"),
        ({}, "item field empty"),
        ({"containers": [container()]}, "item field empty"),
        ({"nodeSelector": {}, "containers": [container()]}, "item field empty"),
        ({"nodeSelector": {"region": ""}, "containers": [container()]}, "item field empty"),
        ({"nodeSelector": {"region": 5}, "containers": [container()]}, "item field empty"),
        ({"nodeSelector": {"region": "ausrine"}}, "item field empty"),
        ({"nodeSelector": {"region": "ausrine"}, "containers": []}, "item field empty"),
        ({"nodeSelector": {"region": "ausrine"}, "containers": {}}, "item field empty"),
        (body(None), "item field empty"),
        (body(container(name="")), "item field empty"),
        (body(container(imageName=None)), "item field empty"),
        (body(container(resource=None)), "item field empty"),
        (body(container(resource={})), "item field empty"),
        (body(container(ports=[{}])), "item field empty"),
        (body(region="a b"), "region not found"),
        (
            body(container(name="Container_1")),
            "container name not allow: lower case letters, digits and '-'",
        ),
        (
            body(container(name="a" * 64)),
            "container name not allow: lower case letters, digits and '-'",
        ),
        (body(container(), container()), "container name duplicate"),
        (body(container(imageName="nginx:")), "image format not allow.Format: image:tag"),
        (body(container(imageName="../etc")), "image format not allow.Format: image:tag"),
        (body(container(imageName="nginx;rm")), "image format not allow.Format: image:tag"),
        (
            body(container(resource={"memory": "1G"})),
            "memory format not allow.Format: 100Mi or 1Gi",
        ),
        (
            body(container(resource={"memory": "0Mi"})),
            "memory format not allow.Format: 100Mi or 1Gi",
        ),
        (
            body(container(resource={"memory": "-1Gi"})),
            "memory format not allow.Format: 100Mi or 1Gi",
        ),
        (body(container(resource={"memory": 100})), "item field empty"),
        (body(container(resource={"memory": "3Gi"})), "memory exceeds purchased resource"),
        (
            body(
                container(resource={"memory": "2Gi"}),
                container(name="b", resource={"memory": "1Mi"}),
            ),
            "memory exceeds purchased resource",
        ),
        (
            body(container(ports=[{"containerPort": n, "hostPort": 3000 + n} for n in (1, 2, 3)])),
            "ports exceed purchased resource",
        ),
        (body(container(ports=[{"containerPort": 80, "hostPort": 70000}])), "port out of range"),
        (body(container(ports=[{"containerPort": 0, "hostPort": 2999}])), "port out of range"),
        (body(container(ports=[{"containerPort": 65536}])), "port out of range"),
        (body(container(ports=[{"hostPort": 2999}])), "hostPort needs a containerPort"),
        (
            body(
                container(
                    ports=[
                        {"containerPort": 80, "hostPort": 1},
                        {"containerPort": 81, "hostPort": 1},
                    ]
                )
            ),
            "hostPort duplicate",
        ),
        (body(container(ports=[{"containerPort": True}])), "containerPort must be a number"),
        (
            body(container(ports=[{"containerPort": 80, "protocol": "SCTP"}])),
            "protocol must be TCP or UDP",
        ),
        (body(container(ports="80")), "ports must be a list"),
        (body(container(command=5)), "command must be text or a list of texts"),
        (body(container(args=["a", 1])), "args must be text or a list of texts"),
        (body(container(envs=[{"value": "x"}])), "item field empty"),
        (
            body(container(envs=[{"name": "1A", "value": "x"}])),
            "the name of a variable must be letters, digits, '-', '_' or '.'",
        ),
        (
            body(container(envs=[{"name": "A", "value": {}}])),
            "the value of a variable must be text",
        ),
        ("[]", "the body must be a JSON object"),
    ],
)
def test_what_cannot_be_deployed_is_refused_and_nothing_changes(
    bought: tuple[Order, str], content: Any, message: str
) -> None:
    order, secret = bought
    assert deploy(secret, content) == (400, message)
    order.refresh_from_db()
    assert (order.service, order.activated_at) == ("ServicePending", None)
    assert not order.deployments.exists()


def test_a_region_other_than_the_one_bought_is_refused() -> None:
    _, secret = orders.pay(
        orders.create(orders.PurchaseRequest(units=2, duration=1, region="ausrine")), by="test"
    )
    assert deploy(secret or "", body(region="giltine")) == (400, "region does not match the order")


def test_a_region_that_no_cluster_has_is_refused(bought: tuple[Order, str]) -> None:
    assert deploy(bought[1], body(), "/k8s") == (400, "region not found")


def test_images_can_be_checked_and_a_registry_that_is_down_stops_nobody(
    bought: tuple[Order, str], settings: Settings
) -> None:
    settings.VKUBE_CHECK_IMAGES = True
    with running_registry() as registry:
        settings.IMAGE_REGISTRY_URL = registry.url
        assert deploy(bought[1], body(container(imageName="nginx:nope"))) == (
            400,
            "image does not exist.",
        )
        assert deploy(bought[1], body(container(imageName="nginx"))) == (400, "region not found")
    settings.IMAGE_REGISTRY_URL = "http://127.0.0.1:9"
    assert deploy(bought[1], body(container(imageName="other/image:1"))) == (
        400,
        "region not found",
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("/bin/sh\n-c\ntail -f /dev/null", ("/bin/sh", "-c", "tail -f /dev/null")),
        (
            "--vm\n1\n--vm-bytes\n500M\n--vm-hang\n1",
            ("--vm", "1", "--vm-bytes", "500M", "--vm-hang", "1"),
        ),
        ("/bin/sh\r\n-c\r\n", ("/bin/sh", "-c")),
        (r"/bin/sh\n-c\nls", ("/bin/sh", "-c", "ls")),
        ("printf 'a\\nb'\nend", ("printf 'a\\nb'", "end")),
        (["/bin/sh", "-c", "a\nb"], ("/bin/sh", "-c", "a\nb")),
        ("", ()),
        (None, ()),
        ([], ()),
    ],
)
def test_commands_are_split_at_line_ends(given: Any, words: tuple[str, ...]) -> None:
    assert containers.parse_command(given, "command") == words


@pytest.mark.parametrize(
    ("memory", "cpu"), [("2Gi", "513m"), ("100Mi", "26m"), ("1Gi", "257m"), ("4Mi", "2m")]
)
def test_cpu_follows_memory(memory: str, cpu: str) -> None:
    assert manifests.cpu_request(containers.memory_bytes(memory)) == cpu


def test_the_documents_example_becomes_the_deployment_that_the_contract_describes(
    bought: tuple[Order, str],
) -> None:
    order = bought[0]
    given = body(
        container(
            ports=[{"containerPort": 80, "hostPort": 2999}],
            envs=[{"name": "A", "value": "b"}],
            command="sh\n-c",
        )
    )
    wanted = containers.parse(given, order)
    made = manifests.deployment(
        order, wanted, label="region", host_ports={wanted.containers[0].ports[0]: 2999}
    )
    name, labels = (
        str(order.service_name),
        {"app": str(order.service_name), "v-kube/order": order.pk},
    )
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "kubernetes.io/ingress-bandwidth": "1024M",
                        "kubernetes.io/egress-bandwidth": "1024M",
                    },
                },
                "spec": {
                    "automountServiceAccountToken": False,
                    "nodeSelector": {"region": "ausrine"},
                    "restartPolicy": "Always",
                    "imagePullSecrets": [{"name": "vkube-registry"}],
                    "containers": [
                        {
                            "name": "container1",
                            "image": "nginx",
                            "imagePullPolicy": "Always",
                            "command": ["sh", "-c"],
                            "env": [{"name": "A", "value": "b"}],
                            "ports": [{"containerPort": 80, "hostPort": 2999, "protocol": "TCP"}],
                            "resources": {
                                "limits": {"memory": "100Mi"},
                                "requests": {"cpu": "26m", "memory": "100Mi"},
                            },
                            "securityContext": {
                                "privileged": False,
                                "allowPrivilegeEscalation": False,
                                "capabilities": {
                                    "drop": ["ALL"],
                                    "add": [
                                        "CHOWN",
                                        "DAC_OVERRIDE",
                                        "FOWNER",
                                        "NET_BIND_SERVICE",
                                        "SETGID",
                                        "SETUID",
                                    ],
                                },
                                "seccompProfile": {"type": "RuntimeDefault"},
                            },
                        }
                    ],
                },
            },
        },
    }


def test_what_a_buyer_may_not_say_is_not_heard(bought: tuple[Order, str]) -> None:
    hostile = {
        **body(
            container(
                securityContext={"privileged": True},
                volumeMounts=[{"name": "h", "mountPath": "/h"}],
            )
        ),
        "hostNetwork": True,
        "hostPID": True,
        "serviceAccountName": "admin",
        "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
        "namespace": "kube-system",
        "name": "other",
        "replicas": 50,
    }
    wanted = containers.parse(hostile, bought[0])
    plain = containers.parse(body(), bought[0])
    assert manifests.deployment(
        bought[0], wanted, label="region", host_ports={}
    ) == manifests.deployment(bought[0], plain, label="region", host_ports={})


def test_pods_of_orders_can_be_kept_apart(bought: tuple[Order, str], settings: Settings) -> None:
    settings.VKUBE_POD_CIDRS = ["10.244.0.0/16", "fd00:10:244::/56"]
    policy = manifests.network_policy(bought[0])
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["podSelector"] == {"matchLabels": {"v-kube/order": bought[0].pk}}
    assert policy["spec"]["ingress"][0]["from"][1:] == [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}},
        {"ipBlock": {"cidr": "::/0", "except": ["fd00:10:244::/56"]}},
    ]


def test_parsing_never_fails_in_another_way(bought: tuple[Order, str]) -> None:
    with pytest.raises(Invalid):
        containers.parse({"nodeSelector": {"region": "a"}, "containers": [[[]]]}, bought[0])
