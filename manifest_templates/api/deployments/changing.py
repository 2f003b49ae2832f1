"""/template-deployments: what was made of templates, and its actions."""

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters.models import Cluster
from core.api.auth import is_allowed
from core.api.parsing import boolean, dry_run, json_body
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
)
from core.api.schema import record as schema
from core.errors import Conflict, Invalid
from manifest_templates import deployments, drift
from manifest_templates.api.deployments.acts import audit_facts, change_acts, note_audit
from manifest_templates.api.deployments.answers import represent_revision, steps_of, summarise
from manifest_templates.api.deployments.base import DeploymentView
from manifest_templates.api.deployments.rendered import (
    admit_revision,
    admitted_targets,
)
from manifest_templates.api.deployments.schemas import ANSWER, DEPLOYMENT, DETAIL, FILTERS
from manifest_templates.deployments import RESOURCE, Action, PreparedRevision
from manifest_templates.models import (
    DeploymentRevision,
    DeploymentTarget,
    TemplateDeployment,
)
from manifest_templates.revisions import prepare_revision
from manifest_templates.secret_values import keep_secrets, secret_texts
from manifest_templates.services import find_version
from manifest_templates.values import without_secrets
from workloads.api.actions import caller
from workloads.api.manifests.base import object_act
from workloads.manifests.documents import PlannedObject

HIDDEN_REVISIONS = 20


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
        differences = self._drift(
            request,
            deployment,
            revision,
            targets,
        )
        revisions = deployment.revisions.select_related("version").order_by("-number")
        return {
            **summarise(
                deployment,
                targets,
                revision.version.version,
                steps_of([deployment]),
            ),
            "values": without_secrets(revision.version.schema, deployments.values_of(revision)),
            "drift": differences.items,
            "drift_unknown": differences.unknown,
            "revisions": [represent_revision(row) for row in revisions],
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
        prepared = prepare_revision(version, values)
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
                prepared = prepare_revision(version, deployments.values_of(current))
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
        allowed, options = admit_revision(
            self,
            request,
            prepared,
            targets,
            options,
            is_dry=is_dry,
            action=verb,
            subject=(RESOURCE, deployment.name),
        )
        acts = change_acts(verb, deployment)
        if is_dry:
            note_audit(request, acts, allowed, dry_run=True)
            # What there is now has the secrets of earlier revisions.
            hidden = [*prepared.hidden, *_earlier_secrets(deployment)]
            return self.preview(allowed, options, hidden)
        action = Action(options, wait, caller(request))
        deployments.upgrade(
            deployment,
            prepared,
            admitted_targets(allowed),
            action,
        )
        note_audit(
            request,
            acts,
            allowed,
            **audit_facts(deployment, prepared),
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
        acts = change_acts("undeploy", deployment)
        if is_dry:
            note_audit(request, acts, allowed, dry_run=True)
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
        note_audit(
            request,
            acts,
            allowed,
            **audit_facts(deployment, None),
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
