"""A walk with the real kubectl; skipped where it is not installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from simcluster.testing import RunningCluster, running_cluster
from simcluster.tests.conftest import DEPLOYMENT

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")

Kubectl = Callable[..., str]
# Up to 1.28 they read the types of objects out of protobuf.
_OTHERS = Path(os.path.realpath(KUBECTL or "kubectl")).parent
OLD = [path for minor in (27, 28) if (path := _OTHERS / f"kubectl.1.{minor}").is_file()]


class Refused(Exception):
    """kubectl ended with an error."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster(time_scale=20) as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    home = tmp_path_factory.mktemp("kubectl")
    config = home / "config"
    config.write_text(cluster.kubeconfig_yaml)
    config.chmod(0o600)

    def run(words: str, given: str = "") -> str:
        environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(home)}
        done = subprocess.run(
            [str(KUBECTL), *words.split()],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise Refused(f"{done.returncode}: {done.stderr}")
        return done.stdout

    return run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifests") / "web.yaml"
    path.write_text(yaml.safe_dump(DEPLOYMENT))
    return path


@pytest.fixture(scope="module")
def web(kubectl: Kubectl, manifest: Path) -> None:
    assert kubectl(f"apply -f {manifest}") == "deployment.apps/web created\n"
    assert "successfully rolled out" in kubectl("rollout status deployment/web --timeout=30s")


def columns(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]


def test_get_prints_tables(kubectl: Kubectl, web: None) -> None:
    assert columns(kubectl("get deployments"))[0] == [
        "NAME",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
    ]
    assert columns(kubectl("get deployments"))[1][:4] == ["web", "2/2", "2", "2"]
    wide = columns(kubectl("get pods -l app=web -o wide"))
    assert wide[0] == [
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED NODE",
        "READINESS GATES",
    ]
    assert {row[2] for row in wide[1:]} == {"Running"}
    assert "Ready" in kubectl("get nodes")
    assert "STATUS" in kubectl("get pods -A -w --request-timeout=1s")


def test_applying_again_changes_nothing_and_a_diff_shows_what_would(
    kubectl: Kubectl, web: None, manifest: Path
) -> None:
    assert kubectl(f"apply -f {manifest}") == "deployment.apps/web unchanged\n"
    assert kubectl(f"diff -f {manifest}") == ""
    changed = manifest.read_text().replace("nginx:1.27", "nginx:1.29")
    with pytest.raises(Refused, match=r"^1:"):
        kubectl("diff -f -", changed)


def test_describe_shows_state_and_events(kubectl: Kubectl, web: None) -> None:
    text = kubectl("describe deployment web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in text
    assert "Scaled up replica set" in text
    pod = kubectl("get pods -l app=web -o name").split()[0]
    assert "Successfully assigned default/" in kubectl(f"describe {pod}")
    assert "Allocated resources" in kubectl("describe node node-00")


def test_a_rollout_goes_forward_and_back(kubectl: Kubectl, web: None) -> None:
    kubectl("set image deployment/web web=nginx:1.28")
    kubectl("rollout status deployment/web --timeout=30s")
    assert [row[0] for row in columns(kubectl("rollout history deployment/web").strip())[2:]] == [
        "1",
        "2",
    ]
    kubectl("rollout undo deployment/web")
    kubectl("rollout status deployment/web --timeout=30s")
    assert (
        kubectl("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}")
        == "nginx:1.27"
    )
    kubectl("rollout restart deployment/web")
    kubectl("rollout status deployment/web --timeout=30s")
    kubectl("rollout pause deployment/web")
    kubectl("rollout resume deployment/web")


def test_scaling_labels_and_annotations(kubectl: Kubectl, web: None) -> None:
    assert kubectl("scale deployment web --replicas=3") == "deployment.apps/web scaled\n"
    kubectl("rollout status deployment/web --timeout=30s")
    assert columns(kubectl("get deployment web"))[1][1] == "3/3"
    kubectl("scale deployment web --replicas=2")
    assert "labeled" in kubectl("label deployment web tier=front")
    assert "annotated" in kubectl("annotate deployment web note=hello")
    assert kubectl("get deployments -l tier=front -o name") == "deployment.apps/web\n"


def test_server_side_apply_refuses_what_others_own(
    kubectl: Kubectl, web: None, manifest: Path
) -> None:
    theirs = manifest.read_text().replace("replicas: 2", "replicas: 4")
    with pytest.raises(Refused, match="conflict"):
        kubectl("apply --server-side --field-manager=other -f -", theirs)
    kubectl("apply --server-side --force-conflicts --field-manager=other -f -", theirs)
    assert kubectl("get deployment web -o jsonpath={.spec.replicas}") == "4"


def test_a_node_is_drained_and_comes_back(kubectl: Kubectl, web: None) -> None:
    kubectl("cordon node-01")
    assert "SchedulingDisabled" in kubectl("get node node-01")
    assert "drained" in kubectl(
        "drain node-01 --ignore-daemonsets --delete-emptydir-data --timeout=30s"
    )
    assert kubectl("get pods -A --field-selector spec.nodeName=node-01 -o name") == ""
    kubectl("uncordon node-01")
    kubectl("taint node node-02 team=a:NoSchedule")
    kubectl("taint node node-02 team=a:NoSchedule-")


def test_logs_and_exec(kubectl: Kubectl, cluster: RunningCluster, tmp_path: Path) -> None:
    script = "echo hello from $NAME; while true; do echo tick; sleep 5; done"
    box = {
        "name": "box",
        "image": "alpine:3",
        "command": ["sh", "-c", script],
        "env": [{"name": "NAME", "value": "joe"}],
    }
    kubectl(
        "create -f -",
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "box"},
                "spec": {"containers": [box]},
            }
        ),
    )
    kubectl("wait --for=condition=Ready pod/box --timeout=20s")
    assert kubectl("logs box").startswith("hello from joe\ntick\n")
    assert kubectl("exec box -- cat /etc/hostname") == "box\n"
    assert kubectl("exec -i box -- sh", "echo in > /tmp/a; cat /tmp/a") == "in\n"
    with pytest.raises(Refused, match="exit code 3"):
        kubectl("exec -i box -- sh", "exit 3")
    with pytest.raises(Refused, match="executable file not found"):
        kubectl("exec box -- nonsense")
    local = tmp_path / "file"
    local.write_text("copied")
    kubectl(f"cp {local} box:/tmp/file")
    assert kubectl("exec box -- cat /tmp/file") == "copied"


def test_logs_are_followed_until_the_pod_ends(kubectl: Kubectl) -> None:
    command = ["sh", "-c", "for n in $(seq 1 180); do echo $n; sleep 0.5; done; echo over"]
    spec = {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "busybox:1", "command": command}],
    }
    kubectl(
        "create -f -",
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "count"}, "spec": spec}
        ),
    )
    kubectl("wait --for=jsonpath={.status.phase}=Running pod/count --timeout=20s")
    assert kubectl("logs -f count").split() == [*map(str, range(1, 181)), "over"]


def test_top_explain_events_and_the_rest(kubectl: Kubectl, web: None) -> None:
    assert columns(kubectl("top nodes"))[1][0] == "node-00"
    assert len(columns(kubectl("top pods"))) > 1
    assert "deployments" in kubectl("api-resources")
    assert "FIELDS:" in kubectl("explain deployment.spec.strategy")
    assert "Scheduled" in kubectl("events")
    assert "Server Version: v1.36" in kubectl("version")
    assert "ok" in kubectl("get --raw /readyz")


def test_delete_takes_everything_along(
    kubectl: Kubectl, web: None, cluster: RunningCluster
) -> None:
    kubectl("delete deployment web")
    cluster.wait(lambda: kubectl("get pods -l app=web -o name") == "")
    with pytest.raises(Refused, match=r'deployments.apps "web" not found'):
        kubectl("get deployment web")


@pytest.mark.parametrize("program", OLD, ids=str)
def test_old_kubectls_read_the_types_of_objects(
    cluster: RunningCluster, tmp_path: Path, program: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(cluster.kubeconfig_yaml)
    config.chmod(0o600)

    def run(*words: str, manifest: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [str(program), "--kubeconfig", str(config), *words],
            input=manifest,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "HOME": str(tmp_path)},
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    name = program.name.replace(".", "-")
    metadata = {**DEPLOYMENT["metadata"], "name": name, "labels": {"a": "b"}}
    manifest = yaml.safe_dump({**DEPLOYMENT, "metadata": metadata})
    assert "created" in run("apply", "-f", "-", manifest=manifest)[1]
    assert "unchanged" in run("apply", "-f", "-", manifest=manifest)[1]
    changed = manifest.replace("a: b", "a: c")
    status, shown = run("diff", "-f", "-", manifest=changed)
    assert (status, "+    a: c" in shown) == (1, True), shown
    assert (
        "serverside-applied"
        in run("apply", "--server-side", "--force-conflicts", "-f", "-", manifest=changed)[1]
    )
    assert "configured" in run("apply", "--dry-run=server", "-f", "-", manifest=manifest)[1]
    for output in ("plaintext", "plaintext-openapiv2"):
        shown = run("explain", "deployment.spec.replicas", f"--output={output}")[1]
        assert "Number of desired pods" in shown, shown
