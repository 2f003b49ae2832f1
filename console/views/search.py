"""Finding objects by a part of their name, or by what they have, in every cluster at once."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from clusters.kinds import KINDS
from console import navigation
from console.api_client import ApiRefusal, call
from console.page import render_page, require_sign_in
from console.rendering import health

MAX_HITS = 100
QUICK_HITS = 8
INVALID = 1001


@require_GET
@require_sign_in
def search(request: HttpRequest) -> HttpResponse:
    """The page of search results."""
    text = request.GET.get("q", "").strip()
    problem = ""
    try:
        hits = _find_objects(request, text, MAX_HITS, documents=True)
    except ApiRefusal as refusal:
        if refusal.code != INVALID:
            raise
        hits = []
        problem = refusal.message
    _add_states(hits)
    most = MAX_HITS if len(hits) == MAX_HITS else 0
    context = {"q": text, "hits": hits, "most": most, "problem": problem}
    return render_page(request, "console/search.html", context)


@require_GET
@require_sign_in
def quick(request: HttpRequest) -> HttpResponse:
    """The best few hits below the search field while the user types."""
    text = request.GET.get("q", "").strip()
    try:
        hits = _find_objects(request, text, QUICK_HITS)
    except ApiRefusal as refusal:
        # A property of which only the beginning is typed yet.
        if refusal.code != INVALID:
            raise
        hits = []
    return render_page(request, "console/parts/quick.html", {"q": text, "hits": hits})


def _add_states(hits: list[dict[str, Any]]) -> None:
    """Give each hit the word of its kind's STATUS: a pod's phase is Running while it crashes."""
    for hit in hits:
        # A custom kind may have the plural of a built-in one.
        plural = hit["plural"] if KINDS.get(hit["plural"]) and _is_built_in(hit) else ""
        word, severity = health.for_kind(plural, hit.pop("object", None) or {})
        # A ConfigMap is simply there: kubectl has no word for that either.
        hit["word"] = word or hit["status"]
        hit["severity"] = severity


def _is_built_in(hit: Mapping[str, Any]) -> bool:
    return bool(KINDS[hit["plural"]].group == hit["group"])


def _find_objects(
    request: HttpRequest,
    text: str,
    size: int,
    *,
    documents: bool = False,
) -> list[dict[str, Any]]:
    if not text:
        return []
    query = {"q": text, "pageSize": size, "documents": documents or None}
    items = call(request, "GET", "multicluster/search", query=query).data["items"]
    for item in items:
        item["address"] = navigation.object_address(item["cluster_id"], item)
    return list(items)
