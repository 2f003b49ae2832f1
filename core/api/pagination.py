"""Paging by number: page counts from 1, bounds are checked, sizes are clamped."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.api.parsing import integer

MAX_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of which size a caller wants."""

    page: int = 1
    size: int = 20

    @property
    def offset(self) -> int:
        """How many items precede the page."""
        return (self.page - 1) * self.size


def page_request(
    query: Mapping[str, str],
    *,
    default: int = 20,
    maximum: int = MAX_PAGE_SIZE,
) -> PageRequest:
    """The page that a query asks for by `page` and `pageSize` (or `page_size`).

    Invalid below 1 or not whole; a size above the maximum becomes the maximum.
    """
    page = query.get("page") or "1"
    size = query.get("pageSize") or query.get("page_size") or str(default)
    return PageRequest(
        page=integer(page, "page", minimum=1, maximum=10**9),
        size=min(integer(size, "pageSize", minimum=1), maximum),
    )
