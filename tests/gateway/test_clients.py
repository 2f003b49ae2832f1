"""Other clients than kubectl: the official Python client, what helm sends, reviews in protobuf."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from clusters.models import Cluster
from tests.gateway.running import Running, new_token

RELEASE = {"name": "web", "owner": "helm", "status": "pending-install", "version": "1"}
NAMESPACE = "gw-helm"


def api_client(running: Running, token: str) -> client.ApiClient:
    """The official client, as a kubeconfig would make it."""
    configuration = client.Configuration(host=f"{running.url}/kube/simulated")
    configuration.ssl_ca_cert = str(running.folder / "gateway" / "ca.crt")
    configuration.api_key = {"authorization": f"Bearer {token}"}
    return client.ApiClient(configuration)


@pytest.fixture
def api(running: Running, simulated: Cluster, admin_token: str) -> Iterator[client.ApiClient]:
    """An administrator's client."""
    with api_client(running, admin_token) as made:
        yield made


def test_what_helm_sends_for_an_install_and_an_upgrade(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    apps = client.AppsV1Api(api)
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    name = "sh.helm.release.v1.web.v1"
    data = {"release": base64.b64encode(b"H4sI" + b"x" * 200_000).decode()}
    secret = {
        "type": "helm.sh/release.v1",
        "metadata": {"name": name, "labels": RELEASE},
        "data": data,
    }
    core.create_namespaced_secret(NAMESPACE, secret)
    deployment = {
        "metadata": {"name": "web", "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
            },
        },
    }
    apps.create_namespaced_deployment(NAMESPACE, deployment)
    secret["metadata"] = {"name": name, "labels": {**RELEASE, "status": "deployed"}}
    core.replace_namespaced_secret(name, NAMESPACE, secret)
    selector = "name=web,owner=helm,status=deployed"
    found = core.list_namespaced_secret(NAMESPACE, label_selector=selector).items
    assert [item.data for item in found] == [data]
    # The three-way patch of an upgrade is a strategic merge patch of what changed.
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}}
    patched = apps.patch_namespaced_deployment("web", NAMESPACE, patch)
    assert patched.spec.template.spec.containers[0].image == "nginx:2"
    core.delete_collection_namespaced_secret(NAMESPACE, label_selector="owner=helm")
    assert not core.list_namespaced_secret(NAMESPACE, label_selector="owner=helm").items
    core.delete_namespace(NAMESPACE)


def test_a_helm_user_needs_the_right_to_secrets(running: Running, simulated: Cluster) -> None:
    token = new_token("hanna", "operator", cluster=simulated, scopes=("read", "write"))
    with api_client(running, token) as api:
        core = client.CoreV1Api(api)
        for call in (
            lambda: core.list_namespaced_secret("default", label_selector="owner=helm"),
            # What a write answers has the values, too.
            lambda: core.patch_namespaced_secret("x", "default", {"metadata": {"labels": {}}}),
        ):
            with pytest.raises(ApiException) as refused:
                call()
            assert refused.value.status == 403
            assert json.loads(refused.value.body)["reason"] == "Forbidden"


def test_the_python_client_runs_commands(api: client.ApiClient, apiserver: Any) -> None:
    core = client.CoreV1Api(api)
    pod = {
        "metadata": {"name": "gw-python"},
        "spec": {"containers": [{"name": "main", "image": "nginx"}]},
    }
    core.create_namespaced_pod("default", pod)
    apiserver.wait(
        lambda: (
            (apiserver.get("pods", "gw-python", "default") or {})
            .get("status", {})
            .get("containerStatuses", [{}])[0]
            .get("ready")
        ),
        seconds=30,
    )
    said = stream(
        core.connect_get_namespaced_pod_exec,
        "gw-python",
        "default",
        command=["echo", "hello"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert said == "hello\n"
    core.delete_namespaced_pod("gw-python", "default", grace_period_seconds=0)


def field(number: int, content: bytes) -> bytes:
    """One field of a protobuf message."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def review(verb: bytes, resource: bytes) -> bytes:
    """A SelfSubjectAccessReview as client-go encodes it."""
    attributes = field(1, b"default") + field(2, verb) + field(5, resource)
    spec = field(2, field(1, attributes))
    meta = field(1, b"authorization.k8s.io/v1") + field(2, b"SelfSubjectAccessReview")
    return b"k8s\x00" + field(1, meta) + field(2, spec)


def test_reviews_come_and_go_in_protobuf(running: Running, simulated: Cluster) -> None:
    token = new_token("vera", "viewer", cluster=simulated)
    protobuf = "application/vnd.kubernetes.protobuf"
    path = "/kube/simulated/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for verb, allowed in ((b"list", True), (b"delete", False)):
        for accept in (protobuf, f"{protobuf},application/json"):
            body = review(verb, b"pods")
            head = (
                f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: {protobuf}\r\nAccept: {accept}\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            answer = running.exchange(head.encode() + body)
            assert b" 201 " in answer
            content = answer.partition(b"\r\n\r\n")[2]
            if "json" in accept:
                assert json.loads(content)["status"]["allowed"] == allowed
            else:
                assert content.startswith(b"k8s\x00")
                # Field 3 of the object is its status, field 1 of that says whether.
                assert (b"\x08\x01" in content) == allowed
