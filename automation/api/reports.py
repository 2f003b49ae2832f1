"""The report of an inspection: /task-runs/{id}/report."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from automation.api import rights
from automation.inspection.catalogue import Severity
from automation.inspection.report import csv_rows
from automation.inspection.reports import report_of
from clusters.kinds import KINDS
from core.api.auth import AccessAttributes, is_allowed
from core.api.csv_answers import csv_response
from core.api.dialect import DialectView
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Invalid

SEVERITY = {"type": "string", "enum": list(Severity)}
COUNTS = {str(severity): INTEGER for severity in Severity}
FINDING = record(
    id=TEXT,
    check=TEXT,
    category=TEXT,
    severity=SEVERITY,
    title=TEXT,
    message=TEXT,
    fix=TEXT,
    state={"type": "string", "enum": ["new", "same", "gone"]},
    object=record(
        cluster_id=INTEGER,
        cluster=TEXT,
        kind=TEXT,
        resource=TEXT,
        namespace=TEXT,
        name=TEXT,
        link=TEXT,
    ),
)
NUMBERS = {"type": "object", "additionalProperties": INTEGER}
REPORT = record(
    run_id=INTEGER,
    task_id=INTEGER,
    task=TEXT,
    generated_at=TEXT,
    previous=nullable(record(run_id=INTEGER, at=TEXT)),
    summary=record(
        **COUNTS,
        total=INTEGER,
        new=INTEGER,
        same=INTEGER,
        gone=INTEGER,
        clusters=INTEGER,
    ),
    clusters=array(
        record(
            cluster_id=INTEGER,
            cluster=TEXT,
            version=TEXT,
            inspected_at=TEXT,
            source={"type": "string", "enum": ["store", "live", "store and live"]},
            age_seconds=NUMBER,
            objects=NUMBERS,
            counts=NUMBERS,
            skipped=array(record(kind=TEXT, reason=TEXT)),
            findings=record(**COUNTS),
        )
    ),
    checks=array(
        record(
            check=TEXT,
            category=TEXT,
            severity=SEVERITY,
            title=TEXT,
            fix=TEXT,
            count=INTEGER,
        )
    ),
    findings=array(FINDING),
    gone=array(FINDING),
    truncated=BOOLEAN,
    hidden=INTEGER,
)
FORMATS = ("json", "csv")


class RunReport(DialectView):
    """GET /task-runs/{id}/report."""

    operations = {
        "get": OperationSchema(
            "The report of an inspection, compared with the one before",
            REPORT,
            query=(
                QueryParameter(
                    "format",
                    {"type": "string", "enum": list(FORMATS)},
                ),
            ),
            answer_name="InspectionReport",
            answer_types=("application/json", "text/csv"),
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """The report, without what the caller may not read; NotFound for runs without one."""
        _, run = rights.visible_run(self, request, pk)
        form = request.query_params.get("format", "json")
        if form not in FORMATS:
            raise Invalid("format must be json or csv", field="format")
        report = report_of(run, _Reader(self, request).may_read)
        if form == "csv":
            return csv_response(f"inspection-{run.pk}.csv", csv_rows(report))
        return report


class _Reader:
    """Which objects the caller may read now, asked once for each kind and namespace."""

    def __init__(
        self,
        view: DialectView,
        request: Request,
    ) -> None:
        self._view = view
        self._request = request
        self._answers: dict[tuple[int, str, str], bool] = {}

    def may_read(self, target: Mapping[str, Any]) -> bool:
        """Whether the caller may read an object that a finding is about."""
        place = (int(target["cluster_id"]), str(target["resource"]), str(target["namespace"]))
        if place not in self._answers:
            cluster, resource, namespace = place
            kind = KINDS.get(resource)
            act = AccessAttributes(
                "get",
                resource,
                kind.group if kind else "",
                str(cluster),
                namespace,
                str(target["name"]),
                cluster_scoped=kind is not None and not kind.namespaced,
            )
            self._answers[place] = is_allowed(
                self._view,
                self._request,
                act,
            )
        return self._answers[place]
