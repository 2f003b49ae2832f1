"""Finding objects by a part of their name, in every cluster at once."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console import navigation
from console.api_client import call
from console.page import render_page, require_sign_in

MAX_HITS = 100
QUICK_HITS = 8


@require_GET
@require_sign_in
def search(request: HttpRequest) -> HttpResponse:
    """The page of search results."""
    text = request.GET.get("q", "").strip()
    hits = _find_objects(request, text, MAX_HITS)
    return render_page(
        request,
        "console/search.html",
        {"q": text, "hits": hits, "most": MAX_HITS if len(hits) == MAX_HITS else 0},
    )


@require_GET
@require_sign_in
def quick(request: HttpRequest) -> HttpResponse:
    """The best few hits below the search field while the user types."""
    text = request.GET.get("q", "").strip()
    return render_page(
        request,
        "console/parts/quick.html",
        {"q": text, "hits": _find_objects(request, text, QUICK_HITS)},
    )


def _find_objects(
    request: HttpRequest,
    text: str,
    size: int,
) -> list[dict[str, Any]]:
    if not text:
        return []
    items = call(request, "GET", "multicluster/search", query={"q": text, "pageSize": size}).data[
        "items"
    ]
    for item in items:
        item["address"] = navigation.object_address(item["cluster_id"], item)
    return list(items)
