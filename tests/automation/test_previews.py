"""What a task would do, and when, before it is saved."""

from automation.models import Run, Task
from tests.automation.conftest import Script
from tests.workloads.conftest import Put, workload


def test_a_task_is_previewed_without_being_saved(script: Script, put: Put) -> None:
    put("deployments", workload(replicas=2))
    body = script.body("scale", {"replicas": 5})
    shown = script.caller.data("POST", "tasks/preview", body)
    (step,) = shown["steps"]
    assert (step["name"], step["state"]) == ("web", "pending")
    assert "5" in step["message"]
    assert not Task.objects.exists()
    assert not Run.objects.exists()
    refused = script.caller("POST", "tasks/preview", {**body, "params": {}})
    assert refused["data"]["field"] == "params.replicas"
    task = script.make("scale", {"replicas": 5})
    change = {"id": task["id"], "params": {"replicas": 1}}
    (step,) = script.caller.data("POST", "tasks/preview", change)["steps"]
    assert "1" in step["message"]
    assert script.caller.data("GET", f"tasks/{task['id']}")["params"]["replicas"] == 5


def test_the_next_moments_of_a_schedule(script: Script) -> None:
    query = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "count": 3}
    items = script.caller.data("GET", "tasks/moments", **query)["items"]
    assert len(items) == 3
    assert items == sorted(items)
    for query, field in (
        ({"cron": "x"}, "schedule.cron"),
        ({"cron": "* * * * *", "timezone": "Mars"}, "schedule.timezone"),
        ({"at": "2001-01-01T00:00:00Z"}, "schedule.at"),
        ({"cron": "* * * * *", "count": 99}, "count"),
    ):
        assert script.caller("GET", "tasks/moments", **query)["data"]["field"] == field
