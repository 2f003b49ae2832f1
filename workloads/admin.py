"""Recordings of terminals and samples of use in the admin: that they are, never what was typed."""

from django.contrib import admin

from core.api.admin import ModelAdmin, ReadOnly, TabularInline
from workloads.models import Recording, RecordingChunk, Sample


class ChunkInline(ReadOnly, TabularInline[RecordingChunk, Recording]):
    """The parts of a recording. What is in them is replayed over the API, where looking is written down."""

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
    """What clusters used, moment by moment."""

    list_display = ("cluster", "at", "cpu", "memory", "pods")
    list_filter = ("cluster",)
    list_select_related = ("cluster",)
    ordering = ("-at",)
    show_full_result_count = False
