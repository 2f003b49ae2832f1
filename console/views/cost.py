"""What clusters, namespaces and tenants cost, and the same as CSV."""

import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from console import navigation
from console.api_client import ApiRefusal, call
from console.page import render_page, require_sign_in, with_security_headers

GROUPINGS = ("namespace", "cluster", "tenant")
NUMBERS = ("pods", "billed_cores", "billed_bytes", "per_hour", "per_month")
# A cell of a spreadsheet that begins like this would be a formula.
FORMULA_STARTS = ("=", "+", "-", "@")


@require_GET
@require_sign_in
def show(request: HttpRequest) -> HttpResponse:
    """The costs by namespace, cluster or tenant, the dearest first."""
    grouping = request.GET.get("by", "")
    grouping = grouping if grouping in GROUPINGS else "namespace"
    chosen = request.GET.get("cluster", "")
    rows, problems, prices = _read_costs(request, chosen)
    grouped = _group(rows, grouping)
    if request.GET.get("format") == "csv":
        return _as_file(request, grouped, prices)
    total = _add(rows)
    context = {
        "rows": grouped,
        "total": total,
        "prices": prices,
        "problems": problems,
        "grouping": grouping,
        "groupings": [
            ("namespace", _("Namespaces")),
            ("cluster", _("Clusters")),
            ("tenant", _("Tenants")),
        ],
        "chosen": chosen,
        "dearest": max([row["per_hour"] for row in grouped], default=0),
    }
    return render_page(request, "console/cost.html", context)


def _read_costs(
    request: HttpRequest, chosen: str
) -> tuple[list[dict[str, Any]], list[tuple[str, str]], Mapping[str, Any]]:
    """(a row for each namespace, (cluster, why it is left out) of the others, the prices)."""
    rows: list[dict[str, Any]] = []
    problems = []
    prices: Mapping[str, Any] = {}
    for cluster in navigation.list_clusters(request):
        if chosen and str(cluster["id"]) != chosen:
            continue
        query = {"cluster_id": cluster["id"]}
        try:
            data = call(request, "GET", "metrics/cost", query=query).data
        except ApiRefusal as refusal:
            problems.append((cluster["name"], refusal.message))
            continue
        prices = data["prices"]
        tenants = _tenant_names(request, cluster["id"])
        rows += [
            {
                **item,
                "cluster": cluster["name"],
                "cluster_id": cluster["id"],
                "tenant": item["namespace"] if item["namespace"] in tenants else "",
            }
            for item in data["items"]
        ]
    return rows, problems, prices


def _tenant_names(request: HttpRequest, cluster: int) -> set[str]:
    """The namespaces that are tenants; none where the person may not see them."""
    query = {"cluster_id": cluster, "pageSize": 1000}
    try:
        items = call(request, "GET", "tenants", query=query).data["items"]
    except ApiRefusal:
        return set()
    # Every namespace is listed there; those without an id are nobody's tenant.
    return {item["name"] for item in items if item["id"] is not None}


def _group(rows: list[dict[str, Any]], grouping: str) -> list[dict[str, Any]]:
    if grouping == "cluster":
        by_cluster: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            by_cluster.setdefault(row["cluster_id"], []).append(row)
        rows = [
            {**_add(parts), "cluster": parts[0]["cluster"], "cluster_id": pk}
            for pk, parts in by_cluster.items()
        ]
    elif grouping == "tenant":
        rows = [row for row in rows if row["tenant"]]
    return sorted(rows, key=lambda row: -row["per_hour"])


def _add(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum(row[name] for row in rows) for name in NUMBERS}


def _as_file(
    request: HttpRequest, rows: list[dict[str, Any]], prices: Mapping[str, Any]
) -> HttpResponse:
    file = StringIO()
    writer = csv.writer(file)
    writer.writerow(["cluster", "namespace", "tenant", *NUMBERS, "currency"])
    for row in rows:
        texts = [row["cluster"], row.get("namespace", ""), row.get("tenant", "")]
        values = [row[name] for name in NUMBERS]
        writer.writerow([*map(_safe_cell, texts), *values, prices.get("currency", "")])
    response = HttpResponse(
        file.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="cost.csv"'},
    )
    return with_security_headers(request, response)


def _safe_cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
