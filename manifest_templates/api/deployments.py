"""/templates/{id}/deploy, /template-deployments: what was made of templates, and its actions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, TypeAlias

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters.models import Cluster
from core.api.audit import record
from core.api.auth import AccessAttributes, authorise, is_allowed
from core.api.dialect import Page
from core.api.pagination import page_request
from core.api.parsing import boolean, dry_run, integer, json_body
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
)
from core.api.schema import record as schema
from core.errors import Conflict, DomainError, Invalid, NotFound
from core.times import rfc3339
from manifest_templates import deployments, drift, rendering
from manifest_templates.api.base import TemplateView
from manifest_templates.deployments import RESOURCE, Action, Admitted, PreparedRevision
from manifest_templates.models import (
    DeploymentRevision,
    DeploymentTarget,
    Template,
    TemplateDeployment,
    TemplateVersion,
)
from manifest_templates.secret_values import keep_secrets, secret_texts
from manifest_templates.services import find_version
from manifest_templates.values import check_values, without_secrets
from operations import tasks
from operations.models import OperationStep
from workloads.api.actions import caller
from workloads.api.manifests.applying import AdmittedTarget, ApplyView, annotate
from workloads.api.manifests.base import CHANGE, DOCUMENT, object_act
from workloads.api.manifests.targets import read_targets
from workloads.manifests import preview
from workloads.manifests.apply import ApplyOptions, apply_objects
from workloads.manifests.documents import PlannedObject, read_manifests, require_readable
from workloads.manifests.operation import ApplyTarget

# A preview asks the clusters while its caller waits.
PREVIEW_SECONDS = 25.0
NOT_PREVIEWED = f"not checked: the preview took longer than {PREVIEW_SECONDS:.0f} seconds"
HIDDEN_REVISIONS = 20
STATES = list(TemplateDeployment.State.values)
TARGET = {"cluster_id": INTEGER, "namespace": TEXT}
SHOWN_TARGET = schema(
    **TARGET,
    cluster=TEXT,
    removed=BOOLEAN,
    state=TEXT,
    message=TEXT,
)
SUMMARY = {
    "id": INTEGER,
    "name": TEXT,
    "template_id": INTEGER,
    "template": TEXT,
    "version": TEXT,
    "revision": INTEGER,
    "state": {"type": "string", "enum": STATES},
    "label": TEXT,
    "targets": array(SHOWN_TARGET),
    "operation_id": nullable(INTEGER),
    "error": nullable(TEXT),
    "created_by": TEXT,
    "created_at": TEXT,
    "updated_at": TEXT,
}
DEPLOYMENT = schema(**SUMMARY)
REVISION = schema(
    revision=INTEGER, version=TEXT, operation_id=nullable(INTEGER), created_by=TEXT, created_at=TEXT
)
DETAIL = schema(
    **SUMMARY,
    values=OBJECT,
    drift=array(
        schema(
            cluster_id=INTEGER,
            kind=TEXT,
            namespace=TEXT,
            name=TEXT,
            state={"type": "string", "enum": ["missing", "changed"]},
            changes=array(CHANGE),
        )
    ),
    drift_unknown=array(
        schema(
            cluster_id=INTEGER,
            cluster=TEXT,
            kind=TEXT,
            reason=TEXT,
        )
    ),
    revisions=array(REVISION),
)
ACTIONS = ["created", "configured", "unchanged", "pruned", "failed", "skipped"]
ANSWER = schema(
    required=(),
    deployment_id=INTEGER,
    operation_id=INTEGER,
    documents=array(
        schema(
            cluster_id=INTEGER,
            **DOCUMENT,
            action={"type": "string", "enum": ACTIONS},
            code=INTEGER,
            msg=TEXT,
            diff=TEXT,
            changes=array(CHANGE),
        )
    ),
)
FILTERS = (
    QueryParameter(
        "cluster_id",
        INTEGER,
        description="With a target in this cluster.",
    ),
    QueryParameter(
        "namespace",
        TEXT,
        description="With a target in this namespace.",
    ),
    QueryParameter("state", {"type": "string", "enum": STATES}),
    QueryParameter(
        "name",
        TEXT,
        description="The whole name.",
    ),
    *PAGING,
)


class DeploymentView(ApplyView):
    """What listing and making deployments share."""

    aliases = {"clusterId": "cluster_id", "dryRun": "dry_run"}

    def list_page(self, request: Request, template: Template | None) -> Page:
        """One page of the deployments in what the caller may see, newest first."""
        query = request.query_params
        scope = authorise(
            self,
            request,
            AccessAttributes("list", RESOURCE),
        )
        page = page_request(query, maximum=200)
        rows = deployments.visible_in(deployments.with_shown_state(), scope.clusters)
        if template is not None:
            rows = rows.filter(template=template)
        elif query.get("template"):
            rows = rows.filter(
                template=integer(
                    query["template"],
                    "template",
                    minimum=0,
                )
            )
        state = query.get("state", "")
        if state and state not in STATES:
            raise Invalid(f"state must be one of {', '.join(STATES)}", field="state")
        cluster = query.get("cluster_id") or query.get("clusterId")
        filters = {
            "shown_state": state,
            "name": query.get("name", "").replace("\x00", ""),
            "name__icontains": query.get("keyword", "").replace("\x00", ""),
        }
        rows = rows.filter(**{column: value for column, value in filters.items() if value})
        places: dict[str, Any] = {}
        if cluster:
            places["cluster"] = integer(cluster, "cluster_id", minimum=0)
        if query.get("namespace"):
            places["namespace"] = query["namespace"].replace("\x00", "")
        if places:
            matching = DeploymentTarget.objects.filter(**places)
            rows = rows.filter(pk__in=matching.values("deployment"))
        part = list(rows[page.offset : page.offset + page.size])
        versions = _versions_of(part)
        steps = _steps_of(part)
        items = [
            _summary(
                row,
                self._visible_targets(request, row),
                versions.get(row.pk, ""),
                steps,
            )
            for row in part
        ]
        return Page(
            items,
            rows.count(),
            page.page,
            page.size,
        )

    def _visible_targets(
        self, request: Request, deployment: TemplateDeployment
    ) -> list[DeploymentTarget]:
        """The targets that the caller may see; those in removed clusters are for who sees all."""
        targets = list(deployment.targets.all())
        live = [target for target in targets if not target.cluster.deleted_at]
        visible = [
            target
            for target in live
            if is_allowed(
                self,
                request,
                _act("get", target),
            )
        ]
        if len(visible) == len(live) and (live or self._sees_all(request)):
            return targets
        return visible

    def _sees_all(self, request: Request) -> bool:
        return is_allowed(
            self,
            request,
            AccessAttributes("get", RESOURCE),
        )

    def find_visible(
        self, request: Request, pk: str, verb: str
    ) -> tuple[TemplateDeployment, list[DeploymentTarget]]:
        """A deployment and what the caller may see of its targets.

        NotFound when they may see none. Verbs that change it need the right in every target.
        """
        if verb != "get" and not is_allowed(
            self,
            request,
            AccessAttributes("apply", "manifests"),
        ):
            authorise(
                self,
                request,
                AccessAttributes(verb, RESOURCE),
            )
        try:
            deployment = deployments.find(pk)
        except NotFound:
            # A caller without any right here must not learn which deployments exist.
            authorise(
                self,
                request,
                AccessAttributes("list", RESOURCE),
            )
            raise
        visible = self._visible_targets(request, deployment)
        if not visible:
            authorise(
                self,
                request,
                AccessAttributes("list", RESOURCE),
            )
            raise NotFound(f"deployment {pk} does not exist")
        if verb != "get":
            acts = _acts(verb, deployment)
            # Of a deployment without a cluster, only who may do so everywhere decides.
            for act in acts or [
                AccessAttributes(
                    verb,
                    RESOURCE,
                    name=deployment.name,
                )
            ]:
                authorise(self, request, act)
        return deployment, visible

    def preview(
        self, allowed: Sequence[AdmittedTarget], options: ApplyOptions, hidden: Sequence[str]
    ) -> dict[str, Any]:
        """{"documents"}: what an action would do to each object of each target.

        Values of Secrets are masked for everybody, as they may be values that are `writeOnly`.
        """
        end = monotonic() + PREVIEW_SECONDS
        documents: list[dict[str, Any]] = []
        for target, rows in allowed:
            options = replace(options, unbounded=target.unbounded)
            planned = [row.planned for row in rows]
            if monotonic() > end:
                documents += [_not_previewed(target.cluster, item) for item in planned]
                continue
            part: list[dict[str, Any]] = []
            for result in apply_objects(
                target.cluster, planned, options, places=target.places, hidden=hidden
            ):
                item = result.planned
                shown: dict[str, Any] = {"diff": "", "changes": []}
                if result.before or result.after:
                    shown = preview.show_change(
                        item,
                        result.before,
                        result.after,
                        reveals=False,
                        hidden=hidden,
                    )
                part.append(
                    {
                        "cluster_id": target.cluster.pk,
                        **result.summary(),
                        "code": self._code(result),
                        **shown,
                    }
                )
            documents += sorted(part, key=lambda row: (row["index"] < 0, row["index"]))
        return {"documents": documents}

    def answer(self, request: Request, deployment: TemplateDeployment) -> dict[str, Any]:
        """{"deployment_id","operation_id"}, once the operation of an action is on its way."""
        operation = deployment.operation
        assert operation is not None  # noqa: S101  # each action has just made one
        tasks.enqueue(operation)
        return {"deployment_id": deployment.pk, "operation_id": operation.pk}


class DeployTemplate(TemplateView, DeploymentView):
    """POST /templates/{id}/deploy."""

    operations = {
        "post": OperationSchema(
            "Deploy a template to namespaces of clusters",
            ANSWER,
            body=schema(
                required=("name", "targets"),
                version=TEXT,
                name=TEXT,
                targets=array(schema(**TARGET)),
                values=OBJECT,
                dry_run=BOOLEAN,
                wait=BOOLEAN,
            ),
            answer_name="TemplateDeploymentAnswer",
            body_name="TemplateToDeploy",
        )
    }

    def post(self, request: Request, pk: str) -> Any:
        """{"deployment_id","operation_id"}; {"documents"} of a dry run, which stores nothing."""
        # Who may write nothing anywhere there learns nothing of what there is.
        body = self.begin(request, "apply").body
        template = self.find(request, pk)
        name = deployments.check_name(body.get("name"))
        targets = self._targets(request, body, name)
        is_dry = dry_run(body.get("dry_run", False))
        version = find_version(template, body.get("version"))
        prepared = _prepare(version, body.get("values"))
        label = deployments.new_label(name)
        options = deployments.options_for(
            label,
            forces=False,
            prunes=False,
        )
        targets = [replace(each, patch=deployments.label_patch(label)) for each in targets]
        allowed, options = _admit(
            self,
            request,
            prepared,
            targets,
            options,
            is_dry=is_dry,
        )
        acts = [_deploy_act(each, name) for each in targets]
        if is_dry:
            _note(request, acts, allowed, dry_run=True)
            return self.preview(
                allowed,
                options,
                prepared.hidden,
            )
        action = Action(
            options,
            boolean(body.get("wait", False), "wait"),
            caller(request),
        )
        deployment = deployments.create(
            name,
            label,
            prepared,
            _admitted(allowed),
            action,
        )
        _note(
            request,
            acts,
            allowed,
            **_facts(deployment, prepared),
        )
        return self.answer(request, deployment)

    def _targets(self, request: Request, body: Mapping[str, Any], name: str) -> list[ApplyTarget]:
        """The targets, in each of which the caller may deploy."""
        if body.get("targets") is None:
            raise Invalid("targets is required", field="targets")
        targets = read_targets(self, request, body, "")
        seen: set[tuple[int, str]] = set()
        for place, target in enumerate(targets):
            row = body["targets"][place]
            if extra := sorted(row.keys() - TARGET.keys()):
                raise Invalid(f"unknown member {extra[0]!r}", field=f"targets[{place}].{extra[0]}")
            if not target.namespace:
                field = f"targets[{place}].namespace"
                raise Invalid(f"{field} is required", field=field)
            key = (target.cluster.pk, target.namespace)
            if key in seen:
                raise Invalid("a target stands there twice", field=f"targets[{place}]")
            seen.add(key)
            authorise(
                self,
                request,
                _deploy_act(target, name),
            )
        return targets


class TemplateDeployments(TemplateView, DeploymentView):
    """GET /templates/{id}/deployments."""

    operations = {
        "get": OperationSchema(
            "List the deployments of a template",
            DEPLOYMENT,
            query=FILTERS,
            also_query=("clusterId",),
            paged=True,
            answer_name="TemplateDeployment",
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """One page, newest first."""
        return self.list_page(request, self.find(request, pk))


class DeploymentViewSet(ViewSetMixin, DeploymentView):
    """/template-deployments: seen by who may read one of the targets, changed by who may in all."""

    operations = {
        "list": OperationSchema(
            "List deployments of templates",
            DEPLOYMENT,
            query=(QueryParameter("template", INTEGER), *FILTERS),
            also_query=("clusterId",),
            paged=True,
            answer_name="TemplateDeployment",
        ),
        "retrieve": OperationSchema(
            "One deployment with its values, drift and revisions",
            DETAIL,
            answer_name="TemplateDeploymentDetail",
        ),
        "upgrade": OperationSchema(
            "Bring a deployment to another version or other values",
            ANSWER,
            guarded=True,
            body=schema(
                required=(),
                version=TEXT,
                values=OBJECT,
                dry_run=BOOLEAN,
                wait=BOOLEAN,
                prune=BOOLEAN,
            ),
            answer_name="TemplateDeploymentAnswer",
            body_name="DeploymentUpgrade",
        ),
        "rollback": OperationSchema(
            "Bring a deployment back to a version with its values",
            ANSWER,
            guarded=True,
            body=schema(
                required=(),
                version=TEXT,
                dry_run=BOOLEAN,
                wait=BOOLEAN,
            ),
            answer_name="TemplateDeploymentAnswer",
            body_name="DeploymentRollback",
        ),
        "undeploy": OperationSchema(
            "Delete the objects of a deployment",
            ANSWER,
            guarded=True,
            body=schema(required=(), dry_run=BOOLEAN),
            answer_name="TemplateDeploymentAnswer",
            body_name="DeploymentRemoval",
        ),
    }

    def list(self, request: Request) -> Any:
        """One page, newest first."""
        return self.list_page(request, None)

    def retrieve(self, request: Request, pk: str) -> Any:
        """The deployment; its drift is of the store's copies, no cluster is asked."""
        deployment, targets = self.find_visible(request, pk, "get")
        revision = deployments.current_revision(deployment)
        found = self._drift(
            request,
            deployment,
            revision,
            targets,
        )
        revisions = deployment.revisions.select_related("version").order_by("-number")
        return {
            **_summary(
                deployment,
                targets,
                revision.version.version,
                _steps_of([deployment]),
            ),
            "values": without_secrets(revision.version.schema, deployments.values_of(revision)),
            "drift": found.items,
            "drift_unknown": found.unknown,
            "revisions": [_revision(row) for row in revisions],
        }

    def _drift(
        self,
        request: Request,
        deployment: TemplateDeployment,
        revision: DeploymentRevision,
        targets: Sequence[DeploymentTarget],
    ) -> drift.Drift:
        hidden = _earlier_secrets(deployment)
        state = deployment.shown_state  # type: ignore[attr-defined]
        if state in (TemplateDeployment.State.UNDEPLOYING, TemplateDeployment.State.UNDEPLOYED):
            return drift.Drift()

        def may_read(cluster: Cluster, item: PlannedObject) -> bool:
            assert item.kind is not None  # noqa: S101  # only kinds that are known are asked for
            act = object_act(
                "get",
                cluster,
                item.kind,
                item.namespace,
                item.name,
            )
            return is_allowed(self, request, act)

        return drift.find_drift(
            revision.rendered,
            targets,
            label=deployment.label,
            may_read=may_read,
            hidden=hidden,
        )

    def upgrade(self, request: Request, pk: str) -> Any:
        """As deploy. Values that are absent stay, and so do secrets that are left out of values."""
        deployment, _targets = self.find_visible(request, pk, "upgrade")
        body = json_body(request)
        deployments.require_idle(deployment)
        current = deployments.current_revision(deployment)
        version = current.version
        if body.get("version") is not None:
            version = find_version(deployment.template, body["version"])
        values = deployments.values_of(current)
        if body.get("values") is not None:
            if not isinstance(body["values"], dict):
                raise Invalid("values must be an object", field="values")
            values = keep_secrets(
                version.schema,
                body["values"],
                values,
            )
        prepared = _prepare(version, values)
        return self._bring_to(
            request,
            deployment,
            prepared,
            body,
            "upgrade",
            prunes=boolean(body.get("prune", True), "prune"),
        )

    def rollback(self, request: Request, pk: str) -> Any:
        """As upgrade, to what the last revision of the version was."""
        deployment, _targets = self.find_visible(request, pk, "rollback")
        body = json_body(request)
        deployments.require_idle(deployment)
        number = body.get("version")
        if number is None:
            revision = deployments.previous_revision(deployment)
        else:
            version = find_version(deployment.template, number)
            known = deployments.latest_of_version(deployment, version.version)
            if known is None:
                # It never had this version: the values that it has now go with it.
                current = deployments.current_revision(deployment)
                prepared = _prepare(version, deployments.values_of(current))
                return self._bring_to(
                    request,
                    deployment,
                    prepared,
                    body,
                    "rollback",
                )
            revision = known
        values = deployments.values_of(revision)
        prepared = PreparedRevision(
            revision.version,
            values,
            revision.rendered,
            secret_texts(revision.version.schema, values),
        )
        return self._bring_to(
            request,
            deployment,
            prepared,
            body,
            "rollback",
        )

    def _bring_to(
        self,
        request: Request,
        deployment: TemplateDeployment,
        prepared: PreparedRevision,
        body: Mapping[str, Any],
        verb: str,
        *,
        prunes: bool = True,
    ) -> Any:
        is_dry = dry_run(body.get("dry_run", False))
        wait = boolean(body.get("wait", False), "wait")
        options = deployments.options_for(
            deployment.label,
            forces=True,
            prunes=prunes,
        )
        targets = [
            deployments.apply_target(row, deployment.label)
            for row in deployment.targets.all()
            if not row.cluster.deleted_at
        ]
        if not targets:
            raise Conflict("every cluster of the deployment was removed", reason="NoTarget")
        allowed, options = _admit(
            self,
            request,
            prepared,
            targets,
            options,
            is_dry=is_dry,
            action=verb,
            subject=(RESOURCE, deployment.name),
        )
        acts = _acts(verb, deployment)
        if is_dry:
            _note(request, acts, allowed, dry_run=True)
            # What there is now has the secrets of earlier revisions.
            hidden = [*prepared.hidden, *_earlier_secrets(deployment)]
            return self.preview(allowed, options, hidden)
        action = Action(options, wait, caller(request))
        deployments.upgrade(
            deployment,
            prepared,
            _admitted(allowed),
            action,
        )
        _note(
            request,
            acts,
            allowed,
            **_facts(deployment, prepared),
        )
        return self.answer(request, deployment)

    def undeploy(self, request: Request, pk: str) -> Any:
        """{"deployment_id","operation_id"}; {"documents"} of a dry run."""
        deployment, _targets = self.find_visible(request, pk, "undeploy")
        body = json_body(request)
        is_dry = dry_run(body.get("dry_run", False))
        deployments.require_idle(deployment)
        options = deployments.options_for(
            deployment.label,
            forces=True,
            prunes=True,
        )
        rows = [deployments.apply_target(row, deployment.label) for row in deployment.targets.all()]
        live = [target for target in rows if not target.skip]
        allowed, admitted_options = self.admit(
            request,
            [],
            live,
            deployments.for_preview(options) if is_dry else options,
            action="undeploy",
            subject=(RESOURCE, deployment.name),
        )
        acts = _acts("undeploy", deployment)
        if is_dry:
            _note(request, acts, allowed, dry_run=True)
            return self.preview(
                allowed,
                admitted_options,
                _earlier_secrets(deployment),
            )
        action = Action(
            admitted_options,
            False,
            caller(request),
        )
        deployments.undeploy(
            deployment,
            rows,
            action,
        )
        _note(
            request,
            acts,
            allowed,
            **_facts(deployment, None),
        )
        return self.answer(request, deployment)


def _earlier_secrets(deployment: TemplateDeployment) -> Sequence[str]:
    """The secrets of the last revisions: any of them may still be in a cluster."""
    revisions = deployment.revisions.select_related("version").order_by("-number")
    return [
        text
        for revision in revisions[:HIDDEN_REVISIONS]
        for text in secret_texts(revision.version.schema, deployments.values_of(revision))
    ]


# --- from text to targets -------------------------------------------------------------------------
def _prepare(version: TemplateVersion, values: object) -> PreparedRevision:
    """The rendered version; Invalid, with the value's path as field, where a value is missing."""
    given = {} if values is None else values
    check_values(version.schema, given)
    rendered = rendering.render(version, given)
    if rendered.missing:
        path = rendered.missing[0]
        raise Invalid(f"the value {path} is required", field=path)
    assert isinstance(given, dict)  # noqa: S101  # check_values refuses anything else
    return PreparedRevision(
        version,
        given,
        rendered.text,
        secret_texts(version.schema, given),
    )


def _admit(
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


def _admitted(allowed: Sequence[AdmittedTarget]) -> list[Admitted]:
    return [Admitted(target, [row.planned for row in rows]) for target, rows in allowed]


def _note(
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


def _facts(deployment: TemplateDeployment, prepared: PreparedRevision | None) -> dict[str, Any]:
    """What audit lines say of a deployment."""
    facts: dict[str, Any] = {
        "template": deployment.template.name,
        "deployment_id": deployment.pk,
        "operation_id": deployment.operation_id,
    }
    return facts | {"version": prepared.version.version} if prepared else facts


def _not_previewed(cluster: Cluster, item: PlannedObject) -> dict[str, Any]:
    return {
        "cluster_id": cluster.pk,
        **item.identity(),
        "action": "skipped",
        "code": 0,
        "msg": NOT_PREVIEWED,
        "diff": "",
        "changes": [],
    }


# --- answers --------------------------------------------------------------------------------------
def _deploy_act(target: ApplyTarget, name: str) -> AccessAttributes:
    return AccessAttributes(
        "deploy",
        RESOURCE,
        "",
        str(target.cluster.pk),
        target.namespace,
        name,
    )


def _acts(verb: str, deployment: TemplateDeployment) -> list[AccessAttributes]:
    """What is asked for before a deployment is changed: the right in each of its targets."""
    return [
        _act(verb, target, deployment.name)
        for target in deployment.targets.all()
        if not target.cluster.deleted_at
    ]


def _act(verb: str, target: DeploymentTarget, name: str = "") -> AccessAttributes:
    return AccessAttributes(
        verb,
        RESOURCE,
        "",
        str(target.cluster_id),
        target.namespace,
        name,
    )


def _versions_of(rows: Sequence[TemplateDeployment]) -> dict[int, str]:
    """By deployment: the version of its current revision."""
    numbers = {row.pk: row.revision for row in rows}
    revisions = DeploymentRevision.objects.filter(deployment__in=numbers).values_list(
        "deployment", "number", "version__version"
    )
    return {pk: version for pk, number, version in revisions if numbers[pk] == number}


# By operation, cluster and namespace.
Steps: TypeAlias = Mapping[tuple[int, int, str], OperationStep]


def _steps_of(rows: Sequence[TemplateDeployment]) -> Steps:
    """The steps of the last operation of each deployment."""
    steps = OperationStep.objects.filter(operation__in=[row.operation_id for row in rows])
    return {
        (step.operation_id, step.data["cluster"], step.data["namespace"]): step for step in steps
    }


def _summary(
    deployment: TemplateDeployment,
    targets: Sequence[DeploymentTarget],
    version: str,
    steps: Steps,
) -> dict[str, Any]:
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


def _revision(row: DeploymentRevision) -> dict[str, Any]:
    return {
        "revision": row.number,
        "version": row.version.version,
        "operation_id": row.operation_id,
        "created_by": row.created_by,
        "created_at": rfc3339(row.created_at),
    }
