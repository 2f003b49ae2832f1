"""Recordings of terminals and samples of usage in the admin, without what was recorded."""

from django.contrib import admin

from core.api.admin import ModelAdmin, ReadOnly, TabularInline
from workloads.models import Recording, RecordingChunk, Sample


class ChunkInline(ReadOnly, TabularInline[RecordingChunk, Recording]):
    """The chunks of a recording, without their content: replays over the API are audited."""

    model = RecordingChunk
    fields = ("number",)
    extra = 0


@admin.register(Recording)
class RecordingAdmin(ReadOnly, ModelAdmin[Recording]):
    """Recorded terminals, newest first."""

    list_display = (
        "id",
        "username",
        "cluster",
        "namespace",
        "pod",
        "container",
        "node",
        "size",
        "started_at",
        "finished_at",
    )
    list_filter = ("cluster",)
    search_fields = ("username", "namespace", "pod", "node")
    list_select_related = ("cluster",)
    inlines = (ChunkInline,)


@admin.register(Sample)
class SampleAdmin(ReadOnly, ModelAdmin[Sample]):
    """The usage of clusters over time."""

    list_display = ("cluster", "at", "cpu", "memory", "pods")
    search_fields = ("cluster__name",)
    list_filter = ("cluster",)
    list_select_related = ("cluster",)
    ordering = ("-at",)
