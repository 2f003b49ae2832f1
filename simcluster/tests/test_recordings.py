"""Every recorded exchange with a real API server, replayed: same status, same reason, same keys."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simcluster.testing import RunningCluster, running_cluster
from simcluster.tests.conftest import Api, Reply, api_of

RECORDINGS = Path(__file__).parent / "recordings"
NAMES = sorted(
    path.stem for path in RECORDINGS.glob("*.json") if "request" in json.loads(path.read_text())
)

# Where we differ from a recording, and why. A path ends with `*` when everything below it is meant.
EXEMPT: dict[str, dict[str, str]] = {
    "discovery-apis": {
        "groups": "the recorded server had two custom groups of an operator installed"
    },
    "discovery-aggregated-apis": {
        "items": "the recorded server had two custom groups of an operator installed"
    },
    "openapi-v3-index": {
        "paths*": "the recorded server had two custom groups of an operator installed; hashes follow content"
    },
    "events-list": {
        "items[].metadata.managedFields*": "our events have no managers, to keep the store small"
    },
    "watch-initial-events": {
        "[].object.data.service-ca.crt": "the recorded server put a second ConfigMap into each namespace"
    },
}

# Values that differ from run to run, in messages.
VOLATILE = [
    (re.compile(pattern), text)
    for pattern, text in (
        (r"web-[a-z0-9]{8,10}(-[a-z0-9]{5})?", "web-POD"),
        (r"current: \d+", "current: N"),
    )
]


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return found


class Script:
    """Sends the recorded requests in an order that leads through the recorded states; names and versions of this run put in."""

    def __init__(self, cluster: RunningCluster) -> None:
        self.cluster = cluster
        self.api = api_of(cluster)
        self.replies: dict[str, Reply] = {}
        self.aliases: dict[str, str] = {}

    def play(
        self, *names: str, change: Callable[[Any], Any] = lambda body: body, api: Api | None = None
    ) -> None:
        for name in names:
            request = recording(name)["request"]
            path = request["path"]
            for old, new in self.aliases.items():
                path = path.replace(old, new)
            body = change(self._renamed(request.get("body")))
            kind = request.get("contentType", "application/json")
            self.replies[name] = (api or self.api).call(
                request["method"], path, body, content_type=kind, accept=request["accept"]
            )

    def _renamed(self, body: Any) -> Any:
        text = json.dumps(body)
        for old, new in self.aliases.items():
            text = text.replace(old, new)
        return json.loads(text)

    def body(self, name: str) -> Any:
        return self.replies[name].body

    def pods(self, prefix: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.cluster.list("pods", "recording")
            if pod["metadata"]["name"].startswith(prefix)
        ]

    def settle(self, prefix: str, count: int, *, kind: str = "pods") -> None:
        self.cluster.wait(
            lambda: (
                len(
                    [
                        one
                        for one in self.cluster.list(kind, "recording")
                        if one["metadata"]["name"].startswith(prefix)
                    ]
                )
                == count
            )
        )
        self.cluster.wait(lambda: self.cluster.is_settled)

    def make_ready(self) -> None:
        """What the recording's author did by hand, for want of a kubelet."""
        stamp = "2026-11-20T00:00:00Z"
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": stamp}
            for kind in ("Ready", "ContainersReady", "Initialized")
        ]
        for pod in self.pods(""):
            container = pod["spec"]["containers"][0]
            state = {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
            }
            state |= {"state": {"running": {"startedAt": stamp}}, "lastState": {}}
            status = {
                "phase": "Running",
                "conditions": conditions,
                "podIP": "10.9.9.9",
                "podIPs": [{"ip": "10.9.9.9"}],
                "containerStatuses": [state],
            }
            path = f"/api/v1/namespaces/recording/pods/{pod['metadata']['name']}/status"
            reply = self.api.call(
                "PATCH",
                path,
                {"status": status},
                content_type="application/strategic-merge-patch+json",
            )
            assert reply.status == 200, reply.body
        self.cluster.wait(lambda: self.cluster.is_settled)


def _set_up(script: Script) -> None:
    template = recording("node-get")["response"]["body"]
    nodes = [
        {
            **template,
            "metadata": {
                **template["metadata"],
                "name": f"node-{number:02d}",
                "uid": f"node-{number}",
            },
        }
        for number in range(20)
    ]
    script.cluster.load("nodes", nodes)
    script.api.call("DELETE", "/apis/storage.k8s.io/v1/storageclasses/standard")


def _perform(script: Script) -> None:
    _set_up(script)
    script.play(*(name for name in NAMES if name.startswith(("discovery-", "openapi-"))))
    script.play("version", "readyz", "livez", "unknown-path", "metrics-api-absent", "node-get")
    script.play("anonymous-forbidden", api=api_of(script.cluster, token=""))
    script.play("bad-token-unauthorized", api=api_of(script.cluster, token="wrong"))
    script.play("namespace-create", "namespace-create-conflict")
    script.settle("kube-root", 1, kind="configmaps")
    _deployment(script)
    _pods(script)
    _others(script)
    _endings(script)


def _deployment(script: Script) -> None:
    script.play(
        "deployment-create",
        "deployment-create-conflict",
        "deployment-create-invalid",
        "deployment-create-selector-mismatch",
    )
    script.settle("web-", 2)
    script.play(
        "deployment-get",
        "deployment-scale-get",
        "deployment-scale-patch",
        "deployment-scale-negative",
    )
    script.settle("web-", 3)
    script.aliases["web-5fb7cbb8c7-5vj74"] = script.pods("web-")[0]["metadata"]["name"]
    script.play("pod-get", "pod-get-missing", "pod-log-bad-container", "pod-log-not-running")
    script.play("deployment-patch-strategic-image")
    script.settle("web-", 4)
    script.play(
        "deployment-patch-json", "deployment-patch-wrong-content-type", "deployment-apply-dry-run"
    )
    script.settle("web-", 4)
    script.play("deployment-get-after", "replicasets-list")


def _pods(script: Script) -> None:
    script.play(
        *(
            name
            for name in NAMES
            if name.startswith("pods-list-")
            and name not in ("pods-list-continue", "pods-list-table")
        ),
        "pods-list",
    )
    token = script.body("pods-list-limit")["metadata"]["continue"]
    script.aliases[recording("pods-list-continue")["request"]["path"].partition("continue=")[2]] = (
        token
    )
    script.play("pods-list-continue", "pod-create-bare")
    script.settle("bare", 1)
    script.play(
        "method-not-allowed",
        "pod-delete-bare",
        "pod-delete-missing",
        "pdb-create",
        "eviction-missing-pod",
        "eviction-ok",
    )


def _others(script: Script) -> None:
    script.make_ready()
    script.play("service-create")
    script.settle("web", 1, kind="endpointslices.discovery.k8s.io")
    script.play("endpoints-get", "endpointslices-list", "configmap-create", "configmap-get")
    made = script.body("configmap-create")["metadata"]

    def current(body: Any) -> Any:
        return {
            **body,
            "metadata": {
                **body["metadata"],
                "uid": made["uid"],
                "resourceVersion": made["resourceVersion"],
            },
        }

    script.play("configmap-put", "configmap-put-stale", change=current)
    script.play(
        "configmap-put-name-mismatch",
        "secret-create",
        "secret-create-bad-base64",
        "statefulset-create",
        "daemonset-create",
    )
    script.settle("agent-", 20)
    script.settle("data-db-0", 1, kind="persistentvolumeclaims")
    script.play(
        "statefulset-get",
        "daemonset-get",
        "controllerrevisions-list",
        "pvcs-list",
        "job-create",
        "cronjob-create",
        "quota-create",
    )
    script.cluster.wait(
        lambda: (
            (script.cluster.get("resourcequotas", "q", "recording") or {})
            .get("status", {})
            .get("used")
        )
    )
    script.play("quota-get", "pod-create-over-quota")
    script.api.call("DELETE", "/api/v1/namespaces/recording/resourcequotas/q")
    script.play("limitrange-create", "role-create", "node-cordon", "events-list")
    script.cluster.compact()
    script.play("watch-gone", "watch-initial-events")


def _endings(script: Script) -> None:
    for _ in range(4):
        script.make_ready()
    new = [
        pod["metadata"]["name"]
        for pod in script.pods("web-")
        if pod["spec"]["containers"][0]["image"] == "nginx:1.28"
    ]
    limited = [
        name
        for name in new
        if (script.cluster.get("pods", name, "recording") or {})["spec"]["containers"][0][
            "resources"
        ].get("limits")
    ]
    script.aliases["web-76bbdd747b-hhncg"] = limited[0]
    script.play(
        "pod-get-running", "deployment-get-rolled-out", "pdb-get", "eviction-blocked-by-pdb"
    )
    for pod in script.pods(""):
        if pod["metadata"].get("deletionTimestamp"):
            script.api.call(
                "DELETE",
                f"/api/v1/namespaces/recording/pods/{pod['metadata']['name']}?gracePeriodSeconds=0",
            )
    script.play(
        "deployments-list-table",
        "nodes-list-table",
        "pods-list-table",
        "list-exact-expired",
        "list-too-large-resource-version",
    )
    version = script.api.get("/api/v1/namespaces/recording/configmaps").body["metadata"][
        "resourceVersion"
    ]
    script.api.merge("/api/v1/namespaces/recording/configmaps/cm", {"data": {"b": "1"}})
    script.api.call("DELETE", "/api/v1/namespaces/recording/configmaps/cm")
    script.aliases["resourceVersion=20743"] = f"resourceVersion={version}"
    script.play("watch-modified-deleted")


@pytest.fixture(scope="module")
def replayed() -> Iterator[dict[str, Reply]]:
    with running_cluster(kubelet=False, metrics=False, nodes=0, time_scale=1) as cluster:
        script = Script(cluster)
        _perform(script)
        yield script.replies


def shape(value: Any, path: str = "") -> set[str]:
    """The paths of all keys; the items of a list count together; what managers own is not looked into."""
    if isinstance(value, dict):
        if path.endswith((".labels", ".annotations", ".fieldsV1", ".matchLabels", ".nodeSelector")):
            return {path}
        below = [shape(item, f"{path}.{key}" if path else key) for key, item in value.items()]
        return {path, *(found for part in below for found in part)}
    if isinstance(value, list):
        return {path, *(found for item in value for found in shape(item, f"{path}[]"))}
    return {path}


def exempted(name: str, path: str) -> bool:
    return any(
        path == one or (one.endswith("*") and path.startswith(one[:-1]))
        for one in EXEMPT.get(name, {})
    )


def lines(body: Any) -> Any:
    """The events of a watch."""
    return (
        [json.loads(line) for line in body.splitlines()]
        if isinstance(body, str) and body.startswith("{")
        else body
    )


def steady(text: str) -> str:
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_exchange_comes_out_the_same(name: str, replayed: dict[str, Reply]) -> None:
    recorded, ours = recording(name)["response"], replayed[name]
    assert ours.status == recorded["status"], ours.raw[:600]
    assert ours.headers["Content-Type"] == recorded["contentType"]
    for header, value in recorded["headers"].items():
        assert ours.headers[header] == value
    text = isinstance(recorded["body"], str) and not recorded["body"].startswith("{")
    if text:
        assert ours.raw.decode() == recorded["body"]
        return
    ours_body: Any = lines(ours.raw.decode()) if isinstance(recorded["body"], str) else ours.body
    theirs = lines(recorded["body"])
    difference = {path for path in shape(ours_body) ^ shape(theirs) if not exempted(name, path)}
    assert difference == set()
    if isinstance(theirs, dict) and theirs.get("kind") == "Status":
        assert {key: ours_body.get(key) for key in ("reason", "code", "status")} == {
            key: theirs.get(key) for key in ("reason", "code", "status")
        }
        assert steady(ours_body.get("message", "")) == steady(theirs.get("message", ""))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if name.endswith("-create") and recording(name)["response"]["status"] == 201
    ],
)
def test_a_created_object_has_the_recorded_defaults_and_owners(
    name: str, replayed: dict[str, Reply]
) -> None:
    def fixed(obj: dict[str, Any]) -> dict[str, Any]:
        uid = obj["metadata"]["uid"]
        text = json.dumps(obj).replace(uid, "UID")
        return json.loads(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text))  # type: ignore[no-any-return]

    theirs, ours = fixed(recording(name)["response"]["body"]), fixed(replayed[name].body)
    for obj in (theirs, ours):
        obj["metadata"].pop("resourceVersion")
        for key in ("clusterIP", "clusterIPs"):
            obj.get("spec", {}).pop(key, None)
    assert ours == theirs


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.startswith("discovery-") and name not in EXEMPT]
)
def test_discovery_is_the_recorded_one_to_the_letter(name: str, replayed: dict[str, Reply]) -> None:
    theirs, ours = recording(name)["response"]["body"], replayed[name].body
    theirs.pop("serverAddressByClientCIDRs", None)
    ours.pop("serverAddressByClientCIDRs", None)
    assert ours == theirs


@pytest.mark.parametrize("name", ["pods-list-table", "deployments-list-table", "nodes-list-table"])
def test_tables_have_the_recorded_columns(name: str, replayed: dict[str, Reply]) -> None:
    def columns(body: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [
            (one["name"], one["type"], one["format"], one["priority"])
            for one in body["columnDefinitions"]
        ]

    theirs, ours = recording(name)["response"]["body"], replayed[name].body
    assert columns(ours) == columns(theirs)
    assert [type(cell) for cell in ours["rows"][0]["cells"]] == [
        type(cell) for cell in theirs["rows"][0]["cells"]
    ]


def test_every_exemption_names_a_recording_and_a_reason() -> None:
    assert set(EXEMPT) <= set(NAMES)
    assert all(len(reason) > 20 for paths in EXEMPT.values() for reason in paths.values())
