"""What every Kubernetes API server does: run against the simulated one, or against a real one with `KUBEGALE_TEST_KUBECONFIG`.

On a real cluster the tests work in namespaces of their own, `kubegale-contract-*`, and one custom kind; both are removed at the end.
"""

import base64
import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from simcluster.testing import running_cluster
from simcluster.tests.conftest import DEPLOYMENT, Api, Reply, api_of

GROUP = f"contract-{uuid.uuid4().hex[:6]}.example.com"
KUBECONFIG = os.environ.get("KUBEGALE_TEST_KUBECONFIG", "")
PATIENCE = 180 if KUBECONFIG else 15
STRATEGIC, MERGE, APPLY = (
    "application/strategic-merge-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)


def real_api(path: Path, scratch: Path) -> Api:
    """A client out of a kubeconfig: a token, or a client certificate."""
    document = yaml.safe_load(path.read_text())
    context = next(
        one["context"] for one in document["contexts"] if one["name"] == document["current-context"]
    )
    cluster = next(
        one["cluster"] for one in document["clusters"] if one["name"] == context["cluster"]
    )
    user = next(one["user"] for one in document["users"] if one["name"] == context["user"])
    certificate = None
    if "client-certificate-data" in user:
        certificate = scratch / "client.pem"
        certificate.write_bytes(
            b"\n".join(
                base64.b64decode(user[f"client-{part}-data"]) for part in ("key", "certificate")
            )
        )
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Api(
        cluster["server"].rstrip("/"), authority, user.get("token", ""), certificate=certificate
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    if KUBECONFIG:
        yield real_api(Path(KUBECONFIG), tmp_path_factory.mktemp("contract"))
        return
    with running_cluster(time_scale=20) as cluster:
        yield api_of(cluster)


@pytest.fixture
def space(server: Api) -> Iterator[str]:
    name = f"kubegale-contract-{uuid.uuid4().hex[:8]}"
    assert (
        server.post(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        ).status
        == 201
    )
    until(lambda: server.get(f"/api/v1/namespaces/{name}/serviceaccounts/default").status == 200)
    yield name
    server.call("DELETE", f"/api/v1/namespaces/{name}")


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(1 if KUBECONFIG else 0.03)
    return found


def deploy(server: Api, space: str, **spec: Any) -> str:
    body = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **spec}}
    reply = server.post(f"/apis/apps/v1/namespaces/{space}/deployments", body)
    assert reply.status == 201, reply.body
    return f"/apis/apps/v1/namespaces/{space}/deployments/web"


def available(server: Api, path: str, replicas: int) -> bool:
    found = server.get(path).body
    status = found["status"]
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return bool(
        seen
        and status.get("availableReplicas", 0)
        == status.get("updatedReplicas", 0)
        == status.get("replicas", 0)
        == replicas
    )


def refused(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body["reason"]


def config(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"suite": "contract"}},
        "data": data,
    }


def test_discovery_names_kinds_their_scope_and_subresources(server: Api) -> None:
    rows = {row["name"]: row for row in server.get("/apis/apps/v1").body["resources"]}
    assert rows["deployments"]["kind"] == "Deployment"
    assert rows["deployments"]["namespaced"] is True
    assert {
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
    } <= set(rows["deployments"]["verbs"])
    assert rows["deployments/scale"]["kind"] == "Scale"
    assert "pods/log" in {row["name"] for row in server.get("/api/v1").body["resources"]}
    assert "apps" in {group["name"] for group in server.get("/apis").body["groups"]}


def test_names_are_unique_and_generated_on_demand(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    assert server.post(base, config("a")).status == 201
    assert refused(server.post(base, config("a"))) == (409, "AlreadyExists")
    body = {**config("x"), "metadata": {"generateName": "gen-"}}
    names = {server.post(base, body).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


def test_an_update_from_an_older_state_is_a_conflict(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    first = server.post(base, config("a", n="1")).body
    assert server.call("PUT", f"{base}/a", {**first, "data": {"n": "2"}}).status == 200
    assert refused(server.call("PUT", f"{base}/a", {**first, "data": {"n": "3"}})) == (
        409,
        "Conflict",
    )
    assert server.get(f"{base}/a").body["data"] == {"n": "2"}


def test_an_update_that_changes_nothing_keeps_the_version(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    first = server.post(base, config("a", n="1")).body
    again = server.call("PUT", f"{base}/a", first).body
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("change", "status", "reason", "words"),
    [
        (
            {"replicas": "two"},
            400,
            "BadRequest",
            "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"replicas": 10.0},
            400,
            "BadRequest",
            'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
            "number 10.0 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"replicas": 3_000_000_000},
            400,
            "BadRequest",
            "cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas",
        ),
        (
            {"replicas": True},
            400,
            "BadRequest",
            "cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"paused": "yes"},
            400,
            "BadRequest",
            "cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            {"replicas": -1},
            422,
            "Invalid",
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        ({"selector": None}, 422, "Invalid", "spec.selector: Required value"),
        (
            {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
            422,
            "Invalid",
            "spec.template.spec.containers: Required value",
        ),
        (
            {
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "Bad_Name", "image": "x"}]},
                }
            },
            422,
            "Invalid",
            "spec.template.spec.containers[0].name: Invalid value",
        ),
    ],
)
def test_a_bad_field_is_refused_by_name_and_nothing_is_made(
    server: Api, space: str, change: dict[str, Any], status: int, reason: str, words: str
) -> None:
    body = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **change}}
    reply = server.post(f"/apis/apps/v1/namespaces/{space}/deployments", body)
    assert refused(reply) == (status, reason)
    assert words in reply.body["message"]
    assert server.get(f"/apis/apps/v1/namespaces/{space}/deployments/web").status == 404


def test_unknown_fields_are_dropped_warned_about_or_refused(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    body = {**config("a"), "colour": "red"}
    warned = server.post(base, body)
    assert (warned.status, "colour" in warned.body) == (201, False)
    assert 'unknown field \\"colour\\"' in warned.headers["Warning"]
    strict = server.post(f"{base}?fieldValidation=Strict", {**body, "metadata": {"name": "b"}})
    assert refused(strict) == (400, "BadRequest")
    assert 'unknown field "colour"' in strict.body["message"]
    assert (
        "Warning"
        not in server.post(
            f"{base}?fieldValidation=Ignore", {**body, "metadata": {"name": "c"}}
        ).headers
    )


def test_broken_json_and_foreign_kinds_are_refused(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    assert server.post(base, b"{").status == 400
    assert (
        server.post(base, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}).status
        == 400
    )
    assert (
        server.post(
            base, {**config("a"), "metadata": {"name": "a", "namespace": "elsewhere"}}
        ).status
        == 400
    )


def test_a_dry_run_shows_the_result_and_keeps_nothing(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    reply = server.post(f"{base}?dryRun=All", config("a"))
    assert (reply.status, reply.body["metadata"]["name"]) == (201, "a")
    assert server.get(f"{base}/a").status == 404
    server.post(base, config("a", n="1"))
    assert server.call(
        "PATCH", f"{base}/a?dryRun=All", {"data": {"n": "2"}}, content_type=MERGE
    ).body["data"] == {"n": "2"}
    assert server.call("DELETE", f"{base}/a?dryRun=All").status == 200
    assert server.get(f"{base}/a").body["data"] == {"n": "1"}


def test_pages_cover_the_list_exactly_once(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/configmaps"
    for number in range(7):
        server.post(base, config(f"c{number}"))
    names, query = [], f"{base}?limit=3&labelSelector=suite%3Dcontract"
    token = ""
    while True:
        body = server.get(f"{query}&continue={token}" if token else query).body
        names += [item["metadata"]["name"] for item in body["items"]]
        token = body["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"c{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("tier=front", ["a"]),
        ("tier!=front", ["b", "c"]),
        ("tier in (front,back)", ["a", "b"]),
        ("tier notin (front)", ["b", "c"]),
        ("tier", ["a", "b"]),
        ("!tier,n", ["c"]),
    ],
)
def test_label_selectors_choose(server: Api, space: str, selector: str, found: list[str]) -> None:
    base = f"/api/v1/namespaces/{space}/secrets"
    for name, labels in (
        ("a", {"tier": "front", "n": "1"}),
        ("b", {"tier": "back", "n": "1"}),
        ("c", {"n": "1"}),
    ):
        server.post(
            base,
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}},
        )
    items = server.pool.request(
        "GET", server.url + base, fields={"labelSelector": f"{selector}"}, headers=server.headers()
    ).json()["items"]
    assert [item["metadata"]["name"] for item in items] == found


def test_a_watch_resumes_where_a_list_ended(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/secrets"
    version = server.get(base).body["metadata"]["resourceVersion"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    server.post(base, secret)
    server.merge(f"{base}/a", {"metadata": {"labels": {"x": "1"}}})
    server.call("DELETE", f"{base}/a")
    events = server.watch(f"{base}?resourceVersion={version}", seconds=2)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


def test_a_table_has_rows_for_people(server: Api, space: str) -> None:
    base = f"/api/v1/namespaces/{space}/secrets"
    server.post(
        base,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": "v"}},
    )
    table = server.get(
        f"{base}/a", accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    ).body
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "Type",
        "Data",
        "Age",
    ]
    assert table["rows"][0]["cells"][:3] == ["a", "Opaque", 1]


def test_apply_owns_fields_and_conflicts_are_named(server: Api, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/a"
    mine = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"x": "1", "y": "1"},
    }
    assert server.call("PATCH", f"{path}?fieldManager=one", mine, content_type=APPLY).status == 201
    theirs = {**mine, "data": {"x": "2"}}
    clash = server.call("PATCH", f"{path}?fieldManager=two", theirs, content_type=APPLY)
    assert refused(clash) == (409, "Conflict")
    assert [cause["field"] for cause in clash.body["details"]["causes"]] == [".data.x"]
    assert 'conflict with "one"' in clash.body["message"]
    forced = server.call("PATCH", f"{path}?fieldManager=two&force=true", theirs, content_type=APPLY)
    assert forced.body["data"] == {"x": "2", "y": "1"}
    less = server.call(
        "PATCH", f"{path}?fieldManager=one", {**mine, "data": {}}, content_type=APPLY
    )
    assert less.body["data"] == {"x": "2"}
    assert refused(server.call("PATCH", path, mine, content_type=APPLY))[0] in (400, 422)


def test_strategic_patches_merge_lists_by_key_and_delete_on_demand(server: Api, space: str) -> None:
    path = deploy(server, space, replicas=0)
    added = {
        "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox:1"}]}}}
    }
    both = server.call("PATCH", path, added, content_type=STRATEGIC).body["spec"]["template"][
        "spec"
    ]["containers"]
    assert sorted(one["name"] for one in both) == ["side", "web"]
    gone = {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    left = server.call("PATCH", path, gone, content_type=STRATEGIC).body["spec"]["template"][
        "spec"
    ]["containers"]
    assert [one["name"] for one in left] == ["web"]


def test_a_deployment_rolls_out_scales_and_leaves_nothing_behind(server: Api, space: str) -> None:
    path = deploy(server, space)
    until(lambda: available(server, path, 2))
    assert (
        server.call("PATCH", f"{path}/scale", {"spec": {"replicas": 3}}, content_type=MERGE).body[
            "spec"
        ]["replicas"]
        == 3
    )
    until(lambda: available(server, path, 3))
    image = {
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1.28"}]}}}
    }
    server.call("PATCH", path, image, content_type=STRATEGIC)
    until(lambda: available(server, path, 3))
    sets = server.get(f"/apis/apps/v1/namespaces/{space}/replicasets").body["items"]
    assert sorted(
        (
            one["spec"]["replicas"],
            one["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        )
        for one in sets
    ) == [
        (0, "1"),
        (3, "2"),
    ]
    server.call("DELETE", path, {"propagationPolicy": "Background"})
    until(lambda: not server.get(f"/api/v1/namespaces/{space}/pods").body["items"])
    until(lambda: not server.get(f"/apis/apps/v1/namespaces/{space}/replicasets").body["items"])


def test_orphans_stay_when_their_owner_goes(server: Api, space: str) -> None:
    path = deploy(server, space, replicas=1)
    until(lambda: available(server, path, 1))
    server.call("DELETE", path, {"propagationPolicy": "Orphan"})
    until(lambda: server.get(path).status == 404)
    sets = server.get(f"/apis/apps/v1/namespaces/{space}/replicasets").body["items"]
    assert [one["metadata"].get("ownerReferences") for one in sets] == [None]


def test_evictions_respect_the_budget(server: Api, space: str) -> None:
    path = deploy(server, space)
    until(lambda: available(server, path, 2))
    budgets = f"/apis/policy/v1/namespaces/{space}/poddisruptionbudgets"
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}}
    server.post(
        budgets, {**body, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}
    )
    until(lambda: server.get(f"{budgets}/web").body.get("status", {}).get("currentHealthy") == 2)
    pod = server.get(f"/api/v1/namespaces/{space}/pods").body["items"][0]["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": space},
    }
    blocked = server.post(f"/api/v1/namespaces/{space}/pods/{pod}/eviction", eviction)
    assert refused(blocked) == (429, "TooManyRequests")
    assert blocked.body["details"]["causes"][0]["reason"] == "DisruptionBudget"
    server.merge(f"{budgets}/web", {"spec": {"minAvailable": 1}})
    until(lambda: server.get(f"{budgets}/web").body["status"]["disruptionsAllowed"] == 1)
    assert server.post(f"/api/v1/namespaces/{space}/pods/{pod}/eviction", eviction).status == 201
    until(lambda: server.get(f"/api/v1/namespaces/{space}/pods/{pod}").status == 404)


def running_box(server: Api, space: str, script: str) -> str:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "box"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {"name": "box", "image": "busybox:1.37", "command": ["sh", "-c", script]}
            ],
        },
    }
    path = f"/api/v1/namespaces/{space}/pods"
    assert server.post(path, pod).status == 201
    until(lambda: server.get(f"{path}/box").body["status"].get("phase") == "Running")
    return f"{path}/box"


def test_logs_are_what_the_container_printed(server: Api, space: str) -> None:
    path = running_box(server, space, "for n in 1 2 3; do echo line $n; done; sleep 3600")
    until(lambda: server.get(f"{path}/log").raw.count(b"\n") == 3)
    assert server.get(f"{path}/log").raw == b"line 1\nline 2\nline 3\n"
    assert server.get(f"{path}/log?tailLines=1").raw == b"line 3\n"
    stamped = server.get(f"{path}/log?timestamps=true&tailLines=1").raw.decode()
    assert stamped.endswith(" line 3\n")
    assert stamped[4] == "-"


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_exec_streams_both_ways_and_tells_the_exit_code(
    server: Api, space: str, protocol: str
) -> None:
    path = running_box(server, space, "sleep 3600")
    query = (
        "command=sh&command=-c&command=head+-n+1%3B+ls+%2Fnope%3B+exit+3&stdin=1&stdout=1&stderr=1"
    )
    url = server.url.replace("https://", "wss://") + f"{path}/exec?{query}"
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    frames: dict[int, bytes] = {}
    with connect(
        url, ssl=server.context, subprotocols=[protocol], additional_headers=headers
    ) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == protocol
        socket.send(b"\x00hello world\n")
        if protocol.startswith("v5"):
            # It may have read its line, and be gone, by now.
            with contextlib.suppress(ConnectionClosed):
                socket.send(b"\xff\x00")
        for frame in socket:
            data = frame if isinstance(frame, bytes) else frame.encode()
            frames[data[0]] = frames.get(data[0], b"") + data[1:]
            if data[0] == 3 and data[1:]:
                break
    assert frames[1] == b"hello world\n"
    assert b"/nope: No such file or directory" in frames[2]
    outcome = json.loads(frames[3])
    assert (outcome["status"], outcome["reason"]) == ("Failure", "NonZeroExitCode")
    assert outcome["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_a_terminal_has_the_size_that_it_was_last_given(
    server: Api, space: str, protocol: str
) -> None:
    path = running_box(server, space, "sleep 3600")
    url = server.url.replace("https://", "wss://") + (
        f"{path}/exec?command=sh&stdin=1&stdout=1&tty=1"
    )
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    output = b""
    with connect(
        url, ssl=server.context, subprotocols=[protocol], additional_headers=headers
    ) as socket:  # type: ignore[list-item]

        def read_until(text: bytes) -> None:
            nonlocal output
            while text not in output:
                frame = socket.recv(timeout=PATIENCE)
                output += frame[1:] if isinstance(frame, bytes) else frame[1:].encode()

        for width, height in ((120, 40), (91, 17)):
            size = {"Width": width, "Height": height}
            socket.send(b"\x04" + json.dumps(size).encode())
            # A nested shell sees it too, and the size changes while that runs.
            socket.send(b"\x00sh\nstty size\n")
            read_until(f"{height} {width}\r\n".encode())
        socket.send(b'\x04{"Width": 0, "Height": 5}')
        socket.send(b"\x00stty size; stty -echo; echo qui''et\n")
        read_until(b"quiet\r\n")
        socket.send(b"\x00echo se''cret\n")
        read_until(b"secret\r\n")
    assert output.endswith(b"secret\r\n")
    assert b"se''cret" not in output
    assert output.count(b"17 91\r\n") == 2


def test_a_job_runs_to_completion(server: Api, space: str) -> None:
    template = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {"name": "c", "image": "busybox:1.37", "command": ["sh", "-c", "echo done"]}
            ],
        }
    }
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"completions": 2, "parallelism": 2, "template": template},
    }
    path = f"/apis/batch/v1/namespaces/{space}/jobs"
    assert server.post(path, body).status == 201

    def complete() -> bool:
        found = server.get(f"{path}/once").body["status"]
        return any(
            one["type"] == "Complete" and one["status"] == "True"
            for one in found.get("conditions") or ()
        )

    until(complete)
    assert server.get(f"{path}/once").body["status"]["succeeded"] == 2


def test_a_service_follows_its_pods(server: Api, space: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    assert server.post(f"/api/v1/namespaces/{space}/services", body).body["spec"]["clusterIP"]
    path = deploy(server, space)
    until(lambda: available(server, path, 2))
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb"

    def ready() -> int:
        items = server.get(slices).body["items"]
        return sum(
            bool(one["conditions"].get("ready"))
            for item in items
            for one in item.get("endpoints") or ()
        )

    until(lambda: ready() == 2)
    server.call("PATCH", f"{path}/scale", {"spec": {"replicas": 1}}, content_type=MERGE)
    until(lambda: ready() == 1)


def test_a_quota_counts_in_whole_objects(server: Api, space: str) -> None:
    quota = {"metadata": {"name": "half"}, "spec": {"hard": {"pods": "1.5", "limits.cpu": "1.5"}}}
    reply = server.post(f"/api/v1/namespaces/{space}/resourcequotas", quota)
    assert refused(reply) == (422, "Invalid")
    assert "spec.hard[pods]: Invalid value" in reply.body["message"]
    assert "must be an integer" in reply.body["message"]
    assert "limits.cpu" not in reply.body["message"]


def test_a_quota_stops_what_goes_over_it(server: Api, space: str) -> None:
    quotas = f"/api/v1/namespaces/{space}/resourcequotas"
    server.post(
        quotas,
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q"},
            "spec": {"hard": {"count/secrets": "1"}},
        },
    )
    until(
        lambda: (
            server.get(f"{quotas}/q").body.get("status", {}).get("used") == {"count/secrets": "0"}
        )
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "s-"}}
    assert server.post(f"/api/v1/namespaces/{space}/secrets", secret).status == 201
    over = server.post(f"/api/v1/namespaces/{space}/secrets", secret)
    assert refused(over) == (403, "Forbidden")
    assert (
        "exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1"
        in over.body["message"]
    )


def test_a_namespace_takes_everything_with_it(server: Api, space: str) -> None:
    server.post(f"/api/v1/namespaces/{space}/configmaps", config("a"))
    assert (
        server.call("DELETE", f"/api/v1/namespaces/{space}").body["status"]["phase"]
        == "Terminating"
    )
    until(lambda: server.get(f"/api/v1/namespaces/{space}").status == 404)
    assert server.get(f"/api/v1/namespaces/{space}/configmaps").body["items"] == []


def test_a_finalizer_holds_an_object_back(server: Api, space: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps"
    server.post(
        path, {**config("a"), "metadata": {"name": "a", "finalizers": ["example.com/hold"]}}
    )
    server.call("DELETE", f"{path}/a")
    assert server.get(f"{path}/a").body["metadata"]["deletionTimestamp"]
    server.merge(f"{path}/a", {"metadata": {"finalizers": None}})
    assert server.get(f"{path}/a").status == 404


def test_a_custom_kind_is_served_validated_and_withdrawn(server: Api, space: str) -> None:
    properties = {"size": {"type": "integer"}}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": properties},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{GROUP}"},
    }
    definition["spec"] = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": names,
        "versions": [version],
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert server.post(definitions, definition).status == 201
    path = f"/apis/{GROUP}/v1/namespaces/{space}/widgets"
    try:
        until(lambda: server.get(path).status == 200)
        body = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"size": 3},
            "status": {"x": 1},
        }
        made = server.post(path, body)
        assert (made.status, made.body["metadata"]["generation"], "status" in made.body) == (
            201,
            1,
            False,
        )
        wrong = server.post(path, {**body, "metadata": {"name": "v"}, "spec": {"size": "three"}})
        assert refused(wrong) == (422, "Invalid")
        assert (
            'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'
            in wrong.body["message"]
        )
        status = server.call(
            "PATCH",
            f"{path}/w/status",
            {"status": {"x": 2}, "spec": {"size": 9}},
            content_type=MERGE,
        ).body
        assert (status["status"], status["spec"]) == ({"x": 2}, {"size": 3})
        assert server.get(path).body["kind"] == "WidgetList"
    finally:
        server.call("DELETE", f"{definitions}/widgets.{GROUP}")
    until(lambda: server.get(path).status == 404)


def test_access_reviews_answer(server: Api, space: str) -> None:
    asked = {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": space}}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": asked,
    }
    reply = server.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert (reply.status, reply.body["status"]["allowed"]) == (201, True)


def test_a_service_account_may_do_what_its_roles_say(server: Api, space: str) -> None:
    token = server.post(
        f"/api/v1/namespaces/{space}/serviceaccounts/default/token",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )
    assert token.status == 201
    headers = {"Authorization": f"Bearer {token.body['status']['token']}"}
    pods = f"{server.url}/api/v1/namespaces/{space}/pods"
    denied = server.pool.request("GET", pods, headers=headers)
    assert denied.status == 403
    assert (
        f'User "system:serviceaccount:{space}:default" cannot list resource "pods"'
        in denied.json()["message"]
    )
    group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "look"},
    }
    server.post(
        f"{group}/roles",
        {**role, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
    )
    binding = {
        **role,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "look"},
    }
    server.post(
        f"{group}/rolebindings",
        {
            **binding,
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": space}],
        },
    )
    until(lambda: server.pool.request("GET", pods, headers=headers).status == 200)
    assert server.pool.request("POST", pods, headers=headers, body=b"{}").status == 403


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [_bomb(), "a: " + "[" * 5000, "a: " + "{a: " * 5000, "a: &a [*a]"])
def test_a_yaml_bomb_is_refused_before_it_is_built(server: Api, space: str, text: str) -> None:
    path = f"/api/v1/namespaces/{space}/configmaps/bomb?fieldManager=x"
    answer = server.call("PATCH", path, text.encode(), content_type="application/apply-patch+yaml")
    assert refused(answer) == (400, "BadRequest")


@pytest.mark.parametrize("text", ["1e1", "1.5", "10.0", "1e400"])
def test_an_integer_is_refused_in_the_words_that_it_was_sent_in(
    server: Api, space: str, text: str
) -> None:
    containers = [{"name": "web", "image": "nginx", "ports": [{"containerPort": 7777}]}]
    pod = {"metadata": {"name": "odd"}, "spec": {"containers": containers}}
    raw = json.dumps(pod).replace("7777", text).encode()
    answer = server.call("POST", f"/api/v1/namespaces/{space}/pods", raw)
    if text == "1e400":
        assert refused(answer) == (400, "BadRequest")
        return
    assert answer.body["message"] == (
        'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number '
        f"{text} into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"
    )


@pytest.mark.parametrize("text", ["2.0", "3000000000", '"2"', "true"])
def test_a_scale_takes_integers_only(server: Api, space: str, text: str) -> None:
    path = f"/apis/apps/v1/namespaces/{space}/deployments"
    server.post(path, DEPLOYMENT)
    raw = b'{"spec": {"replicas": ' + text.encode() + b"}}"
    answer = server.call(
        "PATCH", f"{path}/web/scale", raw, content_type="application/merge-patch+json"
    )
    assert refused(answer)[0] in (400, 422)
    assert "of type int32" in answer.body["message"]
    assert server.get(f"{path}/web").body["spec"]["replicas"] == 2


@pytest.mark.parametrize("text", ["1e0", "1.0", "01", "1"])
def test_numbers_of_yaml_are_written_as_integers(server: Api, space: str, text: str) -> None:
    deployment = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 7777}}
    raw = yaml.safe_dump(deployment).replace("7777", text).encode()
    path = f"/apis/apps/v1/namespaces/{space}/deployments"
    made = server.call("POST", path, raw, content_type="application/yaml")
    assert made.body["spec"]["replicas"] == 1


@pytest.mark.parametrize("text", ["1:30", "=", "2026-11-28", "0x"])
def test_plain_text_of_yaml_stays_text(server: Api, space: str, text: str) -> None:
    raw = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: plain}}\ndata: {{a: {text}}}\n"
    path = f"/api/v1/namespaces/{space}/configmaps"
    made = server.call("POST", path, raw.encode(), content_type="application/yaml")
    assert made.body["data"] == {"a": text}


@pytest.mark.parametrize(
    "text", ["!!int " + "1:" * 500_000 + "1", "!!float " + "1:" * 999 + "1.5", "!!float ''"]
)
def test_scalars_that_do_not_fit_their_tag_are_refused_at_once(
    server: Api, space: str, text: str
) -> None:
    raw = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odd}}\ndata: {{a: {text}}}\n"
    path = f"/api/v1/namespaces/{space}/configmaps"
    answer = server.call("POST", path, raw.encode(), content_type="application/yaml")
    assert refused(answer) == (400, "BadRequest")


def test_a_kubeconfig_outlives_a_restart(tmp_path: Path) -> None:
    with running_cluster(nodes=1, folder=tmp_path) as first:
        before = first.kubeconfig
        port = int(first.url.rpartition(":")[2])
    with running_cluster(nodes=1, folder=tmp_path, port=port) as second:
        assert second.kubeconfig == before
        assert api_of(second).get("/api/v1/nodes").status == 200
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
