"""Telling a task's channels how a run went, by the deliveries that alerts have.

A run that failed or waits for approval is told as something that fires, with the task as its group,
and one that ended well as its end: receivers of Alertmanager's payload need nothing else.
"""

import orjson
from django.contrib.auth.models import AbstractUser
from django.db.models import Q, QuerySet

from access import policy
from alerts import scopes
from alerts.models import Alert, Channel, Delivery, Severity
from alerts.notifications import messages
from automation.models import Run
from core import clock
from core.times import rfc3339

_FIRING = (Run.State.FAILED, Run.State.INTERRUPTED, Run.State.WAITING_APPROVAL)
_OVER = (*_FIRING, Run.State.SUCCEEDED, Run.State.CANCELLED, Run.State.SKIPPED)
_MAX_SUMMARY = 500


def announce(run: Run) -> int:
    """Write a delivery to each channel of the run's task, once a state; how many.

    Only to channels that the owner may use now. A dry run is told to nobody.
    """
    if run.dry_run or run.state not in _OVER:
        return 0
    channels = list(run.task.notify.filter(usable_by(run.task.owner), enabled=True))
    rows = [_delivery(channel, run) for channel in channels]
    # Two processes may announce the same state: the key of a delivery is unique.
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def usable_by(owner: AbstractUser) -> Q:
    """The channels that a user may send to: their own, their tenants', all for an admin."""
    fleet = scopes.Fleet.read()
    if fleet.is_admin(owner):
        # An empty Q() would vanish when another condition is joined to it by "or".
        return Q(pk__isnull=False)
    usable = Q(owner=owner)
    visible = policy.visible_across_clusters(
        fleet.grants_of(owner), policy.requirement_for("list", "alerts")
    )
    for pk, namespaces in ((visible.clusters if visible else None) or {}).items():
        inside = Q() if namespaces is None else Q(tenant__namespace__in=namespaces)
        usable |= Q(tenant__cluster=pk) & inside
    return usable


def channels_of_owner(owner: AbstractUser) -> QuerySet[Channel]:
    """The channels that a user may send to."""
    return Channel.objects.filter(usable_by(owner))


def _delivery(channel: Channel, run: Run) -> Delivery:
    language = orjson.loads(channel.config).get("language", "en")
    return Delivery(
        channel=channel,
        group_key=f"task-{run.task_id}",
        idempotency_key=f"task-run-{run.pk}-{run.state}-{channel.pk}",
        payload=messages.write(
            channel.kind,
            channel.name,
            language,
            _notification(run),
        ),
        due_at=clock.now(),
    )


def _notification(run: Run) -> messages.Notification:
    task = run.task
    is_firing = run.state in _FIRING
    now = clock.now()
    name = f"Task {task.name}"
    summary = f"run {run.pk} of {task.name} ({run.definition['type']}): {run.state}"
    if run.message:
        summary = f"{summary}: {run.message}"
    alert = Alert(
        rule_name=name,
        fingerprint=f"{task.pk:016x}",
        state=Alert.State.FIRING if is_firing else Alert.State.RESOLVED,
        severity=Severity.WARNING if is_firing else Severity.INFO,
        labels={
            "task": task.name,
            "task_id": str(task.pk),
            "task_type": run.definition["type"],
            "run_id": str(run.pk),
            "run_state": run.state,
            "trigger": run.trigger,
            "scheduled_at": rfc3339(run.scheduled_at),
        },
        annotations={"summary": summary[:_MAX_SUMMARY]},
        started_at=run.started_at or run.scheduled_at,
        resolved_at=None if is_firing else (run.finished_at or now),
    )
    return messages.Notification(
        key=f"{{}}/{{task={task.pk}}}:",
        rule_name=name,
        group_labels={"alertname": name, "task_id": str(task.pk)},
        firing=[alert] if is_firing else [],
        resolved=[] if is_firing else [alert],
        link=messages.console_link(f"/automation/runs/{run.pk}"),
    )
