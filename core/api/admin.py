"""Admin base classes with types: unfold's look at run time, Django's stubs for the type checker."""

from typing import TYPE_CHECKING

from django.db.models import Model
from django.http import HttpRequest

from core.api import audit
from core.api.auth import Act

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.forms import ModelForm
else:
    from django.forms import ModelForm as PlainForm
    from unfold.admin import ModelAdmin as UnfoldAdmin
    from unfold.admin import TabularInline as UnfoldInline

    class _Subscriptable:
        """`ModelAdmin[Row]` in an annotation is the class itself."""

        def __class_getitem__(cls, _: object) -> object:
            return cls

    class ModelAdmin(_Subscriptable, UnfoldAdmin):
        """One model's pages; what is changed here stands in the audit trail like everything else."""

        def log_addition(self, request, obj, message):  # noqa: ANN001, ANN201
            """Django's hook after something was added."""
            _audited(request, "create", obj, message)
            return super().log_addition(request, obj, message)

        def log_change(self, request, obj, message):  # noqa: ANN001, ANN201
            """Django's hook after something was changed."""
            _audited(request, "update", obj, message)
            return super().log_change(request, obj, message)

        def log_deletions(self, request, queryset):  # noqa: ANN001, ANN201
            """Django's hook before things are deleted."""
            for obj in queryset:
                _audited(request, "delete", obj, [])
            return super().log_deletions(request, queryset)

    class TabularInline(_Subscriptable, UnfoldInline):
        """Rows of another model inside a page."""

    class ModelForm(_Subscriptable, PlainForm):
        """A form over a model."""


class ReadOnly:
    """For rows that the system writes and nobody edits, as a page or inside one."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never by hand."""
        return False


def _audited(request: HttpRequest, verb: str, obj: Model, message: object) -> None:
    """A line in the audit trail: which fields were touched, never what is in them."""
    plural = str(obj._meta.verbose_name_plural).replace(" ", "")
    audit.record(request, Act(verb, plural, name=str(obj)[:253]))
    audit.note(request, details={"fields": _fields(message)})
    audit.report(request, "admin", None)


def _fields(message: object) -> list[str]:
    parts = message if isinstance(message, list) else []
    return [
        str(field)
        for part in parts
        for change in part.values()
        for field in change.get("fields", [])
    ]


__all__ = ["ModelAdmin", "ModelForm", "ReadOnly", "TabularInline"]
