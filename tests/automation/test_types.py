"""What each type of task does to a cluster, and that its dry run says exactly that."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from access.models import AuditEntry
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.access.conftest import Person
from tests.automation.conftest import Script, states
from tests.caller import Caller
from tests.receiver import Receiver, running_receiver
from tests.turning import finish, take_turn
from tests.workloads.conftest import Put, pods_of, workload


def replicas(script: Script, name: str = "web") -> int:
    """What the Deployment asks for."""
    found = script.caller.data(
        "GET",
        f"deployments/{name}",
        cluster_id=script.cluster.pk,
        namespace=script.space,
    )
    return int(found["spec"]["replicas"])


def writes(apiserver: RunningCluster) -> list[str]:
    """Requests that change something."""
    return [
        f"{request.method} {request.path}"
        for request in apiserver.requests
        if request.method != "GET" and "dryRun" not in request.query
    ]


def test_scale_to_zero_and_back(script: Script, put: Put, apiserver: RunningCluster) -> None:
    put("deployments", workload(replicas=3))
    put("deployments", workload("other", replicas=1))
    task = script.make("scale", {"replicas": 0})
    apiserver.requests.clear()
    planned = script.rehearse(task)
    assert not writes(apiserver)
    assert planned["dry_run"]
    assert planned["state"] == "succeeded"
    assert {(step["name"], step["state"], step["message"]) for step in planned["steps"]} == {
        ("other", "pending", "scaled from 1 to 0 replicas"),
        ("web", "pending", "scaled from 3 to 0 replicas"),
    }
    run = script.finish(script.start(task))
    assert run["state"] == "succeeded"
    assert states(run) == [("other", "succeeded"), ("web", "succeeded")]
    assert run["result"] == {"steps": 2, "succeeded": 2}
    assert (replicas(script), replicas(script, "other")) == (0, 0)
    # Once more there is nothing to do, which forgets nothing of what was before.
    assert script.finish(script.start(task))["state"] == "skipped"
    script.caller.data("PUT", f"tasks/{task['id']}", {"params": {"restore": True}})
    run = script.finish(script.start(task))
    assert run["state"] == "succeeded"
    assert (replicas(script), replicas(script, "other")) == (3, 1)
    assert script.finish(script.start(task))["state"] == "skipped"
    lines = AuditEntry.objects.filter(verb="scale", kind="deployments", name="web")
    assert [row.username for row in lines] == ["admin", "admin"]
    assert lines[0].details["via"] == "task"
    assert lines[0].details["task"] == task["id"]


def test_scale_by_a_percentage_and_restored_by_another_task(script: Script, put: Put) -> None:
    put("deployments", workload(replicas=3))
    assert script.run("scale", {"percent": 50})["state"] == "succeeded"
    assert replicas(script) == 2
    assert script.run("scale", {"restore": True})["state"] == "succeeded"
    assert replicas(script) == 3


def test_scale_with_an_autoscaler(script: Script, put: Put) -> None:
    put("deployments", workload(replicas=3))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5}
    put("horizontalpodautoscalers", {"metadata": {"name": "auto"}, "spec": spec})

    def minimum() -> int:
        found = script.caller.data(
            "GET",
            "horizontalpodautoscalers/auto",
            cluster_id=script.cluster.pk,
            namespace=script.space,
        )
        return int(found["spec"]["minReplicas"])

    run = script.run("scale", {"replicas": 4})
    assert run["state"] == "succeeded"
    assert "minReplicas of auto" in run["steps"][0]["message"]
    assert minimum() == 4
    assert script.run("scale", {"restore": True})["state"] == "succeeded"
    assert minimum() == 2
    run = script.run("scale", {"replicas": 9})
    assert run["state"] == "failed"
    assert "allows 5 replicas at most" in run["steps"][0]["message"]
    assert script.run("scale", {"replicas": 4, "hpa": "refuse"})["state"] == "failed"
    # To zero the Deployment itself is scaled: the autoscaler rests.
    run = script.run("scale", {"replicas": 0})
    assert run["state"] == "succeeded"
    assert "HorizontalPodAutoscaler" not in run["steps"][0]["message"]
    assert (replicas(script), minimum()) == (0, 2)
    # The autoscaler may have raised the number meanwhile: what counts is what was before.
    before = int(run["steps"][0]["message"].split()[2])
    assert before >= 3
    run = script.run("scale", {"restore": True})
    assert run["steps"][0]["message"] == f"scaled from 0 to {before} replicas"
    assert minimum() == 2


def test_a_failure_is_rolled_back(script: Script, put: Put, apiserver: RunningCluster) -> None:
    for name in ("first", "second", "third"):
        put("deployments", workload(name, replicas=3))
    path = f"/{script.space}/deployments/second/scale"
    apiserver.faults.add(method="PATCH", path=path, action="status", code=422)
    try:
        run = script.run("scale", {"replicas": 1}, on_failure="rollback")
    finally:
        apiserver.faults.clear()
    assert run["state"] == "failed"
    assert run["reason"] == "SomeFailed"
    assert states(run) == [("first", "succeeded"), ("second", "failed"), ("third", "skipped")]
    assert run["steps"][0]["rolled_back"]
    assert not run["steps"][2]["rolled_back"]
    assert "rolled back to 3 replicas" in run["steps"][0]["message"]
    assert [replicas(script, name) for name in ("first", "second", "third")] == [3, 3, 3]
    # Without it the same failure leaves what was done, and may go on.
    apiserver.faults.add(method="PATCH", path=path, action="status", code=422)
    try:
        run = script.run("scale", {"replicas": 1}, on_failure="continue")
    finally:
        apiserver.faults.clear()
    assert states(run) == [("first", "succeeded"), ("second", "failed"), ("third", "succeeded")]
    assert [replicas(script, name) for name in ("first", "second", "third")] == [1, 3, 1]


def test_another_attempt_heals(script: Script, put: Put, apiserver: RunningCluster) -> None:
    put("deployments", workload(replicas=3))
    path = f"/{script.space}/deployments/web/scale"
    apiserver.faults.add(method="PATCH", path=path, action="status", code=422, times=2)
    try:
        run = script.run("scale", {"replicas": 1}, retries=2)
    finally:
        apiserver.faults.clear()
    assert run["state"] == "succeeded"
    assert replicas(script) == 1


def test_restart_and_set_image(script: Script, put: Put, apiserver: RunningCluster) -> None:
    put("deployments", workload(replicas=1))
    run = script.run("restart", {"wait": True})
    assert run["state"] == "succeeded", run
    assert run["steps"][0]["message"].startswith("restarted")
    task = script.make("set_image", {"image": "nginx:2"})
    assert script.rehearse(task)["steps"][0]["message"] == (
        "the image of container main changes from nginx:1 to nginx:2"
    )
    assert script.finish(script.start(task))["state"] == "succeeded"
    assert script.finish(script.start(task))["state"] == "skipped"
    missing = script.run("set_image", {"image": "nginx:3", "container": "sidecar"})
    assert missing["state"] == "failed"
    assert missing["steps"][0]["message"] == "has no container sidecar"
    found = script.caller.data(
        "GET", "deployments/web", cluster_id=script.cluster.pk, namespace=script.space
    )
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"


def test_nodes_are_cordoned_drained_and_uncordoned(
    script: Script, put: Put, apiserver: RunningCluster
) -> None:
    name = apiserver.list("nodes")[0]["metadata"]["name"]
    targets = {"clusters": [script.cluster.pk], "names": [name]}

    def unschedulable() -> bool:
        (node,) = [n for n in apiserver.list("nodes") if n["metadata"]["name"] == name]
        return bool(node["spec"].get("unschedulable"))

    try:
        run = script.run("cordon", {}, targets=targets)
        assert run["state"] == "succeeded"
        assert unschedulable()
        assert script.run("cordon", {}, targets=targets)["state"] == "skipped"
        task = script.make("drain", {"pod_selector": "app=nothing"}, targets=targets)
        assert script.rehearse(task)["steps"][0]["message"] == (
            "is cordoned, and 0 pods are evicted"
        )
        run = script.start(task)
        with CaptureQueriesContext(connection) as queries:
            take_turn(run["operation_id"])
        drain = Operation.objects.get(kind="drain", name=name)
        assert drain.authority["credential"]["username"] == "admin"
        assert [act["verb"] for act in drain.authority["acts"]] == ["drain"]
        # A worker that takes it at once asks for these rights: they come with the row.
        table = Operation._meta.db_table
        statements = [each["sql"] for each in queries if f'"{table}"' in each["sql"]]
        assert any(each.startswith("INSERT") and "credential" in each for each in statements)
        assert not any("SET" in each and '"authority"' in each for each in statements)
        run = _finish_with_children(script, run)
        assert run["state"] == "succeeded", run
        assert run["steps"][0]["message"].startswith("drained")
    finally:
        run = script.run("uncordon", {}, targets=targets)
    assert run["state"] == "succeeded"
    assert not unschedulable()


def _finish_with_children(script: Script, run: dict[str, Any]) -> dict[str, Any]:
    """Turns of the run and of the operations that it waits for, until it is over."""
    for _ in range(200):
        if take_turn(run["operation_id"]).is_final:
            break
        for child in Operation.objects.filter(kind="drain", state__in=Operation.ACTIVE):
            finish(child.pk)
    return script.finish(run)


def test_exec_in_pods(script: Script, put: Put, apiserver: RunningCluster, person: Person) -> None:
    put("deployments", workload(replicas=1))
    apiserver.wait(lambda: pods_of(apiserver, script.space), seconds=60)
    task = script.make("exec", {"command": ["echo", "a b", "$HOME"], "max_bytes": 5})
    assert (
        '["echo","a b","$HOME"] is run in container main'
        in (script.rehearse(task)["steps"][0]["message"])
    )
    run = script.finish(script.start(task))
    assert run["state"] == "succeeded", run
    (output,) = run["result"]["outputs"]
    assert (output["output"], output["truncated"], output["exit_code"]) == ("a b $", True, 0)
    # Who may write there, by a token without terminals, sees the run and not what it printed.
    writer = person("operator", cluster=script.cluster, scopes=["read", "write"])
    shown = writer.data("GET", f"task-runs/{run['id']}")["result"]["outputs"]
    assert [(row["output"], row["hidden"]) for row in shown] == [(None, True)]
    operator = person("operator", cluster=script.cluster)
    shown = operator.data("GET", f"task-runs/{run['id']}")["result"]["outputs"]
    assert [row["output"] for row in shown] == ["a b $"]
    failed = script.run("exec", {"command": ["sh", "-c", "echo sorry; exit 3"]})
    assert failed["state"] == "failed"
    assert failed["result"]["outputs"][0]["output"].strip() == "sorry"
    assert failed["steps"][0]["message"] == "ended with 3"
    # A viewer of steps as an operation sees no output.
    operation = script.caller.data("GET", f"operations/{failed['operation_id']}")
    assert "sorry" not in json.dumps(operation)
    slow = script.run("exec", {"command": ["sleep", "60"], "timeout": 1})
    assert slow["state"] == "failed"
    assert slow["steps"][0]["message"] == "was stopped after 1 s"


def test_a_command_beside_a_nodes_terminal_needs_the_right_on_nodes(
    script: Script, put: Put, apiserver: RunningCluster, person: Person, settings: Any
) -> None:
    settings.NODE_TERMINAL_NAMESPACE = script.space
    spec = {"containers": [{"name": "main", "image": "web:1"}]}
    put("pods", {"metadata": {"name": "node-terminal-abc"}, "spec": spec})
    apiserver.wait(
        lambda: [p for p in pods_of(apiserver, script.space) if p["status"].get("podIP")],
        seconds=60,
    )
    operator = person("operator", cluster=script.cluster, namespace=script.space)
    theirs = Script(operator, script.cluster, script.space)
    run = theirs.run("exec", {"command": ["echo", "a"]})
    assert states(run) == [("node-terminal-abc", "failed")]
    place = urlencode({"cluster_id": script.cluster.pk, "namespace": script.space, "path": "/"})
    assert operator.code("GET", f"pods/node-terminal-abc/files?{place}") == 1005
    assert script.caller.code("GET", f"pods/node-terminal-abc/files?{place}") == 0
    assert states(script.run("exec", {"command": ["echo", "a"]})) == [
        ("node-terminal-abc", "succeeded")
    ]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver that tasks may call."""
    settings.WEBHOOK_ADDRESS_POLICY = "127.0.0.0/8"
    with running_receiver() as running:
        yield running


def test_http_calls_a_webhook(script: Script, receiver: Receiver, settings: Any) -> None:
    params = {
        "url": f"{receiver.url}?token=sesame",
        "headers": {"X-Token": "open-sesame"},
        "body": {"a": 1},
    }
    receiver.body = b"hello, sesame"
    task = script.make("http", params, targets=None)
    assert task["params"]["url"] == f"{receiver.url}?token=***"
    planned = script.rehearse(task)["steps"][0]["message"]
    assert planned == f"POST {receiver.url} is called with a body of 7 bytes"
    assert not receiver.came
    run = script.finish(script.start(task))
    assert run["state"] == "succeeded"
    assert (run["result"]["status"], run["result"]["output"]) == (200, "hello, ***")
    assert receiver.paths[-1].endswith("?token=sesame")
    # Nowhere is the token shown: in the run, the audit trail, or what was changed and sent back.
    assert "sesame" not in json.dumps([task, run, script.caller.data("GET", "audit")])
    half = {**task["params"], "url": f"{receiver.url}?token=***&more=1"}
    refused = script.caller("PUT", f"tasks/{task['id']}", {"params": half})
    assert refused["data"]["field"] == "params.url"
    long = {**task["params"], "url": f"{receiver.url}?token=sesame{'x' * 2000}"}
    assert "sesame" not in str(script.caller("PUT", f"tasks/{task['id']}", {"params": long}))
    headers, body = receiver.came[0]
    assert (headers["x-token"], json.loads(body)) == ("open-sesame", {"a": 1})
    # What an answer hides and a client sends back stays.
    saved = script.caller.data("PUT", f"tasks/{task['id']}", {**task, "retries": 1})
    assert saved["retries"] == 1
    receiver.answers = [500, 302]
    run = script.finish(script.start(task))
    assert run["state"] == "failed"
    assert receiver.came[-1][0]["x-token"] == "open-sesame"
    assert receiver.paths[-1].endswith("?token=sesame")
    # A redirect is not followed: the second attempt is answered with one.
    assert len(receiver.came) == 3
    assert run["steps"][0]["message"].endswith("HTTP 302")
    # An address that was allowed when it was saved is asked about again.
    settings.WEBHOOK_ADDRESS_POLICY = "public"
    run = script.finish(script.start(task))
    assert run["state"] == "failed"
    assert len(receiver.came) == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://127.0.0.1:80/",
        "http://localhost/",
        "http://127.1/",
        "http://0x7f.0.0.1/",
        "http://2130706433/",
        "http://[::1]/",
        "ftp://example.com/",
        "http://user:pw@example.com/",
    ],
)
def test_http_refuses_addresses_when_saved(admin: Caller, url: str) -> None:
    answer = admin("POST", "tasks", {"name": "h", "type": "http", "params": {"url": url}})
    assert answer["code"] == 1001
    assert answer["data"]["field"] == "params.url"
