"""Operations: what a row may become, who may turn it, and what survives."""

import threading
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from clusters.models import Cluster
from core.errors import Conflict, Invalid, Rejected
from operations import lifecycle, reading, runner
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation
from tests.caller import Caller
from tests.turning import finish, take_turn

pytestmark = pytest.mark.django_db


def three_steps(operation: Operation) -> RequeueAfter | Result:
    """A runner: one step a turn."""
    lifecycle.plan(operation, [Step(key, key.upper()) for key in "abc"])
    for step in lifecycle.steps(operation, "pending")[:1]:
        lifecycle.heartbeat(operation)
        lifecycle.move(step, "succeeded", "fine")
        return RequeueAfter(0)
    return {"answer": 42}


def refuses(operation: Operation) -> RequeueAfter | Result:
    """A runner that ends badly."""
    raise Rejected("the cluster says no", reason="Quota")


def broken(operation: Operation) -> RequeueAfter | Result:
    """A runner with a fault of its own."""
    raise ZeroDivisionError("a secret inside")


@pytest.fixture(autouse=True)
def kinds(settings: Any) -> None:
    """Kinds whose runners are the functions above."""
    here = "tests.clusters.test_operations"
    settings.OPERATIONS = {
        name: {"run": f"{here}.{name}", "queue": "bulk"}
        for name in ("three_steps", "refuses", "broken")
    }


def make(kind: str = "three_steps", **options: Any) -> Operation:
    """A pending row that belongs to no cluster."""
    return lifecycle.create(
        kind, OperationTarget(None, "nodes", "", "n1"), requested_by="somebody", **options
    )


def test_an_operation_goes_from_pending_to_succeeded_in_turns() -> None:
    row = make()
    assert (row.state, row.queue) == ("pending", "bulk")
    row = take_turn(row.pk)
    assert (row.state, row.turn, row.done, row.total) == ("running", 1, 1, 3)
    shown = reading.represent(finish(row.pk))
    assert (shown["state"], shown["result"], shown["error"]) == ("succeeded", {"answer": 42}, None)
    assert shown["progress"] == {"done": 3, "total": 3}
    assert [step["name"] for step in shown["steps"]] == ["A", "B", "C"]
    assert shown["target"] == {"kind": "Node", "namespace": "", "name": "n1"}
    assert shown["started_at"] <= shown["finished_at"]


def test_a_message_delivered_twice_works_once() -> None:
    row = make()
    assert [message.turn for message in runner.run(row.pk, 0)] == [1]
    assert runner.run(row.pk, 0) == []
    assert Operation.objects.get(pk=row.pk).turn == 1


def test_a_final_row_never_moves_again() -> None:
    row = finish(make().pk)
    assert not lifecycle.fail(row, Rejected("late"))
    assert not lifecycle.interrupt(row, "late")
    with pytest.raises(Conflict):
        lifecycle.cancel(row)
    assert Operation.objects.get(pk=row.pk).state == "succeeded"


def test_a_refusal_ends_as_failed_with_its_sentence() -> None:
    row = finish(make("refuses").pk)
    assert (row.state, row.error, row.reason) == ("failed", "the cluster says no", "Quota")


def test_a_fault_of_ours_ends_as_failed_without_its_inside() -> None:
    row = finish(make("broken").pk)
    assert (row.state, row.reason) == ("failed", "internal")
    assert "secret" not in row.error


def test_cancelling_stops_before_the_next_step() -> None:
    pending = make()
    assert lifecycle.cancel(pending).state == "cancelled"
    row = take_turn(make().pk)
    assert lifecycle.cancel(row).cancel_requested_at is not None
    row = finish(row.pk)
    assert (row.state, list(row.steps.values_list("state", flat=True))) == (
        "cancelled",
        ["succeeded", "cancelled", "cancelled"],
    )


def test_one_exclusive_operation_at_a_time() -> None:
    first = make(exclusive="drain/1")
    with pytest.raises(Conflict) as refused:
        make(exclusive="drain/1")
    assert refused.value.details["operation_id"] == first.pk
    finish(first.pk)
    assert make(exclusive="drain/1").state == "pending"


def test_more_than_the_limit_wait_and_the_end_of_one_lets_the_next_start(settings: Any) -> None:
    settings.OPERATION_LIMITS = {"bulk": 1}
    first, second = make(), make()
    take_turn(first.pk)
    assert runner.run(second.pk, 0) == []
    assert Operation.objects.get(pk=second.pk).state == "pending"
    while messages := runner.run(first.pk, Operation.objects.get(pk=first.pk).turn):
        last = messages
    assert [message.operation for message in last] == [second.pk]


def test_a_kind_that_is_no_longer_known_is_interrupted(settings: Any) -> None:
    row = take_turn(make().pk)
    settings.OPERATIONS = {}
    row = finish(row.pk)
    assert (row.state, row.reason) == ("interrupted", "unknown_kind")


def test_a_turn_that_kills_its_worker_again_and_again_is_interrupted() -> None:
    row = take_turn(make().pk)
    Operation.objects.filter(pk=row.pk).update(attempts=runner.MAX_ATTEMPTS)
    row = take_turn(row.pk)
    assert (row.state, row.reason) == ("interrupted", "worker_lost")


def test_an_operation_of_a_removed_cluster_is_interrupted(cluster: Cluster) -> None:
    row = lifecycle.create("three_steps", OperationTarget(cluster), requested_by="somebody")
    take_turn(row.pk)
    Cluster.objects.filter(pk=cluster.pk).update(deleted_at=timezone.now())
    assert finish(row.pk).reason == "cluster_removed"


def test_an_operation_that_takes_too_long_fails(settings: Any) -> None:
    row = take_turn(make().pk)
    settings.OPERATION_MAX_SECONDS = 0
    assert (finish(row.pk).state, Operation.objects.get(pk=row.pk).reason) == ("failed", "timeout")


def test_silent_operations_are_found_once_per_interval(settings: Any) -> None:
    settings.OPERATION_STALE_SECONDS = -1
    row = take_turn(make().pk)
    settings.OPERATION_STALE_SECONDS = 60
    assert [found.pk for found in lifecycle.claim_overdue()] == [row.pk]
    assert lifecycle.claim_overdue() == []


def test_snapshots_follow_a_row_to_its_end() -> None:
    row = finish(make().pk)
    assert [shown["state"] for shown in reading.snapshots(row.pk, interval=0.01)] == ["succeeded"]


def test_old_operations_are_forgotten(settings: Any) -> None:
    row = finish(make().pk)
    settings.OPERATION_RETENTION_DAYS = 0
    lifecycle.purge()
    assert not Operation.objects.filter(pk=row.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_two_processes_never_turn_one_operation_at_once() -> None:
    row, results = make(), []
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

    def other() -> None:
        results.append(runner.run(row.pk, 0))
        connections.close_all()

    with lifecycle.try_lock(row) as locked:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert (locked, results) == (True, [[]])
    assert Operation.objects.get(pk=row.pk).turn == 0


# --- over the API ---------------------------------------------------------------------------------------------------
def test_operations_are_listed_read_and_cancelled(admin: Caller) -> None:
    row = make()
    finish(make().pk)
    assert admin.data("GET", "operations", state="pending")["items"][0]["id"] == row.pk
    assert admin.data("GET", "operations", kind="three_steps")["total"] == 2
    assert admin.data("GET", f"operations/{row.pk}")["requested_by"] == "somebody"
    assert admin.data("POST", f"operations/{row.pk}/cancel")["state"] == "cancelled"
    assert admin.code("POST", f"operations/{row.pk}/cancel") == 1008
    assert admin.code("GET", "operations/999999") == 1004
    assert admin.code("GET", "operations/x") == 1004
    assert admin.code("GET", "operations", state="nonsense") == 1001


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(Invalid):
        reading.search(state="lost")
