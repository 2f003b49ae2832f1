"""What is asked of the policy for deployments, and what audit lines say of them."""

from collections.abc import Sequence
from typing import Any

from rest_framework.request import Request

from core.api.audit import record
from core.api.auth import AccessAttributes
from manifest_templates.deployments import RESOURCE, PreparedRevision
from manifest_templates.models import (
    DeploymentTarget,
    TemplateDeployment,
)
from workloads.api.manifests.applying import AdmittedTarget, annotate
from workloads.manifests.operation import ApplyTarget


def deploy_act(target: ApplyTarget, name: str) -> AccessAttributes:
    """Deploying under a name to a target."""
    return AccessAttributes(
        "deploy",
        RESOURCE,
        "",
        str(target.cluster.pk),
        target.namespace,
        name,
    )


def change_acts(verb: str, deployment: TemplateDeployment) -> list[AccessAttributes]:
    """What is asked for before a deployment is changed: the right in each of its targets."""
    return [
        target_act(verb, target, deployment.name)
        for target in deployment.targets.all()
        if not target.cluster.deleted_at
    ]


def target_act(verb: str, target: DeploymentTarget, name: str = "") -> AccessAttributes:
    """A verb on a deployment in one of its targets."""
    return AccessAttributes(
        verb,
        RESOURCE,
        "",
        str(target.cluster_id),
        target.namespace,
        name,
    )


def note_audit(
    request: Request,
    acts: Sequence[AccessAttributes],
    allowed: Sequence[AdmittedTarget],
    **details: Any,
) -> None:
    """Say in the audit lines of an action, and of its objects, what it was for; never a value."""
    for act in acts:
        annotate(record(request, act), details=details)
    for _target, rows in allowed:
        for row in rows:
            annotate(row.event, details=details)


def audit_facts(
    deployment: TemplateDeployment, prepared: PreparedRevision | None
) -> dict[str, Any]:
    """What audit lines say of a deployment."""
    facts: dict[str, Any] = {
        "template": deployment.template.name,
        "deployment_id": deployment.pk,
        "operation_id": deployment.operation_id,
    }
    return facts | {"version": prepared.version.version} if prepared else facts
