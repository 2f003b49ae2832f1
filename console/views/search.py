"""Finding objects by a part of their name, in every cluster at once."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console import navigation
from console.api_client import call
from console.page import page, signed_in

MOST, QUICK = 100, 8


@require_GET
@signed_in
def search(request: HttpRequest) -> HttpResponse:
    """The page of what was found."""
    text = request.GET.get("q", "").strip()
    found = _found(request, text, MOST)
    return page(
        request,
        "console/search.html",
        {"q": text, "found": found, "most": MOST if len(found) == MOST else 0},
    )


@require_GET
@signed_in
def quick(request: HttpRequest) -> HttpResponse:
    """A few best hits below the search field while somebody types."""
    text = request.GET.get("q", "").strip()
    return page(
        request, "console/parts/quick.html", {"q": text, "found": _found(request, text, QUICK)}
    )


def _found(request: HttpRequest, text: str, size: int) -> list[dict[str, Any]]:
    if not text:
        return []
    items = call(request, "GET", "multicluster/search", query={"q": text, "pageSize": size}).data[
        "items"
    ]
    for item in items:
        item["address"] = navigation.address_of(item["cluster_id"], item)
    return list(items)
