"""From a version and its values to what may be applied to each target."""

from collections.abc import Sequence

from rest_framework.request import Request

from core.errors import DomainError, Invalid
from manifest_templates import deployments
from manifest_templates.api.deployments.base import DeploymentView
from manifest_templates.deployments import RESOURCE, Admitted, PreparedRevision
from workloads.api.manifests.applying import AdmittedTarget
from workloads.manifests.apply import ApplyOptions
from workloads.manifests.documents import PlannedObject, read_manifests, require_readable
from workloads.manifests.operation import ApplyTarget


def admit_revision(
    view: DeploymentView,
    request: Request,
    prepared: PreparedRevision,
    targets: Sequence[ApplyTarget],
    options: ApplyOptions,
    *,
    is_dry: bool,
    action: str = "deploy",
    subject: tuple[str, str] = (RESOURCE, ""),
) -> tuple[list[AdmittedTarget], ApplyOptions]:
    """As `ApplyView.admit`; Invalid, too, for an object without a place in one of the clusters."""
    try:
        manifests = read_manifests(prepared.text)
        require_readable(manifests)
    except Invalid as error:
        raise Invalid(f"the template's manifests: {error.message}", field="template") from None
    if is_dry:
        options = deployments.for_preview(options)
    allowed, options = view.admit(
        request, manifests, targets, options, action=action, subject=subject
    )
    for target, rows in allowed:
        for row in rows:
            if row.planned.error is not None and not is_dry:
                raise _placed(
                    row.planned.error,
                    target,
                    row.planned,
                )
    return allowed, options


def _placed(error: DomainError, target: ApplyTarget, item: PlannedObject) -> DomainError:
    """What is wrong with an object, with its name and the cluster's."""
    name = f"{item.kind_name or 'document'} {item.name or item.manifest.index}"
    return Invalid(f"{target.cluster.name}: {name}: {error.message}", field="targets")


def admitted_targets(allowed: Sequence[AdmittedTarget]) -> list[Admitted]:
    """The targets with their objects, as services take them."""
    return [Admitted(target, [row.planned for row in rows]) for target, rows in allowed]
