"""Tasks and their runs in Django's admin: to look at."""

from django.contrib import admin

from automation.models import Run, Task
from core.api.admin import ModelAdmin, ReadOnly


@admin.register(Task)
class TaskAdmin(ReadOnly, ModelAdmin[Task]):
    """Tasks, without their parameters, which may hold secrets; the API makes and changes them."""

    list_display = ("name", "type", "owner", "enabled", "next_run_at", "stopped_reason")
    list_filter = ("type", "enabled")
    search_fields = ("name", "description")
    list_select_related = ("owner",)
    exclude = ("params",)


@admin.register(Run)
class RunAdmin(ReadOnly, ModelAdmin[Run]):
    """Runs, newest first; what commands printed is shown by the API to who may see it."""

    list_display = ("id", "task", "state", "trigger", "scheduled_at", "finished_at", "message")
    list_filter = ("state", "trigger", "dry_run")
    search_fields = ("task__name",)
    list_select_related = ("task",)
    exclude = ("params", "result")
