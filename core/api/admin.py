"""Admin base classes with types: unfold's look at run time, Django's stubs for the type checker."""

from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.http import HttpRequest

from core.api import audit
from core.api.attributes import AccessAttributes

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
        """One model's pages; each change goes to the audit trail like a change over the API."""

        def log_addition(self, request: Any, obj: Any, message: Any) -> Any:
            """Django's hook after something was added."""
            _write_audit_line(request, "create", obj, message)
            return super().log_addition(request, obj, message)

        def log_change(self, request: Any, obj: Any, message: Any) -> Any:
            """Django's hook after something was changed."""
            _write_audit_line(request, "update", obj, message)
            return super().log_change(request, obj, message)

        def log_deletions(self, request: Any, queryset: Any) -> Any:
            """Django's hook before rows are deleted."""
            for obj in queryset:
                _write_audit_line(request, "delete", obj, [])
            return super().log_deletions(request, queryset)

    class TabularInline(_Subscriptable, UnfoldInline):
        """Rows of another model inside a page."""

    class ModelForm(_Subscriptable, PlainForm):
        """A form over a model."""


class ReadOnly:
    """For rows that only the system writes, as a page or inside one."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never by hand."""
        return False


def _write_audit_line(request: HttpRequest, verb: str, obj: Model, message: object) -> None:
    """A line in the audit trail: which fields were changed, never their values."""
    plural = str(obj._meta.verbose_name_plural).replace(" ", "")
    # 253 characters is the longest name that Kubernetes allows, and what the trail keeps.
    audit.record(request, AccessAttributes(verb, plural, name=str(obj)[:253]))
    audit.annotate(request, details={"fields": _changed_fields(message)})
    audit.report(request, "admin", None)


def _changed_fields(message: object) -> list[str]:
    """The fields that Django's change message names: [{"changed": {"fields": [...]}}, …]."""
    parts = message if isinstance(message, list) else []
    fields: list[str] = []
    for part in parts:
        for change in part.values():
            fields += [str(name) for name in change.get("fields", [])]
    return fields


__all__ = ["ModelAdmin", "ModelForm", "ReadOnly", "TabularInline"]
