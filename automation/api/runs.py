"""Runs over JSON: /task-runs, and what may be done with one."""

from typing import Any

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from automation import runs
from automation.api import rights
from automation.api.schemas import BRIEF_RUN, RUN, STATE, TRIGGER
from automation.api.tasks import run_page
from automation.models import Run, Task
from core.api.audit import annotate
from core.api.dialect import DialectView
from core.api.parsing import integer, json_body
from core.api.schema import (
    INTEGER,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    record,
)
from core.errors import Conflict, Invalid

MAX_COMMENT = 2000
COMMENT_BODY = record(required=(), comment=TEXT)


class RunViewSet(ViewSetMixin, DialectView):
    """Runs of the tasks that the caller may see."""

    operations = {
        "list": OperationSchema(
            "Runs, newest first",
            BRIEF_RUN,
            query=(
                QueryParameter("task_id", INTEGER),
                QueryParameter("type", TEXT),
                QueryParameter("state", STATE),
                QueryParameter("trigger", TRIGGER),
                *PAGING[:2],
            ),
            paged=True,
            answer_name="BriefTaskRun",
        ),
        "retrieve": OperationSchema(
            "One run with its steps and result", RUN, answer_name="TaskRun"
        ),
        "cancel": OperationSchema(
            "Stop a run before its next step",
            RUN,
            answer_name="TaskRun",
        ),
        "retry": OperationSchema(
            "Run the task of a run that is over once more", RUN, answer_name="TaskRun"
        ),
        "approve": OperationSchema(
            "Let a run begin that waits for a second person",
            RUN,
            body=COMMENT_BODY,
            answer_name="TaskRun",
        ),
        "reject": OperationSchema(
            "Refuse a run that waits for a second person; it is cancelled",
            RUN,
            body=COMMENT_BODY,
            answer_name="TaskRun",
        ),
    }

    def list(self, request: Request) -> Any:
        """One page."""
        viewer = rights.viewer_of(self, request)
        tasks = Task.objects.select_related("owner")
        query = request.query_params
        if task := query.get("task_id", ""):
            tasks = tasks.filter(
                pk=integer(
                    task,
                    "task_id",
                    minimum=0,
                    maximum=2**63 - 1,
                )
            )
        rows = viewer.visible_runs(tasks)
        if kind := query.get("type", ""):
            rows = rows.filter(definition__type=kind.replace("\0", ""))
        return run_page(request, rows)

    def retrieve(self, request: Request, pk: str) -> Any:
        """One run."""
        _, run = rights.visible_run(self, request, pk)
        return rights.represent_run(self, request, run)

    def cancel(self, request: Request, pk: str) -> Any:
        """The run, which stops before its next step; Conflict when it is over."""
        viewer, run = rights.changeable_run(self, request, pk, "cancel")
        self.check_input(request)
        annotate(request, name=run.task.name, details={"run": run.pk})
        cancelled = runs.cancel(run, f"cancelled by {viewer.user.get_username()}")
        return rights.represent_run(self, request, cancelled)

    def retry(self, request: Request, pk: str) -> Any:
        """A new run of the task as it is now; Conflict while the run goes on."""
        viewer, run = rights.changeable_run(self, request, pk, "retry")
        self.check_input(request)
        if not run.is_over:
            raise Conflict(
                f"run {run.pk} is {run.state}: it is not over",
                reason="RunNotOver",
            )
        if run.dry_run:
            raise Conflict(
                "a dry run is repeated with POST /tasks/{id}/run",
                reason="DryRun",
            )
        annotate(request, name=run.task.name, details={"run": run.pk})
        again = runs.create(
            run.task,
            Run.Trigger.MANUAL,
            requested_by=viewer.user,
            token=rights.token_for_run(viewer, run.task),
            retry_of=run,
        )
        return rights.represent_run(self, request, runs.find(again.pk))

    def approve(self, request: Request, pk: str) -> Any:
        """The run, on its way."""
        return self._decide(request, pk, "approve")

    def reject(self, request: Request, pk: str) -> Any:
        """The run, cancelled."""
        return self._decide(request, pk, "reject")

    def _decide(self, request: Request, pk: str, verb: str) -> Any:
        viewer, run = rights.decidable_run(self, request, pk, verb)
        comment = json_body(request).get("comment") or ""
        if not isinstance(comment, str) or len(comment) > MAX_COMMENT or "\0" in comment:
            raise Invalid(
                f"comment must be text of at most {MAX_COMMENT} characters", field="comment"
            )
        annotate(
            request,
            name=run.task.name,
            details={"run": run.pk, "comment": comment},
        )
        decided = runs.decide(
            run,
            viewer.user,
            approved=verb == "approve",
            comment=comment,
        )
        return rights.represent_run(self, request, decided)
