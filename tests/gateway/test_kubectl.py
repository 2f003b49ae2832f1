"""The real kubectl through the gateway, as several people."""

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from access.models import ApiToken, AuditEntry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.models import KindSync, KindWrite
from tests.gateway.conftest import KUBECTLS
from tests.gateway.running import Kubectl, eventually, new_token

pytestmark = pytest.mark.skipif(not KUBECTLS, reason="kubectl is not installed")
KubectlOf = Callable[..., Kubectl]
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE, labels: {colour: red}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 8080}]}]}
"""


def run_web(kubectl: Kubectl, namespace: str) -> str:
    """A Deployment that is ready; the name of its pod."""
    kubectl.run("create", "namespace", namespace)
    kubectl("apply", "-f", "-", input=WEB.replace("NAMESPACE", namespace))
    kubectl("wait", "-n", namespace, "--for=condition=Available", "deployment/web", "--timeout=30s")
    return kubectl("get", "pods", "-n", namespace, "-o", "name").split()[0]


def test_an_administrator_changes_and_follows_what_runs(
    kubectl: Kubectl, apiserver: RunningCluster, simulated: Cluster
) -> None:
    pod = run_web(kubectl, "gw-admin")
    place = ("-n", "gw-admin")
    manifest = WEB.replace("NAMESPACE", "gw-admin")
    assert "unchanged" in kubectl("apply", "-f", "-", input=manifest)
    changed = manifest.replace("replicas: 1", "replicas: 2")
    diff = kubectl.run("diff", "-f", "-", input=changed)
    assert diff.returncode == 1
    assert "+  replicas: 2" in diff.stdout
    assert "serverside-applied" in kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", input=changed
    )
    kubectl("edit", *place, "deployment/web")
    labels = json.loads(kubectl("get", *place, "deployment/web", "-o", "json"))["metadata"][
        "labels"
    ]
    assert labels == {"colour": "blue"}
    kubectl("rollout", "restart", *place, "deployment/web")
    assert "successfully rolled out" in kubectl(
        "rollout", "status", *place, "deployment/web", "--timeout=30s"
    )
    assert "REVISION" in kubectl("rollout", "history", *place, "deployment/web")
    kubectl("scale", *place, "deployment/web", "--replicas=1")
    assert "NAME" in kubectl("top", "nodes")
    assert "Name:" in kubectl("describe", *place, "deployment/web")
    assert "KIND:" in kubectl("explain", "deployment.spec")
    assert "deployments" in kubectl("api-resources")
    assert "simulated" not in pod
    kubectl("delete", *place, "deployment/web")
    acts = AuditEntry.objects.filter(namespace="gw-admin", kind="deployments", dialect="gateway")
    assert {"patch", "delete"} <= set(acts.values_list("verb", flat=True))
    assert {row.result for row in acts} == {"success"}
    assert {(row.username, row.cluster_pk) for row in acts} == {("boss", simulated.pk)}


def test_watches_and_followed_logs_come_as_they_happen(kubectl: Kubectl) -> None:
    pod = run_web(kubectl, "gw-follow")
    with kubectl.started("get", "configmaps", "-n", "gw-follow", "-w", "-o", "name") as watch:
        assert watch.stdout is not None
        kubectl("create", "configmap", "first", "-n", "gw-follow")
        while "configmap/first" not in watch.stdout.readline():
            pass
        kubectl("create", "configmap", "second", "-n", "gw-follow")
        while "configmap/second" not in watch.stdout.readline():
            pass
    with kubectl.started("logs", "-f", "-n", "gw-follow", pod) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline()


# The oldest speaks SPDY, the newest WebSocket.
@pytest.mark.parametrize("program", sorted({KUBECTLS[0], KUBECTLS[-1]}) if KUBECTLS else [])
def test_commands_copies_and_ports(
    kubectl_of: KubectlOf, admin_token: str, tmp_path: Path, program: str
) -> None:
    kubectl = kubectl_of(admin_token, program)
    pod = run_web(kubectl, "gw-exec")
    place = ("-n", "gw-exec", pod)
    assert kubectl("exec", *place, "--", "echo", "hello") == "hello\n"
    assert kubectl("exec", "-i", *place, "--", "cat", input="from here\n") == "from here\n"
    assert kubectl.run("exec", *place, "--", "sh", "-c", "exit 3").returncode == 3
    source = tmp_path / "source.txt"
    source.write_text("copied\n" * 1000)
    name = pod.removeprefix("pod/")
    kubectl("cp", str(source), f"gw-exec/{name}:/tmp/copy.txt")
    assert kubectl("exec", *place, "--", "cat", "/tmp/copy.txt") == source.read_text()
    entries = AuditEntry.objects.filter(namespace="gw-exec", name=name)
    with kubectl.started("attach", *place):
        eventually(lambda: entries.filter(verb="attach").exists())
    with kubectl.started("port-forward", *place, "0:8080") as forwarded:
        assert forwarded.stdout is not None
        port = re.search(r"127\.0\.0\.1:(\d+)", forwarded.stdout.readline())
        assert port is not None
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/", timeout=20) as answer:
            assert answer.read().decode().strip() == name
    assert entries.filter(verb="exec").count() >= 4
    assert {"attach", "portforward"} <= set(entries.values_list("verb", flat=True))
    assert {entry.result for entry in entries} == {"success"}


def test_a_drained_node_is_cordoned(kubectl: Kubectl, apiserver: RunningCluster) -> None:
    run_web(kubectl, "gw-drain")
    node = kubectl("get", "pods", "-n", "gw-drain", "-o", "jsonpath={.items[0].spec.nodeName}")
    try:
        done = kubectl(
            "drain",
            node,
            "--ignore-daemonsets",
            "--force",
            "--delete-emptydir-data",
            "--pod-selector=app=web",
            "--timeout=40s",
        )
        assert "drained" in done
        assert AuditEntry.objects.filter(verb="evict", namespace="gw-drain").exists()
    finally:
        kubectl("uncordon", node)


def test_a_viewer_reads_and_is_refused_in_kubernetes_words(
    kubectl: Kubectl, kubectl_of: KubectlOf, simulated: Cluster
) -> None:
    pod = run_web(kubectl, "gw-viewer")
    viewer = kubectl_of(new_token("vera", "viewer", cluster=simulated))
    assert "web" in viewer("get", "deployments", "-n", "gw-viewer")
    assert viewer("get", "nodes")
    assert viewer.refused("get", "secrets", "-n", "gw-viewer").startswith(
        'Error from server (Forbidden): secrets is forbidden: User "vera" cannot list resource '
        '"secrets" in API group "" in the namespace "gw-viewer"'
    )
    refusal = viewer.refused("delete", "-n", "gw-viewer", "deployment/web")
    assert 'deployments.apps "web" is forbidden: User "vera" cannot delete resource' in refusal
    assert "pods/exec" in viewer.refused("exec", "-n", "gw-viewer", pod, "--", "id")
    assert viewer.run("auth", "can-i", "list", "pods").stdout == "yes\n"
    assert viewer.run("auth", "can-i", "delete", "pods").stdout.startswith("no")
    assert viewer.run("auth", "can-i", "create", "pods/exec").stdout.startswith("no")
    rules = viewer.run("auth", "can-i", "--list", "-n", "gw-viewer")
    assert "custom kinds are not listed" in rules.stderr
    listed = rules.stdout
    row = next(line for line in listed.splitlines() if line.startswith("deployments.apps"))
    assert row.split("[")[-1] == "get list watch]"
    assert not any(line.startswith("secrets") for line in listed.splitlines())
    if "whoami" in viewer("auth", "--help"):
        assert "vera" in viewer("auth", "whoami")
    denied = AuditEntry.objects.filter(username="vera", result="denied")
    assert {("delete", "deployments"), ("exec", "pods"), ("list", "secrets")} <= set(
        denied.values_list("verb", "kind")
    )


def test_an_operator_of_one_namespace_stays_in_it(
    kubectl: Kubectl, kubectl_of: KubectlOf, simulated: Cluster
) -> None:
    pod = run_web(kubectl, "gw-mine")
    kubectl("create", "namespace", "gw-other")
    kubectl("create", "secret", "generic", "s", "-n", "gw-mine", "--from-literal=a=b")
    token = new_token("olga", "operator", cluster=simulated, namespace="gw-mine")
    operator = kubectl_of(token)
    assert operator("exec", "-n", "gw-mine", pod, "--", "echo", "in") == "in\n"
    assert operator("get", "secret", "s", "-n", "gw-mine", "-o", "jsonpath={.data.a}") == "Yg=="
    operator("scale", "-n", "gw-mine", "deployment/web", "--replicas=2")
    assert "Forbidden" in operator.refused("get", "pods", "-n", "gw-other")
    assert "gw-mine" in operator.refused("get", "pods", "-A")
    assert "Forbidden" in operator.refused("get", "nodes")
    assert "is forbidden" in operator.refused("create", "quota", "q", "-n", "gw-mine")
    assert "is forbidden" in operator.refused(
        "create", "rolebinding", "me", "-n", "gw-mine", "--clusterrole=admin", "--user=olga"
    )
    reads = AuditEntry.objects.filter(username="olga", kind="secrets", result="success")
    assert [(row.verb, row.name) for row in reads] == [("get", "s")]


def test_a_namespace_admin_gives_no_more_than_admin(
    kubectl: Kubectl, kubectl_of: KubectlOf, simulated: Cluster
) -> None:
    kubectl("create", "namespace", "gw-roles")
    token = new_token("nora", "admin", cluster=simulated, namespace="gw-roles")
    nora = kubectl_of(token)
    place = ("-n", "gw-roles")
    nora("create", "role", "reader", *place, "--verb=get", "--resource=pods")
    refused = nora.refused(
        "create", "rolebinding", "up", *place, "--clusterrole=cluster-admin", "--user=nora"
    )
    assert "grants more than an admin of the namespace may give" in refused
    patch = '{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}'
    assert "grants more" in nora.refused(
        "patch", "role", "reader", *place, "--type=merge", "-p", patch
    )
    small = '{"metadata":{"labels":{"a":"b"}}}'
    assert "patched" in nora("patch", "role", "reader", *place, "--type=merge", "-p", small)
    assert "is forbidden" in nora.refused("create", "token", "default", *place)


def test_scopes_narrow_and_a_revoked_token_is_unauthorized(
    kubectl_of: KubectlOf, kubectl: Kubectl, simulated: Cluster
) -> None:
    token = new_token("tom", "admin", scopes=("read",))
    narrow = kubectl_of(token)
    assert narrow("get", "nodes")
    assert "orbidden" in narrow.refused("create", "namespace", "gw-scoped")
    assert "Forbidden" in narrow.refused("get", "secrets", "-n", "default")
    row = ApiToken.objects.get(user__username="tom")
    ApiToken.objects.filter(pk=row.pk).update(revoked_at=row.created_at)
    assert "Unauthorized" in narrow.refused("get", "nodes") or "logged in" in narrow.refused(
        "get", "nodes"
    )


def test_the_store_knows_of_what_was_written(kubectl: Kubectl, simulated: Cluster) -> None:
    KindSync.objects.create(
        cluster=simulated,
        group="",
        version="v1",
        plural="configmaps",
        kind="ConfigMap",
        namespaced=True,
        resource_type="ConfigMap",
    )
    kubectl("create", "namespace", "gw-fresh")
    kubectl("get", "configmaps", "-n", "gw-fresh")
    assert not KindWrite.objects.exists()
    kubectl("create", "configmap", "c", "-n", "gw-fresh")
    assert [row.plural for row in KindWrite.objects.all()] == ["configmaps"]
