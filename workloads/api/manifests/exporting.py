"""/manifests/export: objects as YAML that another cluster takes."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.auth import authorise
from core.api.schema import (
    CLUSTER,
    NAMESPACE,
    TEXT,
    OperationSchema,
    QueryParameter,
)
from core.errors import DomainError, Forbidden, Invalid
from workloads.api.manifests.base import ManifestView, bad_selector, kind_in, object_act
from workloads.api.request_target import RequestTarget
from workloads.manifests import export
from workloads.objects.manifests import is_secret

YAML_TYPE = "text/yaml; charset=utf-8"
SECRETS_LEFT_OUT = "# Secrets are left out: you may not read their values here.\n"


class ExportManifests(ManifestView):
    """GET /manifests/export."""

    operations = {
        "get": OperationSchema(
            "Objects as YAML that another cluster takes",
            TEXT,
            query=(
                CLUSTER,
                NAMESPACE,
                QueryParameter(
                    "kinds", TEXT, description="Comma list; what people make if absent."
                ),
                QueryParameter("labelSelector", TEXT),
                QueryParameter(
                    "names", TEXT, description="Comma list; these objects alone, of one kind."
                ),
            ),
            answer_types=("text/yaml",),
        )
    }

    def get(self, request: Request) -> Any:
        """YAML documents in apply order."""
        target = RequestTarget(self, request)
        cluster = self.cluster(request, request.query_params.get("cluster_id"))
        self.check_input(request)
        target.check()
        references = _comma_list(request, "kinds")
        if references:
            kinds = [kind_in(cluster, text, field="kinds") for text in references]
        else:
            kinds = export.default_kinds()
        names = _comma_list(request, "names")
        if names:
            self._check_named(request, kinds if references else [], target.namespace)
        places: list[tuple[Kind, str]] = []
        head = ""
        refusal: Forbidden | None = None
        for kind in dict.fromkeys(kinds):
            if not kind.namespaced and not references:
                continue
            try:
                places += self._places(request, cluster, kind, target.namespace)
            except Forbidden as error:
                if references:
                    raise
                refusal = error
                if is_secret(kind):
                    head = SECRETS_LEFT_OUT
        if refusal and not places:
            raise refusal
        selector = request.query_params.get("labelSelector", "")
        try:
            if names:
                kind, namespace = places[0]
                objects = export.read_named(cluster, kind, namespace, names)
            else:
                objects = export.read_objects(cluster, places, selector=selector)
        except DomainError as error:
            raise bad_selector(error, "labelSelector") from None
        text = head + "".join(export.to_text(objects))
        return HttpResponse(text.encode(), content_type=YAML_TYPE)

    @staticmethod
    def _check_named(request: Request, kinds: Sequence[Kind], namespace: str) -> None:
        """Invalid unless `names` can only be the names of single objects."""
        if len(kinds) != 1:
            raise Invalid("names needs exactly one kind in kinds", field="kinds")
        if kinds[0].namespaced and not namespace:
            raise Invalid("namespace is required", field="namespace")
        if request.query_params.get("labelSelector"):
            raise Invalid("give either names or labelSelector", field="labelSelector")

    def _places(
        self, request: Request, cluster: Cluster, kind: Kind, namespace: str
    ) -> list[tuple[Kind, str]]:
        """Where the caller may read the kind; Forbidden for Secrets without their values."""
        scope = authorise(self, request, object_act("list", cluster, kind, namespace))
        if is_secret(kind) and not scope.reveals:
            raise Forbidden("you may not read the values of secrets here")
        if not kind.namespaced:
            return [(kind, "")]
        if namespace or scope.namespaces is None:
            return [(kind, namespace)]
        return [(kind, place) for place in sorted(scope.namespaces)]


def _comma_list(request: Request, parameter: str) -> list[str]:
    texts = request.query_params.get(parameter, "").split(",")
    return [text.strip() for text in texts if text.strip()]
