"""The targets of an apply or a copy."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from clusters import dns_names
from core.api.schema import (
    INTEGER,
    OBJECT,
    TEXT,
    array,
)
from core.api.schema import record as schema
from core.errors import Invalid
from workloads.api.manifests.base import ManifestView
from workloads.manifests.operation import ApplyTarget

MAX_TARGETS = 100
TARGETS = array(schema(required=("cluster_id",), cluster_id=INTEGER, namespace=TEXT, patch=OBJECT))


def read_targets(
    view: ManifestView, request: Request, body: Mapping[str, Any], default_namespace: str
) -> list[ApplyTarget]:
    """Each target with a cluster that the caller may see; Invalid for none or too many."""
    rows = body.get("targets")
    if rows is None:
        cluster = view.cluster(request, body.get("cluster_id"))
        return [ApplyTarget(cluster, default_namespace)]
    if body.get("cluster_id") is not None:
        raise Invalid("give either cluster_id or targets", field="targets")
    if not isinstance(rows, list) or not rows:
        raise Invalid("targets must be a list, at least one", field="targets")
    if len(rows) > MAX_TARGETS:
        raise Invalid(f"at most {MAX_TARGETS} targets", field="targets")
    targets = []
    for place, row in enumerate(rows):
        field = f"targets[{place}]"
        if not isinstance(row, dict):
            raise Invalid(f"{field} must be an object", field=field)
        namespace = row.get("namespace", default_namespace)
        patch = row.get("patch")
        patch = {} if patch is None else patch
        if not isinstance(namespace, str):
            raise Invalid(f"{field}.namespace must be text", field=f"{field}.namespace")
        if namespace and not dns_names.LABEL.match(namespace):
            raise Invalid(
                f"{field}.namespace must be the name of a namespace", field=f"{field}.namespace"
            )
        if not isinstance(patch, dict):
            raise Invalid(f"{field}.patch must be a JSON merge patch", field=f"{field}.patch")
        cluster = view.cluster(request, row.get("cluster_id"))
        targets.append(ApplyTarget(cluster, namespace or default_namespace, patch))
    return targets
