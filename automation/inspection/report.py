"""A report over several clusters: what was found, by severity, and what changed since the last."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from automation.inspection.catalogue import CHECKS, SEVERITY_ORDER, Severity
from automation.inspection.cluster import finding_order

# Findings that one report shows; the worst stay.
MAX_FINDINGS = 5000
COLUMNS = (
    "severity",
    "state",
    "category",
    "check",
    "title",
    "cluster",
    "kind",
    "namespace",
    "name",
    "message",
    "fix",
    "link",
)


def build_report(
    parts: Sequence[Mapping[str, Any]], previous: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """The report of the clusters' parts, as `inspect_cluster` gives them, as JSON data.

    {"summary","clusters","checks","findings","gone","truncated"}. `previous` are the findings of
    the last run, None without one: then every finding is new, and nothing is gone.
    """
    unsorted = [finding for part in parts for finding in part["findings"]]
    findings = sorted(unsorted, key=finding_order)
    earlier = {finding["id"]: finding for finding in previous or ()}
    current = {finding["id"] for finding in findings}
    rows = [
        {**finding, "state": "same" if finding["id"] in earlier else "new"} for finding in findings
    ]
    inspected = {part["cluster_id"] for part in parts if not part.get("error")}
    gone = [
        {**finding, "state": "gone"}
        for finding in earlier.values()
        # What could not be looked at this time may be there still.
        if finding["id"] not in current and finding["object"]["cluster_id"] in inspected
    ]
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part["counts"])
    return {
        "summary": {
            **_count_by_severity(rows),
            "total": counts.total(),
            "new": sum(row["state"] == "new" for row in rows),
            "same": sum(row["state"] == "same" for row in rows),
            "gone": len(gone),
            "clusters": len(parts),
        },
        "clusters": [_cluster_row(part) for part in parts],
        "checks": _check_rows(counts),
        "findings": rows[:MAX_FINDINGS],
        "gone": sorted(gone, key=finding_order)[:MAX_FINDINGS],
        "truncated": len(rows) > MAX_FINDINGS or counts.total() > len(rows),
    }


def _count_by_severity(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(row["severity"] for row in rows)
    return {str(severity): counts[str(severity)] for severity in Severity}


def _cluster_row(part: Mapping[str, Any]) -> dict[str, Any]:
    """A cluster without its findings; `source` says where its objects came from."""
    ages = [age for age in part["ages"].values() if age is not None]
    is_live = any(age is None for age in part["ages"].values())
    source = "live" if not ages else "store"
    if ages and is_live:
        source = "store and live"
    return {
        **{name: value for name, value in part.items() if name not in ("findings", "ages")},
        "source": source,
        # How old the oldest copy was that was read, in seconds.
        "age_seconds": max(ages, default=0.0),
        "findings": _count_by_severity(part["findings"]),
    }


def _check_rows(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    rows = [
        {
            "check": check.id,
            "category": check.category,
            "severity": str(check.severity),
            "title": check.title,
            "fix": check.fix,
            "count": counts.get(check.id, 0),
        }
        for check in CHECKS.values()
    ]
    return sorted(
        rows,
        key=lambda row: (SEVERITY_ORDER[row["severity"]], -row["count"]),
    )


def csv_rows(report: Mapping[str, Any]) -> Iterator[list[object]]:
    """The findings as rows of a table with a head, those that are gone last."""
    yield list(COLUMNS)
    for finding in [*report["findings"], *report["gone"]]:
        target = finding["object"]
        yield [finding.get(name, target.get(name, "")) for name in COLUMNS]
