"""Whether there is anything to do, asked in one statement."""

from typing import Any

from django.db.models import QuerySet


def any_exists(first: QuerySet[Any], *others: QuerySet[Any]) -> bool:
    """Whether any of the querysets has a row. All are of tables with a numeric primary key."""
    keys = [queryset.order_by().values_list("pk", flat=True) for queryset in (first, *others)]
    # PostgreSQL stops at the first row.
    return bool(list(keys[0].union(*keys[1:], all=True)[:1]))
