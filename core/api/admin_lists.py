"""What bounds the admin's lists: a count with a limit, filters over columns of many values."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise, cached_property

MAX_ROWS = 10_000
PAGE_ROWS = 50


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts up to 10,000: beyond that, people search instead of paging."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, at most 10,000."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        # The database stops counting at the limit of the slice.
        return rows.order_by().values("pk")[:MAX_ROWS].count()


class TextFilter(admin.SimpleListFilter):
    """A filter by the exact text of a column: a field to type in, as there are too many values."""

    template = "admin/text_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One empty choice: without any, Django would leave the filter out."""
        return [("", "")]

    def has_output(self) -> bool:
        """Always."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with that text."""
        if not self.value():
            return queryset
        return queryset.filter(**{str(self.parameter_name): self.value()})

    def choices(self, changelist: Any) -> Any:
        """What the template needs: the other parameters, which the form has to keep."""
        others = [
            (name, value if isinstance(value, list) else [value])
            for name, value in changelist.params.items()
        ]
        yield {"query_parts": others, "value": self.value() or "", "name": self.parameter_name}


def text_filter(column: str, label: str | Promise) -> type[TextFilter]:
    """A text filter of one column."""
    return type(f"By{column.title()}", (TextFilter,), {"title": label, "parameter_name": column})


__all__ = ["MAX_ROWS", "PAGE_ROWS", "BoundedPaginator", "TextFilter", "text_filter"]
