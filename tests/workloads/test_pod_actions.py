"""One pod and many objects: restart, logs, events, bulk actions."""

from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.turning import finish, step_states
from tests.workloads.conftest import Put, pods_of, template, workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def where(cluster: Cluster, space: str) -> dict[str, Any]:
    """Cluster and namespace."""
    return {"cluster_id": cluster.pk, "namespace": space}


def one_pod(put: Put, apiserver: RunningCluster, space: str) -> dict[str, Any]:
    """A ready pod of a Deployment."""
    put("deployments", workload(replicas=1))
    found: list[dict[str, Any]] = apiserver.wait(lambda: pods_of(apiserver, space))
    return found[0]


def bare_pod(put: Put, name: str = "bare") -> dict[str, Any]:
    """A pod of nobody."""
    return put(
        "pods", {"metadata": {"name": name, "labels": {"app": "bare"}}, "spec": template()["spec"]}
    )


# --- restart --------------------------------------------------------------------------------------------------------
def test_a_controlled_pod_is_deleted_by_its_uid(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    pod = one_pod(put, apiserver, space)["metadata"]
    answer = admin.data("POST", f"pods/{pod['name']}/restart", where)
    assert (answer["name"], answer["uid"], answer["action"]) == (pod["name"], pod["uid"], "deleted")
    sent = next(request for request in apiserver.requests if request.method == "DELETE")
    assert pod["uid"].encode() in sent.body
    assert apiserver.wait(
        lambda: [
            pod_item
            for pod_item in pods_of(apiserver, space)
            if pod_item["metadata"]["uid"] != pod["uid"]
        ]
    )


def test_a_bare_pod_is_made_again_only_with_force(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    before = bare_pod(put)
    assert admin.code("POST", "pods/bare/restart", where) == 1001
    assert (
        admin.data("POST", "pods/bare/restart", {**where, "force": True, "dry_run": True})[
            "operation_id"
        ]
        is None
    )
    answer = admin.data("POST", "pods/bare/restart", {**where, "force": True, "grace_period": 0})
    assert answer["action"] == "recreated"
    row = finish(answer["operation_id"])
    assert row.state == "succeeded", row.error
    after = apiserver.get("pods", "bare", space)
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["metadata"]["labels"] == {"app": "bare"}
    assert row.parameters["manifest"] is None


def test_a_pod_is_made_again_even_when_the_worker_died_in_between(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    bare_pod(put)
    pk = admin.data("POST", "pods/bare/restart", {**where, "force": True, "grace_period": 0})[
        "operation_id"
    ]
    admin.data("DELETE", "pods/bare", **where, grace_period=0)
    apiserver.wait(lambda: apiserver.get("pods", "bare", space) is None)
    assert finish(pk).state == "succeeded"
    assert apiserver.get("pods", "bare", space)


# --- logs and events ------------------------------------------------------------------------------------------------
def test_logs_as_json_as_a_file_and_as_a_stream(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    name = one_pod(put, apiserver, space)["metadata"]["name"]
    address = f"pods/{name}/logs"
    logs = apiserver.wait(lambda: admin.data("GET", address, tail_lines=2, **where)["logs"])
    assert 1 <= len(logs.splitlines()) <= 2
    assert "hint" in admin.data("GET", address, follow="true", **where)
    file = admin.raw("GET", address, download=1, **where)
    assert file["Content-Type"].startswith("text/plain")
    assert file["Content-Disposition"] == f'attachment; filename="{name}.log"'
    assert b"".join(file.streaming_content)
    url = f"/api/v1/kubernetes/{address}"
    query = {**where, "follow": "true", "tail_lines": 1, "timestamps": "true"}
    stream = admin.client.get(url, query_params=query, headers={"Accept": "text/event-stream"})
    assert stream["Content-Type"] == "text/event-stream"
    events = iter(stream.streaming_content)
    assert next(events) == b": following\n\n"
    assert next(events).startswith(b'event: log\ndata: {"content":')
    end(stream)


def end(response: Any) -> None:
    """As a client that has gone; the test's own database connection stays open."""
    request_finished.disconnect(close_old_connections)
    response.close()
    request_finished.connect(close_old_connections)


@pytest.mark.parametrize("limit", ["LOG_FOLLOWERS", "WEB_STREAMS", "WEB_STREAMS_PER_CALLER"])
def test_only_so_many_logs_are_followed_and_closing_one_makes_room(
    limit: str,
    admin: Caller,
    apiserver: RunningCluster,
    put: Put,
    space: str,
    where: dict[str, Any],
    settings: Any,
) -> None:
    setattr(settings, limit, 1)
    name = one_pod(put, apiserver, space)["metadata"]["name"]
    url, headers = f"/api/v1/kubernetes/pods/{name}/logs", {"Accept": "text/event-stream"}
    for _ in range(2):
        first = admin.client.get(url, query_params={**where, "follow": 1}, headers=headers)
        assert first["Content-Type"] == "text/event-stream"
        assert (
            admin.client.get(url, query_params={**where, "follow": 1}, headers=headers).status_code
            == 429
        )
        if limit == "WEB_STREAMS":
            feed = "/bcsapi/v4/storage/dynamic/watch/c/Pod"
            assert admin.client.get("/api/v1/kubernetes/watch").status_code == 429
            assert admin.client.post(feed, "", content_type="application/json").status_code == 429
        end(first)


def test_log_parameters_are_checked(admin: Caller, put: Put, where: dict[str, Any]) -> None:
    bare_pod(put)
    for wrong in (
        {"tail_lines": "x"},
        {"since": "yesterday"},
        {"limit_bytes": 0},
        {"since": "5m", "since_time": "2026-01-01T00:00:00Z"},
    ):
        assert admin.code("GET", "pods/bare/logs", **where, **wrong) == 1001, wrong
    assert admin.code("GET", "pods/none/logs", **where) == 1004
    assert (
        admin.code(
            "GET", "pods/none/logs", cluster_id=where["cluster_id"], namespace="no-such-space"
        )
        == 1003
    )


def test_events_are_about_this_very_pod(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    bare_pod(put)
    events = apiserver.wait(lambda: admin.data("GET", "pods/bare/events", **where)["items"])
    uid = (apiserver.get("pods", "bare", space) or {})["metadata"]["uid"]
    assert {event["involvedObject"]["uid"] for event in events} == {uid}
    assert admin.code("GET", "pods/none/events", **where) == 1004


# --- bulk -----------------------------------------------------------------------------------------------------------
def test_one_action_on_all_that_a_selector_finds(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    for name in ("web", "shop"):
        put(
            "deployments",
            {**workload(name, replicas=1), "metadata": {"name": name, "labels": {"tier": "front"}}},
        )
    put("deployments", workload("db", replicas=1))
    answer = admin.data(
        "POST",
        "bulk/deployments",
        {**where, "action": "scale", "replicas": 2, "labelSelector": "tier=front"},
    )
    assert (answer["total"], sorted(answer["objects"])) == (2, [f"{space}/shop", f"{space}/web"])
    row = finish(answer["operation_id"])
    assert (row.state, row.done) == ("succeeded", 2)
    # It is over when the pods are there, and each step says so.
    assert [step.message for step in row.steps.all()] == ["2 of 2 pods are ready, 2 exist"] * 2
    scaled = {
        item["metadata"]["name"]: item["spec"]["replicas"]
        for item in apiserver.list("deployments.apps", space)
    }
    assert scaled == {"web": 2, "shop": 2, "db": 1}


def test_what_fails_is_named_and_the_rest_is_done(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    controlled = one_pod(put, apiserver, space)["metadata"]["name"]
    bare_pod(put)
    row = finish(
        admin.data("POST", "bulk/pods", {**where, "action": "restart", "all": True})["operation_id"]
    )
    assert (row.state, row.reason) == ("failed", "SomeFailed")
    assert step_states(row) == {f"{space}/bare": "failed", f"{space}/{controlled}": "succeeded"}


def test_a_bulk_delete_needs_a_selector_and_hits_no_later_namesake(
    admin: Caller, apiserver: RunningCluster, put: Put, space: str, where: dict[str, Any]
) -> None:
    put("configmaps", {"metadata": {"name": "one", "labels": {"old": "yes"}}})
    put("configmaps", {"metadata": {"name": "two", "labels": {"old": "yes"}}})
    assert admin.code("POST", "bulk/configmaps", {**where, "action": "delete"}) == 1001
    assert (
        admin.code("POST", "bulk/configmaps", {**where, "action": "explode", "all": True}) == 1001
    )
    order = {**where, "action": "delete", "labelSelector": "old=yes"}
    assert admin.data("POST", "bulk/configmaps", {**order, "dry_run": True})["total"] == 2
    pk = admin.data("POST", "bulk/configmaps", order)["operation_id"]
    admin.data("DELETE", "configmaps/two", **where)
    put("configmaps", {"metadata": {"name": "two"}})
    assert finish(pk).state == "succeeded"
    assert apiserver.get("configmaps", "one", space) is None
    assert apiserver.get("configmaps", "two", space) is not None
