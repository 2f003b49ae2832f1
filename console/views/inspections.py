"""The report of an inspection: findings by severity, what to do about each, what changed."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from console.api_client import call
from console.choice_labels import INSPECTION_CATEGORIES
from console.locations import Location
from console.page import render_page, require_sign_in

SEVERITIES = {
    "critical": (gettext_lazy("critical"), "bad"),
    "warning": (gettext_lazy("warning"), "warn"),
    "info": (gettext_lazy("information"), "idle"),
}
STATES = {
    "new": gettext_lazy("new"),
    "same": gettext_lazy("as before"),
    "gone": gettext_lazy("gone"),
}
# Rows that one page shows; the file has all of them.
MAX_ROWS = 500


@require_GET
@require_sign_in
def report(request: HttpRequest, run: int) -> HttpResponse:
    """The report of a run, narrowed by `severity` and `state` of the address."""
    data = call(request, "GET", f"task-runs/{run}/report").data
    severity = request.GET.get("severity", "")
    state = request.GET.get("state", "")
    rows = data["gone"] if state == "gone" else data["findings"]
    chosen = [
        row
        for row in rows
        if severity in ("", row["severity"]) and state in ("", "gone", row["state"])
    ]
    summary = data["summary"]
    context = {
        "run": run,
        "report": data,
        "severities": [
            (name, word, colour, summary[name]) for name, (word, colour) in SEVERITIES.items()
        ],
        "states": [(name, word, summary[name]) for name, word in STATES.items()],
        "checks": [
            {**check, "colour": SEVERITIES[check["severity"]][1]}
            for check in data["checks"]
            if check["count"]
        ],
        "passed": sum(1 for check in data["checks"] if not check["count"]),
        "is_narrowed": bool(severity or state),
        "severity": severity,
        "state": state,
        "categories": _categories(chosen[:MAX_ROWS]),
        "left_out": max(len(chosen) - MAX_ROWS, 0),
        "title": _("Inspection report"),
    }
    return render_page(request, "console/inspection.html", context)


@require_GET
@require_sign_in
def file(request: HttpRequest, run: int, form: str) -> HttpResponseBase:
    """The report as a file: `csv`, or `json` as the API answers it."""
    answer = call(request, "GET", f"task-runs/{run}/report", query={"format": form})
    if form == "csv" and answer.response is not None:
        return answer.response
    content = orjson.dumps(answer.data, option=orjson.OPT_INDENT_2)
    response = HttpResponse(content, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="inspection-{run}.json"'
    return response


def _categories(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The findings by category, and in each by check; what is worst comes first in both."""
    categories: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows:
        word, colour = SEVERITIES[row["severity"]]
        groups = categories.setdefault(row["category"], {})
        key = (row["severity"], row["check"])
        group = groups.setdefault(
            key,
            {
                "title": row["title"],
                "fix": row["fix"],
                "word": word,
                "colour": colour,
                "findings": [],
            },
        )
        group["findings"].append(
            {
                **row,
                "state_word": STATES[row["state"]],
                "address": _address(row["object"]),
            }
        )
    return [
        {
            "title": INSPECTION_CATEGORIES.get(name, name),
            "groups": list(groups.values()),
            "count": sum(len(group["findings"]) for group in groups.values()),
        }
        for name, groups in categories.items()
    ]


def _address(target: Mapping[str, Any]) -> str:
    if target["resource"] == "clusters":
        return f"/clusters/{target['cluster_id']}"
    location = Location(
        target["cluster_id"],
        target["resource"],
        target["namespace"],
        target["name"],
    )
    return location.address
