"""A drain by a real worker and beat over a real broker, which are killed in the middle of it."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters import registry
from clusters.models import Cluster
from launcher import processes
from launcher.valkey import Valkey
from operations.models import Operation
from simcluster.testing import RunningCluster, running_cluster
from tests import workers
from tests.caller import Caller
from tests.workloads.conftest import Put, pods_of, template, workload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]

PODS = 6
DELAY = 0.4
WORKER = (
    "worker",
    "-c",
    "1",
    "-l",
    "WARNING",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)
PROGRAM_SETTINGS = {
    "OPERATION_STALE_SECONDS": 1,
    "OPERATION_RESUME_INTERVAL": 0.5,
    "DRAIN_POLL_SECONDS": 0.1,
    "DRAIN_RETRY_SECONDS": 0.2,
    "DRAIN_UNKNOWN_SECONDS": 2,
    "CLUSTER_CHECK_INTERVAL": 3600,
    "METRIC_INTERVAL": 3600,
    "LOG_LEVEL": "WARNING",
    "LOG_FORMAT": "text",
}


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[RunningCluster]:
    """A cluster with a node for each test."""
    with running_cluster(nodes=4) as server:
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
    return registry.register(
        name="drained", kubeconfig_text=apiserver.kubeconfig_yaml, default=True
    )


def wait(condition: Callable[[], Any], what: str, *, seconds: float = 90.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def fill(put: Put, apiserver: RunningCluster, space: str, node: str) -> set[str]:
    """Pods on the node, and evictions that take their time; the pods' names."""
    put(
        "deployments",
        workload(replicas=PODS, template=template(nodeSelector={"kubernetes.io/hostname": node})),
    )
    apiserver.wait(lambda: len(pods_of(apiserver, space)) == PODS, seconds=60)
    apiserver.requests.clear()
    apiserver.faults.add(path="/eviction", action="delay", seconds=DELAY)
    return {pod["metadata"]["name"] for pod in pods_of(apiserver, space)}


def evictions(apiserver: RunningCluster) -> Counter[str]:
    """How often each pod's eviction was asked for."""
    paths = [
        request.path
        for request in apiserver.requests
        if request.method == "POST" and request.path.endswith("/eviction")
    ]
    return Counter(path.split("/")[-2] for path in paths)


def state(pk: int) -> str:
    """Where the operation stands."""
    return Operation.objects.get(pk=pk).state


def finished(pk: int, program: workers.Program) -> Operation:
    """The row once it is final."""
    wait(
        lambda: Operation.objects.get(pk=pk).is_final,
        f"never ended; the worker said: {program.text()[-2000:]}",
    )
    return Operation.objects.get(pk=pk)


def test_a_drain_survives_the_sigkill_of_its_worker(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str, tmp_path: Path
) -> None:
    names = fill(put, apiserver, space, "node-01")
    environ = workers.environment(os.environ["REDIS_URL"], **PROGRAM_SETTINGS)
    beat = ("beat", "-l", "WARNING", "-s", str(tmp_path / "schedule"))
    with workers.running(*WORKER, environ=environ) as first:
        pk = admin.data("POST", "nodes/node-01/drain", {"cluster_id": cluster.pk})["drain_id"]
        wait(
            lambda: len(evictions(apiserver)) >= 3,
            f"no evictions; the worker said: {first.text()[-2000:]}",
        )
        killed_at = time.monotonic()
        first.kill()
    row = Operation.objects.get(pk=pk)
    assert (row.state, row.total) == ("running", PODS)
    assert len(evictions(apiserver)) < PODS
    with (
        workers.running(*WORKER, environ=environ) as second,
        workers.running(*beat, environ=environ),
    ):
        row = finished(pk, second)
    assert (row.state, row.done) == ("succeeded", PODS), row.error
    assert Counter(carried_out(apiserver, killed_at)) == Counter(dict.fromkeys(names, 1))


def test_a_worker_that_is_told_to_stop_hands_its_drain_over_at_once(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, put: Put, space: str
) -> None:
    names = fill(put, apiserver, space, "node-03")
    environ = workers.environment(os.environ["REDIS_URL"], **PROGRAM_SETTINGS)
    with workers.running(*WORKER, environ=environ) as first:
        pk = admin.data("POST", "nodes/node-03/drain", {"cluster_id": cluster.pk})["drain_id"]
        wait(
            lambda: len(evictions(apiserver)) >= 2,
            f"no evictions; the worker said: {first.text()[-2000:]}",
        )
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(60) == 0
    assert state(pk) == "running"
    # Without beat: nobody has to find out that something was lost.
    with workers.running(*WORKER, environ=environ) as second:
        row = finished(pk, second)
    assert (row.state, row.done) == ("succeeded", PODS), row.error
    assert evictions(apiserver) == Counter(dict.fromkeys(names, 1))


def carried_out(apiserver: RunningCluster, killed_at: float) -> list[str]:
    """The pods' names, once for each eviction, without the one request that the server dropped because its client had died."""
    asked: dict[str, list[float]] = {}
    for request in apiserver.requests:
        if request.method == "POST" and request.path.endswith("/eviction"):
            asked.setdefault(request.path.split("/")[-2], []).append(request.at)
    dropped = [
        name
        for name, at in asked.items()
        if len(at) > 1 and killed_at - 2 * DELAY < at[0] < killed_at + DELAY
    ]
    assert len(dropped) <= 1
    return [name for name, at in asked.items() for _ in at[1 if name in dropped else 0 :]]


def test_a_drain_survives_a_broker_that_loses_everything(
    admin: Caller,
    cluster: Cluster,
    apiserver: RunningCluster,
    put: Put,
    space: str,
    tmp_path: Path,
    settings: Any,
) -> None:
    # This process knows another broker: beat finds the row as soon as it is overdue.
    settings.OPERATION_STALE_SECONDS = 1
    names = fill(put, apiserver, space, "node-02")
    valkey = Valkey(tmp_path, dict(os.environ), quick=True)
    broker = processes.start(valkey.command())
    valkey.wait(broker)
    environ = workers.environment(valkey.url(), **PROGRAM_SETTINGS)
    beat = ("beat", "-l", "WARNING", "-s", str(tmp_path / "schedule"))
    try:
        with (
            workers.running(*WORKER, environ=environ) as worker,
            workers.running(*beat, environ=environ),
        ):
            pk = admin.data("POST", "nodes/node-02/drain", {"cluster_id": cluster.pk})["drain_id"]
            wait(
                lambda: len(evictions(apiserver)) >= 2,
                f"no evictions; the worker said: {worker.text()[-2000:]}",
            )
            processes.kill_group(broker)
            broker.process.wait(30)
            broker = processes.start(valkey.command())
            valkey.wait(broker)
            row = finished(pk, worker)
    finally:
        processes.kill_group(broker)
        broker.process.wait(30)
    assert (row.state, row.done) == ("succeeded", PODS), row.error
    assert evictions(apiserver) == Counter(dict.fromkeys(names, 1))
