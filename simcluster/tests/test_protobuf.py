"""Bodies in Kubernetes' protobuf, as typed clients send them."""

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from simcluster.testing import RunningCluster
from simcluster.tests.conftest import Api

PROTOBUF = "application/vnd.kubernetes.protobuf"
KUBECTL = shutil.which("kubectl")


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    raw = b""
    while number > 0x7F:
        raw += bytes([number & 0x7F | 0x80])
        number >>= 7
    return raw + bytes([number])


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A message of fields: numbers as varints, texts and messages by length."""
    raw = b""
    for number, value in fields:
        if isinstance(value, int):
            raw += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            raw += varint(number << 3 | 2) + varint(len(data)) + data
    return raw


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + message((1, message((1, api_version), (2, kind))), (2, raw))


def meta(name: str) -> bytes:
    # As Go writes it: what is not set is there as zeros, the moment of creation as nothing.
    return message((1, name), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, 0), (8, b""))


def test_fields_are_read_by_their_numbers(api: Api, namespace: str) -> None:
    probe = message(
        # An HTTP GET of port "web"; 0 seconds stands for the default, 0 of a pointer is 0.
        (1, message((2, message((1, "/ok"), (2, message((1, 1), (2, 0), (3, "web"))))))),
        (2, 0),
        (3, 0),
        (7, 5),
    )
    requests = message((1, "cpu"), (2, message((1, "0.5"))))
    port = message((1, "web"), (2, 0), (3, 8080), (4, ""), (5, ""))
    container = message(
        (1, "web"), (2, "nginx:1.27"), (6, port), (8, message((2, requests))), (10, probe)
    )
    security = message((2, 0), (3, 0))
    spec = message((2, container), (4, -5 & (2**64 - 1)), (14, security))
    template = message((1, message((11, message((1, "app"), (2, "web"))))), (2, spec))
    selector = message((1, message((1, "app"), (2, "web"))))
    deployment = message((1, meta("web")), (2, message((1, 0), (2, selector), (3, template))))
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    raw = body("apps/v1", "Deployment", deployment + message((3, b""), (99, "new")))
    refused = api.post(path, raw, content_type=PROTOBUF)
    assert refused.status == 422
    assert "terminationGracePeriodSeconds: Invalid value: -5" in refused.body["message"]
    spec = message((2, container), (14, security))
    template = message((1, message((11, message((1, "app"), (2, "web"))))), (2, spec))
    deployment = message((1, meta("web")), (2, message((1, 0), (2, selector), (3, template))))
    raw = body("apps/v1", "Deployment", deployment + message((3, b""), (99, "new")))
    made = api.post(path, raw, content_type=PROTOBUF)
    assert made.status == 201, made.raw
    assert made.headers["Content-Type"] == "application/json"
    assert made.body["spec"]["replicas"] == 0
    assert made.body["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    pod = made.body["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsUser": 0, "runAsNonRoot": False}
    (shown,) = pod["containers"]
    assert shown["ports"] == [{"name": "web", "containerPort": 8080, "protocol": "TCP"}]
    assert shown["resources"] == {"requests": {"cpu": "500m"}}
    assert shown["livenessProbe"]["httpGet"] == {"path": "/ok", "port": "web", "scheme": "HTTP"}
    assert shown["livenessProbe"]["timeoutSeconds"] == 1
    assert shown["livenessProbe"]["terminationGracePeriodSeconds"] == 5


def test_bytes_become_base64_and_options_of_a_deletion_are_read(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    value = bytes(range(256))
    secret = message((1, meta("s")), (2, message((1, "raw"), (2, value))), (5, 0))
    made = api.post(path, body("v1", "Secret", secret), content_type=PROTOBUF).body
    assert base64.b64decode(made["data"]["raw"]) == value
    assert (made["immutable"], made["type"]) == (False, "Opaque")
    other = body("v1", "DeleteOptions", message((2, message((1, "another-uid")))))
    assert api.call("DELETE", f"{path}/s", other, content_type=PROTOBUF).status == 409
    this = body("v1", "DeleteOptions", message((2, message((1, made["metadata"]["uid"])))))
    assert api.call("DELETE", f"{path}/s", this, content_type=PROTOBUF).status == 200


@pytest.mark.parametrize(
    ("raw", "status", "why"),
    [
        (b"{}", 400, "does not appear to be a protobuf message"),
        (b"k8s\x00\x0a\xff", 400, "unexpected EOF"),
        (b"k8s\x00" + b"\xff" * 11, 400, "integer overflow"),
        (body("v1", "ConfigMap", message((1, 7))), 400, "wrong wireType"),
        (body("v1", "ConfigMap", b"\x0b"), 400, "illegal wireType 3"),
        (body("v1", "ConfigMap", b"\x00\x00"), 400, "illegal tag 0"),
        (body("v1", "ConfigMap", message((1, message((1, b"\xff"))))), 400, "no UTF-8"),
        (body("example.com/v1", "Widget", b""), 415, "unknown format"),
        (body("apps/v1", "Deployment", b""), 400, "cannot be handled as a ConfigMap"),
    ],
)
def test_broken_bodies_are_refused(
    api: Api, namespace: str, raw: bytes, status: int, why: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    refused = api.post(path, raw, content_type=PROTOBUF)
    assert (refused.status, why in refused.body["message"]) == (status, True), refused.raw


def test_no_garbage_fails_the_server(api: Api, namespace: str) -> None:
    chance = random.Random(11)
    data = message((1, "key"), (2, "value"))
    whole = body("v1", "ConfigMap", message((1, meta("fuzz")), (2, data)))
    for _ in range(200):
        raw = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            raw[chance.randrange(4, len(raw))] = chance.randrange(256)
        path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
        assert api.post(path, bytes(raw), content_type=PROTOBUF).status < 500, bytes(raw)


COMMANDS = [
    "deployment d --image=nginx --replicas=0 --port=80",
    "configmap c --from-literal=a=b",
    "secret generic s --from-literal=a=b",
    "serviceaccount acc",
    "job j --image=busybox -- true",
    "cronjob cj --image=busybox --schedule=@hourly -- true",
    "role r --verb=get,list --resource=pods --resource-name=a",
    "rolebinding rb --role=r --serviceaccount=default:acc",
    "quota q --hard=cpu=1.5,pods=20",
    "poddisruptionbudget p --selector=app=x --min-available=50%",
    "ingress i --rule=a.example.com/x*=svc:http --annotation=a=b",
    "service nodeport np --tcp=80:8080",
    "priorityclass pc --value=10 --description=ten",
    "clusterrole agg --aggregation-rule=a=b",
    "namespace n",
]


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_what_kubectl_creates_is_what_its_json_would_create(
    api: Api, sim: RunningCluster, namespace: str, tmp_path: Path, command: str
) -> None:
    config = tmp_path / "config"
    config.write_text(sim.kubeconfig_yaml)
    config.chmod(0o600)

    def created(mode: str) -> Any:
        words, _, program = command.partition(" -- ")
        space = [] if words.startswith(("priority", "clusterrole", "namespace")) else ["-n"]
        more = [*(space and [*space, namespace]), f"--dry-run={mode}", "-o", "json"]
        done = subprocess.run(
            [str(KUBECTL), "create", *words.split(), *more, *(["--", program] if program else [])],
            env={"KUBECONFIG": str(config), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def steady(obj: dict[str, Any]) -> dict[str, Any]:
        uid = obj["metadata"]["uid"]
        text = json.dumps(obj).replace(uid, "UID")
        plain: dict[str, Any] = json.loads(text)
        for key in ("creationTimestamp", "managedFields"):
            plain["metadata"].pop(key, None)
        for port in plain.get("spec", {}).get("ports", ()):
            port.pop("nodePort", None)
        for key in ("clusterIP", "clusterIPs"):
            plain.get("spec", {}).pop(key, None)
        return plain

    created("server")
    sent = sim.requests[-1]
    assert sent.headers["Content-Type"] == PROTOBUF
    path = sent.path + "?dryRun=All"
    typed = api.post(path, sent.body, content_type=PROTOBUF)
    assert steady(typed.body) == steady(api.post(path, created("client")).body)
