"""Tasks that alerts start: which tasks a rule may name, and runs for the alerts that fired.

Alerts write a row for each task of a rule when it fires; a row becomes a run here, once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from access import policy
from access.policy import Requirement, Right, ScopeLevel
from alerts import scopes
from alerts.models import TaskTrigger
from automation import runs
from automation.models import Run, Task
from core.errors import Invalid

# As the table of the policy has it for `foreigntasks`.
_CHANGE = Requirement(frozenset({Right.MANAGE}), ScopeLevel.NAMESPACE)


def check_tasks(
    user: AbstractUser,
    limits: Mapping[str, Any],
    ids: Sequence[int],
) -> None:
    """Invalid, with the field `tasks`, for a task that the user may not let an alert start."""
    if limits:
        # The run would have its owner's rights, and not those that are left to the token.
        raise Invalid(
            "with a token that is cut down no alert can start tasks",
            field="tasks",
        )
    found = {task.pk: task for task in Task.objects.select_related("owner").filter(pk__in=ids)}
    for pk in ids:
        if pk not in found or not may_start(user, limits, found[pk]):
            raise Invalid(f"there is no task {pk}", field="tasks")


def may_start(
    user: AbstractUser,
    limits: Mapping[str, Any],
    task: Task,
) -> bool:
    """Whether the task is the user's own, or they administer all of its places."""
    if not user.is_active:
        return False
    if task.owner_id == user.pk:
        return True
    fleet = scopes.Fleet.read()
    visible = policy.visible_across_clusters(fleet.grants_of(user, limits), _CHANGE)
    return visible is not None and runs.covers(visible.clusters, task.targets)


def start_triggered(limit: int = 500) -> int:
    """A run for each alert that started a task; how many rows were taken.

    The right is asked again: the task may have another owner since the rule was saved. A task that
    is switched off is not started.
    """
    for count in range(limit):
        with transaction.atomic():
            rows = TaskTrigger.objects.select_for_update(
                skip_locked=True,
                of=("self",),
            )
            row = rows.select_related("rule__owner").order_by("pk").first()
            if row is None:
                return count
            task = Task.objects.select_related("owner").filter(pk=row.task_id).first()
            if (
                task is not None
                and _is_ready(task)
                and may_start(
                    row.rule.owner,
                    {},
                    task,
                )
            ):
                runs.create(task, Run.Trigger.ALERT, alert=row.alert_id)
            row.delete()
    return limit


def _is_ready(task: Task) -> bool:
    return task.enabled and not task.stopped_reason and task.owner.is_active
