"""What listing, making and changing deployments share."""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from rest_framework.request import Request

from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise, is_allowed
from core.api.dialect import Page
from core.api.pagination import page_request
from core.api.parsing import integer
from core.errors import Invalid, NotFound
from manifest_templates import deployments
from manifest_templates.api.deployments.acts import change_acts, target_act
from manifest_templates.api.deployments.answers import steps_of, summarise, versions_of
from manifest_templates.api.deployments.schemas import STATES
from manifest_templates.deployments import RESOURCE
from manifest_templates.models import (
    DeploymentTarget,
    Template,
    TemplateDeployment,
)
from operations import tasks
from workloads.api.manifests.applying import AdmittedTarget, ApplyView
from workloads.manifests import preview
from workloads.manifests.apply import ApplyOptions, apply_objects
from workloads.manifests.documents import PlannedObject

# A preview asks the clusters while its caller waits.
PREVIEW_SECONDS = 25.0


NOT_PREVIEWED = f"not checked: the preview took longer than {PREVIEW_SECONDS:.0f} seconds"


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
        versions = versions_of(part)
        steps = steps_of(part)
        items = [
            summarise(
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
                target_act("get", target),
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
            acts = change_acts(verb, deployment)
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
