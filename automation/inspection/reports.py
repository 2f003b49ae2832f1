"""Reports as they are kept: a part for each cluster of a run, put together when it is read."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from automation.inspection.catalogue import CHECKS
from automation.inspection.report import build_report
from automation.models import InspectionPart, Run
from clusters.models import Cluster
from core.errors import NotFound
from core.times import rfc3339

# Whether a reader may see the object of a finding.
Visible = Callable[[Mapping[str, Any]], bool]


def save_part(
    run: int,
    cluster: Cluster,
    part: Mapping[str, Any],
) -> None:
    """Keep what was found in a cluster; a part that is there already is replaced."""
    # What the catalogue says of a check stands in no row.
    findings = [
        {name: value for name, value in finding.items() if name not in _FROM_CATALOGUE}
        for finding in part["findings"]
    ]
    InspectionPart.objects.update_or_create(
        run_id=run,
        cluster=cluster,
        defaults={"data": {**part, "findings": findings}},
    )


_FROM_CATALOGUE = ("category", "title", "fix")


def _parts(run: int) -> list[dict[str, Any]]:
    rows = InspectionPart.objects.filter(run=run).order_by("cluster__name")
    return [_complete(data) for data in rows.values_list("data", flat=True)]


def _complete(part: dict[str, Any]) -> dict[str, Any]:
    findings = []
    for finding in part["findings"]:
        check = CHECKS.get(finding["check"])
        # A version of the product that has the check no longer shows what was found all the same.
        texts = {"category": "", "title": finding["check"], "fix": ""}
        if check is not None:
            texts = {"category": check.category, "title": check.title, "fix": check.fix}
        findings.append({**finding, **texts})
    return {**part, "findings": findings}


def previous_run(run: Run) -> Run | None:
    """The last run of the task before this one that has a report; None when there is none."""
    rows = Run.objects.filter(
        task=run.task_id,
        pk__lt=run.pk,
        inspection_parts__isnull=False,
    )
    return rows.order_by("-pk").first()


def report_of(run: Run, is_visible: Visible | None = None) -> dict[str, Any]:
    """The report of a run, compared with the one before; NotFound when the run has none.

    `is_visible` leaves out the findings about objects that a reader may not see; `hidden` says how
    many these are.

    {"run_id","task_id","task","generated_at","previous":{"run_id","at"} or None,"summary",
    "clusters","checks","findings","gone","truncated","hidden"}.
    """
    parts = _parts(run.pk)
    if not parts:
        raise NotFound(f"run {run.pk} has no report")
    hidden = sum(_hide(part, is_visible) for part in parts)
    previous = previous_run(run)
    earlier = None
    if previous is not None:
        older = _parts(previous.pk)
        for part in older:
            _hide(part, is_visible)
        earlier = [finding for part in older for finding in part["findings"]]
    return {
        "run_id": run.pk,
        "task_id": run.task_id,
        "task": run.task.name,
        "generated_at": max(part["inspected_at"] for part in parts),
        "previous": previous
        and {
            "run_id": previous.pk,
            "at": rfc3339(previous.started_at or previous.created_at),
        },
        **build_report(parts, earlier),
        "hidden": hidden,
    }


def _hide(part: dict[str, Any], is_visible: Visible | None) -> int:
    """Drop the findings that a reader may not see; how many."""
    if is_visible is None:
        return 0
    visible = [finding for finding in part["findings"] if is_visible(finding["object"])]
    counts = Counter(part["counts"])
    counts.subtract(finding["check"] for finding in part["findings"])
    counts.update(finding["check"] for finding in visible)
    hidden = len(part["findings"]) - len(visible)
    # Of findings beyond the limit nobody knows whose they are.
    part["counts"] = {name: count for name, count in counts.items() if count > 0}
    part["findings"] = visible
    return hidden


def summary_of(run: int) -> dict[str, Any]:
    """{"summary", "report"} for the run's result; {} when nothing could be inspected."""
    row = Run.objects.select_related("task").get(pk=run)
    try:
        report = report_of(row)
    except NotFound:
        return {}
    return {
        "summary": report["summary"],
        "report": f"/api/v1/kubernetes/task-runs/{run}/report",
    }
