"""Finding objects by a part of their name, in every cluster at once."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console import navigation
from console.api_client import call
from console.page import render_page, require_sign_in
from console.rendering import health

MAX_HITS = 100
# Of pods with the text in their names, so many are looked at for their states.
MAX_PODS = 200
QUICK_HITS = 8


@require_GET
@require_sign_in
def search(request: HttpRequest) -> HttpResponse:
    """The page of search results."""
    text = request.GET.get("q", "").strip()
    hits = _find_objects(request, text, MAX_HITS)
    _add_pod_states(request, text, hits)
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


def _add_pod_states(
    request: HttpRequest,
    text: str,
    hits: list[dict[str, Any]],
) -> None:
    """Give pods among the hits kubectl's STATUS: their phase is Running while they crash."""
    if not any(hit["plural"] == "pods" and not hit["group"] for hit in hits):
        return
    query = {"keyword": text, "pageSize": MAX_PODS}
    pods = call(request, "GET", "multicluster/resources/pods", query=query).data["items"]
    states = {pod["metadata"].get("uid"): health.pod_health(pod) for pod in pods}
    for hit in hits:
        if hit["uid"] in states:
            hit["word"], hit["severity"] = states[hit["uid"]]


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
