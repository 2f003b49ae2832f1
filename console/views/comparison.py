"""Compare: one object over clusters, side by side."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from clusters.kinds import KINDS
from console import navigation
from console.api_client import ApiRefusal, call
from console.locations import Location
from console.page import render_page, require_sign_in
from console.rendering import hints
from console.rendering.side_by_side import compared_rows, differing

FIELDS = ("kind", "namespace", "name")


@require_GET
@require_sign_in
def page(request: HttpRequest) -> HttpResponse:
    """The form, and below it the comparison once an object is named."""
    chosen = {name: request.GET.get(name, "").strip() for name in FIELDS}
    clusters = navigation.list_clusters(request)
    ids = request.GET.getlist("clusters")
    context: dict[str, Any] = {
        "chosen": chosen,
        "kinds_to_choose": [(plural, kind.name) for plural, kind in KINDS.items()],
        # Without a choice it is all of them.
        "compared_clusters": [
            (cluster, not ids or str(cluster["id"]) in ids) for cluster in clusters
        ],
        "title": _("Compare"),
    }
    status = 200
    if chosen["kind"] and chosen["name"]:
        try:
            context |= _comparison_context(request, chosen, ids)
        except ApiRefusal as refusal:
            # The form stays, with what was entered.
            context |= {
                "problem": refusal.message,
                "hint": hints.for_code(refusal.code, refusal.details),
            }
            status = refusal.status
    return render_page(request, "console/compare.html", context, status=status)


def _comparison_context(
    request: HttpRequest,
    chosen: dict[str, str],
    ids: list[str],
) -> dict[str, Any]:
    query = {**chosen, "clusters": ",".join(ids)}
    answer = call(request, "GET", "multicluster/compare", query=query).data
    clusters = answer["clusters"]
    found = [cluster for cluster in clusters if cluster["found"]]
    rows = compared_rows(clusters, answer["base"])
    namespace = chosen["namespace"]
    return {
        "compared": True,
        "rows": rows,
        "columns": [
            {
                "name": cluster["cluster"],
                "address": Location(
                    cluster["cluster_id"], chosen["kind"], namespace, chosen["name"]
                ).address,
                "is_base": cluster["cluster_id"] == answer["base"],
                "differing": differing(rows, place),
            }
            for place, cluster in enumerate(found)
        ],
        "missing": [c["cluster"] for c in clusters if not c["found"] and not c.get("error")],
        "unknown": [(c["cluster"], c["error"]) for c in clusters if c.get("error")],
    }
