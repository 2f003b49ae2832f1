"""What the OpenAPI document says of deployments."""

from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    QueryParameter,
    array,
    nullable,
)
from core.api.schema import record as schema
from manifest_templates.models import (
    TemplateDeployment,
)
from workloads.api.manifests.base import CHANGE, DOCUMENT

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
