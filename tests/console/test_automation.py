"""Automation in the console: a task through its form, runs, approval, reports, backups."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils.translation import gettext as _
from django.utils.translation import override
from playwright.sync_api import Page, expect

from access import grants
from automation import definitions
from automation.models import Run, Task
from automation.types import TYPES
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from console.editing.value_forms import field_name
from console.rendering.schedules import describe_cron
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.console.browser import Walk
from tests.console.conftest import Make
from tests.console.test_templates import check_page
from tests.turning import finish

SPEC = {"containers": [{"name": "app", "image": "web:latest"}]}


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    """A Deployment of one container."""
    template = {"metadata": {"labels": {"app": name}}, "spec": SPEC}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def task_body(kind: str, cluster: Cluster, space: str, **more: Any) -> dict[str, Any]:
    """A task in one namespace."""
    targets = {"clusters": [cluster.pk], "namespaces": [space]}
    return {"name": f"a {kind}", "type": kind, "params": {}, "targets": targets, **more}


def run_of(admin: Caller, task: dict[str, Any]) -> dict[str, Any]:
    """A run of the task, over."""
    run = admin.data("POST", f"tasks/{task['id']}/run", {})
    finish(run["operation_id"])
    over: dict[str, Any] = admin.data("GET", f"task-runs/{run['id']}")
    return over


def open_task_run(page: Page) -> int:
    """The number of the run whose page has opened."""
    page.wait_for_url(re.compile(r"/automation/runs/\d+$"))
    return int(page.url.rpartition("/")[2])


@pytest.mark.django_db(transaction=True)
def test_somebody_makes_a_task_and_follows_its_run(
    walk: Walk, admin: Caller, cluster: Cluster, make: Make
) -> None:
    make("deployments", deployment("web"))
    page = walk.open("/automation")
    page.get_by_role("link", name="New task").first.click()
    check_page(walk, "types")
    page.get_by_role("link", name="Scale workloads").click()
    page.get_by_label("Name", exact=True).fill("nights off")
    page.get_by_label(cluster.name).check()
    page.get_by_label("Namespaces").fill(make.space)
    page.get_by_role("button", name="Dry run").click()
    # The API wants one of three ways: its sentence stands at the field.
    expect(page.get_by_label("Replicas", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Replicas", exact=True).fill("3")
    page.get_by_label("again and again").check()
    page.get_by_label("Cron expression").fill("nonsense")
    expect(page.locator("#moments")).to_contain_text("five fields")
    page.get_by_label("Cron expression").fill("0 20 * * MON-FRI")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.locator("#moments li")).to_have_count(5)
    page.get_by_role("button", name="Dry run").click()
    outcome = page.locator("#outcome")
    expect(outcome.get_by_text("1 step")).to_be_visible()
    expect(outcome).to_contain_text("Deployment web")
    assert not Run.objects.exists()
    check_page(walk, "form")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="nights off")).to_be_visible()
    task = Task.objects.get()
    assert task.schedule == {"cron": "0 20 * * MON-FRI", "timezone": "Europe/Berlin"}
    expect(page.get_by_text("Monday to Friday at 20:00 (Europe/Berlin)")).to_be_visible()
    check_page(walk, "task")
    page.get_by_role("link", name="Run", exact=True).click()
    expect(page.get_by_text("What a run would do now")).to_be_visible()
    check_page(walk, "start")
    page.get_by_role("button", name="Run now").click()
    run = Run.objects.get(pk=open_task_run(page))
    assert run.operation
    expect(page.get_by_text("waiting").first).to_be_visible()
    finish(run.operation.pk)
    # The page follows by itself.
    expect(page.locator("#run header").get_by_text("succeeded")).to_be_visible()
    expect(page.locator("#run")).to_contain_text("1 of 1 done")
    check_page(walk, "run")
    walk.open("/automation/calendar")
    expect(page.get_by_role("link", name="nights off").first).to_be_visible()
    check_page(walk, "calendar")
    walk.open("/automation")
    page.get_by_role("button", name="Switch off: nights off").click()
    expect(page.get_by_role("button", name="Switch on: nights off")).to_be_visible()
    check_page(walk, "tasks")
    page.get_by_role("button", name="Dry run: nights off").click()
    open_task_run(page)
    expect(page.get_by_text("What a run would have done")).to_be_visible()
    page.emulate_media(color_scheme="dark")
    for address in ("/automation", f"/automation/tasks/{task.pk}/change", "/automation/runs"):
        walk.open(address)
        check_page(walk, "dark")


@pytest.mark.django_db(transaction=True)
def test_a_second_person_decides_and_the_page_of_the_first_follows(
    walker: Any, admin: Caller, cluster: Cluster, make: Make
) -> None:
    make("deployments", deployment("web"))
    params = {"replicas": 2}
    body = task_body("scale", cluster, make.space, params=params, approval=True)
    task = admin.data("POST", "tasks", body)
    run = admin.data("POST", f"tasks/{task['id']}/run", {})
    first: Walk = walker(get_user_model().objects.get(username="admin"))
    address = f"/automation/runs/{run['id']}"
    first.open(address)
    expect(first.page.locator("#run header").get_by_text("waits for approval")).to_be_visible()
    expect(first.page.get_by_role("button", name="Approve")).to_have_count(0)
    second_user = get_user_model().objects.create_user("grace")
    grants.give(user=second_user, role=grants.role_of("admin"), cluster="", namespace="")
    second: Walk = walker(second_user)
    page = second.open(address)
    # Who decides reads what would be done.
    expect(page.locator("#run")).to_contain_text("replicas: 2")
    page.get_by_label("Comment").fill("in the maintenance window")
    check_page(second, "decision")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#run")).to_contain_text("in the maintenance window")
    row = Run.objects.get(pk=run["id"])
    assert row.operation
    finish(row.operation.pk)
    expect(first.page.locator("#run header").get_by_text("succeeded")).to_be_visible()
    expect(first.page.locator("#run")).to_contain_text("grace")


@pytest.mark.django_db(transaction=True)
def test_a_backup_is_restored_after_its_difference_was_read(
    walk: Walk, admin: Caller, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    make("configmaps", {"metadata": {"name": "settings"}, "data": {"mode": "slow"}})
    task = admin.data("POST", "tasks", task_body("backup", cluster, make.space))
    run = run_of(admin, task)
    client = registry.client(cluster)
    kind = KINDS["configmaps"]
    changed = {"metadata": {"name": "settings"}, "data": {"mode": "fast"}}
    client.replace(kind, "settings", changed, namespace=make.space)
    page = walk.open(f"/automation/runs/{run['id']}")
    check_page(walk, "backup")
    page.get_by_role("link", name=f"Restore {make.space}").click()
    page.get_by_role("button", name="Show the difference").click()
    expect(page.locator(".diff .added")).to_contain_text("mode: slow")
    check_page(walk, "restore")
    page.get_by_role("button", name=f"Restore into {make.space}").click()
    expect(page.get_by_role("heading", name="Restored", exact=True)).to_be_visible()
    (config,) = [
        row
        for row in apiserver.list("configmaps", make.space)
        if row["metadata"]["name"] == "settings"
    ]
    assert config["data"] == {"mode": "slow"}


def test_two_backups_beside_each_other(
    visitor: Client, admin: Caller, cluster: Cluster, make: Make
) -> None:
    make("configmaps", {"metadata": {"name": "settings"}, "data": {"mode": "<b>slow</b>"}})
    name = "<script>alert(1)</script>"
    task = admin.data("POST", "tasks", task_body("backup", cluster, make.space, name=name))
    before = run_of(admin, task)
    client = registry.client(cluster)
    changed = {"metadata": {"name": "settings"}, "data": {"mode": "<b>fast</b>"}}
    client.replace(KINDS["configmaps"], "settings", changed, namespace=make.space)
    make("configmaps", {"metadata": {"name": "colours"}, "data": {"sky": "blue"}})
    after = run_of(admin, task)
    # The backup before this one is chosen by itself.
    page = visitor.get(f"/automation/runs/{after['id']}/compare").content.decode()
    assert f'value="{before["id"]}" selected' in page
    for text in ("mode: &lt;b&gt;fast&lt;/b&gt;", "settings", "colours", "added", "changed"):
        assert text in page, text
    assert "<b>fast" not in page
    assert name not in page
    assert visitor.get("/automation/runs/999999/compare").status_code == 404


def test_posts_of_automation_need_the_pages_token(
    admin: Caller, cluster: Cluster, make: Make
) -> None:
    task = admin.data("POST", "tasks", task_body("backup", cluster, make.space))
    run = run_of(admin, task)
    stranger = Client(enforce_csrf_checks=True)
    stranger.force_login(get_user_model().objects.get(username="admin"))
    page = f"/automation/tasks/{task['id']}"
    for address in (
        "/automation/new",
        *(f"{page}/{name}" for name in ("change", "steps", "run", "delete", "disable")),
        *(f"/automation/runs/{run['id']}/{name}" for name in ("retry", "restore")),
    ):
        assert stranger.post(address, {"typed": task["name"]}).status_code == 403, address
    assert admin.data("GET", f"tasks/{task['id']}") | {"last_run": None} == task
    assert admin.data("GET", f"tasks/{task['id']}/runs")["total"] == 1


@pytest.mark.django_db(transaction=True)
def test_the_report_of_an_inspection_is_read_compared_and_printed(
    walk: Walk, admin: Caller, cluster: Cluster, make: Make
) -> None:
    make("deployments", deployment("web"))
    task = admin.data("POST", "tasks", task_body("inspect", cluster, make.space))
    run_of(admin, task)
    make("deployments", deployment("other"))
    run = run_of(admin, task)
    page = walk.open(f"/automation/runs/{run['id']}")
    page.get_by_role("link", name="Report", exact=True).click()
    expect(page.get_by_role("heading", name="Inspection report")).to_be_visible()
    expect(page.get_by_role("heading", name="Workloads", level=2)).to_be_visible()
    check_page(walk, "report")
    page.get_by_role("link", name=re.compile(r"^new \(\d+\)")).click()
    expect(page.get_by_role("link", name=f"Deployment {make.space}/other").first).to_be_visible()
    expect(page.get_by_role("link", name=f"Deployment {make.space}/web")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as JSON").click()
    assert download.value.suggested_filename == f"inspection-{run['id']}.json"
    page.emulate_media(media="print")
    expect(page.locator(".tabs")).to_be_hidden()
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    walk.picture("print")


def test_texts_of_types_have_chinese() -> None:
    # They are translated where a page shows them: nothing else marks them.
    with override("zh-hans"):
        for kind in TYPES.values():
            pending: list[Any] = [kind.params_schema]
            texts = {kind.title, kind.description}
            while pending:
                part = pending.pop()
                if isinstance(part, dict):
                    texts |= {part.get("title", ""), part.get("description", "")} - {None}
                    pending += list(part.get("properties", {}).values())
            assert not [text for text in texts if text and _(text) == text], kind.name


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("7 * * * *", "every hour at minute 7"),
        ("0 */6 * * *", "every 6 hours at minute 0"),
        ("30 8,20 * * *", "every day at 08:30, 20:30"),
        ("0 20 * * MON-FRI", "Monday to Friday at 20:00"),
        ("0 3 * * 0", "Sunday at 03:00"),
        ("0 3 * * 6-7", "Saturday, Sunday at 03:00"),
        ("0 3 1 * *", "on day 1 of each month at 03:00"),
        ("0 3 1 1 *", "0 3 1 1 *"),
        ("0 3 * * MON#2", "0 3 * * MON#2"),
    ],
)
def test_schedules_in_words(expression: str, words: str) -> None:
    assert describe_cron(expression) == words


def test_a_protected_place_asks_for_the_name_and_hidden_values_stay(
    visitor: Client, cluster: Cluster
) -> None:
    form = {
        "type": "cleanup",
        "name": "tidy",
        "clusters": [str(cluster.pk)],
        "namespaces": "kube-system",
        "when": "none",
        "enabled": "1",
        field_name(("delete",)): "1",
        field_name(("kinds",)): ['"pods"', '"jobs"'],
        "act": "save",
    }
    asked = visitor.post("/automation/new", form)
    assert 'name="typed"' in asked.content.decode()
    assert not Task.objects.exists()
    saved = visitor.post("/automation/new", {**form, "typed": "tidy"})
    task = Task.objects.get()
    assert saved["Location"] == f"/automation/tasks/{task.pk}"
    assert definitions.params_of(task)["kinds"] == ["pods", "jobs"]
    asked = visitor.post(f"/automation/tasks/{task.pk}/disable")
    assert 'name="typed"' in asked.content.decode()
    visitor.post(f"/automation/tasks/{task.pk}/disable", {"typed": "tidy"})
    task.refresh_from_db()
    assert not task.enabled
    form = {
        "type": "http",
        "name": "hook",
        "when": "none",
        field_name(("url",)): "https://example.com/hook",
        field_name(("headers",)): "Authorization: sesame",
        "act": "save",
    }
    visitor.post("/automation/new", form)
    hook = Task.objects.get(type="http")
    page = visitor.get(f"/automation/tasks/{hook.pk}/change").content.decode()
    assert "sesame" not in page
    change = {**form, field_name(("headers",)): "", "kept": "headers", "name": "hooked"}
    visitor.post(f"/automation/tasks/{hook.pk}/change", change)
    hook.refresh_from_db()
    assert hook.name == "hooked"
    assert definitions.params_of(hook)["headers"] == {"Authorization": "sesame"}
    refused = visitor.post(f"/automation/tasks/{hook.pk}/delete", {"typed": "hook"})
    assert refused.status_code == 400
    visitor.post(f"/automation/tasks/{hook.pk}/delete", {"typed": "hooked"})
    assert not Task.objects.filter(pk=hook.pk).exists()


@pytest.mark.django_db
def test_a_viewer_has_no_entry_in_the_menu_and_each_type_a_form(
    visitor: Client, admin: Caller
) -> None:
    for kind in TYPES:
        assert visitor.get(f"/automation/new?type={kind}").status_code == 200, kind
    assert 'href="/automation"' in visitor.get("/").content.decode()
    user = get_user_model().objects.create_user("vera")
    grants.give(user=user, role=grants.role_of("viewer"), cluster="", namespace="")
    viewer = Client()
    viewer.force_login(user)
    assert 'href="/automation"' not in viewer.get("/").content.decode()
    assert "New task" not in viewer.get("/automation").content.decode()
