"""`apply_template`: a template deployed to targets, or its deployment brought up to date."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django.db import transaction

from automation.context import RunContext
from automation.types.applying import describe_changes, require_objects
from automation.types.base import Again, Step, StepResult, TaskType
from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.attributes import AccessAttributes
from core.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, Rejected
from manifest_templates import deployments
from manifest_templates.deployments import Action, Admitted, PreparedRevision
from manifest_templates.models import Template, TemplateDeployment
from manifest_templates.revisions import prepare_revision
from manifest_templates.services import find_version
from manifest_templates.values import without_secrets
from operations import lifecycle, tasks
from operations.models import Operation
from workloads.manifests import preview
from workloads.manifests.apply import ApplyOptions, pruned_places
from workloads.manifests.documents import plan, read_manifests, require_readable
from workloads.manifests.operation import ApplyTarget

POLL_SECONDS = 1.0
# As the policy knows deployments of templates.
DEPLOYMENT = Kind(
    "TemplateDeployment",
    deployments.RESOURCE,
    "",
    "",
    True,
)
_HIDDEN = "***"


class ApplyTemplate(TaskType):
    """A new deployment under the name, or the next revision of the one that has it."""

    name = "apply_template"
    title = "Apply a template"
    description = (
        "A version of a template with values, deployed to every cluster and namespace of the"
        " targets. A deployment of that name is upgraded, and what it no longer has is pruned."
    )
    supports_rollback = True
    params_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["template_id", "name"],
        "properties": {
            "template_id": {"title": "Template", "type": "integer", "minimum": 1},
            "version": {
                "title": "Version",
                "description": "The newest when absent, each time that it runs.",
                "type": "string",
                "maxLength": 100,
            },
            "name": {"title": "Name of the deployment", "type": "string", "maxLength": 52},
            "values": {"title": "Values", "type": "object"},
            "wait": {
                "title": "Wait until workloads are ready",
                "type": "boolean",
                "default": False,
            },
        },
    }

    def check(self, params: Mapping[str, Any]) -> None:
        """Invalid for a template that is not there, and for values that its schema refuses."""
        try:
            deployments.check_name(params.get("name"))
            _prepare(params)
        except NotFound as error:
            raise Invalid(error.message, field="params.template_id") from None

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """Each object is asked for besides, when the run chooses and when it acts."""
        return [AccessAttributes("deploy", deployments.RESOURCE)]

    def shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Values that the template's schema calls secret are hidden."""
        rows = super().shown(params)
        try:
            version = find_version(_template(params), params.get("version"))
        except DomainError:
            # Without the schema nobody knows which of them are secret.
            return {**rows, "values": _HIDDEN} if "values" in rows else rows
        if "values" in rows:
            rows["values"] = without_secrets(version.schema, rows["values"])
        return rows

    def plan(self, context: RunContext) -> list[Step]:
        """A single step, as a deployment has one action at a time; it names every object."""
        _require_visible(context, _template(context.params))
        prepared = _prepare(context.params)
        row = _existing(context.params)
        targets = _targets(context, row)
        options = _options(
            row,
            deployments.new_label("dry-run") if row is None else row.label,
        )
        texts = []
        for admitted in _admit(
            context,
            prepared,
            targets,
            options,
        ):
            context.beat()
            compared = preview.compare_with_cluster(
                admitted.target.cluster,
                admitted.planned,
                deployments.for_preview(options),
                reveals=False,
            )
            place = f"{admitted.target.cluster.name}/{admitted.target.namespace}"
            texts.append(f"{place}: {describe_changes(compared)}")
        word = "deploy" if row is None else "upgrade"
        message = f"{word} {prepared.version.version}; {'; '.join(texts)}"
        for text in prepared.hidden:
            message = message.replace(text, _HIDDEN)
        single = targets[0] if len(targets) == 1 else None
        return [
            Step(
                single.cluster.pk if single else None,
                single.namespace if single else "",
                str(context.params["name"]),
                "TemplateDeployment",
                message,
            )
        ]

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Start the deployment's operation once, then look at it until it is over."""
        if "operation" not in step.data:
            return _start(context)
        operation = lifecycle.find(step.data["operation"])
        if not operation.is_final:
            context.beat()
            return Again(
                POLL_SECONDS,
                f"operation {operation.pk} is {operation.state}",
            )
        if operation.state != Operation.State.SUCCEEDED:
            raise Rejected(operation.error or f"operation {operation.pk} is {operation.state}")
        return StepResult(_sentence(operation))

    def rollback(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """Start the way back: to the revision before, or away with a deployment that is new."""
        if "deployment" not in step.data:
            return StepResult("nothing was deployed")
        row = deployments.find(step.data["deployment"])
        before = int(step.data["before"])
        targets = [
            deployments.apply_target(target, row.label)
            for target in row.targets.all()
            if not target.cluster.deleted_at
        ]
        with transaction.atomic():
            if before:
                revision = row.revisions.select_related("version").get(number=before)
                prepared = prepare_revision(
                    revision.version,
                    deployments.values_of(revision),
                )
                options = _options(row, row.label)
                admitted = _admit(
                    context,
                    prepared,
                    targets,
                    options,
                )
                deployments.upgrade(
                    row,
                    prepared,
                    admitted,
                    _action(context, options),
                )
            else:
                _require_undeploy(context, row, targets)
                # The run itself is the confirmation: what goes is what it made.
                options = replace(
                    deployments.options_for(
                        row.label,
                        forces=True,
                        prunes=True,
                    ),
                    prune_confirmed=True,
                )
                deployments.undeploy(
                    row,
                    targets,
                    _action(context, options),
                )
            operation = _hand_over(context, row)
        return StepResult(f"the way back is operation {operation.pk}")


def _template(params: Mapping[str, Any]) -> Template:
    row = Template.objects.select_related("tenant").filter(pk=params["template_id"]).first()
    if row is None:
        raise NotFound("no such template")
    return row


def _require_visible(context: RunContext, template: Template) -> None:
    act = AccessAttributes("list", "templates")
    if template.tenant is not None:
        tenant = template.tenant
        act = AccessAttributes(
            "get",
            "tenanttemplates",
            "",
            str(tenant.cluster_id),
            tenant.namespace,
        )
    if context.scope(act) is None:
        raise Forbidden(
            f"{context.owner_name} may not read template {template.pk}", reason="RightLost"
        )


def _prepare(params: Mapping[str, Any]) -> PreparedRevision:
    version = find_version(_template(params), params.get("version"))
    try:
        return prepare_revision(version, params.get("values"))
    except Invalid as error:
        field = f"params.values.{error.details.get('field', '')}".rstrip(".")
        raise Invalid(error.message, field=field) from None


def _existing(params: Mapping[str, Any]) -> TemplateDeployment | None:
    """The deployment of the template that has the name and is not undeployed."""
    rows = deployments.with_shown_state().filter(
        name=params["name"], template=params["template_id"]
    )
    return rows.exclude(state=TemplateDeployment.State.UNDEPLOYED).first()


def _targets(context: RunContext, row: TemplateDeployment | None) -> list[ApplyTarget]:
    """Each cluster with each namespace; Conflict where the deployment goes somewhere else."""
    if not context.targets.namespaces:
        raise Invalid("targets.namespaces is required", field="targets.namespaces")
    places: list[tuple[Cluster, str]] = [
        (cluster, namespace)
        for cluster in context.clusters()
        for namespace in context.targets.namespaces
    ]
    verb = "deploy" if row is None else "upgrade"
    for cluster, namespace in places:
        context.require(
            verb,
            DEPLOYMENT,
            cluster,
            namespace,
            str(context.params["name"]),
        )
    if row is None:
        return [ApplyTarget(cluster, namespace) for cluster, namespace in places]
    rows = [target for target in row.targets.all() if not target.cluster.deleted_at]
    if {(each.cluster_id, each.namespace) for each in rows} != {
        (cluster.pk, namespace) for cluster, namespace in places
    }:
        raise Conflict(f"deployment {row.name} has other targets than the task")
    return [deployments.apply_target(each, row.label) for each in rows]


def _options(row: TemplateDeployment | None, label: str) -> ApplyOptions:
    """What is there already is brought to the new revision, without what that leaves out."""
    return deployments.options_for(
        label,
        forces=row is not None,
        prunes=row is not None,
    )


def _admit(
    context: RunContext,
    prepared: PreparedRevision,
    targets: Sequence[ApplyTarget],
    options: ApplyOptions,
) -> list[Admitted]:
    """The targets with their objects, once the owner's right to each was asked."""
    manifests = read_manifests(prepared.text)
    require_readable(manifests)
    admitted = []
    for target in targets:
        patch = deployments.label_patch(options.deployment)
        planned = plan(
            target.cluster,
            manifests,
            namespace=target.namespace,
            patch=patch,
        )
        require_objects(context, target.cluster, planned)
        if options.prune_selector:
            for kind, namespace in pruned_places(planned, target.places):
                context.require(
                    "list",
                    kind,
                    target.cluster,
                    namespace,
                )
                context.require(
                    "delete",
                    kind,
                    target.cluster,
                    namespace,
                )
        unbounded = all(
            context.require(
                "apply",
                item.kind,
                target.cluster,
                item.namespace,
                item.name,
            ).unbounded
            for item in planned
            if item.kind is not None
        )
        admitted.append(
            Admitted(
                replace(
                    target,
                    patch=patch,
                    unbounded=unbounded,
                ),
                planned,
            )
        )
    return admitted


def _require_undeploy(
    context: RunContext,
    row: TemplateDeployment,
    targets: Sequence[ApplyTarget],
) -> None:
    for target in targets:
        context.require(
            "undeploy",
            DEPLOYMENT,
            target.cluster,
            target.namespace,
            row.name,
        )
        for kind, namespace in target.places:
            context.require(
                "delete",
                kind,
                target.cluster,
                namespace,
            )


def _action(context: RunContext, options: ApplyOptions) -> Action:
    wait = bool(context.params.get("wait", False))
    return Action(options, wait, context.owner_name)


def _start(context: RunContext) -> Again:
    # The worker before this one may have died right after it had started the operation.
    begun = Operation.objects.filter(
        kind=deployments.DEPLOY, parameters__task_run=context.run
    ).first()
    if begun is not None:
        return Again(
            0,
            "deploying",
            dict(begun.parameters["task_step"]),
        )
    _require_visible(context, _template(context.params))
    prepared = _prepare(context.params)
    row = _existing(context.params)
    before = 0 if row is None else row.revision
    targets = _targets(context, row)
    label = deployments.new_label(str(context.params["name"])) if row is None else row.label
    options = _options(row, label)
    admitted = _admit(context, prepared, targets, options)
    for each in admitted:
        for item in each.planned:
            if item.error is not None:
                raise item.error
    action = _action(context, options)
    verb = "deploy" if row is None else "upgrade"
    with transaction.atomic():
        if row is None:
            name = str(context.params["name"])
            row = deployments.create(
                name,
                label,
                prepared,
                admitted,
                action,
            )
        else:
            deployments.upgrade(row, prepared, admitted, action)
        data = {"deployment": row.pk, "before": before, "operation": row.operation_id}
        _hand_over(
            context,
            row,
            task_run=context.run,
            task_step=data,
        )
    for target in targets:
        place = (target.cluster, target.namespace, row.name)
        with context.acting(verb, DEPLOYMENT, *place) as facts:
            facts["details"] = {**facts["details"], "operation_id": row.operation_id}
    return Again(0, "deploying", data)


def _hand_over(context: RunContext, row: TemplateDeployment, **parameters: Any) -> Operation:
    """Send the deployment's operation on its way, with the rights that the run has."""
    operation = row.operation
    assert operation is not None  # noqa: S101  # every action makes a new one
    operation.authority = {"credential": dict(context.credential), "acts": []}
    operation.parameters = {**operation.parameters, **parameters}
    operation.save(update_fields=["authority", "parameters"])
    tasks.enqueue(operation)
    return operation


def _sentence(operation: Operation) -> str:
    """What became of each target."""
    rows = (operation.result or {}).get("targets", [])
    texts = [f"{row['namespace']}: {row['message']}" for row in rows]
    return "; ".join(texts) or "done"
