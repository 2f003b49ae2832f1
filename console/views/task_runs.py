"""Runs of tasks: the list, one run while it goes on, what may be done with it."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from console import forms, permissions
from console.api_client import ApiRefusal, call, require_segment
from console.filtered_lists import read_list
from console.locations import Location, resolve_reference
from console.page import redirect, render_page, require_sign_in
from console.rendering import diffs
from console.views.automation import (
    RUN_STATES,
    cluster_names,
    list_types,
    may_change,
    run_row,
    section_context,
    state_words,
)

TRIGGERS = {
    "schedule": gettext_lazy("by its schedule"),
    "manual": gettext_lazy("by hand"),
    "alert": gettext_lazy("by an alert"),
}
FILTERS = ("task_id", "type", "state", "trigger")
# Steps that the page of a run lists; the API has all of them.
MAX_STEPS = 1000
# Members of a result that the page shows in a way of their own.
APART = frozenset({"steps", "outputs", "archives", "summary", "report", "output"})
WAITING = "waiting_approval"
NOTICES = {
    "cancel": gettext_lazy("It stops before its next step."),
    "retry": gettext_lazy("This is the new run."),
    "approve": gettext_lazy("Approved: the run begins."),
    "reject": gettext_lazy("Rejected: nothing is done."),
}


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """Runs of the tasks that the person may see, newest first."""
    items, listing = read_list(request, "task-runs", FILTERS)
    types = list_types(request)
    context = {
        **section_context(request, "runs"),
        "runs": [
            {
                **run_row(run),
                "type_title": _type_title(run, types),
                "trigger_word": TRIGGERS.get(run["trigger"], run["trigger"]),
            }
            for run in items
        ],
        "types": types.values(),
        "states": [(state, word) for state, (word, _colour) in RUN_STATES.items()],
        "triggers": TRIGGERS.items(),
        **listing,
    }
    return render_page(request, "console/task_runs.html", context)


def _type_title(
    run: Mapping[str, Any],
    types: Mapping[str, Mapping[str, Any]],
) -> str:
    kind = types.get(run["type"])
    return str(kind["title"]) if kind else str(run["type"])


def step_rows(
    request: HttpRequest,
    steps: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Steps with words, the name of their cluster and the page of their object."""
    names = cluster_names(request)
    rows = []
    for step in list(steps)[:MAX_STEPS]:
        cluster = step["cluster_id"]
        location = None
        if cluster and step["name"]:
            location = resolve_reference(Location(cluster, "", "", ""), step)
        rows.append(
            {
                **step,
                **state_words(step["state"]),
                "cluster": names.get(cluster, "") if cluster else "",
                "address": location.address if location else "",
            }
        )
    return rows


@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One run; asked for again by the page every second until it is over."""
    run = call(request, "GET", f"task-runs/{pk}").data
    is_part = request.headers.get("HX-Target") == "run"
    if is_part and run["state"] != WAITING and "waiting" in request.GET:
        # The form below the part that is replaced, which asks for a decision, is over with.
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    task = call(request, "GET", f"tasks/{run['task_id']}").data
    context = {
        **section_context(request, "runs"),
        "run": _run_context(request, run) | {"does": _what_it_does(request, run, task)},
        "changeable": may_change(request, task),
        "may_decide": run["state"] == WAITING and _may_decide(request, run),
    }
    template = "console/parts/task_run.html" if is_part else "console/task_run.html"
    return render_page(request, template, context)


def _what_it_does(
    request: HttpRequest,
    run: Mapping[str, Any],
    task: Mapping[str, Any],
) -> str:
    """Parameters and targets, as YAML: what somebody who approves a run has to know."""
    definition = run.get("definition") or task
    parts = {name: definition[name] for name in ("params", "targets") if definition[name]}
    if clusters := definition["targets"].get("clusters"):
        names = cluster_names(request)
        shown = [names.get(cluster, cluster) for cluster in clusters]
        parts["targets"] = {**definition["targets"], "clusters": shown}
    return diffs.as_yaml(parts) if parts else ""


def _may_decide(request: HttpRequest, run: Mapping[str, Any]) -> bool:
    """Whether to offer the person the decision: a second one has to make it."""
    name = request.user.get_username()
    is_second = name not in (run["owner"], run["requested_by"])
    return is_second and permissions.writes_somewhere(request)


def _run_context(request: HttpRequest, run: Mapping[str, Any]) -> dict[str, Any]:
    result = run["result"] or {}
    names = cluster_names(request)
    counts: dict[str, int] = {}
    for step in run["steps"]:
        counts[step["state"]] = counts.get(step["state"], 0) + 1
    total = len(run["steps"])
    rest = {
        name: value
        for name, value in result.items()
        if name not in APART and name not in RUN_STATES
    }
    return {
        **run_row(run),
        "type_title": _type_title(run, list_types(request)),
        "trigger_word": TRIGGERS.get(run["trigger"], run["trigger"]),
        "is_waiting": run["state"] == WAITING,
        "is_open": run["state"] in (WAITING, "pending", "running"),
        "steps": step_rows(request, run["steps"]),
        "more_steps": max(total - MAX_STEPS, 0),
        "total": total,
        "done": total - counts.get("pending", 0) - counts.get("running", 0),
        "counts": [(*_words(state), number) for state, number in counts.items()],
        "outputs": [
            {**output, "cluster": names.get(output["cluster_id"], "")}
            for output in result.get("outputs") or []
        ],
        "archives": _archives(request, run),
        "has_report": "report" in result,
        "summary": result.get("summary"),
        "answer": result.get("output"),
        "rest": diffs.as_yaml(rest) if rest else "",
    }


def _words(state: str) -> tuple[Any, str]:
    return RUN_STATES.get(state, (state, "idle"))


def _archives(request: HttpRequest, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The archives of a backup that are still there: a task keeps the latest of them."""
    if not (run["result"] or {}).get("archives"):
        return []
    try:
        data = call(request, "GET", f"task-runs/{run['id']}/archives").data
    except ApiRefusal as refusal:
        if refusal.status != 404:
            raise
        return []
    return [{**row, "count": len(row["objects"])} for row in data["items"]]


@require_POST
@require_sign_in
def act(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Cancel or retry a run, approve or reject it."""
    body = None
    if verb in ("approve", "reject"):
        body = {"comment": forms.form_text(request, "comment")}
    answer = call(
        request,
        "POST",
        f"task-runs/{pk}/{require_segment(verb)}",
        body=body,
    ).data
    notice = str(NOTICES.get(verb, _("Done.")))
    return redirect(request, f"/automation/runs/{answer['id']}", notice)
