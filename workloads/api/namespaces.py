"""A cluster's namespaces, and a namespace's quotas and limit ranges (contract 1.1, 1.9)."""

from typing import Any

import orjson
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import KINDS
from clusters.lists import ListQuery
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import Page
from core.api.parsing import integer, moment
from core.api.schema import (
    CLUSTER,
    KUBERNETES_OBJECT,
    OBJECT,
    OperationSchema,
    array,
    record,
)
from workloads.api.objects import AT, ObjectView
from workloads.objects import lists, past
from workloads.objects.object_ref import require_namespace


class NamespaceNames(ObjectView):
    """GET /clusters/{id}/namespaces: every namespace, not paged (contract 1.1)."""

    kind = KINDS["namespaces"]
    operations = {
        "get": OperationSchema(
            "Every namespace of a cluster",
            record(namespaces=array(OBJECT)),
            query=(AT,),
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """{"namespaces":[{"metadata":{"name","uid","creationTimestamp"},"status":{"phase"}}]}."""
        scope = authorise(self, request, AccessAttributes("list", "namespaces", cluster=pk))
        cluster = registry.find(integer(pk, "id", minimum=0))
        query = ListQuery(size=100_000)
        if at := moment(request.query_params.get("at", ""), "at"):
            listing = past.list_past(cluster, self.kind, query, at)
        else:
            listing = lists.list_objects(cluster, self.kind, query)
        namespaces = []
        for raw in listing.items:
            head = _namespace_head(orjson.loads(raw))
            name = head["metadata"].get("name")
            # An agent may have stored what has no name.
            is_named = isinstance(name, str) and bool(name)
            if is_named and (scope.namespaces is None or name in scope.namespaces):
                namespaces.append(head)
        return {"namespaces": namespaces}


def _namespace_head(item: dict[str, Any]) -> dict[str, Any]:
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    status = item.get("status")
    return {
        "metadata": {
            key: metadata.get(key)
            for key in ("name", "uid", "creationTimestamp", "labels")
            if metadata.get(key) is not None
        },
        "status": {"phase": status.get("phase", "") if isinstance(status, dict) else ""},
    }


class NamespaceContents(ObjectView):
    """GET /namespaces/{name}/resourcequotas and /limitranges (contract 1.9)."""

    historic_verbs = ("list",)
    operations = {
        "get": OperationSchema(
            "What is set on a namespace",
            KUBERNETES_OBJECT,
            query=(CLUSTER, AT),
            paged=True,
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """{"items":[…]}; NamespaceNotFound for a namespace that does not exist."""
        target, _ = self.resolve(request, "list", namespace=name)
        cluster = target.cluster()
        query = ListQuery(namespace=name, size=10_000)
        if at := moment(request.query_params.get("at", ""), "at"):
            listing = past.list_past(cluster, self.kind, query, at)
        else:
            # The API server answers an empty list for a namespace that does not exist.
            require_namespace(registry.client(cluster), name)
            listing = lists.list_objects(cluster, self.kind, query)
        # One page holds everything, and a page's size must not be 0.
        return Page(
            [orjson.Fragment(item) for item in listing.items],
            listing.total,
            1,
            max(listing.total, 1),
        )
