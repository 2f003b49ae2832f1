"""What a task would do and when, before it is saved: /tasks/preview and /tasks/moments."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.request import Request

from automation import definitions, schedules
from automation.api import rights
from automation.api.schemas import STEP, TASK_BODY, TASK_READ_ONLY
from automation.api.tasks import channels_of, rehearse
from automation.models import Task
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.parsing import integer, json_body
from core.api.schema import (
    INTEGER,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.times import rfc3339

MAX_MOMENTS = 50
# How far an expression is followed: a leap day is due once in eight years at the least.
HORIZON = timedelta(days=366 * 8 + 2)


class TaskPreview(DialectView):
    """POST /tasks/preview."""

    operations = {
        "post": OperationSchema(
            "What a task would do now, without saving anything",
            record(steps=array(STEP), result=OBJECT),
            body=record(
                required=(),
                **TASK_BODY["properties"],
                id={**INTEGER, "description": "The task that the body changes."},
            ),
            also_body=TASK_READ_ONLY,
            answer_name="TaskPreview",
            body_name="TaskToPreview",
        )
    }

    def post(self, request: Request) -> Any:
        """{"steps","result"} as a dry run has them, by what the caller may do.

        With `id` the members that are left out, and hidden values, are those of that task.
        """
        body = json_body(request)
        if body.get("id") is None:
            authorise(self, request, AccessAttributes("create", "tasks"))
            viewer = rights.viewer_of(self, request)
            task = Task()
        else:
            viewer, task = rights.changeable_task(
                self,
                request,
                str(integer(body["id"], "id", minimum=0)),
                "run",
            )
        # Who saves a change owns the task, so that it is the caller as whom it would act.
        task.owner = viewer.user
        task.token = viewer.cut_token
        rights.refuse_hidden_clusters(self, request, task, body)
        task = definitions.apply_body(task, body, timezone.now())
        rights.require_places(request, task)
        channels_of(self, request, task, body)
        steps, result = rehearse(task, viewer.cut_token)
        return {"steps": steps, "result": result}


class ScheduleMoments(DialectView):
    """GET /tasks/moments."""

    operations = {
        "get": OperationSchema(
            "When a schedule is due next",
            record(items=array(TEXT)),
            query=(
                QueryParameter("cron", TEXT),
                QueryParameter("timezone", TEXT),
                QueryParameter("at", TEXT),
                QueryParameter(
                    "count",
                    {"type": "integer", "minimum": 1, "maximum": MAX_MOMENTS, "default": 5},
                ),
            ),
            answer_name="ScheduleMoments",
        )
    }

    def get(self, request: Request) -> Any:
        """{"items": [times]}, earliest first; Invalid for what is no schedule."""
        authorise(self, request, AccessAttributes("list", "tasks"))
        query = request.query_params
        names = ("cron", "timezone", "at")
        value = {name: query[name] for name in names if query.get(name)}
        count = integer(
            query.get("count") or 5,
            "count",
            minimum=1,
            maximum=MAX_MOMENTS,
        )
        now = timezone.now()
        schedule = schedules.parse(value, now)
        moments = schedules.upcoming(schedule, now, now + HORIZON, count)
        return {"items": [rfc3339(moment) for moment in moments]}
