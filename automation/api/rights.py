"""What a caller may do with tasks: their own, and those inside the places that are theirs.

Who may write in all places of a task sees it, who administers all of them changes it. A task acts
with its owner's rights, so whoever changes what it does owns it from then on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from rest_framework.request import Request

from access.models import ApiToken
from access.permissions import lasting_credential
from alerts.api import rights as alert_rights
from automation import context as contexts
from automation import definitions, run_answers, runs, types
from automation.models import Run, Task
from clusters.kinds import KINDS, Kind
from core.api.auth import AccessAttributes, Scope, authorise, is_allowed
from core.api.dialect import DialectView
from core.errors import Forbidden, NotFound


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, where they may write, and where they are an admin; None is nowhere."""

    user: User
    token: ApiToken | None
    writes: Scope | None
    administers: Scope | None

    def owns(self, task: Task) -> bool:
        """Whether the task is the caller's own; a token of some clusters stands for no person."""
        if task.owner_id != self.user.pk:
            return False
        if self.token is None or not self.token.clusters:
            return True
        return task.token == self.token.pk

    @property
    def cut_token(self) -> int | None:
        """The id of the caller's API token when it leaves out rights or clusters of its user."""
        if self.token is None or not (self.token.clusters or self.token.scopes):
            return None
        return self.token.pk

    def sees(self, task: Task) -> bool:
        """Whether the caller may see the task and its runs."""
        return self.owns(task) or covers(self.writes, task.targets)

    def owns_run(self, run: Run) -> bool:
        """Whether the run has the caller's own rights, and its task is theirs still."""
        return self.owns(run.task) and run.owner_id == self.user.pk

    def sees_run(self, run: Run) -> bool:
        """Whether the caller may see the run: its task, and the places that it had itself."""
        if self.owns_run(run):
            return True
        return self.sees(run.task) and covers(self.writes, run.definition["targets"])

    def visible_runs(self, tasks: Iterable[Task]) -> QuerySet[Run]:
        """The runs of these tasks that the caller may see."""
        owned = []
        visible = []
        for task in tasks:
            if self.owns(task):
                owned.append(task.pk)
            if self.sees(task):
                visible.append(task.pk)
        # A task may have been somewhere else, or somebody else's, before: its runs from then are
        # not everybody's to see, and not those of who has taken it over.
        runs_seen = Run.objects.filter(task__in=visible)
        targets = runs_seen.order_by().values_list("definition__targets", flat=True).distinct()
        places = [each for each in targets if covers(self.writes, each)]
        return Run.objects.filter(
            Q(task__in=owned, definition__credential__user=self.user.pk)
            | Q(task__in=visible, definition__targets__in=places)
        )

    def may_change(self, task: Task) -> bool:
        """Whether the caller may change, start and stop the task."""
        return self.owns(task) or covers(self.administers, task.targets)


def covers(scope: Scope | None, targets: Mapping[str, Any]) -> bool:
    """Whether all places of these targets are inside the scope."""
    if scope is None:
        return False
    if scope.clusters is None and scope.namespaces is not None:
        return False
    return runs.covers(scope.clusters, targets)


def viewer_of(view: DialectView, request: Request) -> Viewer:
    """The caller; Forbidden for who may read nothing anywhere."""
    authorise(view, request, AccessAttributes("list", "tasks"))
    token = request.auth if isinstance(request.auth, ApiToken) else None
    return Viewer(
        cast(User, request.user),
        token,
        _scope(view, request, "taskruns"),
        _scope(view, request, "foreigntasks"),
    )


def _scope(
    view: DialectView,
    request: Request,
    kind: str,
) -> Scope | None:
    try:
        return authorise(view, request, AccessAttributes("list", kind))
    except Forbidden:
        return None


def visible_task(
    view: DialectView,
    request: Request,
    pk: str,
) -> tuple[Viewer, Task]:
    """The task; NotFound when the caller may not see it."""
    viewer = viewer_of(view, request)
    task = definitions.find(pk)
    if not viewer.sees(task):
        raise NotFound("there is no such task")
    return viewer, task


def changeable_task(
    view: DialectView,
    request: Request,
    pk: str,
    verb: str,
) -> tuple[Viewer, Task]:
    """The task; Forbidden when the caller may see it and no more."""
    authorise(view, request, AccessAttributes(verb, "tasks", name=pk[:100]))
    viewer, task = visible_task(view, request, pk)
    if not viewer.may_change(task):
        raise Forbidden("you may not do this with a task of somebody else")
    return viewer, task


def visible_run(
    view: DialectView,
    request: Request,
    pk: str,
) -> tuple[Viewer, Run]:
    """The run; NotFound when the caller may not see its task."""
    viewer = viewer_of(view, request)
    run = runs.find(pk)
    if not viewer.sees_run(run):
        raise NotFound("there is no such run")
    return viewer, run


def changeable_run(
    view: DialectView,
    request: Request,
    pk: str,
    verb: str,
) -> tuple[Viewer, Run]:
    """The run; Forbidden when the caller may see it and no more."""
    authorise(view, request, AccessAttributes(verb, "tasks", name=pk[:100]))
    viewer, run = visible_run(view, request, pk)
    if not viewer.may_change(run.task):
        raise Forbidden("you may not do this with a task of somebody else")
    return viewer, run


def decidable_run(
    view: DialectView,
    request: Request,
    pk: str,
    verb: str,
) -> tuple[Viewer, Run]:
    """The run that the caller may approve or reject.

    Forbidden for its owner, for who asked for it, and for who may not do themselves what it does.
    """
    authorise(view, request, AccessAttributes(verb, "tasks", name=pk[:100]))
    viewer, run = visible_run(view, request, pk)
    if viewer.user.pk in (run.owner_id, run.requested_by_id):
        raise Forbidden(f"a second person has to {verb} it")
    require_places(request, run.task, params_of_run=run)
    return viewer, run


def represent_run(view: DialectView, request: Request, run: Run) -> dict[str, Any]:
    """The run as JSON data, without output of commands in pods where the caller may not exec.

    What a command prints is what a terminal in its pod shows; whoever lacks that right there sees
    `output` null and `hidden` true. It is asked for now, of the run's owner too.
    """
    answer = represent_whole(run)
    result = answer["result"]
    if not isinstance(result, dict) or not result.get("outputs"):
        return answer
    outputs = []
    for output in result["outputs"]:
        place = AccessAttributes(
            "exec",
            "pods",
            cluster=str(output["cluster_id"]),
            namespace=output["namespace"],
            name=output["pod"],
        )
        if not is_allowed(view, request, place):
            output = {**output, "output": None, "hidden": True}
        outputs.append(output)
    answer["result"] = {**result, "outputs": outputs}
    return answer


def represent_whole(run: Run) -> dict[str, Any]:
    """A run that has printed nothing yet, with the definition that it was made with."""
    return {**run_answers.represent(run), "definition": definitions.represent_definition(run)}


def token_for_run(viewer: Viewer, task: Task) -> int | None:
    """The token that cuts a run down; Forbidden where the task is cut down by another one."""
    token = viewer.cut_token
    if token is not None and task.token not in (None, token):
        raise Forbidden("the task was saved with another token: start it without one")
    return token


def refuse_hidden_clusters(
    view: DialectView,
    request: Request,
    task: Task,
    body: Mapping[str, Any],
) -> None:
    """Forbidden for clusters that a body adds to a task's targets and the caller may not see."""
    alert_rights.refuse_hidden_clusters(
        view,
        request,
        body.get("targets"),
        kind="tasks",
        in_scope=task.targets.get("clusters", ()),
    )


def require_places(
    request: Request,
    task: Task,
    *,
    params_of_run: Run | None = None,
) -> None:
    """Forbidden unless the caller may do what the task does in the places that it names.

    Where it names none, in some place.
    """
    params = definitions.params_of(params_of_run or task)
    definition = params_of_run.definition if params_of_run else {}
    kind = types.find(definition.get("type", task.type))
    context = contexts.of_task(task, params, credential=lasting_credential(request))
    context.owner = cast(User, request.user)
    if params_of_run:
        context.targets = contexts.targets_of(definition["targets"])
    if not kind.has_targets:
        return
    for act in kind.acts(params):
        places = context.places(act.verb, _kind_of(act))
        if not places and not context.problems:
            raise Forbidden(f"you may {act.verb} {act.kind} nowhere")


def _kind_of(act: AccessAttributes) -> Kind:
    kind = KINDS.get(act.kind)
    if kind is not None and kind.group == act.group:
        return kind
    return Kind(act.kind, act.kind, act.group, "", not act.cluster_scoped)
