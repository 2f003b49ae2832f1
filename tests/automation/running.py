"""Tasks that a test runs itself: saved, started, and taken turn after turn without a worker."""

from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from automation import definitions, runs
from automation.models import Run, Task
from tests.turning import finish


def save_task(owner: User, **body: Any) -> Task:
    """A task as a body describes it."""
    task = definitions.apply_body(Task(owner=owner), {"name": "task", **body}, timezone.now())
    task.save()
    return task


def run_task(task: Task) -> Run:
    """A run of the task, when it is over."""
    run = runs.create(task, Run.Trigger.MANUAL, requested_by=task.owner)
    assert run.operation is not None, (run.state, run.message)
    finish(run.operation.pk)
    return runs.find(run.pk)


def messages(run: Run) -> dict[str, str]:
    """What each step said, by the name of its object."""
    assert run.operation is not None
    return {step.data["name"]: step.message for step in run.operation.steps.all()}
