"""The editor of tasks: the type, a form by its schema, the dry run beside it, saving."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.editing import task_forms
from console.editing.value_forms import Schema, build_form
from console.page import is_fragment, name_fields, redirect, render_page, require_sign_in
from console.rendering import hints, html
from console.views.automation import (
    CONCURRENCY,
    CONFIRM,
    ON_FAILURE,
    cluster_names,
    list_types,
    section_context,
)
from console.views.task_runs import step_rows

MAX_CHOICES = 200
TEMPLATE_TYPE = "apply_template"


@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The types to choose from; with one the form of a new task."""
    types = list_types(request)
    chosen = request.POST.get("type", "") or request.GET.get("type", "")
    kind = types.get(chosen)
    if kind is None:
        context = {**section_context(request, "tasks"), "types": types.values()}
        return render_page(request, "console/task_types.html", context)
    return _editor(request, kind, task_forms.NEW_TASK)


@require_http_methods(["GET", "POST"])
@require_sign_in
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a task that there is."""
    task = call(request, "GET", f"tasks/{pk}").data
    kind = list_types(request)[task["type"]]
    return _editor(request, kind, task)


def _editor(
    request: HttpRequest,
    kind: Mapping[str, Any],
    task: Mapping[str, Any],
) -> HttpResponse:
    """The page of the form, the dry run of what it says, or saving it.

    The script of the page asks for both as a part of it; refusals come with their field.
    """
    schema = task_forms.param_schema(kind, _list_templates(request, kind))
    context = _form_context(request, kind, task, schema)
    template = "console/task_form.html"
    if request.method != "POST":
        return render_page(request, template, context)
    shown = "console/parts/task_outcome.html" if is_fragment(request) else template
    try:
        body = task_forms.read_task(
            request.POST,
            kind,
            schema,
            zone=html.zone_of(request),
        )
        body["notify"] += context["hidden_channels"]
        if request.POST.get("act") == "save":
            return _save(request, task, body)
        return render_page(request, shown, context | _preview(request, task, body))
    except ApiRefusal as refusal:
        if is_fragment(request):
            name_fields(request, template, context, refusal)
        context |= _refusal_context(request, refusal)
        return render_page(request, shown, context, status=refusal.status)


def _save(
    request: HttpRequest,
    task: Mapping[str, Any],
    body: Mapping[str, Any],
) -> HttpResponse:
    pk = task.get("id")
    answer = forms.call_confirmed(
        request,
        "PUT" if pk else "POST",
        f"tasks/{pk}" if pk else "tasks",
        name=body["name"],
        body=body,
    ).data
    notice = _("Saved.") if pk else _("Task {name} was created.").format(name=answer["name"])
    return redirect(request, f"/automation/tasks/{answer['id']}", notice)


def _preview(
    request: HttpRequest,
    task: Mapping[str, Any],
    body: Mapping[str, Any],
) -> dict[str, Any]:
    """What a run would do now, step by step."""
    # Only what the API needs to tell what is hidden from what was entered.
    known = {"id": task["id"]} if "id" in task else {}
    answer = call(request, "POST", "tasks/preview", body={**body, **known}).data
    return {
        "previewed": True,
        "steps": step_rows(request, answer["steps"]),
    }


def _refusal_context(request: HttpRequest, refusal: ApiRefusal) -> dict[str, Any]:
    field = str(refusal.details.get("field") or "")
    needs_name = refusal.code == CONFIRM or field == "typed"
    return {
        "refusal": refusal,
        "hint": "" if needs_name else hints.for_code(refusal.code, refusal.details),
        "field_error": task_forms.field_place(field) if field else "",
        "needs_name": needs_name,
        "name": forms.form_text(request, "name"),
    }


def _form_context(
    request: HttpRequest,
    kind: Mapping[str, Any],
    task: Mapping[str, Any],
    schema: Schema,
) -> dict[str, Any]:
    values = task_forms.task_values(task, html.zone_of(request).key)
    if request.method == "POST":
        values |= task_forms.entered_values(request.POST)
        values |= {name: name in request.POST for name in ("approval", "enabled")}
    channels = call(
        request,
        "GET",
        "alerts/channels",
        query={"pageSize": MAX_CHOICES},
    ).data["items"]
    usable = {channel["id"] for channel in channels}
    pk = task.get("id")
    return {
        **section_context(request, "tasks"),
        "title": _("Edit {name}").format(name=task["name"]) if pk else kind["title"],
        "back": f"/automation/tasks/{pk}" if pk else "/automation",
        "task_id": pk,
        "kind": kind,
        "values": values,
        "form": build_form(
            schema,
            task_forms.shown_params(task["params"]),
            posted=request.POST or None,
        ),
        "has_params": bool(schema["properties"]),
        "cluster_boxes": [
            (cluster, str(cluster["id"]) in values["clusters"])
            for cluster in navigation.list_clusters(request)
        ],
        "channel_boxes": [
            (channel, str(channel["id"]) in values["notify"]) for channel in channels
        ],
        # Channels that the person does not see stay with the task.
        "hidden_channels": [id for id in task["notify"] if id not in usable],
        "zones": _zones(),
        "concurrencies": CONCURRENCY.items(),
        "failures": [
            (name, word)
            for name, word in ON_FAILURE.items()
            if name != "rollback" or kind["supports_rollback"]
        ],
    }


def _list_templates(
    request: HttpRequest,
    kind: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The templates to choose from, for the type that deploys one."""
    if kind["name"] != TEMPLATE_TYPE:
        return []
    query = {"pageSize": MAX_CHOICES}
    templates: list[dict[str, Any]] = call(
        request,
        "GET",
        "templates",
        query=query,
    ).data["items"]
    return templates


@lru_cache(maxsize=1)
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


@require_POST
@require_sign_in
def moments(request: HttpRequest) -> HttpResponse:
    """When the schedule of the form is due next."""
    context: dict[str, Any] = {}
    schedule = task_forms.read_schedule(request.POST, html.zone_of(request))
    if schedule and all(schedule.values()):
        try:
            answer = call(request, "GET", "tasks/moments", query=schedule)
            context = {"moments": answer.data["items"]}
        except ApiRefusal as refusal:
            # The form is being filled in: that it does not fit yet is nothing to interrupt for.
            context = {"problem": refusal.message}
    return render_page(request, "console/parts/task_moments.html", context)


@require_POST
@require_sign_in
def steps(request: HttpRequest, pk: int) -> HttpResponse:
    """What a run of a saved task would do now; for the page that starts one."""
    context: dict[str, Any] = {"names": cluster_names(request)}
    try:
        answer = call(request, "POST", "tasks/preview", body={"id": pk}).data
        context |= {"previewed": True, "steps": step_rows(request, answer["steps"])}
    except ApiRefusal as refusal:
        context |= {"refusal": refusal}
    return render_page(request, "console/parts/task_outcome.html", context)
