"""Runs as the API answers them."""

from collections.abc import Iterable
from typing import Any

from automation.models import Run
from core.times import rfc3339
from operations.models import OperationStep


def represent_steps(steps: Iterable[OperationStep]) -> list[dict[str, Any]]:
    """The steps of an operation as a run shows them."""
    return [
        {
            "cluster_id": step.data.get("cluster_id"),
            "namespace": step.data.get("namespace", ""),
            "kind": step.data.get("kind", ""),
            "name": step.data.get("name", ""),
            "state": step.state,
            "message": step.message,
            "rolled_back": bool(step.data.get("rolled_back")),
        }
        for step in steps
    ]


def represent(run: Run, *, brief: bool = False) -> dict[str, Any]:
    """The run as JSON data; `brief`, as lists have it, without steps and result."""
    is_live = run.state in Run.ACTIVE and run.operation is not None
    answer: dict[str, Any] = {
        "id": run.pk,
        "task_id": run.task_id,
        "task": run.task.name,
        "type": run.definition.get("type", run.task.type),
        "state": run.state,
        "trigger": run.trigger,
        "dry_run": run.dry_run,
        "alert_id": run.alert,
        "owner": run.owner_name,
        "requested_by": run.requested_by.get_username() if run.requested_by else None,
        "retry_of": run.retry_of_id,
        "decided_by": run.decided_by.get_username() if run.decided_by else None,
        "decided_at": rfc3339(run.decided_at),
        "comment": run.comment,
        "scheduled_at": rfc3339(run.scheduled_at),
        "created_at": rfc3339(run.created_at),
        "started_at": rfc3339(run.started_at),
        "finished_at": rfc3339(run.finished_at),
        "message": run.message or None,
        "reason": run.reason or None,
        "operation_id": run.operation_id,
    }
    if not brief:
        live = represent_steps(run.operation.steps.all()) if is_live and run.operation else []
        answer["steps"] = live if is_live else run.steps
        answer["result"] = run.result
    return answer
