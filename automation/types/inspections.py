"""`inspect`: a report of what is amiss in clusters."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from automation.cluster_objects import authoriser, choice_of
from automation.context import RunContext
from automation.inspection import reports
from automation.inspection.catalogue import CHECKS
from automation.inspection.cluster import InspectionScope, inspect_cluster
from automation.inspection.facts import Thresholds
from automation.types.base import FinishedStep, Step, StepResult, TaskType
from clusters.kinds import KINDS
from core.api.attributes import AccessAttributes
from core.errors import ClusterUnavailable

CATEGORIES = sorted({check.category for check in CHECKS.values()})


class Inspect(TaskType):
    """Looks at every object that the owner may read; nothing is changed."""

    name = "inspect"
    title = "Inspect clusters"
    description = (
        "A report of nodes, workloads, images, security, certificates, storage, quotas and API"
        " versions: findings by severity, what to do about each, and what changed since the last"
        " run."
    )
    params_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "categories": {
                "title": "Categories",
                "description": "What to look at; everything when absent.",
                "type": "array",
                "items": {"type": "string", "enum": CATEGORIES},
                "minItems": 1,
                "uniqueItems": True,
            },
            "system_namespaces": {
                "title": "Kubernetes' own namespaces too",
                "type": "boolean",
                "default": False,
            },
            "certificate_days": {
                "title": "Days before the end of a certificate",
                "type": "integer",
                "minimum": 1,
                "maximum": 3650,
                "default": 30,
            },
            "quota_percent": {
                "title": "Percent of a quota that counts as nearly used up",
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 90,
            },
            "restarts": {
                "title": "Restarts of a container that count as many",
                "type": "integer",
                "minimum": 1,
                "maximum": 100000,
                "default": 10,
            },
        },
    }

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """What the owner may not read besides is left out of the report, and named."""
        return [AccessAttributes("list", "pods")]

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each cluster."""
        steps = []
        for place in context.places("list", KINDS["pods"]):
            names = "all namespaces"
            if place.namespaces is not None:
                names = f"namespaces {', '.join(place.namespaces)}"
            steps.append(
                Step(
                    place.cluster.pk,
                    "",
                    place.cluster.name,
                    "Cluster",
                    f"inspect {place.cluster.name}: {names}",
                    data={"namespaces": place.namespaces and list(place.namespaces)},
                )
            )
        return steps

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """Inspect the cluster and keep its part of the report."""
        cluster = context.cluster(step.cluster_id)
        namespaces = step.data["namespaces"]
        scope = InspectionScope(
            authoriser(context),
            None if namespaces is None else frozenset(namespaces),
            bool(context.params.get("system_namespaces", False)),
            _thresholds(context.params),
            frozenset(context.params["categories"]) if "categories" in context.params else None,
            choice_of(context.targets),
        )
        part = inspect_cluster(
            cluster,
            scope,
            beat=context.beat,
        )
        if part["skipped"] and not part["objects"]:
            # Nothing at all could be read: that is no report.
            raise ClusterUnavailable(part["skipped"][0]["reason"])
        if context.run is not None:
            reports.save_part(context.run, cluster, part)
        return StepResult(_sentence(part))

    def result(
        self,
        context: RunContext,
        steps: Sequence[FinishedStep],
    ) -> dict[str, Any]:
        """{"steps", …, "summary", "report"}: the report itself has a route of its own."""
        counts = super().result(context, steps)
        if context.run is None:
            return counts
        return {**counts, **reports.summary_of(context.run)}


def _thresholds(params: Mapping[str, Any]) -> Thresholds:
    standard = Thresholds()
    return Thresholds(
        certificate_days=params.get("certificate_days", standard.certificate_days),
        quota_percent=params.get("quota_percent", standard.quota_percent),
        restarts=params.get("restarts", standard.restarts),
    )


def _sentence(part: Mapping[str, Any]) -> str:
    """`1234 objects, 3 critical, 10 warning, 5 info`; what could not be read is named."""
    counts: dict[str, int] = {"critical": 0, "warning": 0, "info": 0}
    for finding in part["findings"]:
        counts[finding["severity"]] += 1
    texts = [f"{sum(part['objects'].values())} objects"]
    texts += [f"{count} {severity}" for severity, count in counts.items()]
    if part["skipped"]:
        kinds = ", ".join(row["kind"] for row in part["skipped"])
        texts.append(f"not read: {kinds}")
    return ", ".join(texts)
