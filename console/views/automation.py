"""Tasks of automation: the list, one task, its switch, running and deleting it, the calendar."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from console import forms, navigation, permissions
from console.api_client import ApiRefusal, call
from console.editing import task_forms
from console.filtered_lists import read_list
from console.page import redirect, render_page, require_sign_in
from console.rendering import diffs, html
from console.rendering.schedules import describe_schedule
from console.views import operations

TABS = (
    ("tasks", "/automation", gettext_lazy("Tasks")),
    ("calendar", "/automation/calendar", gettext_lazy("Calendar")),
    ("runs", "/automation/runs", gettext_lazy("Runs")),
)
RUN_STATES = {
    "waiting_approval": (gettext_lazy("waits for approval"), "warn"),
    **{state: (word, operations.SEVERITIES[state]) for state, word in operations.STATES.items()},
}
CONCURRENCY = {
    "forbid": gettext_lazy("forbid: the new one is skipped"),
    "replace": gettext_lazy("replace: the earlier one is stopped"),
    "allow": gettext_lazy("allow: both go on"),
}
ON_FAILURE = {
    "stop": gettext_lazy("stop: the other steps are left out"),
    "continue": gettext_lazy("continue with the other steps"),
    "rollback": gettext_lazy("rollback: what was done is undone"),
}
FILTERS = ("keyword", "type", "enabled", "owner", "cluster_id", "state")
# Members of a task that say what it is: what a copy of its definition has.
DEFINITION = (
    "name",
    "description",
    "type",
    "params",
    "targets",
    "schedule",
    "concurrency",
    "deadline",
    "timeout",
    "retries",
    "approval",
    "on_failure",
    "notify",
    "enabled",
)
RECENT_RUNS = 20
DAYS = 7
# The API answers so many moments of one task, and of all tasks on one page.
MAX_MOMENTS = 1000
MAX_PAGES = 20
# A day shows so many moments of one task one by one.
MAX_TIMES = 6
CONFIRM = 1010


def section_context(request: HttpRequest, tab: str) -> dict[str, Any]:
    """What each page of the section needs: its tabs, and whether to offer new tasks."""
    return {
        "tabs": [(title, address, name == tab) for name, address, title in TABS],
        "may_write": permissions.writes_somewhere(request),
    }


def list_types(request: HttpRequest) -> dict[str, dict[str, Any]]:
    """Name -> type of task, with title and description in the viewer's language."""
    items = call(request, "GET", "tasks/types").data["items"]
    return {
        item["name"]: {
            **item,
            "title": _(item["title"]),
            "description": _(item["description"]) if item["description"] else "",
        }
        for item in items
    }


def cluster_names(request: HttpRequest) -> dict[int, str]:
    """Id -> name of the clusters that the person may see."""
    return {cluster["id"]: cluster["name"] for cluster in navigation.list_clusters(request)}


def state_words(state: str) -> dict[str, Any]:
    """The word and colour of a run's state."""
    word, colour = RUN_STATES.get(state, (state, "idle"))
    return {"word": word, "colour": colour}


def may_change(request: HttpRequest, task: Mapping[str, Any]) -> bool:
    """Whether to offer the person changes: the task is theirs, or they administer its places."""
    if not permissions.writes_somewhere(request):
        return False
    if task["owner"] == request.user.get_username():
        return True
    if permissions.administers_everything(request):
        return True
    clusters = task["targets"].get("clusters") or []
    return bool(clusters) and all(
        permissions.summarise_access(request, cluster).cluster for cluster in clusters
    )


def task_context(
    request: HttpRequest,
    task: Mapping[str, Any],
    types: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """A task with what its row and its page say of it."""
    word = _("on")
    colour = "good"
    if not task["enabled"]:
        word = _("off")
        colour = "idle"
    elif task["stopped"]:
        word = _("stopped")
        colour = "bad"
    last = task["last_run"]
    kind = types.get(task["type"])
    return {
        **task,
        "word": word,
        "colour": colour,
        "type_title": kind["title"] if kind else task["type"],
        "supports_rollback": bool(kind and kind["supports_rollback"]),
        "schedule_words": describe_schedule(task["schedule"]),
        "once_at": (task["schedule"] or {}).get("at", ""),
        "last_run": {**last, **state_words(last["state"])} if last else None,
        "changeable": may_change(request, task),
    }


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The tasks that the person may see."""
    items, listing = read_list(request, "tasks", FILTERS)
    types = list_types(request)
    context = {
        **section_context(request, "tasks"),
        "tasks": [task_context(request, task, types) for task in items],
        "types": types.values(),
        "states": [(state, word) for state, (word, _colour) in RUN_STATES.items()],
        **listing,
    }
    return render_page(request, "console/tasks.html", context)


@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A task: what it does, where, when, and its last runs."""
    task = call(request, "GET", f"tasks/{pk}").data
    query = {"pageSize": RECENT_RUNS}
    runs = call(request, "GET", f"tasks/{pk}/runs", query=query).data
    names = cluster_names(request)
    targets = task["targets"]
    definition = {name: task[name] for name in DEFINITION}
    types = list_types(request)
    moments: list[str] = []
    if task["next_run_at"]:
        answer = call(request, "GET", "tasks/moments", query=task["schedule"])
        moments = answer.data["items"]
    channels = call(request, "GET", "alerts/channels", query={"pageSize": 200}).data["items"]
    context = {
        **section_context(request, "tasks"),
        "task": task_context(request, task, types),
        "cluster_names": [names.get(id, str(id)) for id in targets.get("clusters") or []],
        "params": task_forms.param_rows(types[task["type"]], task["params"]),
        "channels": [channel for channel in channels if channel["id"] in task["notify"]],
        "concurrency": CONCURRENCY.get(task["concurrency"], task["concurrency"]),
        "on_failure": ON_FAILURE.get(task["on_failure"], task["on_failure"]),
        "moments": moments,
        "definition_yaml": diffs.as_yaml(definition),
        "definition_json": orjson.dumps(definition, option=orjson.OPT_INDENT_2).decode(),
        "runs": [run_row(run) for run in runs["items"]],
        "more_runs": runs["total"] > len(runs["items"]),
    }
    return render_page(request, "console/task.html", context)


def run_row(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run with the words of its row."""
    return {**run, **state_words(run["state"]), "is_over": run["finished_at"] is not None}


# --- switching, running, deleting -----------------------------------------------------------------
@require_http_methods(["POST"])
@require_sign_in
def switch(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Switch a task on or off; a protected place asks for the name of the task first."""
    task = call(request, "GET", f"tasks/{pk}").data
    is_on = verb == "enable"

    def act() -> HttpResponse:
        forms.call_confirmed(
            request,
            "PUT",
            f"tasks/{pk}",
            name=task["name"],
            body={"enabled": is_on},
        )
        notice = _("The task was switched on.") if is_on else _("The task was switched off.")
        return redirect(request, _return_address(request), notice)

    title = _("Switch on {name}") if is_on else _("Switch off {name}")
    return _confirmed(request, task, act, title=title.format(name=task["name"]))


def _return_address(request: HttpRequest) -> str:
    back = request.POST.get("back", "")
    tail = back.removeprefix("/automation/tasks/")
    return back if tail.isdecimal() else "/automation"


@require_http_methods(["GET", "POST"])
@require_sign_in
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Start a run, or a dry run, after a page that shows what would happen."""
    task = call(request, "GET", f"tasks/{pk}").data

    def act() -> HttpResponse:
        body = {"dry_run": request.POST.get("act") == "dry"}
        answer = call(request, "POST", f"tasks/{pk}/run", body=body).data
        return redirect(request, f"/automation/runs/{answer['id']}")

    context = {
        **section_context(request, "tasks"),
        "task": task_context(request, task, list_types(request)),
    }
    return forms.render_form(request, "console/task_run_start.html", context, act)


@require_http_methods(["GET", "POST"])
@require_sign_in
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a task with its runs, reports and backups."""
    task = call(request, "GET", f"tasks/{pk}").data

    def act() -> HttpResponse:
        forms.require_name(request, task["name"])
        call(request, "DELETE", f"tasks/{pk}")
        notice = _("Task {name} was deleted.").format(name=task["name"])
        return redirect(request, "/automation", notice)

    context = {
        "task": task,
        "title": _("Delete {name}").format(name=task["name"]),
        "explains": _(
            "Its runs, reports and backups are deleted with it. What goes on now is stopped."
        ),
        "needs_name": True,
        "danger": True,
        "button": _("Delete"),
    }
    return forms.render_form(request, "console/task_act.html", context, act)


def _confirmed(
    request: HttpRequest,
    task: Mapping[str, Any],
    act: Any,
    *,
    title: str,
) -> HttpResponse:
    """What `act` answers; the page that asks for the name where the API asks to be confirmed."""
    needs_name = "typed" in request.POST
    try:
        response: HttpResponse = act()
    except ApiRefusal as refusal:
        if refusal.code != CONFIRM and not needs_name:
            raise
        context = {
            "task": task,
            "title": title,
            "explains": "",
            "refusal": refusal,
            "needs_name": True,
            "back": request.POST.get("back", ""),
            "button": _("Confirm"),
        }
        return render_page(request, "console/task_act.html", context, status=refusal.status)
    return response


# --- the calendar ---------------------------------------------------------------------------------
@require_GET
@require_sign_in
def calendar(request: HttpRequest) -> HttpResponse:
    """When tasks are due in the next seven days, by days of the viewer's zone."""
    moments = list(_list_moments(request))
    zone = html.zone_of(request)
    today = timezone.now().astimezone(zone).date()
    days: dict[date, dict[int, dict[str, Any]]] = {
        today + timedelta(days=offset): {} for offset in range(DAYS)
    }
    counts: dict[int, int] = {}
    types = list_types(request)
    for moment in moments:
        counts[moment["task_id"]] = counts.get(moment["task_id"], 0) + 1
        local = datetime.fromisoformat(moment["at"]).astimezone(zone)
        # Seven times 24 hours reach into an eighth day.
        entries = days.setdefault(local.date(), {})
        entry = entries.setdefault(
            moment["task_id"],
            {
                **moment,
                "type_title": types[moment["type"]]["title"],
                "times": [],
            },
        )
        entry["times"].append(f"{local:%H:%M}")
    context = {
        **section_context(request, "calendar"),
        "days": [
            {
                "date": day,
                "is_today": day == today,
                "entries": [_calendar_entry(entry) for entry in entries.values()],
            }
            for day, entries in sorted(days.items())
        ],
        "zone": zone.key,
        "total": len(moments),
        "shortened": any(count >= MAX_MOMENTS for count in counts.values()),
    }
    return render_page(request, "console/task_calendar.html", context)


def _list_moments(request: HttpRequest) -> Iterable[Mapping[str, Any]]:
    for number in range(1, MAX_PAGES + 1):
        query = {"days": DAYS, "page": number, "pageSize": MAX_MOMENTS}
        data = call(request, "GET", "tasks/calendar", query=query).data
        yield from data["items"]
        if number * MAX_MOMENTS >= data["total"]:
            break


def _calendar_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A task on one day; what is due often is counted instead of listed."""
    times = entry["times"]
    is_often = len(times) > MAX_TIMES
    return {
        **entry,
        "count": len(times) if is_often else 0,
        "first": times[0],
        "last": times[-1],
        "times": [] if is_often else times,
    }
