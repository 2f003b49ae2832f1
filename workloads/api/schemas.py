"""What objects of a kind look like, as the cluster itself describes it: /schemas."""

from typing import Any

from rest_framework.request import Request

from clusters.manifests import Object
from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.schema import CLUSTER, OBJECT, TEXT, OperationSchema, QueryParameter, record
from core.errors import Invalid, NotFound
from workloads.api.request_target import RequestTarget
from workloads.objects.discovery import discover
from workloads.objects.schemas import read_schema


class KindSchema(DialectView):
    """GET /schemas: for everybody who may see the cluster, as discovery is."""

    operations = {
        "get": OperationSchema(
            "The OpenAPI schema of a kind",
            record(root=TEXT, definitions=OBJECT),
            query=(
                CLUSTER,
                QueryParameter(
                    "api_version",
                    TEXT,
                    required=True,
                    description="v1, apps/v1 …",
                ),
                QueryParameter("kind", TEXT, required=True),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"root","definitions"}: OpenAPI 3 schemas without descriptions.

        `$ref` names another of the definitions.
        """
        target = RequestTarget(self, request)
        authorise(
            self,
            request,
            AccessAttributes("get", "clusters", cluster=target.cluster_text),
        )
        target.check()
        api_version = target.option("api_version")
        kind = target.option("kind")
        if not api_version or not kind:
            missing = "kind" if api_version else "api_version"
            raise Invalid("api_version and kind are required", field=missing)
        return _schema_by_any_name(target.cluster(), api_version, kind)


def _schema_by_any_name(cluster: Cluster, api_version: str, name: str) -> Object:
    """The schema of a kind that is called by its name, plural, singular or short name."""
    try:
        return read_schema(cluster, api_version, name)
    except NotFound:
        group, _, version = api_version.rpartition("/")
        try:
            kind = discover(cluster, group, version, name)
        except (NotFound, Invalid):
            # The first error names the kind as the caller wrote it: that one is raised below.
            pass
        else:
            return read_schema(cluster, api_version, kind.name)
        raise
