"""Automation in the console: a task through its form, runs, approval, reports, backups."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from access import grants
from automation.models import Run, Task
from clusters.models import Cluster
from console.editing.value_forms import field_name
from console.rendering.schedules import describe_cron
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


def test_tasks_have_pages(
    visitor: Client, admin: Caller, cluster: Cluster, make: Make
) -> None:
    make("deployments", deployment("web"))
    body = task_body("scale", cluster, make.space, params={"replicas": 0})
    schedule = {"cron": "0 20 * * MON-FRI", "timezone": "Europe/Berlin"}
    task = admin.data("POST", "tasks", {**body, "schedule": schedule})
    for address in (
        "/automation",
        "/automation/calendar",
        "/automation/runs",
        "/automation/new",
        *(f"/automation/new?type={name}" for name in [t["name"] for t in admin.data("GET", "tasks/types")["items"]]),
        f"/automation/tasks/{task['id']}",
        f"/automation/tasks/{task['id']}/change",
        f"/automation/tasks/{task['id']}/run",
        f"/automation/tasks/{task['id']}/delete",
    ):
        response = visitor.get(address)
        assert response.status_code == 200, (address, response.content.decode()[-3000:])
