"""Lists of the API on pages: the filters of the address, one page of rows, its neighbours."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from console import forms
from console.api_client import call

SIZE = 100


def read_list(
    request: HttpRequest,
    path: str,
    filters: Iterable[str],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the rows of the page, what its template needs: chosen, filtered, and `page_links`)."""
    chosen = {name: request.GET.get(name, "").strip() for name in filters}
    number = forms.query_number(request, "page", least=1)
    query = {**chosen, "page": number, "pageSize": SIZE}
    data = call(request, "GET", path, query=query).data
    context = {
        "chosen": chosen,
        "filtered": any(chosen.values()),
        **page_links(chosen, number, data["total"]),
    }
    return data["items"], context


def page_links(chosen: Mapping[str, str], number: int, total: int) -> dict[str, Any]:
    """`total`, and the addresses of the pages `previous` and `next`, "" for none."""
    rest = {name: value for name, value in chosen.items() if value}
    before = urlencode({**rest, "page": number - 1}) if number > 1 else ""
    after = urlencode({**rest, "page": number + 1}) if number * SIZE < total else ""
    return {
        "total": total,
        "previous": before,
        "next": after,
    }
