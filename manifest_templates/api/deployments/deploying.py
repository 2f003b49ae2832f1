"""/templates/{id}/deploy and /templates/{id}/deployments."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rest_framework.request import Request

from core.api.auth import authorise
from core.api.parsing import boolean, dry_run
from core.api.schema import (
    BOOLEAN,
    OBJECT,
    TEXT,
    OperationSchema,
    array,
)
from core.api.schema import record as schema
from core.errors import Invalid
from manifest_templates import deployments
from manifest_templates.api.base import TemplateView
from manifest_templates.api.deployments.acts import audit_facts, deploy_act, note_audit
from manifest_templates.api.deployments.base import DeploymentView
from manifest_templates.api.deployments.rendered import (
    admit_revision,
    admitted_targets,
)
from manifest_templates.api.deployments.schemas import ANSWER, DEPLOYMENT, FILTERS, TARGET
from manifest_templates.deployments import Action
from manifest_templates.revisions import prepare_revision
from manifest_templates.services import find_version
from workloads.api.actions import caller
from workloads.api.manifests.targets import read_targets
from workloads.manifests.operation import ApplyTarget


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
        prepared = prepare_revision(version, body.get("values"))
        label = deployments.new_label(name)
        options = deployments.options_for(
            label,
            forces=False,
            prunes=False,
        )
        targets = [replace(each, patch=deployments.label_patch(label)) for each in targets]
        allowed, options = admit_revision(
            self,
            request,
            prepared,
            targets,
            options,
            is_dry=is_dry,
        )
        acts = [deploy_act(each, name) for each in targets]
        if is_dry:
            note_audit(request, acts, allowed, dry_run=True)
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
                deploy_act(target, name),
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
