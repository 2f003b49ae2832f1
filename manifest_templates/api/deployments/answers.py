"""Deployments as they are answered."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from core.times import rfc3339
from manifest_templates.models import (
    DeploymentRevision,
    DeploymentTarget,
    TemplateDeployment,
)
from operations.models import OperationStep


def versions_of(rows: Sequence[TemplateDeployment]) -> dict[int, str]:
    """By deployment: the version of its current revision."""
    numbers = {row.pk: row.revision for row in rows}
    revisions = DeploymentRevision.objects.filter(deployment__in=numbers).values_list(
        "deployment", "number", "version__version"
    )
    return {pk: version for pk, number, version in revisions if numbers[pk] == number}


# By operation, cluster and namespace.
Steps: TypeAlias = Mapping[tuple[int, int, str], OperationStep]


def steps_of(rows: Sequence[TemplateDeployment]) -> Steps:
    """The steps of the last operation of each deployment."""
    steps = OperationStep.objects.filter(operation__in=[row.operation_id for row in rows])
    return {
        (step.operation_id, step.data["cluster"], step.data["namespace"]): step for step in steps
    }


def summarise(
    deployment: TemplateDeployment,
    targets: Sequence[DeploymentTarget],
    version: str,
    steps: Steps,
) -> dict[str, Any]:
    """A deployment in a list, with the targets that the caller may see."""
    operation = deployment.operation
    pk = deployment.operation_id or 0
    # It names every target.
    shows_error = operation is not None and len(targets) == len(deployment.targets.all())
    return {
        "id": deployment.pk,
        "name": deployment.name,
        "template_id": deployment.template_id,
        "template": deployment.template.name,
        "version": version,
        "revision": deployment.revision,
        "state": deployment.shown_state,  # type: ignore[attr-defined]
        "label": deployment.label,
        "targets": [
            _target(row, steps.get((pk, row.cluster_id, row.namespace))) for row in targets
        ],
        "operation_id": deployment.operation_id,
        "error": (operation.error or None) if operation and shows_error else None,
        "created_by": deployment.created_by,
        "created_at": rfc3339(deployment.created_at),
        "updated_at": rfc3339(deployment.updated_at),
    }


def _target(row: DeploymentTarget, step: OperationStep | None) -> dict[str, Any]:
    return {
        "cluster_id": row.cluster_id,
        "cluster": row.cluster.name,
        "namespace": row.namespace,
        "removed": row.cluster.deleted_at is not None,
        "state": step.state if step else "",
        "message": step.message if step else "",
    }


def represent_revision(row: DeploymentRevision) -> dict[str, Any]:
    """One entry of the revisions."""
    return {
        "revision": row.number,
        "version": row.version.version,
        "operation_id": row.operation_id,
        "created_by": row.created_by,
        "created_at": rfc3339(row.created_at),
    }
