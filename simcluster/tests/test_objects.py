"""Objects over the wire: create, read, change, list, watch, delete."""

import json
import time
from functools import partial
from typing import Any

import pytest

from simcluster.testing import RunningCluster, running_cluster
from simcluster.tests.conftest import DEPLOYMENT, Api, api_of


def config(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"n": name}},
        "data": data,
    }


def test_a_deployment_gets_pods_that_run(api: Api, sim: RunningCluster, namespace: str) -> None:
    made = api.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", DEPLOYMENT)
    assert made.status == 201

    def ready() -> bool:
        status = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web").body["status"]
        return bool(
            status.get("readyReplicas") == 2
            and status["conditions"][0]["reason"] == "MinimumReplicasAvailable"
        )

    sim.wait(ready)
    pods = api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Dweb").body["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in pods} == {"ReplicaSet"}
    assert len({pod["status"]["podIP"] for pod in pods}) == 2


def test_pages_of_a_list_are_one_snapshot(api: Api, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}/secrets"
    for number in range(5):
        api.post(base, {**config(f"c{number}"), "kind": "Secret"})
    first = api.get(f"{base}?limit=2").body
    assert first["metadata"]["remainingItemCount"] == 3
    api.call("DELETE", f"{base}/c4")
    api.post(base, {**config("c9"), "kind": "Secret"})
    second = api.get(f"{base}?limit=10&continue={first['metadata']['continue']}").body
    assert [item["metadata"]["name"] for item in second["items"]] == ["c2", "c3", "c4"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_watch_tells_every_change_once_and_honours_its_selector(api: Api, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}/configmaps"
    version = api.get(base).body["metadata"]["resourceVersion"]
    api.post(base, config("a"))
    api.merge(f"{base}/a", {"metadata": {"labels": {"n": "other"}}})
    api.merge(f"{base}/a", {"metadata": {"labels": {"n": "a"}}})
    api.call("DELETE", f"{base}/a")
    events = api.watch(f"{base}?resourceVersion={version}&labelSelector=n%3Da", seconds=1)
    assert [event["type"] for event in events] == ["ADDED", "DELETED", "ADDED", "DELETED"]


def test_writes_without_a_namespace_are_refused(api: Api) -> None:
    reply = api.post("/api/v1/namespaces/nowhere/configmaps", config("a"))
    assert (reply.status, reply.body["message"]) == (404, 'namespaces "nowhere" not found')


@pytest.mark.parametrize(
    ("content_type", "patch", "images"),
    [
        (
            "application/strategic-merge-patch+json",
            {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}},
            ["b:1", "nginx:1.27"],
        ),
        (
            "application/merge-patch+json",
            {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}},
            ["b:1"],
        ),
        (
            "application/json-patch+json",
            [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "b:1"}],
            ["b:1"],
        ),
    ],
)
def test_each_patch_type_has_its_own_meaning(
    api: Api, namespace: str, content_type: str, patch: Any, images: list[str]
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 0}})
    reply = api.call("PATCH", f"{path}/web", patch, content_type=content_type)
    assert reply.status == 200, reply.body
    assert (
        sorted(one["image"] for one in reply.body["spec"]["template"]["spec"]["containers"])
        == images
    )


@pytest.mark.parametrize(
    ("patch", "status", "words"),
    [
        (
            [{"op": "copy", "from": "/data", "path": f"/data/k{number}"} for number in range(40)],
            422,
            "exceeding the limit 3145728",
        ),
        ([{"op": "test", "path": "/data/a", "value": "x"}] * 10_001, 413, "got 10001"),
    ],
)
def test_a_json_patch_that_would_blow_up_is_refused(
    api: Api, namespace: str, patch: Any, status: int, words: str
) -> None:
    """Copies of what holds the copies before double each time."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "x"}}
    api.post(path, made)
    reply = api.call("PATCH", f"{path}/c", patch, content_type="application/json-patch+json")
    assert (reply.status, words in reply.body["message"]) == (status, True), reply.body


def test_loaded_pods_are_listed_quickly_and_whole() -> None:
    with running_cluster(nodes=5) as cluster:
        assert cluster.load_pods(300, namespace="bulk") == 300
        items = api_of(cluster).get("/api/v1/namespaces/bulk/pods").body["items"]
        assert len(items) == 300
        sizes = [len(json.dumps(item)) for item in items]
        assert min(sizes) > 3000
        assert max(sizes) < 5500


def test_every_request_is_recorded(sim: RunningCluster, api: Api, namespace: str) -> None:
    api.post(f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All", config("a", x="1"))
    seen = sim.requests[-1]
    assert (seen.method, seen.path, seen.query) == (
        "POST",
        f"/api/v1/namespaces/{namespace}/configmaps",
        {"dryRun": "All"},
    )
    assert json.loads(seen.body)["data"] == {"x": "1"}
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/a").status == 404


def test_a_replacement_that_leaves_everything_out_is_completed_or_refused(
    api: Api, namespace: str
) -> None:
    node = api.get("/api/v1/nodes").body["items"][0]["metadata"]["name"]
    path = f"/api/v1/nodes/{node}?dryRun=All"
    assert api.call("PUT", path, {"metadata": {"name": node}}).body["spec"] == {}
    daemons = f"/apis/apps/v1/namespaces/{namespace}/daemonsets"
    spec = {key: DEPLOYMENT["spec"][key] for key in ("selector", "template")}
    api.post(daemons, {"metadata": {"name": "web"}, "spec": spec})
    bare = api.call("PUT", f"{daemons}/web", {"metadata": {"name": "web"}, "spec": {}})
    assert (bare.status, bare.body["reason"]) == (422, "Invalid")


def test_what_is_put_without_a_spec_breaks_no_controller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_cluster() as server:
        for kind in ("Node", "PersistentVolume", "PersistentVolumeClaim"):
            metadata = {
                "name": "bare",
                "namespace": "default" if kind.endswith("Claim") else "",
                "uid": f"uid-of-{kind}",
                "creationTimestamp": "2024-01-01T00:00:00Z",
            }
            bare = {"kind": kind, "apiVersion": "v1", "metadata": metadata}
            server.call(partial(server.store.put, f"{kind.lower()}s", bare))

        def phase() -> str:
            record = server.store.get("persistentvolumes", "", "bare")
            return str((record.obj.get("status") or {}).get("phase")) if record else ""

        deadline = time.monotonic() + 60
        while phase() == "None":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not [record for record in caplog.records if record.exc_info]
