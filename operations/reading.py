"""Reading operations: searches, the answers of the API, lines for the audit trail."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

from django.db.models import QuerySet

from clusters.kinds import KINDS
from core.errors import Invalid
from core.times import rfc3339
from operations import lifecycle
from operations.lifecycle import Result, State, StepState
from operations.models import Operation, OperationStep

# Actions that delete the object, with the verb that an audit line shows.
DELETING = {"drain": "evict", "delete": "delete", "restart": "restart"}
# How long an operation may take: it was created at most so long before its steps.
MAX_DURATION = timedelta(days=1)


def search(
    *,
    cluster_id: int | None = None,
    state: str = "",
    kind: str = "",
    namespace: str = "",
    name: str = "",
    requested_by: str = "",
) -> QuerySet[Operation]:
    """Operations, newest first, with their steps, that match every argument that is not empty.

    Invalid for a state that does not exist.
    """
    if state and state not in State.values:
        raise Invalid(f"state must be one of {', '.join(State.values)}", field="state")
    filters = {
        "cluster_id": cluster_id,
        "state": state,
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "requested_by": requested_by,
    }
    columns = {column: value for column, value in filters.items() if value not in (None, "")}
    rows = Operation.objects.filter(**columns).order_by("-pk")
    return rows.prefetch_related(lifecycle.with_steps())


def represent(operation: Operation) -> Result:
    """The row as the KubeGale document shows it (contract, section 3); times are RFC 3339 UTC."""
    kind = KINDS.get(operation.resource)
    return {
        "id": operation.pk,
        "kind": operation.kind,
        "cluster_id": operation.cluster_id,
        "target": {
            "kind": kind.name if kind else operation.resource,
            "namespace": operation.namespace,
            "name": operation.name,
        },
        "action": _represent_action(operation),
        "state": operation.state,
        "progress": {"done": operation.done, "total": operation.total},
        "steps": [
            {"name": step.name, "state": step.state, "message": step.message}
            for step in operation.steps.all()
        ],
        "result": operation.result,
        "error": operation.error or None,
        "reason": operation.reason or None,
        "cancel_requested": operation.cancel_requested_at is not None,
        "requested_by": operation.requested_by,
        "created_at": rfc3339(operation.created_at),
        "started_at": rfc3339(operation.started_at),
        "finished_at": rfc3339(operation.finished_at),
    }


def _represent_action(operation: Operation) -> Result | None:
    """{"name", "from", "to"} of what was asked for, as scale from 3 to 5; None for other work."""
    name = operation.parameters.get("action")
    if not isinstance(name, str):
        return None
    change = operation.parameters.get("change") or {}
    # A bulk action has its options by themselves, and no single value before.
    options = operation.parameters.get("options") or {}
    return {
        "name": name,
        "from": change.get("from"),
        "to": change.get("to", options.get("replicas")),
    }


def snapshots(
    pk: int,
    *,
    interval: float = 0.5,
    patience: float = 3600.0,
) -> Iterator[Result]:
    """The row as `represent` shows it, now and after every change, until it is final.

    It ends after `patience` seconds, too. It sleeps for `interval` seconds between two queries: run
    it in a thread. NotFound when there is no such operation.
    """
    last_change: datetime | None = None
    deadline = monotonic() + patience
    while monotonic() < deadline:
        changed = Operation.objects.filter(pk=pk).values_list("updated_at", flat=True).first()
        if changed is None or changed != last_change:
            row = lifecycle.find(pk)
            yield represent(row)
            if row.is_final:
                return
            last_change = row.updated_at
        sleep(interval)


def audit_lines(
    cluster: int, uids: Iterable[str], *, since: datetime, until: datetime
) -> list[dict[str, Any]]:
    """What operations did to the objects with these uids in [since, until].

    {"at","user","verb","namespace","name","uid"} for each step. `at` is a datetime: when the step
    was done; for a deletion, which can take long, when the operation was created.
    """
    rows = OperationStep.objects.filter(
        operation__cluster_id=cluster,
        operation__created_at__gte=since - MAX_DURATION,
        operation__created_at__lte=until,
        key__in=list(uids),
    ).filter(state__in=(StepState.RUNNING, StepState.SUCCEEDED))
    return [_audit_line(step) for step in rows.select_related("operation")]


def _audit_line(step: OperationStep) -> dict[str, Any]:
    operation = step.operation
    action = str(operation.parameters.get("action") or operation.kind)
    # Restarting a workload changes it; restarting a pod deletes it.
    deletes = action in DELETING and (action != "restart" or operation.resource == "pods")
    return {
        "at": operation.created_at if deletes else step.updated_at,
        "user": operation.requested_by,
        "verb": DELETING[action] if deletes else action,
        "namespace": str(step.data.get("namespace") or ""),
        "name": str(step.data.get("name") or ""),
        "uid": step.key,
    }
