"""Operations in the admin."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from core.api.admin import ModelAdmin, ReadOnly, TabularInline
from core.errors import DomainError
from operations import lifecycle
from operations.models import Operation, OperationStep


class StepInline(ReadOnly, TabularInline[OperationStep, Operation]):
    """The parts of an operation."""

    model = OperationStep
    fields = ("name", "state", "message", "updated_at")
    readonly_fields = ("updated_at",)
    extra = 0


@admin.register(Operation)
class OperationAdmin(ReadOnly, ModelAdmin[Operation]):
    """Operations, newest first. They are started where their target is, and can be stopped here."""

    list_display = (
        "id",
        "kind",
        "state",
        "cluster",
        "resource",
        "namespace",
        "name",
        "done",
        "total",
        "requested_by",
        "created_at",
    )
    list_filter = ("state", "kind", "cluster")
    search_fields = ("name", "namespace", "requested_by")
    list_select_related = ("cluster",)
    inlines = (StepInline,)
    actions = ("stop",)
    exclude = ("parameters", "authority", "trace")

    @admin.action(description=_("Ask to stop"), permissions=["view"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Operation]) -> None:
        """Cancel each of them; those that are over stay as they are."""
        for operation in queryset:
            try:
                lifecycle.cancel(operation)
                self.log_change(
                    request,
                    operation,
                    [{"changed": {"fields": ["cancel_requested_at"]}}],
                )
            except DomainError as error:
                messages.error(request, error.message)
