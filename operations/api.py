"""Operations over JSON (KubeGale document, section 1; contract 1.1)."""

from dataclasses import replace
from typing import Any

from django.db.models import Q
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters import registry
from core.api.audit import record as record_act
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import integer
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Forbidden, NotFound
from operations import lifecycle, reading, tasks
from operations.models import Operation, OperationStep
from operations.visibility import target_acts, visible_rows

STEP_SCHEMA = record(
    name=TEXT,
    state={"type": "string", "enum": list(OperationStep.State.values)},
    message=TEXT,
)


OPERATION_SCHEMA = record(
    id=INTEGER,
    kind=TEXT,
    cluster_id=nullable(INTEGER),
    target=record(kind=TEXT, namespace=TEXT, name=TEXT),
    action=nullable(
        record(name=TEXT, **{"from": nullable(INTEGER), "to": nullable(INTEGER)}),
    ),
    state={"type": "string", "enum": list(Operation.State.values)},
    progress=record(done=INTEGER, total=INTEGER),
    steps=array(STEP_SCHEMA),
    result=nullable(OBJECT),
    error=nullable(TEXT),
    reason=nullable(TEXT),
    cancel_requested=BOOLEAN,
    requested_by=TEXT,
    created_at=TEXT,
    started_at=nullable(TEXT),
    finished_at=nullable(TEXT),
)


OPERATION_QUERY = (
    QueryParameter("cluster_id", INTEGER),
    QueryParameter("state", {"type": "string", "enum": list(Operation.State.values)}),
    *(QueryParameter(name, TEXT) for name in ("kind", "namespace", "name", "requested_by")),
    *PAGING[:2],
)


class OperationViewSet(ViewSetMixin, DialectView):
    """Long-running work: list, read, cancel (contract, section 3).

    Each needs rights on the operation's target, also for the user who requested it.
    """

    refused_as = "PUT"

    operations = {
        "list": OperationSchema(
            "List operations, newest first",
            OPERATION_SCHEMA,
            query=OPERATION_QUERY,
            also_query=("clusterId",),
            paged=True,
        ),
        "retrieve": OperationSchema("One operation", OPERATION_SCHEMA),
        "cancel": OperationSchema("Ask an operation to stop", OPERATION_SCHEMA),
    }

    def list(self, request: Request) -> Any:
        """One page, newest first; query cluster_id, state, kind, namespace, name, requested_by."""
        query = request.query_params
        cluster = query.get("cluster_id") or query.get("clusterId") or ""
        visible = self._visible(
            request,
            AccessAttributes(
                "list",
                "operations",
                cluster=cluster,
                namespace=query.get("namespace", ""),
            ),
        )
        page = page_request(query, maximum=200)
        cluster_id = None
        if cluster:
            cluster_id = registry.find(integer(cluster, "cluster_id", minimum=0)).pk
        rows = reading.search(
            cluster_id=cluster_id,
            state=_parameter(request, "state"),
            kind=_parameter(request, "kind"),
            namespace=_parameter(request, "namespace"),
            name=_parameter(request, "name"),
            requested_by=_parameter(request, "requested_by"),
        ).filter(visible)
        items = [reading.represent(row) for row in rows[page.offset : page.offset + page.size]]
        return Page(items, rows.count(), page.page, page.size)

    def _visible(self, request: Request, act: AccessAttributes) -> Q:
        """The rows whose targets the caller may see: their rights, limited by their token's."""
        try:
            scope: Scope = authorise(self, request, act)
        except Forbidden:
            return Q(pk=None)
        if scope.clusters is None:
            return Q() if scope.namespaces is None else Q(namespace__in=scope.namespaces)
        return visible_rows(scope.clusters)

    def retrieve(self, request: Request, pk: str) -> Any:
        """One operation with its steps."""
        return reading.represent(self._permitted(request, pk, "get"))

    def cancel(self, request: Request, pk: str) -> Any:
        """The operation, which stops before its next step; refused when it is over."""
        row = self._permitted(request, pk, "update")
        self.check_input(request)
        record_act(
            request,
            AccessAttributes(
                "cancel",
                "operations",
                cluster=str(row.cluster_id or ""),
                namespace=row.namespace,
                name=str(row.pk),
            ),
        )
        row = lifecycle.cancel(row)
        if row.state == Operation.State.PENDING:
            # It has to clean up, which waits for nothing.
            tasks.enqueue(row)
        return reading.represent(row)

    def _permitted(self, request: Request, pk: str, verb: str) -> Operation:
        """The operation; NotFound also when the caller may not see it."""
        row = lifecycle.find(pk)
        acts = target_acts(row)
        try:
            for act in acts:
                authorise(self, request, act)
        except Forbidden:
            raise NotFound(f"operation {pk} does not exist") from None
        if verb != "get":
            for act in acts:
                authorise(self, request, replace(act, verb=verb))
        return row


def _parameter(request: Request, name: str) -> str:
    """A query parameter as PostgreSQL takes it: without NUL."""
    return request.query_params.get(name, "").replace("\x00", "")
