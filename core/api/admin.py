"""Admin base classes with types: bounded lists and the audit trail; stubs for the type checker."""

from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.http import HttpRequest
from django.utils import translation

from core.api import audit
from core.api.attributes import AccessAttributes

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.forms import ModelForm
else:
    from django.contrib import admin
    from django.forms import ModelForm as PlainForm

    from core.api.admin_lists import PAGE_ROWS, BoundedPaginator, text_filter

    class _Subscriptable:
        """`ModelAdmin[Row]` in an annotation is the class itself."""

        def __class_getitem__(cls, _: object) -> object:
            return cls

    class ModelAdmin(_Subscriptable, admin.ModelAdmin):
        """One model's pages; each change goes to the audit trail like a change over the API."""

        paginator = BoundedPaginator
        show_full_result_count = False
        show_facets = admin.ShowFacets.NEVER
        list_per_page = PAGE_ROWS
        list_max_show_all = PAGE_ROWS

        def get_list_filter(self, request: Any) -> Any:
            """The filters; listing every text of a column would read the whole table."""
            filters = super().get_list_filter(request)
            return [self._bounded_filter(column) for column in filters]

        def _bounded_filter(self, column: Any) -> Any:
            if not isinstance(column, str) or "__" in column:
                return column
            field = self.model._meta.get_field(column)
            is_text = field.get_internal_type() in ("CharField", "TextField")
            if not is_text or getattr(field, "choices", None):
                return column
            return text_filter(column, field.verbose_name)

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

    class TabularInline(_Subscriptable, admin.TabularInline):
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
    # The trail names kinds in English, whatever the viewer's language is.
    with translation.override(None):
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
