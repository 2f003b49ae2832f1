"""Deployments of templates: what was made of a version with values, on some clusters' namespaces.

The objects are sent by an operation of `workloads.manifests`. A deployment has one action at a
time: its operation is exclusive. What the deployment's state is follows from its last operation.
"""

import re
import secrets
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import (
    Case,
    Exists,
    F,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast

from clusters.kinds import Kind
from core.errors import Conflict, Invalid, NotFound
from manifest_templates.models import (
    DeploymentRevision,
    DeploymentTarget,
    TemplateDeployment,
    TemplateVersion,
)
from operations.models import Operation
from workloads.manifests import operation as applying
from workloads.manifests.apply import DEPLOYMENT_LABEL, ApplyOptions, Place
from workloads.manifests.documents import PlannedObject
from workloads.manifests.operation import ApplyPurpose, ApplyTarget
from workloads.manifests.order import kind_place

RESOURCE = "templatedeployments"
DEPLOY = "template_deploy"
UNDEPLOY = "template_undeploy"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
State = TemplateDeployment.State
# With a dash and RANDOM_CHARACTERS it is a label's value, which has at most 63 characters.
MAX_NAME = 52
# Older ones are deleted; a rollback reaches no further.
MAX_REVISIONS = 100
RANDOM_BYTES = 5
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
NAME_LOCK = 0x4B47
CLUSTER_REMOVED = "the cluster was removed"


# --- names and labels -----------------------------------------------------------------------------
def check_name(name: object) -> str:
    """The name of a new deployment; Invalid unless it is a DNS label of at most MAX_NAME."""
    if not isinstance(name, str) or not name:
        raise Invalid("name is required", field="name")
    if len(name) > MAX_NAME or not NAME.match(name):
        raise Invalid(
            f"name must be at most {MAX_NAME} lower case letters, digits and dashes,"
            " and begin and end with a letter or digit",
            field="name",
        )
    return name


def new_label(name: str) -> str:
    """A value of DEPLOYMENT_LABEL that no other deployment has."""
    return f"{name}-{secrets.token_hex(RANDOM_BYTES)}"


def label_patch(label: str) -> dict[str, Any]:
    """The merge patch that marks each object; pod templates and selectors stay as they are."""
    return {"metadata": {"labels": {MANAGED_BY_LABEL: "kubegale", DEPLOYMENT_LABEL: label}}}


def selector_of(label: str) -> str:
    """The label selector of a deployment's objects."""
    return f"{DEPLOYMENT_LABEL}={label}"


# --- finding --------------------------------------------------------------------------------------
def with_shown_state() -> QuerySet[TemplateDeployment]:
    """Deployments with the annotation `shown_state`, newest first.

    While the last operation runs, it says what goes on. A row that is still in the middle of
    something when that is over has failed, however that ended.
    """
    is_active = Q(operation__state__in=Operation.ACTIVE)
    shown = Case(
        When(
            is_active & Q(state__in=(State.UNDEPLOYING, State.UNDEPLOYED)),
            then=Value(State.UNDEPLOYING),
        ),
        When(is_active, then=Value(State.DEPLOYING)),
        When(state__in=(State.DEPLOYING, State.UNDEPLOYING), then=Value(State.FAILED)),
        default=Cast(F("state"), TextField()),
        output_field=TextField(),
    )
    rows = TemplateDeployment.objects.select_related("template", "operation")
    targets = DeploymentTarget.objects.select_related("cluster").order_by("pk")
    return rows.annotate(shown_state=shown).prefetch_related(Prefetch("targets", targets))


def find(reference: object) -> TemplateDeployment:
    """A deployment by id, as `with_shown_state`; NotFound when there is none."""
    text = str(reference)
    # No bigint has more digits, and PostgreSQL refuses what is no number.
    if text.isascii() and text.isdigit() and len(text) < 18:
        row = with_shown_state().filter(pk=int(text)).first()
        if row is not None:
            return row
    raise NotFound(f"deployment {text[:60]!r} does not exist")


def visible_in(
    rows: QuerySet[TemplateDeployment], clusters: Mapping[int, frozenset[str] | None] | None
) -> QuerySet[TemplateDeployment]:
    """The deployments with a target in the given namespaces of clusters; None is everywhere."""
    if clusters is None:
        return rows
    places = Q(pk__in=[])
    for pk, namespaces in clusters.items():
        place = Q(cluster=pk)
        places |= place if namespaces is None else place & Q(namespace__in=sorted(namespaces))
    return rows.filter(Exists(DeploymentTarget.objects.filter(places, deployment=OuterRef("pk"))))


def current_revision(deployment: TemplateDeployment) -> DeploymentRevision:
    """The revision that the targets have or are being brought to."""
    return deployment.revisions.select_related("version").get(number=deployment.revision)


def previous_revision(deployment: TemplateDeployment) -> DeploymentRevision:
    """The revision before the current one; Conflict for the first."""
    earlier = deployment.revisions.filter(number__lt=deployment.revision)
    revision = earlier.select_related("version").order_by("-number").first()
    if revision is None:
        raise Conflict("there is no version before this one", reason="NoEarlierRevision")
    return revision


def latest_of_version(deployment: TemplateDeployment, version: str) -> DeploymentRevision | None:
    """The last revision with a version of the template; None when it never had it."""
    rows = deployment.revisions.filter(version__version=version)
    return rows.select_related("version").order_by("-number").first()


def values_of(revision: DeploymentRevision) -> dict[str, Any]:
    """The values of a revision, secrets among them."""
    values: dict[str, Any] = orjson.loads(revision.values)
    return values


# --- targets --------------------------------------------------------------------------------------
def apply_target(target: DeploymentTarget, label: str) -> ApplyTarget:
    """Where a deployment's objects go, and where those of its earlier revisions are."""
    cluster = target.cluster
    return ApplyTarget(
        cluster,
        target.namespace,
        label_patch(label),
        places=places_of(target),
        skip=CLUSTER_REMOVED if cluster.deleted_at else "",
    )


def places_of(target: DeploymentTarget) -> list[Place]:
    """Where objects of any revision are, in apply order."""
    kinds = [Kind(*data) for data in target.kinds]
    return [(kind, target.namespace if kind.namespaced else "") for kind in kinds]


def _with_kinds(known: Sequence[Any], planned: Iterable[PlannedObject]) -> list[Any]:
    """The kinds of a target with those of a new text, in apply order."""
    kinds = {tuple(data): list(data) for data in known}
    for item in planned:
        if item.kind is not None:
            data = [
                item.kind.name,
                item.kind.plural,
                item.kind.group,
                item.kind.version,
                item.kind.namespaced,
            ]
            kinds[tuple(data)] = data
    return sorted(kinds.values(), key=lambda data: (kind_place({"kind": data[0]}), data))


# --- actions --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PreparedRevision:
    """A version with values (as they were sent) and what they make: manifests as one text.

    `hidden` are the texts of secret values.
    """

    version: TemplateVersion
    values: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)
    hidden: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A target that the caller may write to, with what goes there."""

    target: ApplyTarget
    planned: Sequence[PlannedObject]


@dataclass(frozen=True, slots=True)
class Action:
    """How an action is done, and for whom."""

    options: ApplyOptions
    wait: bool
    requested_by: str


def create(
    name: str, label: str, prepared: PreparedRevision, targets: Sequence[Admitted], action: Action
) -> TemplateDeployment:
    """A new deployment, whose `operation` is to be enqueued.

    Conflict when a deployment of the name goes to one of the targets, or is of the same template.
    """
    with transaction.atomic():
        _lock_name(name)
        _require_free_name(
            name,
            prepared.version,
            [each.target for each in targets],
        )
        deployment = TemplateDeployment.objects.create(
            name=name,
            template=prepared.version.template,
            label=label,
            created_by=action.requested_by,
        )
        DeploymentTarget.objects.bulk_create(
            DeploymentTarget(
                deployment=deployment,
                cluster=each.target.cluster,
                namespace=each.target.namespace,
                kinds=_with_kinds([], each.planned),
            )
            for each in targets
        )
        _begin_revision(
            deployment,
            prepared,
            [each.target for each in targets],
            action,
        )
    return deployment


def _lock_name(name: str) -> None:
    """Until the transaction ends: two calls with one name could both see it free."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, %s)", [NAME_LOCK, zlib.crc32(name.encode()) - 2**31]
        )


def _require_free_name(name: str, version: TemplateVersion, targets: Sequence[ApplyTarget]) -> None:
    places = Q(pk__in=[])
    for target in targets:
        places |= Q(cluster=target.cluster.pk, namespace=target.namespace)
    same_place = Exists(DeploymentTarget.objects.filter(places, deployment=OuterRef("pk")))
    taken = TemplateDeployment.objects.filter(name=name).exclude(state=State.UNDEPLOYED)
    if taken.filter(Q(template=version.template_id) | same_place).exists():
        raise Conflict(
            f"a deployment {name} exists already: upgrade it, or undeploy it first",
            reason="AlreadyExists",
            field="name",
        )


def upgrade(
    deployment: TemplateDeployment,
    prepared: PreparedRevision,
    targets: Sequence[Admitted],
    action: Action,
) -> None:
    """Bring the deployment to a new revision; its `operation` is to be enqueued.

    Conflict while another action runs, or when the deployment has changed since it was read.
    """
    with transaction.atomic():
        _lock(deployment)
        places = {(each.target.cluster.pk, each.target.namespace): each for each in targets}
        admitted: list[ApplyTarget] = []
        for row in deployment.targets.all():
            each = places.get((row.cluster_id, row.namespace))
            if each is None:
                admitted.append(apply_target(row, deployment.label))
                continue
            row.kinds = _with_kinds(row.kinds, each.planned)
            row.save(update_fields=["kinds"])
            admitted.append(each.target)
        _begin_revision(
            deployment,
            prepared,
            admitted,
            action,
        )


def undeploy(
    deployment: TemplateDeployment, targets: Sequence[ApplyTarget], action: Action
) -> None:
    """Delete its objects in every target; its `operation` is to be enqueued. Conflict as above."""
    with transaction.atomic():
        _lock(deployment)
        operation = _operation(
            deployment,
            UNDEPLOY,
            "",
            targets,
            action,
        )
        _save_action(
            deployment,
            State.UNDEPLOYING,
            operation,
        )


def _lock(deployment: TemplateDeployment) -> None:
    """Hold the row; Conflict when it is not what was read."""
    row = TemplateDeployment.objects.select_for_update().get(pk=deployment.pk)
    require_idle(row)
    if row.revision != deployment.revision:
        raise Conflict("the deployment has changed meanwhile", reason="Conflict")


def require_idle(deployment: TemplateDeployment) -> None:
    """Conflict while an action runs, and for a deployment that is undeployed."""
    operation = deployment.operation
    if operation is not None and not operation.is_final:
        raise Conflict(
            f"operation {operation.pk} is already running for this deployment",
            reason="OperationRunning",
            operation_id=operation.pk,
        )
    if deployment.state == State.UNDEPLOYED:
        raise Conflict(f"deployment {deployment.name} is undeployed", reason="Undeployed")


def _begin_revision(
    deployment: TemplateDeployment,
    prepared: PreparedRevision,
    targets: Sequence[ApplyTarget],
    action: Action,
) -> None:
    last = deployment.revisions.order_by("-number").first()
    operation = _operation(
        deployment, DEPLOY, prepared.text, targets, action, hidden=prepared.hidden
    )
    deployment.revision = (last.number if last else 0) + 1
    DeploymentRevision.objects.create(
        deployment=deployment,
        number=deployment.revision,
        version=prepared.version,
        values=orjson.dumps(dict(prepared.values)).decode(),
        rendered=prepared.text,
        operation=operation,
        created_by=action.requested_by,
    )
    oldest = deployment.revision - MAX_REVISIONS
    deployment.revisions.filter(number__lte=oldest).delete()
    _save_action(
        deployment,
        State.DEPLOYING,
        operation,
    )


def _operation(
    deployment: TemplateDeployment,
    kind: str,
    text: str,
    targets: Sequence[ApplyTarget],
    action: Action,
    *,
    hidden: Sequence[str] = (),
) -> Operation:
    purpose = ApplyPurpose(
        kind,
        RESOURCE,
        deployment.name,
        exclusive=f"template-deployment:{deployment.pk}",
        hidden=hidden,
    )
    return applying.create(
        text,
        targets,
        action.options,
        wait=action.wait,
        requested_by=action.requested_by,
        purpose=purpose,
    )


def _save_action(deployment: TemplateDeployment, state: State, operation: Operation) -> None:
    deployment.state = state
    deployment.operation = operation
    deployment.save(update_fields=["state", "revision", "operation", "updated_at"])


ENDS: Mapping[str, State] = {DEPLOY: State.DEPLOYED, UNDEPLOY: State.UNDEPLOYED}


def settle(operation: Operation) -> None:
    """Record that the operation has done what it was for; a repeated call changes nothing."""
    TemplateDeployment.objects.filter(
        operation=operation, state__in=(State.DEPLOYING, State.UNDEPLOYING)
    ).update(state=ENDS[operation.kind])


def options_for(label: str, *, forces: bool, prunes: bool) -> ApplyOptions:
    """How a deployment's objects are applied.

    Each target goes as far as it can. Only a deployment that is there already `forces`: its fields
    are its own.
    """
    return ApplyOptions(
        force_conflicts=forces,
        stop_at_failure=False,
        prune_selector=selector_of(label) if prunes else "",
        deployment=label,
    )


def for_preview(options: ApplyOptions) -> ApplyOptions:
    """The same as a dry run; what would need a confirmation is shown like the rest."""
    return replace(
        options,
        dry_run=True,
        prune_confirmed=True,
    )
