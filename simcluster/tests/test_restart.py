"""What a stopped or killed simulator finds again when it starts on the same folder."""

import json
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from simcluster.testing import RunningCluster, running_cluster
from simcluster.tests.conftest import DEPLOYMENT, SOURCES, Api, api_of

SPACE = "/api/v1/namespaces/default"
CUSTOM = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "shirts.shop.example.com"},
    "spec": {
        "group": "shop.example.com",
        "names": {"plural": "shirts", "singular": "shirt", "kind": "Shirt"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"color": {"type": "string"}},
                            }
                        },
                    }
                },
            }
        ],
    },
}


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found


@contextmanager
def process(folder: Path, *options: str, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "simcluster", "--data", str(folder / "data")]
    command += ["--kubeconfig-out", str(folder / "kubeconfig"), "--time-scale", "20"]
    command += ["--port", str(port), "--nodes", "2", *options]
    (folder / "kubeconfig").unlink(missing_ok=True)
    with (
        (folder / "errors").open("a") as errors,
        subprocess.Popen(
            command, cwd=SOURCES, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as started,
    ):
        try:
            assert started.stdout is not None
            assert "listens on" in started.stdout.readline(), (folder / "errors").read_text()
            yield started
        finally:
            started.kill()


def client_of(kubeconfig: str) -> Api:
    document = yaml.safe_load(kubeconfig)
    cluster = document["clusters"][0]["cluster"]
    authority = b64decode(cluster["certificate-authority-data"]).decode()
    return Api(cluster["server"], authority, document["users"][0]["user"]["token"])


def config(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"line": "a b\u2028c\n"},
    }


def test_objects_outlive_a_killed_process(tmp_path: Path) -> None:
    with process(tmp_path, "--demo") as first:
        kubeconfig = (tmp_path / "kubeconfig").read_text()
        api = client_of(kubeconfig)
        port = int(api.url.rpartition(":")[2])
        made = api.post(f"{SPACE}/configmaps", config("kept")).body
        api.post("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
        until(lambda: b'"kept"' in (tmp_path / "data/objects").read_bytes())
        demo = {one["metadata"]["uid"] for one in api.get("/api/v1/namespaces").body["items"]}
        first.send_signal(signal.SIGKILL)
        first.wait()
    with process(tmp_path, "--demo", port=port):
        again = client_of(kubeconfig)
        assert again.get(f"{SPACE}/configmaps/kept").body == made
        found = again.get("/api/v1/namespaces").body["items"]
        assert {one["metadata"]["uid"] for one in found} == demo
        until(
            lambda: (
                again.get("/apis/apps/v1/namespaces/default/deployments/web")
                .body["status"]
                .get("availableReplicas")
                == 2
            )
        )
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()} == {0o600}


def test_the_last_writes_before_an_orderly_stop_are_there(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        api = client_of((tmp_path / "kubeconfig").read_text())
        uid = api.post(f"{SPACE}/configmaps", config("last")).body["metadata"]["uid"]
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=30) == 0
    with process(tmp_path):
        api = client_of((tmp_path / "kubeconfig").read_text())
        assert api.get(f"{SPACE}/configmaps/last").body["metadata"]["uid"] == uid


def test_life_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running_cluster(nodes=1, folder=tmp_path) as first:
        api = api_of(first)
        api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CUSTOM)
        shirts = "/apis/shop.example.com/v1/namespaces/default/shirts"
        shirt = {"apiVersion": "shop.example.com/v1", "kind": "Shirt", "spec": {"color": "red"}}
        worn = api.post(shirts, {**shirt, "metadata": {"name": "worn"}}).body
        api.post("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT)
        addresses = first.wait(lambda: pod_addresses(first, 2))
        token = api.post(
            f"{SPACE}/serviceaccounts/default/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        ).body["status"]["token"]
        highest = int(api.get(f"{SPACE}/configmaps").body["metadata"]["resourceVersion"])
    with running_cluster(nodes=1, folder=tmp_path) as second:
        api = api_of(second)
        assert api.get(f"{shirts}/worn").body == worn
        assert api_of(second, token).get(f"{SPACE}/pods").status == 403
        api.merge(
            "/apis/apps/v1/namespaces/default/deployments/web/scale", {"spec": {"replicas": 5}}
        )
        grown = second.wait(lambda: pod_addresses(second, 5))
        assert addresses < grown
        added = api.post(f"{SPACE}/configmaps", config("later")).body
        assert int(added["metadata"]["resourceVersion"]) > highest
        pods = [one.removeprefix("web-") for one in names(second)]
        assert len(set(pods)) == 5


def names(cluster: RunningCluster) -> list[str]:
    return [one["metadata"]["name"] for one in cluster.list("pods", "default")]


def pod_addresses(cluster: RunningCluster, count: int) -> set[str]:
    found = {one["status"].get("podIP", "") for one in cluster.list("pods", "default")} - {""}
    return found if len(found) == count else set()


@pytest.mark.parametrize("crashes", [0, 1])
def test_older_watches_and_pages_expire(tmp_path: Path, crashes: int) -> None:
    with running_cluster(nodes=1, folder=tmp_path, controllers=False) as first:
        api = api_of(first)
        listed = api.get(f"{SPACE}/configmaps").body["metadata"]["resourceVersion"]
        page = api.get("/api/v1/namespaces?limit=1").body["metadata"]["continue"]
    for _ in range(crashes):
        # A start that is killed before it writes again: what it gave out is given out by nobody else.
        with running_cluster(nodes=1, folder=tmp_path, controllers=False) as killed:
            api = api_of(killed)
            kept = (tmp_path / "objects").read_bytes()
            api.post(f"{SPACE}/configmaps", config("lost"))
            listed = api.get(f"{SPACE}/configmaps").body["metadata"]["resourceVersion"]
        (tmp_path / "objects").write_bytes(kept)
    with running_cluster(nodes=1, folder=tmp_path, controllers=False) as second:
        api = api_of(second)
        (event,) = api.watch(f"{SPACE}/configmaps?resourceVersion={listed}")
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        expired = api.get(f"/api/v1/namespaces?limit=1&continue={page}")
        assert (expired.status, expired.body["reason"]) == (410, "Expired")
        fresh = api.get(f"{SPACE}/configmaps").body["metadata"]["resourceVersion"]
        assert api.watch(f"{SPACE}/configmaps?resourceVersion={fresh}", seconds=1) == []
        assert int(fresh) > int(listed)


def damaged(raw: bytes) -> bytes:
    return raw[:-20]


def altered(raw: bytes) -> bytes:
    return raw.replace(b"cluster-admin", b"cluster-admim")


def foreign(raw: bytes) -> bytes:
    first, _, body = raw.partition(b"\n")
    return json.dumps({**json.loads(first), "version": 99}).encode() + b"\n" + body


def empty(raw: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("change", [damaged, altered, foreign, empty])
def test_a_file_that_cannot_be_read_is_set_aside(
    tmp_path: Path, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with running_cluster(nodes=1, folder=tmp_path) as first:
        api_of(first).post(f"{SPACE}/configmaps", config("gone"))
    broken = change((tmp_path / "objects").read_bytes())
    (tmp_path / "objects").write_bytes(broken)
    with running_cluster(nodes=1, folder=tmp_path) as second:
        assert api_of(second).get(f"{SPACE}/configmaps/gone").status == 404
        assert api_of(second).get("/api/v1/nodes").status == 200
    (aside,) = tmp_path.glob("*.set-aside")
    assert aside.read_bytes() == broken
    assert "set aside" in caplog.text
