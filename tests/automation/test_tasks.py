"""Tasks over the wire: what is refused, who sees and does what."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access.models import ApiToken, AuditEntry
from access.tokens import create_api_token
from clusters.models import Cluster
from tests.access.conftest import Person
from tests.automation.conftest import Script
from tests.caller import Caller
from tests.workloads.conftest import Put, workload

BODY = {"name": "nightly", "type": "scale", "params": {"replicas": 0}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": " "}, "name"),
    "two lines as a name": ({"name": "a\nBcc: b"}, "name"),
    "unknown member": ({"colour": 1}, "colour"),
    "unknown type": ({"type": "explode"}, "type"),
    "unknown parameter": ({"params": {"replicas": 0, "x": 1}}, "params.x"),
    "wrong parameter": ({"params": {"replicas": -1}}, "params.replicas"),
    "no way to scale": ({"params": {}}, "params.replicas"),
    "two ways to scale": ({"params": {"replicas": 1, "percent": 50}}, "params.replicas"),
    "no object": ({"params": [1]}, "params"),
    "unknown target": ({"targets": {"pods": ["a"]}}, "targets.pods"),
    "no cluster": ({"targets": {"clusters": []}}, "targets.clusters"),
    "nothing for a cluster": ({"targets": {"clusters": 0}}, "targets.clusters"),
    "no namespace": ({"targets": {"namespaces": []}}, "targets.namespaces"),
    "no name of an object": ({"targets": {"names": []}}, "targets.names"),
    "wrong names": ({"targets": {"names": [1]}}, "targets.names"),
    "a path as a name": ({"targets": {"names": ["../x"]}}, "targets.names"),
    "no selector": ({"targets": {"label_selector": "a in"}}, "targets.label_selector"),
    "bad cron": ({"schedule": {"cron": "* * *"}}, "schedule.cron"),
    "bad zone": ({"schedule": {"cron": "0 0 * * *", "timezone": "X/Y"}}, "schedule.timezone"),
    "the past": ({"schedule": {"at": "2020-01-01T00:00:00Z"}}, "schedule.at"),
    "concurrency": ({"concurrency": "queue"}, "concurrency"),
    "deadline": ({"deadline": "soon"}, "deadline"),
    "timeout": ({"timeout": "0s"}, "timeout"),
    "retries": ({"retries": 99}, "retries"),
    "approval": ({"approval": "yes"}, "approval"),
    "on_failure": ({"on_failure": "panic"}, "on_failure"),
    "rollback of a restart": (
        {"type": "restart", "params": {}, "on_failure": "rollback"},
        "on_failure",
    ),
    "no channel": ({"notify": [77]}, "notify"),
    "targets of a call": (
        {
            "type": "http",
            "params": {"url": "https://example.com/"},
            "targets": {"namespaces": ["a"]},
        },
        "targets",
    ),
    "headers of the client": (
        {"type": "http", "params": {"url": "https://example.com/", "headers": {"Host": "x"}}},
        "params.headers",
    ),
    "a line as a command": ({"type": "exec", "params": {"command": "ls -l"}}, "params.command"),
    "exec without end": (
        {"type": "exec", "params": {"command": ["ls"], "timeout": 9999}},
        "params.timeout",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused(admin: Caller, cluster: Cluster, name: str) -> None:
    change, field = REFUSED[name]
    answer = admin("POST", "tasks", {**BODY, **change})
    assert (answer["code"], answer["data"].get("field")) == (1001, field)
    answer = admin("POST", "tasks/preview", {**BODY, **change})
    assert (answer["code"], answer["data"].get("field")) == (1001, field)
    task = admin.data("POST", "tasks", BODY)
    answer = admin("PUT", f"tasks/{task['id']}", change)
    assert (answer["code"], answer["data"].get("field")) == (1001, field)
    assert admin.data("GET", f"tasks/{task['id']}") == task


def test_a_cluster_that_is_none_is_named_by_its_field(admin: Caller) -> None:
    answer = admin("POST", "tasks", {**BODY, "targets": {"clusters": [77]}})
    assert (answer["code"], answer["data"]["field"]) == (1002, "targets.clusters")


def test_whole_numbers_are_integers(script: Script, put: Put) -> None:
    # JSON Schema takes 1.0 for an integer, and a number of archives is sliced by.
    run = script.run("backup", {"keep": 1.0})
    assert run["state"] == "succeeded"
    assert repr(run["definition"]["params"]["keep"]) == "1"
    assert script.run("backup", {"keep": 1.0})["state"] == "succeeded"


def test_a_task_from_making_to_deleting(script: Script) -> None:
    schedule = {"cron": "0 20 * * MON-FRI", "timezone": "Europe/Berlin"}
    task = script.make("scale", {"replicas": 0}, schedule=schedule, deadline="10m", retries=2)
    assert task["next_run_at"].endswith(("18:00:00Z", "19:00:00Z"))
    assert (task["concurrency"], task["on_failure"]) == ("forbid", "stop")
    assert (task["deadline"], task["timeout"]) == ("10m", "1h")
    assert (task["owner"], task["stopped"], task["last_run"]) == ("admin", False, None)
    # What an answer says may be sent back whole.
    again = script.caller.data("PUT", f"tasks/{task['id']}", task)
    assert {**again, "updated_at": ""} == {**task, "updated_at": ""}
    found = script.caller.data("GET", "tasks", type="scale", cluster_id=script.cluster.pk)
    assert [row["id"] for row in found["items"]] == [task["id"]]
    assert script.caller.data("GET", "tasks", enabled="false")["total"] == 0
    assert script.caller.code("GET", "tasks", state="loud") == 1001
    assert script.caller.code("GET", "tasks", type="a\0") == 1001
    calendar = script.caller.data("GET", "tasks/calendar", days=7)
    assert calendar["total"] == 5
    assert calendar["items"][0]["at"] == task["next_run_at"]
    off = script.caller.data("PUT", f"tasks/{task['id']}", {"enabled": False})
    assert off["next_run_at"] is None
    assert script.caller.data("GET", "tasks/calendar")["total"] == 0
    assert script.caller("GET", "tasks/calendar", days=99)["data"]["field"] == "days"
    # Unknown parameters and members of calls that change something are refused.
    assert script.caller.code("POST", f"tasks/{task['id']}/run", {"dryrun": True}) == 1001
    assert script.caller.code("DELETE", f"tasks/{task['id']}", force=True) == 1001
    assert script.caller.data("DELETE", f"tasks/{task['id']}") == {}
    assert script.caller.code("GET", f"tasks/{task['id']}") == 1004
    verbs = list(
        AuditEntry.objects.filter(kind="tasks").order_by("pk").values_list("verb", flat=True)
    )
    assert verbs.count("create") == 1
    assert verbs.count("delete") == 2


def test_types_say_their_parameters(admin: Caller) -> None:
    types = {row["name"]: row for row in admin.data("GET", "tasks/types")["items"]}
    assert {"scale", "restart", "set_image", "drain", "cordon", "uncordon", "exec", "http"} <= set(
        types
    )
    assert types["scale"]["supports_rollback"]
    assert not types["http"]["has_targets"]
    for row in types.values():
        assert row["params_schema"]["type"] == "object"
        assert row["params_schema"]["additionalProperties"] is False


def test_who_sees_and_changes_a_task(
    script: Script, put: Put, person: Person, admin: Caller
) -> None:
    put("deployments", workload(replicas=1))
    place = {"cluster": script.cluster, "namespace": script.space}
    owner = person("operator", name="olga", **place)
    colleague = person("operator", name="carl", **place)
    boss = person("admin", name="bea", **place)
    viewer = person("viewer", name="vera", **place)
    stranger = person("admin", name="steve", cluster=script.cluster, namespace="elsewhere")
    task = Script(owner, script.cluster, script.space).make("scale", {"replicas": 0})
    path = f"tasks/{task['id']}"
    for caller, seen, changed in (
        (owner, 0, 0),
        (boss, 0, 0),
        (admin, 0, 0),
        (colleague, 0, 1005),
        (viewer, 1004, 1005),
        (stranger, 1004, 1004),
    ):
        assert caller.code("GET", path) == seen
        assert caller.data("GET", "tasks")["total"] == (1 if seen == 0 else 0)
        assert caller.code("PUT", path, {"description": "x"}) == changed
        assert caller.code("POST", f"{path}/run", {"dry_run": True}) == changed
    # What a task does is changed with one's own rights: whoever does it owns it from then on.
    changed_task = boss.data("PUT", path, {"params": {"replicas": 1}})
    assert changed_task["owner"] == "bea"
    assert viewer.code("POST", "tasks", BODY) == 1005
    # Nobody makes a task for places that they may not change.
    elsewhere = {"clusters": [script.cluster.pk], "namespaces": ["elsewhere"]}
    assert owner.code("POST", "tasks", {**BODY, "targets": elsewhere}) == 1005
    nodes = {"clusters": [script.cluster.pk]}
    drain = {"name": "d", "type": "drain", "targets": nodes}
    assert owner.code("POST", "tasks", drain) == 1005


def test_a_run_reaches_no_further_than_its_owner(script: Script, put: Put, person: Person) -> None:
    put("deployments", workload(replicas=2))
    owner = person("operator", name="olga", cluster=script.cluster, namespace=script.space)
    # Without targets it is all that the owner may reach: nothing of other namespaces.
    everywhere = Script(owner, script.cluster, script.space)
    task = everywhere.make("scale", {"replicas": 1}, targets=None)
    planned = everywhere.rehearse(task)
    assert {step["namespace"] for step in planned["steps"]} == {script.space}
    # Who may list something in one namespace may ask for all of them, and means that one.
    for kind in ("backup", "inspect", "cleanup"):
        targets = {"clusters": [script.cluster.pk]}
        wide = everywhere.make(kind, {}, targets=targets)
        shown = everywhere.rehearse(wide)["steps"]
        if kind == "inspect":
            place = f"inspect {script.cluster.name}: namespaces {script.space}"
            assert [step["message"] for step in shown] == [place]
        assert {step["namespace"] for step in shown} <= {script.space, ""}, kind
        run = everywhere.finish(everywhere.start(wide))
        assert run["state"] in ("succeeded", "skipped"), (kind, run["message"], run["steps"])
    named = everywhere.make("scale", {"replicas": 1})
    run = everywhere.start(named)
    user = get_user_model().objects.get(username="olga")
    user.grants.all().delete()
    run = script.finish(run)
    assert (run["state"], run["reason"]) == ("failed", "RightLost")
    stopped = script.caller.data("GET", f"tasks/{named['id']}")
    assert stopped["stopped"]
    assert "may not" in stopped["stopped_reason"]


def test_a_token_that_only_reads_starts_nothing(script: Script) -> None:
    task = script.make("backup", {})
    run = script.finish(script.start(task))
    user = get_user_model().objects.get(username="admin")
    reader = Caller(create_api_token(user, "reader", scopes=["read"])[1])
    path = f"task-runs/{run['id']}"
    assert reader.data("GET", f"{path}/archives")["total"] == 1
    for method, address, body in (
        ("POST", "tasks", script.body("scale", {"replicas": 0})),
        ("POST", "tasks/preview", script.body("scale", {"replicas": 0})),
        ("POST", "tasks/preview", {"id": task["id"]}),
        ("PUT", f"tasks/{task['id']}", {"enabled": False}),
        ("DELETE", f"tasks/{task['id']}", None),
        ("POST", f"tasks/{task['id']}/run", {"dry_run": True}),
        ("POST", f"{path}/retry", None),
        ("POST", f"{path}/restore", {"dry_run": True}),
    ):
        assert reader.code(method, address, body) == 1005, (method, address, body)
    assert script.caller.data("GET", f"tasks/{task['id']}/runs")["total"] == 1


def test_a_token_makes_no_task_that_reaches_further_than_itself(
    script: Script, put: Put, admin: Caller
) -> None:
    put("deployments", workload(replicas=2))
    user = get_user_model().objects.get(username="admin")
    token, text = create_api_token(user, "cut", scopes=["read", "write"])
    cut = Script(Caller(text), script.cluster, script.space)
    # exec is a right of its own.
    refused = cut.caller("POST", "tasks", cut.body("exec", {"command": ["ls"]}))
    assert refused["code"] == 1005
    whole = script.make("exec", {"command": ["ls"]})
    run = cut.start(whole)
    run = script.finish(run)
    assert run["state"] == "failed"
    # A task that it made goes on as long as the token is good.
    task = cut.make("scale", {"replicas": 1})
    run = cut.start(task)
    ApiToken.objects.filter(pk=token.pk).delete()
    run = script.finish(run)
    assert (run["state"], run["reason"]) == ("failed", "RightLost")
    assert script.caller.data("GET", f"tasks/{task['id']}")["stopped"]


def test_dangerous_tasks_are_confirmed_where_they_name_protected_places(
    script: Script, admin: Caller
) -> None:
    Cluster.objects.filter(pk=script.cluster.pk).update(protected=True)
    body = {
        "name": "empty",
        "type": "drain",
        "targets": {"clusters": [script.cluster.pk], "names": ["nobody"]},
    }
    refused = admin("POST", "tasks", body)
    assert refused["code"] == 1010
    token = refused["data"]["confirm_token"]
    assert admin.code("POST", "tasks", {**body, "confirm_token": token}) == 0
    # Where nothing is named, what is protected is left out.
    task = admin.data("POST", "tasks", {**body, "targets": None})
    planned = admin.data("POST", f"tasks/{task['id']}/run", {"dry_run": True})
    assert planned["steps"]
    assert {step["state"] for step in planned["steps"]} <= {"skipped", "failed"}
