"""/manifests/validate and /manifests/diff: nothing is changed."""

from typing import Any

from rest_framework.request import Request

from core.api.schema import (
    BOOLEAN,
    INTEGER,
    TEXT,
    OperationSchema,
    array,
)
from core.api.schema import record as schema
from workloads.api.manifests.base import (
    CHANGE,
    CONTENT,
    DOCUMENT,
    ERROR,
    ManifestView,
    may_give_any_right,
)
from workloads.manifests import preview
from workloads.manifests.apply import (
    ApplyOptions,
)
from workloads.manifests.documents import (
    require_readable,
)


class ValidateManifests(ManifestView):
    """POST /manifests/validate."""

    operations = {
        "post": OperationSchema(
            "Check manifests: syntax, the cluster's schemas, a dry run",
            schema(
                valid=BOOLEAN,
                documents=array(
                    schema(**DOCUMENT, line=INTEGER, apiVersion=TEXT, errors=array(ERROR))
                ),
            ),
            body=schema(required=("cluster_id", "content"), **CONTENT),
            answer_name="ManifestValidation",
            body_name="ManifestsToCheck",
        )
    }

    def post(self, request: Request) -> Any:
        """{"valid","documents"}: a text with errors is a successful answer."""
        target = self.begin(request, "check")
        cluster, planned = self.plan_content(request, target)
        allowed = self.authorise_objects(request, cluster, planned, "check")
        documents = preview.validate(cluster, planned, unbounded=may_give_any_right(allowed))
        return {
            "valid": not any(document["errors"] for document in documents),
            "documents": documents,
        }


class DiffManifests(ManifestView):
    """POST /manifests/diff."""

    operations = {
        "post": OperationSchema(
            "Compare manifests with what the cluster has",
            schema(
                documents=array(
                    schema(
                        required=(*DOCUMENT, "action", "diff", "changes"),
                        **DOCUMENT,
                        action={
                            "type": "string",
                            "enum": ["create", "configure", "unchanged", "error"],
                        },
                        diff=TEXT,
                        changes=array(CHANGE),
                        error=TEXT,
                    )
                )
            ),
            body=schema(required=("cluster_id", "content"), **CONTENT),
            answer_name="ManifestComparison",
            body_name="ManifestsToCompare",
        )
    }

    def post(self, request: Request) -> Any:
        """{"documents"}: each object beside what the API server would store."""
        target = self.begin(request, "check")
        cluster, planned = self.plan_content(request, target)
        require_readable(item.manifest for item in planned)
        # It shows what the cluster has, and a dry run is a write for admission webhooks.
        readable = self.authorise_objects(request, cluster, planned, "get")
        writable = self.authorise_objects(request, cluster, planned, "check")
        options = ApplyOptions(dry_run=True, unbounded=may_give_any_right(writable))
        reveals = all(item.scope.reveals for item in readable)
        rows = preview.compare_with_cluster(cluster, planned, options, reveals=reveals)
        return {"documents": rows}
