"""Real beats and workers on one clock: one run a moment, and none lost when they are killed."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from automation.models import Run, Task
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from simcluster.testing import RunningCluster, running_cluster
from tests import workers
from tests.automation.conftest import Script
from tests.caller import Caller
from tests.workloads.conftest import Put, workload
from tests.workloads.test_worker_loss import PROGRAM_SETTINGS, WORKER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[RunningCluster]:
    """A cluster of these tests alone."""
    with running_cluster(nodes=1) as server:
        yield server


@pytest.fixture
def apiserver(own_cluster: RunningCluster) -> RunningCluster:
    """In place of the shared server."""
    own_cluster.faults.clear()
    own_cluster.requests.clear()
    return own_cluster


@pytest.fixture
def cluster(db: None, apiserver: RunningCluster) -> Cluster:
    """The cluster, registered."""
    return registry.register(name="timed", kubeconfig_text=apiserver.kubeconfig_yaml, default=True)


def wait(condition: Callable[[], Any], what: str, *, seconds: float = 90.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_two_beats_and_three_workers(
    script: Script, put: Put, admin: Caller, apiserver: RunningCluster, tmp_path: Path
) -> None:
    for number in range(6):
        put("deployments", workload(f"web-{number}", replicas=1))
    apiserver.faults.add(method="PATCH", action="delay", seconds=0.3)
    minutely = {"cron": "* * * * *", "timezone": "UTC"}
    scaling = script.make("scale", {"replicas": 0}, schedule=minutely, deadline="1h")
    others = [
        script.make("cordon", {}, targets={"names": ["nobody"]}, schedule=minutely, deadline="1h")
        for _ in range(4)
    ]
    due = timezone.now().replace(second=0, microsecond=0)
    Task.objects.update(next_run_at=due)
    with ExitStack() as stack:
        environ = workers.environment(
            os.environ["REDIS_URL"], **PROGRAM_SETTINGS, TASK_TICK_SECONDS=0.2
        )
        for number in range(2):
            stack.enter_context(
                workers.running("beat", "-s", str(tmp_path / f"beat-{number}"), environ=environ)
            )
        first = stack.enter_context(workers.running(*WORKER, environ=environ))
        stack.enter_context(workers.running(*WORKER, environ=environ))
        run = Run.objects.filter(task=scaling["id"])
        wait(lambda: run.filter(state="running").exists(), "nothing runs")
        # Whoever has the run, one of the two dies in the middle of it.
        first.kill()
        stack.enter_context(workers.running(*WORKER, environ=environ))
        wait(lambda: run.filter(state="succeeded").exists(), "the run does not end")
        wait(
            lambda: Run.objects.filter(task__in=[task["id"] for task in others]).count() >= 4,
            "not every task ran",
        )
    moments = Counter(Run.objects.values_list("task_id", "scheduled_at"))
    assert set(moments.values()) == {1}
    patches = Counter(request.path for request in apiserver.requests if request.method == "PATCH")
    assert len(patches) == 6
    # A change whose answer was lost with its worker may be asked for again; no other one is.
    assert sum(patches.values()) <= 7
    shown = admin.data("GET", f"task-runs/{run.order_by('pk').first().pk}")  # type: ignore[union-attr]
    assert [step["state"] for step in shown["steps"]] == ["succeeded"] * 6
    # Nothing was missed and nothing is later than a minute.
    assert Run.objects.filter(scheduled_at__gt=due + timedelta(minutes=3)).count() == 0


def run_with_a_kill(
    script: Script, apiserver: RunningCluster, task: dict[str, Any], tmp_path: Path
) -> dict[str, Any]:
    """The run of a task whose worker is killed at its second change, when another ends it."""
    apiserver.faults.add(method="PATCH", action="delay", seconds=0.5)
    apiserver.requests.clear()
    environ = workers.environment(
        os.environ["REDIS_URL"], **PROGRAM_SETTINGS, TASK_TICK_SECONDS=0.2
    )

    def changes() -> int:
        return sum(
            request.method == "PATCH" and "dryRun" not in request.query
            for request in apiserver.requests
        )

    with ExitStack() as stack:
        stack.enter_context(workers.running("beat", "-s", str(tmp_path / "beat"), environ=environ))
        first = stack.enter_context(workers.running(*WORKER, environ=environ))
        run = script.start(task)
        wait(lambda: changes() >= 2, "nothing is changed")
        first.kill()
        stack.enter_context(workers.running(*WORKER, environ=environ))
        row = Run.objects.filter(pk=run["id"]).exclude(state__in=Run.OPEN)
        wait(row.exists, "the run does not end")
    shown: dict[str, Any] = script.caller.data("GET", f"task-runs/{run['id']}")
    return shown


def test_a_scaling_survives_its_worker(
    script: Script, put: Put, apiserver: RunningCluster, tmp_path: Path
) -> None:
    for number in range(4):
        put("deployments", workload(f"web-{number}", replicas=2))
    task = script.make("scale", {"replicas": 1})
    run = run_with_a_kill(script, apiserver, task, tmp_path)
    assert run["state"] == "succeeded", run
    assert [step["state"] for step in run["steps"]] == ["succeeded"] * 4
    apiserver.faults.clear()
    # What was before is known of each, also of the one at which the worker died.
    back = script.make("scale", {"restore": True})
    planned = script.rehearse(back)["steps"]
    assert {step["message"] for step in planned} == {"scaled from 1 to 2 replicas"}


def test_a_rollback_survives_its_worker(
    script: Script, apiserver: RunningCluster, tmp_path: Path
) -> None:
    client = registry.client(script.cluster)
    kind = KINDS["configmaps"]
    old = {"metadata": {"name": "old"}, "data": {"colour": "red"}}
    client.create(kind, old, namespace=script.space)
    head = {"apiVersion": "v1", "kind": "ConfigMap"}
    content = [
        {**head, "metadata": {"name": name}, "data": {"colour": "blue"}}
        for name in ("new", "old", "other")
    ]
    broken = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": -1},
    }
    params = {"content": [*content, broken], "force_conflicts": True}
    task = script.make("apply_manifests", params, on_failure="rollback")
    run = run_with_a_kill(script, apiserver, task, tmp_path)
    assert run["state"] == "failed", run
    (step,) = run["steps"]
    assert step["rolled_back"], step
    names = {
        item["metadata"]["name"]: item.get("data")
        for item in apiserver.list("configmaps", script.space)
    }
    assert names["old"] == {"colour": "red"}
    assert not names.keys() & {"new", "other"}
