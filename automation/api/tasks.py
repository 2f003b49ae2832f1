"""Tasks over JSON: /tasks, their runs by hand, /tasks/types and /tasks/calendar."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from access.impersonation import identity_by_id
from alerts import rules
from alerts.api import rights as channel_rights
from alerts.models import Channel
from automation import context as contexts
from automation import definitions, notifications, run_answers, runner, runs, schedules, types
from automation.api import rights
from automation.api.schemas import (
    BRIEF_RUN,
    MOMENT,
    RUN,
    STATE,
    TASK,
    TASK_BODY,
    TASK_READ_ONLY,
    TRIGGER,
    TYPE_DESCRIPTION,
)
from automation.models import Run, Task
from clusters import impersonation, registry
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.confirmation import ConfirmationRequest, require_confirmation
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, dry_run, integer, json_body
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    record,
)
from core.errors import Invalid
from core.times import rfc3339
from workloads.actions import protection

# What a change of nothing else leaves with its owner: it does not say what the task does.
HARMLESS = frozenset({"name", "description", "enabled", "notify"})
MAX_DAYS = 31
MAX_MOMENTS = 1000


class TaskViewSet(ViewSetMixin, DialectView):
    """Tasks: everybody's own, and those in places where one may write."""

    operations = {
        "list": OperationSchema(
            "Tasks that you may see",
            TASK,
            query=(
                QueryParameter("type", TEXT),
                QueryParameter("enabled", BOOLEAN),
                QueryParameter("owner", TEXT),
                QueryParameter("cluster_id", INTEGER),
                QueryParameter("state", STATE, description="Of the last run."),
                *PAGING,
            ),
            paged=True,
            answer_name="AutomationTask",
        ),
        "create": OperationSchema(
            "Make a task",
            TASK,
            body=TASK_BODY,
            guarded=True,
            answer_name="AutomationTask",
        ),
        "retrieve": OperationSchema("One task", TASK, answer_name="AutomationTask"),
        "update": OperationSchema(
            "Change a task; members that are left out stay",
            TASK,
            body=TASK_BODY,
            also_body=TASK_READ_ONLY,
            guarded=True,
            answer_name="AutomationTask",
        ),
        "destroy": OperationSchema(
            "Delete a task and its runs; what goes on is stopped",
            OBJECT,
        ),
        "run": OperationSchema(
            "Run a task now, or say what it would do",
            RUN,
            body=record(required=(), dry_run=BOOLEAN),
            answer_name="TaskRun",
        ),
        "runs": OperationSchema(
            "Runs of a task, newest first",
            BRIEF_RUN,
            query=(
                QueryParameter("state", STATE),
                QueryParameter("trigger", TRIGGER),
                *PAGING[:2],
            ),
            paged=True,
            answer_name="BriefTaskRun",
        ),
    }

    def list(self, request: Request) -> Any:
        """One page, oldest first."""
        viewer = rights.viewer_of(self, request)
        query = request.query_params
        page = page_request(query)
        rows = Task.objects.select_related("owner").prefetch_related("notify")
        if kind := query.get("type", ""):
            rows = rows.filter(type=kind)
        if enabled := query.get("enabled", ""):
            rows = rows.filter(enabled=boolean(enabled, "enabled"))
        if owner := query.get("owner", ""):
            rows = rows.filter(owner__username=owner.replace("\0", ""))
        if cluster := query.get("cluster_id", ""):
            pk = registry.find(integer(cluster, "cluster_id", minimum=0)).pk
            rows = rows.filter(targets__clusters__contains=[pk])
        if keyword := query.get("keyword", ""):
            rows = rows.filter(name__icontains=keyword.replace("\0", ""))
        visible = [row for row in rows.order_by("pk") if viewer.sees(row)]
        last = _last_runs(visible)
        if state := query.get("state", ""):
            if state not in Run.State.values:
                raise Invalid(
                    f"state must be one of {', '.join(Run.State.values)}",
                    field="state",
                )
            visible = [row for row in visible if row.pk in last and last[row.pk].state == state]
        selected = visible[page.offset : page.offset + page.size]
        items = [definitions.represent(row, last.get(row.pk)) for row in selected]
        return Page(items, len(visible), page.page, page.size)

    def create(self, request: Request) -> Any:
        """The task, which is due from now on by its schedule."""
        authorise(self, request, AccessAttributes("create", "tasks"))
        viewer = rights.viewer_of(self, request)
        body = json_body(request)
        annotate(request, name=str(body.get("name") or "")[:200])
        task = Task(owner=viewer.user, token=viewer.cut_token)
        return _save(self, request, task, body)

    def retrieve(self, request: Request, pk: str) -> Any:
        """One task."""
        _, task = rights.visible_task(self, request, pk)
        return _answer(task)

    def update(self, request: Request, pk: str) -> Any:
        """The task with the members of the body; a task that was stopped runs again."""
        viewer, task = rights.changeable_task(self, request, pk, "update")
        body = json_body(request)
        if "id" in body and body["id"] != task.pk:
            raise Invalid("id cannot be changed", field="id")
        if "owner" in body and body["owner"] != task.owner.get_username():
            raise Invalid("owner cannot be changed", field="owner")
        before = definitions.represent(task)
        changed = {
            name for name in definitions.FIELDS if name in body and body[name] != before[name]
        }
        if changed - HARMLESS:
            # It acts with its owner's rights: who says what it does answers for it from here on.
            task.owner = viewer.user
            task.token = viewer.cut_token
        return _save(self, request, task, body)

    def destroy(self, request: Request, pk: str) -> Any:
        """{}."""
        _, task = rights.changeable_task(self, request, pk, "delete")
        self.check_input(request)
        annotate(request, name=task.name)
        runs.cancel_open(task)
        task.delete()
        return {}

    def run(self, request: Request, pk: str) -> Any:
        """The run; with dry_run what a run would do now, which is kept as a run, too."""
        viewer, task = rights.changeable_task(self, request, pk, "run")
        body = json_body(request)
        annotate(request, name=task.name)
        token = rights.token_for_run(viewer, task)
        if dry_run(body.get("dry_run", False)):
            annotate(request, details={"dry_run": True})
            return _rehearse(viewer, task, token)
        run = runs.create(
            task,
            Run.Trigger.MANUAL,
            requested_by=viewer.user,
            token=token,
        )
        annotate(request, details={"run": run.pk})
        return rights.represent_whole(runs.find(run.pk))

    def runs(self, request: Request, pk: str) -> Any:
        """One page of the task's runs."""
        viewer, task = rights.visible_task(self, request, pk)
        return run_page(request, viewer.visible_runs([task]))


def run_page(request: Request, rows: Any) -> Page:
    """One page of runs, newest first, that match the query."""
    query = request.query_params
    page = page_request(query)
    for name, choices in (("state", Run.State.values), ("trigger", Run.Trigger.values)):
        if value := query.get(name, ""):
            if value not in choices:
                raise Invalid(
                    f"{name} must be one of {', '.join(choices)}",
                    field=name,
                )
            rows = rows.filter(**{name: value})
    pks = list(
        rows.order_by("-pk").values_list(
            "pk",
            flat=True,
        )[page.offset :][: page.size]
    )
    found = {row.pk: row for row in runs.rows().filter(pk__in=pks)}
    items = [
        run_answers.represent(
            runs.current(found[pk]),
            brief=True,
        )
        for pk in pks
        if pk in found
    ]
    return Page(items, rows.count(), page.page, page.size)


def _rehearse(
    viewer: rights.Viewer,
    task: Task,
    token: int | None,
) -> dict[str, Any]:
    steps, result = rehearse(task, token)
    run = runs.keep_plan(task, viewer.user, steps, result)
    return rights.represent_whole(runs.find(run.pk))


def rehearse(
    task: Task,
    token: int | None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(steps, result) of what a run would do now, cut down by the API token of that id."""
    params = definitions.params_of(task)
    kind = types.find(task.type)
    kind.check(params)
    credential = {**task.credential, **({"api_token": token} if token else {})}
    context = contexts.of_task(task, params, credential=credential)
    # Clusters with impersonation see the owner, as they do when it runs.
    with impersonation.act_as(lambda: identity_by_id(task.owner_id)):
        return runner.rehearse(kind, context)


def _save(
    view: DialectView,
    request: Request,
    task: Task,
    body: dict[str, Any],
) -> dict[str, Any]:
    rights.refuse_hidden_clusters(view, request, task, body)
    task = definitions.apply_body(task, body, timezone.now())
    rights.require_places(request, task)
    channels = channels_of(view, request, task, body)
    _confirm(request, task)
    task.stopped_reason = ""
    task.next_run_at = runs.plan_next(task, timezone.now())
    task.save()
    if channels is not None:
        task.notify.set(channels)
    return _answer(task)


def channels_of(
    view: DialectView,
    request: Request,
    task: Task,
    body: Mapping[str, Any],
) -> list[Channel] | None:
    """The channels that a body names; None without `notify`, Invalid for what cannot be used."""
    if "notify" not in body:
        return None
    # A channel that is there already may stay, whoever has put it there.
    pks = set(task.notify.values_list("pk", flat=True)) if task.pk else set()
    # Those that who saves it may use, and that its owner, as whom it acts, may use too.
    usable = notifications.usable_by(task.owner) & channel_rights.usable_channels(
        channel_rights.viewer_of(view, request)
    )
    return rules.channels_of(body["notify"], usable | Q(pk__in=pks), "notify")


def _confirm(request: Request, task: Task) -> None:
    """ConfirmationRequired for a task that deletes or evicts in a protected place that it names."""
    kind = types.find(task.type)
    if not kind.is_dangerous(definitions.params_of(task)) or settings.CONFIRMATION_LEVEL == "off":
        return
    reasons = [
        protection.cluster_protection(registry.find(pk))
        for pk in task.targets.get(
            "clusters",
            [],
        )
    ]
    reasons += [
        protection.system_protection(name)
        for name in task.targets.get(
            "namespaces",
            [],
        )
    ]
    require_confirmation(
        request,
        ConfirmationRequest(
            kind.name,
            "Task",
            task.name,
            protected=next((reason for reason in reasons if reason), ""),
        ),
    )


def _answer(task: Task) -> dict[str, Any]:
    return definitions.represent(task, _last_runs([task]).get(task.pk))


def _last_runs(tasks: list[Task]) -> dict[int, Run]:
    """Task's id -> its newest run that was no dry run."""
    newest = (
        Run.objects.filter(task__in=tasks, dry_run=False)
        .order_by("task_id", "-pk")
        .distinct("task_id")
        .values_list("pk", flat=True)
    )
    found = [runs.current(row) for row in runs.rows().filter(pk__in=list(newest))]
    return {row.task_id: row for row in found}


class TaskTypes(DialectView):
    """GET /tasks/types: what a task can do, with the schema of its parameters."""

    operations = {
        "get": OperationSchema(
            "Types of tasks",
            TYPE_DESCRIPTION,
            query=PAGING[:2],
            paged=True,
            answer_name="TaskType",
        )
    }

    def get(self, request: Request) -> Any:
        """One page of types."""
        authorise(self, request, AccessAttributes("list", "tasks"))
        page = page_request(request.query_params, default=100)
        items = [
            {
                "name": kind.name,
                "title": kind.title,
                "description": kind.description,
                "params_schema": kind.params_schema,
                "supports_rollback": kind.supports_rollback,
                "has_targets": kind.has_targets,
            }
            for kind in types.TYPES.values()
        ]
        return Page(
            items[page.offset : page.offset + page.size],
            len(items),
            page.page,
            page.size,
        )


class TaskCalendar(DialectView):
    """GET /tasks/calendar: when tasks are due in the days to come."""

    operations = {
        "get": OperationSchema(
            "When tasks are due in the next days",
            MOMENT,
            query=(
                QueryParameter(
                    "days",
                    {"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": 7},
                ),
                *PAGING[:2],
            ),
            paged=True,
            answer_name="TaskMoment",
        )
    }

    def get(self, request: Request) -> Any:
        """One page of moments, earliest first; at most MAX_MOMENTS of each task."""
        viewer = rights.viewer_of(self, request)
        query = request.query_params
        page = page_request(query, default=200)
        days = integer(query.get("days") or 7, "days", minimum=1, maximum=MAX_DAYS)
        now = timezone.now()
        moments = []
        rows = Task.objects.filter(
            enabled=True,
            stopped_reason="",
            next_run_at__isnull=False,
        )
        for task in rows.select_related("owner"):
            if not task.owner.is_active or not viewer.sees(task):
                continue
            until = now + timedelta(days=days)
            moments += [
                (moment, task)
                for moment in schedules.upcoming(
                    task.schedule,
                    now,
                    until,
                    MAX_MOMENTS,
                )
            ]
        moments.sort(key=lambda entry: (entry[0], entry[1].pk))
        items = [
            {"task_id": task.pk, "name": task.name, "type": task.type, "at": rfc3339(moment)}
            for moment, task in moments[page.offset : page.offset + page.size]
        ]
        return Page(items, len(moments), page.page, page.size)
