"""Draining nodes: kubectl's semantics, flag for flag, and what happens when things go wrong."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from clusters import registry
from clusters.models import Cluster
from operations.models import Operation
from simcluster.testing import RunningCluster, running_cluster
from tests.caller import Caller
from tests.turning import finish, step_states, take_turn
from tests.workloads.conftest import Put, pods_of, template, workload

pytestmark = pytest.mark.django_db
NUMBERS = count(1)


@pytest.fixture(scope="module")
def drained_cluster() -> Iterator[RunningCluster]:
    """A cluster with a node for each test of this module."""
    with running_cluster(nodes=40) as server:
        yield server


@pytest.fixture
def apiserver(drained_cluster: RunningCluster) -> RunningCluster:
    """In place of the shared server: draining its nodes would disturb the others."""
    drained_cluster.faults.clear()
    drained_cluster.requests.clear()
    return drained_cluster


@pytest.fixture
def cluster(db: None, apiserver: RunningCluster) -> Cluster:
    """The cluster, registered."""
    return registry.register(
        name="drained", kubeconfig_text=apiserver.kubeconfig_yaml, default=True
    )


@pytest.fixture
def node() -> str:
    """A node that no other test uses."""
    return f"node-{next(NUMBERS):02}"


class Draining:
    """Drains one node and looks at what became of it."""

    def __init__(
        self, admin: Caller, cluster: Cluster, apiserver: RunningCluster, node: str
    ) -> None:
        self.admin, self.cluster, self.apiserver, self.node = admin, cluster, apiserver, node

    def __call__(self, **options: Any) -> dict[str, Any]:
        """The envelope."""
        return self.admin(
            "POST", f"nodes/{self.node}/drain", {"cluster_id": self.cluster.pk, **options}
        )

    def start(self, **options: Any) -> int:
        """The operation of a drain that must be accepted."""
        answer = self(**options)
        assert answer["code"] == 0, answer
        assert answer["data"]["drain_id"] == answer["data"]["operation_id"]
        return int(answer["data"]["drain_id"])

    def done(self, **options: Any) -> Operation:
        """The operation at its end."""
        return finish(self.start(**options))

    def evictions(self) -> Counter[str]:
        """How often each pod's eviction was asked for."""
        paths = [
            request.path
            for request in self.apiserver.requests
            if request.method == "POST" and request.path.endswith("/eviction")
        ]
        return Counter(path.split("/")[-2] for path in paths)

    def cordoned(self) -> bool:
        """Whether the node takes no new pods."""
        found = self.apiserver.get("nodes", self.node)
        return bool(found and found["spec"].get("unschedulable"))


@pytest.fixture
def drain(admin: Caller, cluster: Cluster, apiserver: RunningCluster, node: str) -> Draining:
    """Drains the test's node."""
    return Draining(admin, cluster, apiserver, node)


def on(node: str) -> dict[str, Any]:
    """A selector for one node."""
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


def spread(
    put: Put, apiserver: RunningCluster, space: str, node: str, replicas: int = 3
) -> list[str]:
    """A Deployment whose pods all are on the node; their names."""
    put("deployments", workload(replicas=replicas, template=template(**on(node))))
    found = apiserver.wait(lambda: _all(apiserver, space, replicas), seconds=30)
    return [pod["metadata"]["name"] for pod in found]


def _all(apiserver: RunningCluster, space: str, count: int) -> list[dict[str, Any]]:
    pods = pods_of(apiserver, space)
    return pods if len(pods) == count else []


def bare(
    put: Put, apiserver: RunningCluster, space: str, node: str, name: str = "bare", **spec: Any
) -> None:
    """A pod of nobody on the node."""
    put(
        "pods",
        {"metadata": {"name": name}, "spec": {**template()["spec"], "nodeName": node, **spec}},
    )
    apiserver.wait(lambda: apiserver.get("pods", name, space))


# --- what goes, what stays, what forbids ----------------------------------------------------------------------------
def test_a_drained_node_is_cordoned_and_its_pods_are_evicted_once_each(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    names = spread(put, apiserver, space, node)
    row = drain.done()
    assert (row.state, row.done, row.total, drain.cordoned()) == ("succeeded", 3, 3, True)
    assert drain.evictions() == Counter(names)
    assert row.result["evicted"] == 3


def test_each_eviction_names_the_very_pod(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=1)
    uid = pods_of(apiserver, space)[0]["metadata"]["uid"]
    drain.done(grace_period=7)
    body = json.loads(
        next(request.body for request in apiserver.requests if request.path.endswith("/eviction"))
    )
    assert (body["apiVersion"], body["kind"]) == ("policy/v1", "Eviction")
    assert body["deleteOptions"] == {"preconditions": {"uid": uid}, "gracePeriodSeconds": 7}


def test_pods_of_daemonsets_stay_unless_they_are_not_to_be_ignored(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    put("daemonsets", workload("agent", replicas=None, template=template(app="agent", **on(node))))
    apiserver.wait(lambda: _all(apiserver, space, 1))
    row = drain.done(ignore_daemonsets=False)
    assert (row.state, row.reason) == ("failed", "DrainRefused")
    row = drain.done()
    assert (row.state, list(step_states(row).values())) == ("succeeded", ["skipped"])
    assert not drain.evictions()


def test_a_bare_pod_forbids_the_drain_before_anything_is_evicted(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node)
    bare(put, apiserver, space, node)
    row = drain.done()
    assert (row.state, row.reason, drain.cordoned()) == ("failed", "DrainRefused", True)
    assert f"{space}/bare" in row.error
    assert step_states(row)[f"{space}/bare"] == "failed"
    assert not drain.evictions()
    assert drain.done(force=True).state == "succeeded"
    assert apiserver.get("pods", "bare", space) is None


def test_local_data_is_given_up_only_on_request(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    volumes = [{"name": "cache", "emptyDir": {}}]
    put("deployments", workload(replicas=1, template=template(volumes=volumes, **on(node))))
    apiserver.wait(lambda: _all(apiserver, space, 1))
    row = drain.done()
    assert row.state == "failed"
    assert "emptyDir" in row.error
    assert drain.done(delete_emptydir_data=True).state == "succeeded"


def test_a_static_pod_stays_and_a_finished_pod_goes(
    drain: Draining, apiserver: RunningCluster, space: str, node: str
) -> None:
    spec = {**template()["spec"], "nodeName": node}
    mirror = {
        "name": "static",
        "namespace": space,
        "annotations": {"kubernetes.io/config.mirror": "x"},
    }
    finished = {"name": "finished", "namespace": space}
    apiserver.load(
        "pods",
        [
            {"metadata": mirror, "spec": spec},
            {"metadata": finished, "spec": spec, "status": {"phase": "Succeeded"}},
        ],
    )
    row = drain.done()
    assert row.state == "succeeded", row.error
    assert step_states(row) == {f"{space}/static": "skipped", f"{space}/finished": "succeeded"}


def test_only_selected_pods_go(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=1)
    bare(put, apiserver, space, node)
    assert drain.done(pod_selector="app=web").state == "succeeded"
    assert apiserver.get("pods", "bare", space) is not None


def test_a_dry_run_tells_every_fate_and_changes_nothing(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=1)
    bare(put, apiserver, space, node)
    data = drain(dry_run=True)["data"]
    assert (data["status"], data["would_fail"]) == ("dry_run", True)
    assert sorted(pod["action"] for pod in data["pods"]) == ["evict", "refuse"]
    assert not drain.cordoned()
    assert not Operation.objects.exists()


def test_a_dry_run_tells_which_evictions_budgets_would_refuse_now(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=3)
    apiserver.wait(lambda: len(ready_pods(apiserver, space)) == 3, seconds=30)
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}
    put(
        "poddisruptionbudgets",
        {"metadata": {"name": "keep"}, "spec": {"minAvailable": 2, "selector": selector}},
    )
    counted = apiserver.wait(
        lambda: (
            (
                (apiserver.get("poddisruptionbudgets.policy", "keep", space) or {}).get("status")
                or {}
            ).get("disruptionsAllowed")
            == 1
        )
    )
    assert counted
    data = drain(dry_run=True)["data"]
    assert not data["would_fail"]
    assert {pod["action"] for pod in data["pods"]} == {"evict"}
    waiting = [pod for pod in data["pods"] if pod["waits_for_budget"]]
    assert len(waiting) == 2
    assert all(
        "PodDisruptionBudget keep allows 1 disruption now" in pod["message"] for pod in waiting
    )
    free = drain(dry_run=True, disable_eviction=True)["data"]
    assert not any(pod["waits_for_budget"] for pod in free["pods"])


def ready_pods(apiserver: RunningCluster, space: str) -> list[dict[str, Any]]:
    """The pods of the namespace that are Ready."""
    return [
        pod
        for pod in pods_of(apiserver, space)
        if any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod["status"].get("conditions") or []
        )
    ]


def test_flags_that_make_no_sense_are_refused(drain: Draining) -> None:
    for options in (
        {"timeout": "soon"},
        {"grace_period": -2},
        {"force": "maybe"},
        {"timeout": -1},
        {"wait": 3600},
    ):
        assert drain(**options)["code"] == 1001, options
    assert not drain.cordoned()
    missing = drain.admin("POST", "nodes/no-such-node/drain", {"cluster_id": drain.cluster.pk})
    assert missing["code"] == 1004


def test_scheduling_is_cordon_and_uncordon(drain: Draining) -> None:
    address, where = f"nodes/{drain.node}/schedule", {"cluster_id": drain.cluster.pk}
    assert (
        drain.admin.data("POST", address, {**where, "schedulable": False})["spec"]["unschedulable"]
        is True
    )
    assert (
        "unschedulable"
        not in drain.admin.data("POST", address, {**where, "schedulable": True})["spec"]
    )
    assert drain.admin.code("POST", address, where) == 1001


# --- budgets --------------------------------------------------------------------------------------------------------
def budget(put: Put, available: int) -> None:
    """A PodDisruptionBudget over the Deployment."""
    put(
        "poddisruptionbudgets",
        {
            "metadata": {"name": "keep"},
            "spec": {"minAvailable": available, "selector": {"matchLabels": {"app": "web"}}},
        },
    )


def allows(apiserver: RunningCluster, space: str, disruptions: int) -> bool:
    """Whether the budget was computed by the cluster."""
    found = apiserver.get("poddisruptionbudgets.policy", "keep", space) or {}
    status = found.get("status") or {}
    return bool(status.get("expectedPods")) and status.get("disruptionsAllowed") == disruptions


def test_a_budget_that_never_lets_go_ends_the_drain_at_its_timeout(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    names = spread(put, apiserver, space, node, replicas=2)
    budget(put, 2)
    apiserver.wait(lambda: allows(apiserver, space, 0))
    row = drain.done(timeout=1)
    assert (row.state, row.reason, drain.cordoned()) == ("failed", "timeout", True)
    assert "disruption budget" in row.error
    assert all(asked > 1 for asked in drain.evictions().values())
    assert sorted(pod["metadata"]["name"] for pod in pods_of(apiserver, space)) == sorted(names)


def test_a_budget_that_lets_go_later_is_waited_for(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=1)
    budget(put, 1)
    apiserver.wait(lambda: allows(apiserver, space, 0))
    pk = drain.start()
    for _ in range(3):
        row = take_turn(pk)
    assert row.state == "running"
    drain.admin.data(
        "DELETE", "poddisruptionbudgets/keep", cluster_id=drain.cluster.pk, namespace=space
    )
    assert finish(pk).state == "succeeded"


def test_overriding_budgets_is_never_silent(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=1)
    budget(put, 1)
    apiserver.wait(lambda: allows(apiserver, space, 0))
    refused = drain(disable_eviction=True)
    assert (refused["code"], refused["data"]["action"]) == (1010, "drain")
    row = drain.done(disable_eviction=True, confirm=True)
    assert row.state == "succeeded"
    assert "not respected" in row.result["warnings"][0]
    assert not drain.evictions()


# --- what goes wrong ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_storm_of_refusals_is_ridden_out(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str, code: int
) -> None:
    names = spread(put, apiserver, space, node)
    apiserver.faults.add(path="/eviction", action="status", code=code, retry_after=0, times=4)
    row = drain.done()
    assert row.state == "succeeded", row.error
    assert sum(drain.evictions().values()) == len(names) + 4


def test_a_cluster_that_goes_away_in_the_middle_ends_the_drain_at_its_timeout(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node)
    apiserver.faults.add(path=".*", action="cut", after=6)
    row = drain.done(timeout=2)
    assert (row.state, row.reason) == ("failed", "cluster_unavailable")
    assert "cordoned" in row.error


def test_a_cluster_that_comes_back_lets_the_drain_go_on(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    names = spread(put, apiserver, space, node)
    pk = drain.start()
    apiserver.faults.add(path=".*", action="cut", times=8)
    row = finish(pk, seconds=60)
    assert row.state == "succeeded", row.error
    assert drain.evictions() == Counter(names)


def test_a_pod_made_again_under_its_name_is_left_alone(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    bare(put, apiserver, space, node)
    pk = drain.start(force=True)
    apiserver.faults.add(path="/eviction", action="status", code=429, retry_after=0, times=1)
    take_turn(pk)
    query = {"cluster_id": drain.cluster.pk, "namespace": space}
    drain.admin.data("DELETE", "pods/bare", grace_period=0, **query)
    apiserver.wait(lambda: apiserver.get("pods", "bare", space) is None)
    bare(put, apiserver, space, node)
    assert finish(pk).state == "succeeded"
    assert apiserver.get("pods", "bare", space)


def test_asking_twice_joins_and_asking_differently_is_a_conflict(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=1)
    first = drain()["data"]
    again = drain()["data"]
    assert (again["drain_id"], again["joined"]) == (first["drain_id"], True)
    other = drain(force=True)
    assert (other["code"], other["data"]["operation_id"]) == (1008, first["drain_id"])
    assert finish(first["drain_id"]).state == "succeeded"


def test_a_turn_broken_off_after_an_eviction_does_not_evict_again(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    names = spread(put, apiserver, space, node, replicas=2)
    pk = drain.start()
    row = take_turn(pk)
    # As a worker killed before it could write: the row knows of no eviction, the cluster does.
    row.steps.update(state="pending", data={"namespace": space, "name": names[0]}, message="")
    for step in row.steps.all():
        step.data["name"] = step.name.partition("/")[2]
        step.save()
    Operation.objects.filter(pk=pk).update(turn=0, attempts=1)
    assert finish(pk).state == "succeeded"
    assert drain.evictions() == Counter(names)


def test_cancelling_leaves_the_rest_where_it_is(
    drain: Draining, put: Put, apiserver: RunningCluster, space: str, node: str
) -> None:
    spread(put, apiserver, space, node, replicas=2)
    budget(put, 2)
    apiserver.wait(lambda: allows(apiserver, space, 0))
    pk = drain.start()
    take_turn(pk)
    drain.admin.data("POST", f"operations/{pk}/cancel")
    row = finish(pk)
    assert (row.state, set(step_states(row).values()), drain.cordoned()) == (
        "cancelled",
        {"cancelled"},
        True,
    )


def test_a_node_that_was_replaced_is_not_drained(
    drain: Draining, apiserver: RunningCluster, node: str
) -> None:
    pk = drain.start()
    Operation.objects.filter(pk=pk).update(
        parameters={**Operation.objects.get(pk=pk).parameters, "uid": "another"}
    )
    row = finish(pk)
    assert (row.state, row.reason) == ("failed", "Replaced")
