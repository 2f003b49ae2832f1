"""What objects of a kind look like, as the cluster itself describes it: /schemas."""

from typing import Any

from rest_framework.request import Request

from kubegale.api.auth import Act, authorise
from kubegale.api.dialect import DialectView
from kubegale.api.schema import CLUSTER, OBJECT, TEXT, Described, Query, record
from kubegale.errors import Invalid
from workloads.api.objects import Target
from workloads.schemas import schema_of


class KindSchema(DialectView):
    """GET /schemas: for everybody who may see the cluster, as discovery is."""

    operations = {
        "get": Described(
            "The OpenAPI schema of a kind",
            record(root=TEXT, definitions=OBJECT),
            query=(
                CLUSTER,
                Query("api_version", TEXT, required=True, description="v1, apps/v1 …"),
                Query("kind", TEXT, required=True),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"root","definitions"}: OpenAPI 3 schemas without descriptions; `$ref` names another of the definitions."""
        target = Target(self, request)
        authorise(self, request, Act("get", "clusters", cluster=target.cluster_text))
        target.check()
        version, kind = target.option("api_version"), target.option("kind")
        if not version or not kind:
            raise Invalid(
                "api_version and kind are required", field="kind" if version else "api_version"
            )
        return schema_of(target.cluster(), version, kind)
