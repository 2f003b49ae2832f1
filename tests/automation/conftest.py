"""Fixtures of the tests of automation: a script that makes tasks and runs them to their end."""

from typing import Any

import pytest

from automation import runs
from automation.models import Run
from clusters.models import Cluster
from tests.access.conftest import person
from tests.caller import Caller
from tests.turning import finish
from tests.workloads.conftest import put, quick, space

__all__ = ["person", "put", "quick", "space"]


class Script:
    """Calls the routes of tasks as one user, on one namespace of one cluster."""

    def __init__(self, caller: Caller, cluster: Cluster, space: str) -> None:
        self.caller = caller
        self.cluster = cluster
        self.space = space

    def body(self, kind: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A task in the namespace."""
        targets = {"clusters": [self.cluster.pk], "namespaces": [self.space]}
        return {
            "name": f"a {kind}",
            "type": kind,
            "params": params,
            "targets": targets,
            **more,
        }

    def make(self, kind: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The task, saved."""
        made: dict[str, Any] = self.caller.data("POST", "tasks", self.body(kind, params, **more))
        return made

    def start(self, task: dict[str, Any], **body: Any) -> dict[str, Any]:
        """The answer to running it."""
        run: dict[str, Any] = self.caller.data("POST", f"tasks/{task['id']}/run", body)
        return run

    def rehearse(self, task: dict[str, Any]) -> dict[str, Any]:
        """The dry run."""
        return self.start(task, dry_run=True)

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run once it is over."""
        if run["operation_id"]:
            finish(run["operation_id"])
        over: dict[str, Any] = self.caller.data("GET", f"task-runs/{run['id']}")
        return over

    def run(self, kind: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A task made, run and over."""
        return self.finish(self.start(self.make(kind, params, **more)))


@pytest.fixture(autouse=True)
def hasty(settings: Any) -> None:
    """Second attempts that come at once."""
    settings.TASK_RETRY_SECONDS = 0.05


@pytest.fixture
def script(admin: Caller, cluster: Cluster, space: str) -> Script:
    """An admin's script."""
    return Script(admin, cluster, space)


def states(run: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, state) of each step."""
    return [(step["name"], step["state"]) for step in run["steps"]]


def open_runs() -> list[Run]:
    """Runs that are not over."""
    return list(runs.rows().filter(state__in=Run.OPEN).order_by("pk"))
