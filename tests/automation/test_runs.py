"""The life of runs: due moments, one run each, waiting, deciding, stopping, telling."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.urls import resolve
from django.utils import timezone

from access.models import AuditEntry
from alerts.models import Alert, Channel, Delivery, Rule, TaskTrigger
from automation import runs, tasks
from automation.models import Run, Task
from operations import lifecycle
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.access.conftest import Person
from tests.automation.conftest import Script, open_runs, states
from tests.caller import Caller
from tests.turning import finish, take_turn
from tests.workloads.conftest import Put, workload

HOURLY = {"cron": "0 * * * *", "timezone": "UTC"}
CALL = {"url": "https://example.com/"}


def hour(ago: int) -> datetime:
    """A whole hour, so many hours before this one."""
    return timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=ago)


def due_since(task: dict[str, Any], moment: datetime) -> None:
    """As if nothing had looked at the clock since that moment."""
    Task.objects.filter(pk=task["id"]).update(next_run_at=moment)


def test_missed_moments_are_caught_up_once_or_skipped(script: Script) -> None:
    task = script.make("http", CALL, targets=None, schedule=HOURLY, deadline="2h")
    due_since(task, hour(5))
    runs.make_due(timezone.now())
    (run,) = Run.objects.all()
    # The latest one alone, since it is within the deadline.
    assert (run.scheduled_at, run.state, run.trigger) == (hour(0), "pending", "schedule")
    saved = script.caller.data("GET", f"tasks/{task['id']}")
    assert saved["next_run_at"] == f"{hour(-1):%Y-%m-%dT%H:%M:%SZ}"
    runs.cancel(run)
    finish(run.operation_id or 0)
    daily = {"cron": f"0 {hour(3).hour} * * *", "timezone": "UTC"}
    script.caller.data("PUT", f"tasks/{task['id']}", {"schedule": daily})
    due_since(task, hour(3))
    runs.make_due(timezone.now())
    run = Run.objects.get(scheduled_at=hour(3))
    assert (run.state, run.reason) == ("skipped", "Missed")
    assert "later than its deadline" in run.message
    assert runs.make_due(timezone.now()) == 0


def test_one_moment_has_one_run(script: Script) -> None:
    task = script.make("http", CALL, targets=None, schedule=HOURLY, deadline="2h")
    for _ in range(3):
        due_since(task, hour(0))
        runs.make_due(timezone.now())
    assert Run.objects.count() == 1
    once = {"at": (timezone.now() + timedelta(seconds=60)).isoformat()}
    other = script.make("http", CALL, targets=None, schedule=once)
    assert runs.make_due(timezone.now() + timedelta(seconds=61)) == 1
    assert Run.objects.filter(task=other["id"]).count() == 1
    # It is over then.
    assert script.caller.data("GET", f"tasks/{other['id']}")["next_run_at"] is None


def test_concurrency(script: Script) -> None:
    task = script.make("http", CALL, targets=None)
    first = script.start(task)
    second = script.start(task)
    assert (first["state"], second["state"]) == ("pending", "skipped")
    assert f"run {first['id']} still goes on" in second["message"]
    script.caller.data("PUT", f"tasks/{task['id']}", {"concurrency": "replace"})
    third = script.start(task)
    # It begins once the other one has stopped.
    assert (third["state"], third["operation_id"]) == ("pending", None)
    over = script.finish(first)
    assert (over["state"], over["message"]) == ("cancelled", f"replaced by run {third['id']}")
    tasks.tick()
    assert script.caller.data("GET", f"task-runs/{third['id']}")["operation_id"]
    script.caller.data("PUT", f"tasks/{task['id']}", {"concurrency": "allow"})
    assert script.start(task)["operation_id"]
    assert len(open_runs()) == 2


def test_approval_by_a_second_person(script: Script, put: Put, person: Person) -> None:
    put("deployments", workload(replicas=2))
    place = {"cluster": script.cluster, "namespace": script.space}
    owner = person("operator", name="olga", **place)
    second = person("operator", name="sam", **place)
    viewer = person("viewer", name="vera", **place)
    task = Script(owner, script.cluster, script.space).make("scale", {"replicas": 1}, approval=True)
    run = owner.data("POST", f"tasks/{task['id']}/run")
    assert (run["state"], run["operation_id"]) == ("waiting_approval", None)
    path = f"task-runs/{run['id']}"
    assert owner.code("POST", f"{path}/approve") == 1005
    assert viewer.code("POST", f"{path}/approve") == 1005
    assert second.code("POST", f"{path}/approve", {"reason": "x"}) == 1001
    # The definition that was approved is what runs.
    owner.data("PUT", f"tasks/{task['id']}", {"params": {"replicas": 0}})
    run = second.data("POST", f"{path}/approve", {"comment": "fine"})
    assert (run["state"], run["decided_by"], run["comment"]) == ("pending", "sam", "fine")
    assert second.code("POST", f"{path}/approve") == 1007
    run = script.finish(run)
    assert run["state"] == "succeeded"
    assert run["steps"][0]["message"] == "scaled from 2 to 1 replica"
    # Who asked for a run does not approve it either, and a rejected one is cancelled.
    waiting = owner.data("POST", f"tasks/{task['id']}/run")
    rejected = second.data("POST", f"task-runs/{waiting['id']}/reject", {"comment": "no"})
    assert (rejected["state"], rejected["reason"]) == ("cancelled", "Rejected")
    mine = script.caller.data("POST", f"tasks/{task['id']}/run")
    assert script.caller.code("POST", f"task-runs/{mine['id']}/approve") == 1005
    assert owner.data("POST", f"task-runs/{mine['id']}/cancel")["state"] == "cancelled"


def test_a_run_stays_what_it_was_when_its_task_changes(
    script: Script, put: Put, person: Person
) -> None:
    put("deployments", workload(replicas=2))
    place = {"cluster": script.cluster, "namespace": script.space}
    owner = person("operator", name="olga", **place)
    boss = person("admin", name="bea", **place)
    mine = Script(owner, script.cluster, script.space)
    task = mine.make("scale", {"replicas": 1}, approval=True)
    run = mine.start(task)
    changed = {"name": "other", "params": {"replicas": 0}}
    targets = {**task["targets"], "names": ["other"]}
    taken_over = boss.data("PUT", f"tasks/{task['id']}", {**changed, "targets": targets})
    assert taken_over["owner"] == "bea"
    # Whose rights it has: bea's are not asked for, and who wrote it does not approve it.
    assert mine.caller.code("POST", f"task-runs/{run['id']}/approve") == 1005
    run = script.finish(boss.data("POST", f"task-runs/{run['id']}/approve"))
    assert (run["state"], run["owner"]) == ("succeeded", "olga")
    assert run["steps"][0]["message"] == "scaled from 2 to 1 replica"
    definition = run["definition"]
    assert (definition["name"], definition["approval"]) == ("a scale", True)
    assert definition["params"]["replicas"] == 1
    assert definition["targets"] == task["targets"]
    entry = AuditEntry.objects.filter(verb="scale", kind="deployments").order_by("pk").last()
    assert entry is not None
    assert entry.username == "olga"
    # The rights that count are those of the run's owner, and losing them stops nobody else's task.
    asked = boss.data("POST", f"tasks/{task['id']}/run")
    again = Run.objects.get(pk=asked["id"])
    Run.objects.filter(pk=again.pk).update(
        definition={**again.definition, "credential": {"user": 0, "username": "gone"}}
    )
    script.caller.data("POST", f"task-runs/{again.pk}/approve")
    lost = script.finish(script.caller.data("GET", f"task-runs/{again.pk}"))
    assert (lost["state"], lost["reason"]) == ("failed", "RightLost")
    assert not script.caller.data("GET", f"tasks/{task['id']}")["stopped"]
    # Its places count, too: the task is somewhere else by now.
    elsewhere = {**task["targets"], "namespaces": ["default"]}
    script.caller.data("PUT", f"tasks/{task['id']}", {"targets": elsewhere})
    stranger = person("operator", name="sue", cluster=script.cluster, namespace="default")
    assert stranger.code("GET", f"tasks/{task['id']}") == 0
    assert stranger.code("GET", f"task-runs/{run['id']}") == 1004
    assert stranger.data("GET", "task-runs")["total"] == 0
    assert stranger.data("GET", f"tasks/{task['id']}/runs")["total"] == 0


def test_who_takes_a_task_over_gets_no_run_of_other_places_with_it(
    script: Script, person: Person
) -> None:
    owner = Script(
        person("operator", name="olga", cluster=script.cluster), script.cluster, script.space
    )
    task = owner.make("backup", {})
    run = owner.finish(owner.start(task))
    path = f"task-runs/{run['id']}"
    elsewhere = {**task["targets"], "namespaces": ["default"]}
    owner.caller.data("PUT", f"tasks/{task['id']}", {"targets": elsewhere})
    boss = person("admin", name="bea", cluster=script.cluster, namespace="default")
    taken_over = boss.data("PUT", f"tasks/{task['id']}", {"retries": 1})
    assert taken_over["owner"] == "bea"
    own = boss.data("POST", f"tasks/{task['id']}/run")
    # The archive is of a namespace that bea may not read.
    for rest in ("", "/archives", f"/compare?with={own['id']}"):
        assert boss.code("GET", f"{path}{rest}") == 1004
    assert boss.code("POST", f"{path}/restore", {"namespace": "default"}) == 1004
    assert [row["id"] for row in boss.data("GET", "task-runs")["items"]] == [own["id"]]
    # The former owner keeps what is in places of theirs.
    assert owner.caller.code("GET", path) == 0
    assert owner.caller.data("GET", "task-runs")["total"] == 2


def test_cancelling_and_running_again(script: Script, put: Put) -> None:
    put("deployments", workload("first", replicas=3))
    put("deployments", workload("second", replicas=3))
    task = script.make("scale", {"replicas": 1})
    run = script.start(task)
    script.caller.data("POST", f"task-runs/{run['id']}/cancel")
    assert script.caller.code("POST", f"task-runs/{run['id']}/retry") == 1007
    run = script.finish(run)
    assert run["state"] == "cancelled"
    assert script.caller.code("POST", f"task-runs/{run['id']}/cancel") == 1007
    again = script.caller.data("POST", f"task-runs/{run['id']}/retry")
    assert again["retry_of"] == run["id"]
    assert script.finish(again)["state"] == "succeeded"
    found = script.caller.data("GET", f"tasks/{task['id']}/runs", state="cancelled")
    assert [row["id"] for row in found["items"]] == [run["id"]]
    assert script.caller.data("GET", "task-runs", task_id=task["id"])["total"] == 2
    assert script.caller.code("GET", "task-runs", state="lost") == 1001


def test_a_run_ends_at_its_timeout(script: Script, put: Put) -> None:
    put("deployments", workload("first", replicas=3))
    task = script.make("scale", {"replicas": 1}, timeout="1m")
    run = script.start(task)
    runs.begin(Run.objects.get(pk=run["id"]))
    Run.objects.filter(pk=run["id"]).update(started_at=timezone.now() - timedelta(minutes=2))
    run = script.finish(run)
    assert (run["state"], run["reason"]) == ("failed", "timeout")


def test_a_killed_worker_does_no_step_twice(
    script: Script, put: Put, apiserver: RunningCluster
) -> None:
    put("deployments", workload("first", replicas=3))
    put("deployments", workload("second", replicas=3))
    run = script.start(script.make("restart", {}))

    def restarts() -> int:
        return sum(request.method == "PATCH" for request in apiserver.requests)

    take_turn(run["operation_id"])
    before = restarts()
    assert before == 2
    # A worker that died after the change and before it noted so: the same turn once more.
    row = Operation.objects.get(pk=run["operation_id"])
    Operation.objects.filter(pk=row.pk).update(state="running", finished_at=None, attempts=0)
    row.steps.filter(name__endswith="second").update(state="running")
    Run.objects.filter(pk=run["id"]).update(state="running", finished_at=None)
    finish(row.pk)
    over = script.caller.data("GET", f"task-runs/{run['id']}")
    assert over["state"] == "succeeded"
    assert states(over) == [("first", "succeeded"), ("second", "succeeded")]
    found = script.caller.data(
        "GET", "deployments/second", cluster_id=script.cluster.pk, namespace=script.space
    )
    # Repeated with the run's own time, a restart changes nothing.
    assert found["metadata"]["generation"] == 2


def test_what_cannot_be_repeated_fails_when_its_worker_died(script: Script) -> None:
    run = script.start(script.make("http", CALL, targets=None))
    row = Run.objects.get(pk=run["id"])
    operation = Operation.objects.get(pk=run["operation_id"])
    runs.begin(row)
    data = {"cluster_id": None, "namespace": "", "name": "x", "kind": "Webhook", "key": ""}
    step = lifecycle.Step(
        "0/x", "x", "running", "", {**data, "plan": "", "data": {}, "begun": True}
    )
    lifecycle.plan(operation, [step])
    lifecycle.remember(operation, planned=True)
    over = script.finish(run)
    assert over["state"] == "failed"
    assert "nobody knows how far it came" in over["steps"][0]["message"]


def test_a_task_whose_owner_is_switched_off_stops(script: Script, person: Person) -> None:
    owner = person("admin", name="olga", cluster=script.cluster)
    mine = Script(owner, script.cluster, script.space)
    task = mine.make("scale", {"replicas": 1}, schedule=HOURLY, deadline="2h")
    get_user_model().objects.filter(username="olga").update(is_active=False)
    shown = script.caller.data("GET", f"tasks/{task['id']}")
    assert shown["stopped"]
    assert shown["stopped_reason"] == "its owner olga is switched off"
    due_since(task, hour(0))
    runs.make_due(timezone.now())
    (run,) = Run.objects.all()
    assert (run.state, run.reason) == ("failed", "RightLost")
    # It is not due any more, not even when the owner is back, until somebody says so.
    get_user_model().objects.filter(username="olga").update(is_active=True)
    assert script.caller.data("GET", f"tasks/{task['id']}")["stopped"]
    assert owner.data("PUT", f"tasks/{task['id']}", {"enabled": True})["next_run_at"]


def test_channels_are_told(script: Script, put: Put, person: Person) -> None:
    put("deployments", workload(replicas=2))
    admin = get_user_model().objects.get(username="admin")
    config = json.dumps({"url": "https://example.com/hook", "secret": ""})
    channel = Channel.objects.create(name="c", kind="webhook", config=config, owner=admin)
    task = script.make("scale", {"replicas": 1}, notify=[channel.pk])
    assert task["notify"] == [channel.pk]
    run = script.finish(script.start(task))
    tasks.tick()
    (delivery,) = Delivery.objects.all()
    payload = json.loads(delivery.payload)
    assert payload["status"] == "resolved"
    (alert,) = payload["alerts"]
    assert (alert["labels"]["run_id"], alert["labels"]["run_state"]) == (
        str(run["id"]),
        "succeeded",
    )
    # Its link is the run's page in the console.
    page = f"/automation/runs/{run['id']}"
    assert payload["externalURL"].endswith(page)
    assert alert["generatorURL"] == payload["externalURL"]
    assert resolve(page).kwargs == {"pk": run["id"]}
    # A dry run is told to nobody, and somebody else's channel cannot be named.
    script.rehearse(task)
    assert Delivery.objects.count() == 1
    owner = person("operator", name="olga", cluster=script.cluster, namespace=script.space)
    body = Script(owner, script.cluster, script.space).body(
        "scale", {"replicas": 1}, notify=[channel.pk]
    )
    assert owner("POST", "tasks", body)["data"]["field"] == "notify"


def test_alerts_start_tasks(script: Script, admin: Caller, person: Person) -> None:
    task = script.make("http", CALL, targets=None)
    body = {
        "name": "r",
        "source": "state",
        "condition": {"kind": "Pod", "where": [{"path": "a", "op": "eq", "value": 1}]},
        "tasks": [task["id"]],
    }
    other = person("operator", name="olga", cluster=script.cluster, namespace=script.space)
    refused = other("POST", "alerts/rules", body)
    assert (refused["code"], refused["data"]["field"]) == (1001, "tasks")
    rule = Rule.objects.get(pk=admin.data("POST", "alerts/rules", body)["id"])
    alert = Alert.objects.create(
        rule=rule, rule_name="r", fingerprint="f", state="firing", started_at=timezone.now()
    )
    TaskTrigger.objects.create(
        rule=rule, alert=alert, task_id=task["id"], created_at=timezone.now()
    )
    tasks.tick()
    tasks.tick()
    (run,) = Run.objects.all()
    assert (run.trigger, run.alert, run.state) == ("alert", alert.pk, "pending")
    assert not TaskTrigger.objects.exists()
    # A rule whose owner may not start it any more starts nothing.
    rule.owner = get_user_model().objects.get(username="olga")
    rule.save()
    TaskTrigger.objects.create(
        rule=rule, alert=alert, task_id=task["id"], created_at=timezone.now()
    )
    tasks.tick()
    assert Run.objects.count() == 1


def test_run_task_command(script: Script, put: Put, capsys: Any) -> None:
    put("deployments", workload(replicas=2))
    task = script.make("scale", {"replicas": 1}, name="by hand")
    call_command("run_task", "by hand", "--dry-run")
    printed = capsys.readouterr().out
    assert "pending" in printed
    assert "scaled from 2 to 1 replica" in printed
    call_command("run_task", str(task["id"]), "--no-wait")
    run = Run.objects.get(dry_run=False)
    assert str(run.pk) in capsys.readouterr().out
    assert script.finish({"id": run.pk, "operation_id": run.operation_id})["state"] == "succeeded"


def test_old_runs_are_forgotten(script: Script) -> None:
    task = script.make("http", CALL, targets=None)
    run = script.start(task)
    long_ago = datetime.now(UTC) - timedelta(days=365)
    Run.objects.filter(pk=run["id"]).update(finished_at=long_ago)
    waiting = script.caller.data(
        "PUT", f"tasks/{task['id']}", {"approval": True, "concurrency": "allow"}
    )
    waiting = script.start(waiting)
    Run.objects.filter(pk=waiting["id"]).update(created_at=long_ago)
    Run.objects.filter(pk=run["id"]).update(state="failed")
    tasks.forget_runs()
    assert not Run.objects.filter(pk=run["id"]).exists()
    assert Run.objects.get(pk=waiting["id"]).reason == "NotApproved"
