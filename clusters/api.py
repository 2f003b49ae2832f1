"""The registry of clusters over JSON (KubeGale document, section 1; contract 1.1)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from django.db.models import Q
from django.utils.timezone import localtime
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters import operations, registry
from clusters.kinds import KINDS
from clusters.models import Cluster, Operation, OperationStep
from core.api.audit import note
from core.api.audit import record as record_act
from core.api.auth import Act, Scope, authorise, visible_clusters
from core.api.confirmation import Guarded, confirm
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, dry_run, integer, json_body
from core.api.schema import (
    BOOLEAN,
    DRY_RUN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    Described,
    Query,
    array,
    nullable,
    record,
)
from core.errors import Forbidden, Invalid, NotFound


def represent(cluster: Cluster, *, readable: Collection[int] | None = None) -> dict[str, Any]:
    """A cluster as JSON; the kubeconfig is always masked. Warnings name no cluster outside of `readable` (None: all)."""
    return represent_all([cluster], readable=readable)[0]


def represent_all(
    rows: Collection[Cluster], *, readable: Collection[int] | None = None
) -> list[dict[str, Any]]:
    """Clusters as JSON, with one query for what they have in common."""
    same = registry.registrations(rows)
    return [
        _represent(
            row,
            [*registry.expiry_warnings(row), *registry.double_warnings(row, same, readable)],
        )
        for row in rows
    ]


def _represent(cluster: Cluster, warnings: list[str]) -> dict[str, Any]:
    return {
        "id": cluster.pk,
        "name": cluster.name,
        "description": cluster.description,
        "kubeconfig": registry.MASK,
        "server": cluster.server,
        "status": cluster.status,
        "status_reason": cluster.status_reason,
        "version": cluster.version,
        "labels": cluster.labels,
        "is_default": cluster.is_default,
        "protected": cluster.protected,
        "impersonate": cluster.impersonate,
        "prometheus": cluster.prometheus,
        "context": cluster.context,
        "contexts": cluster.contexts,
        "credentials_expire_at": _utc(cluster.credentials_expire_at),
        "namespaces": cluster.namespaces,
        "warnings": warnings,
        "created_at": _utc(cluster.created_at),
        "last_seen_at": _utc(cluster.last_seen_at),
    }


def _utc(moment: Any) -> str | None:
    return None if moment is None else f"{localtime(moment, timezone=UTC):%Y-%m-%dT%H:%M:%SZ}"


CLUSTER_SCHEMA = record(
    id=nullable(INTEGER),
    name=TEXT,
    description=TEXT,
    kubeconfig={"type": "string", "enum": [registry.MASK]},
    server=TEXT,
    status={"type": "string", "enum": list(Cluster.Status.values)},
    status_reason=TEXT,
    version=TEXT,
    labels=OBJECT,
    is_default=BOOLEAN,
    protected=BOOLEAN,
    impersonate=BOOLEAN,
    prometheus=TEXT,
    context=TEXT,
    contexts=array(TEXT),
    credentials_expire_at=nullable(TEXT),
    namespaces=array(TEXT),
    warnings=array(TEXT),
    created_at=nullable(TEXT),
    last_seen_at=nullable(TEXT),
)
FIELDS = {
    "name": TEXT,
    "description": TEXT,
    "kubeconfig": TEXT,
    "context": TEXT,
    "namespaces": array(TEXT),
    "labels": OBJECT,
    "is_default": BOOLEAN,
    "protected": BOOLEAN,
    "impersonate": BOOLEAN,
    "prometheus": TEXT,
}
# Members of the answer that a client may send back with the rest, without changing them.
READ_ONLY = tuple(name for name in CLUSTER_SCHEMA["properties"] if name not in FIELDS)


class ClusterViewSet(ViewSetMixin, DialectView):
    """Clusters: list, read, register, change, remove."""

    operations = {
        "list": Described("List the registered clusters", CLUSTER_SCHEMA, query=PAGING, paged=True),
        "retrieve": Described("One cluster", CLUSTER_SCHEMA),
        "create": Described(
            "Register a cluster",
            CLUSTER_SCHEMA,
            body=record(required=("name", "kubeconfig"), dry_run=BOOLEAN, **FIELDS),
        ),
        "update": Described(
            "Change a cluster",
            CLUSTER_SCHEMA,
            body=record(required=(), **FIELDS),
            also_body=READ_ONLY,
        ),
        "destroy": Described(
            "Forget a cluster", OBJECT, query=(DRY_RUN,), also_body=("dry_run",), guarded=True
        ),
    }

    def list(self, request: Request) -> Any:
        """One page, by name or description."""
        scope = authorise(self, request, Act("list", "clusters"))
        page = page_request(request.query_params)
        found = registry.search(request.query_params.get("keyword", "").replace("\x00", "")).defer(
            "kubeconfig"
        )
        if scope.clusters is not None:
            found = found.filter(pk__in=scope.clusters)
        rows = list(found[page.offset : page.offset + page.size])
        items = represent_all(rows, readable=scope.clusters)
        return Page(items, found.count(), page.page, page.size, extra={"list": items})

    def retrieve(self, request: Request, pk: str) -> Any:
        """One cluster."""
        authorise(self, request, Act("get", "clusters", cluster=pk))
        return represent(registry.find(pk), readable=visible_clusters(self, request))

    def create(self, request: Request) -> Any:
        """Register a cluster, after its connection was tried; `dry_run` only tries it (the answer's id is null)."""
        authorise(self, request, Act("create", "clusters"))
        body = json_body(request)
        note(request, name=body.get("name"))
        given = {"name": body.get("name"), "kubeconfig_text": body.get("kubeconfig")}
        given |= {field: body[field] for field in ("context", *registry.EDITABLE) if field in body}
        if dry_run(body.get("dry_run", False)):
            note(request, details={"dry_run": True})
            return represent(registry.draft(**given))
        default = boolean(body.get("is_default") or False, "is_default")
        return represent(registry.register(default=default, **given))

    def update(self, request: Request, pk: str) -> Any:
        """Change some fields; a new kubeconfig is tried first."""
        authorise(self, request, Act("update", "clusters", cluster=pk))
        body: Mapping[str, object] = json_body(request)
        found = registry.find(pk)
        for name in ("id", "server"):
            if name in body and body[name] != represent(found)[name]:
                raise Invalid(f"{name} cannot be changed", field=name)
        note(
            request,
            details={
                "changed": sorted(
                    set(body) & {"name", "kubeconfig", "context", "is_default", *registry.EDITABLE}
                )
            },
        )
        changed = registry.update(found, body)
        return represent(changed, readable=visible_clusters(self, request))

    def destroy(self, request: Request, pk: str) -> Any:
        """Forget a cluster; what runs in it is left alone."""
        authorise(self, request, Act("delete", "clusters", cluster=pk))
        cluster = registry.find(pk)
        if dry_run(request.query_params.get("dry_run", json_body(request).get("dry_run", False))):
            return {}
        protected = "is protected" if cluster.protected else ""
        confirm(
            request,
            Guarded(
                "delete",
                "Cluster",
                cluster.name,
                identity=str(cluster.pk),
                protected=protected,
                require_name=True,
            ),
        )
        registry.remove(cluster)
        return {}


def cluster_reference(request: Request) -> str:
    """The cluster meant where a document names none: `cluster=`, X-Cluster, else the default one's id ("" when none is)."""
    asked, header = request.query_params.get("cluster"), request.headers.get("X-Cluster")
    if asked and header and asked != header:
        raise Invalid("cluster and X-Cluster name two clusters", field="cluster")
    return asked or header or registry.default_reference()


STEP_SCHEMA = record(
    name=TEXT, state={"type": "string", "enum": list(OperationStep.State.values)}, message=TEXT
)
OPERATION_SCHEMA = record(
    id=INTEGER,
    kind=TEXT,
    cluster_id=nullable(INTEGER),
    target=record(kind=TEXT, namespace=TEXT, name=TEXT),
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
    Query("cluster_id", INTEGER),
    Query("state", {"type": "string", "enum": list(Operation.State.values)}),
    *(Query(name, TEXT) for name in ("kind", "namespace", "name", "requested_by")),
    *PAGING[:2],
)


class OperationViewSet(ViewSetMixin, DialectView):
    """Long-running work: list, read, cancel (contract, section 3). Each needs rights on its target, one's own too."""

    refused_as = "PUT"

    operations = {
        "list": Described(
            "List operations, newest first",
            OPERATION_SCHEMA,
            query=OPERATION_QUERY,
            also_query=("clusterId",),
            paged=True,
        ),
        "retrieve": Described("One operation", OPERATION_SCHEMA),
        "cancel": Described("Ask an operation to stop", OPERATION_SCHEMA),
    }

    def list(self, request: Request) -> Any:
        """One page, newest first; query cluster_id, state, kind, namespace, name, requested_by."""
        query = request.query_params
        cluster = query.get("cluster_id") or query.get("clusterId") or ""
        visible = self._visible(
            request,
            Act("list", "operations", cluster=cluster, namespace=query.get("namespace", "")),
        )
        page = page_request(query, maximum=200)
        wanted = {
            name: query.get(name, "").replace("\x00", "")
            for name in ("state", "kind", "namespace", "name", "requested_by")
        }
        wanted_cluster = (
            registry.find(integer(cluster, "cluster_id", minimum=0)).pk if cluster else None
        )
        found = operations.search(cluster_id=wanted_cluster, **wanted).filter(visible)
        items = [operations.represent(row) for row in found[page.offset : page.offset + page.size]]
        return Page(items, found.count(), page.page, page.size)

    def _visible(self, request: Request, act: Act) -> Q:
        """What their rights, cut down by the token they came with, let them see: whose operation it is makes no difference."""
        try:
            scope: Scope = authorise(self, request, act)
        except Forbidden:
            return Q(pk=None)
        if scope.clusters is None:
            return Q() if scope.namespaces is None else Q(namespace__in=scope.namespaces)
        visible = Q(pk=None)
        for pk, namespaces in scope.clusters.items():
            inside = Q() if namespaces is None else Q(namespace__in=namespaces)
            visible |= Q(cluster=pk) & inside
        return visible

    def retrieve(self, request: Request, pk: str) -> Any:
        """One operation with its steps."""
        return operations.represent(self._permitted(request, pk, "get"))

    def cancel(self, request: Request, pk: str) -> Any:
        """The operation, which stops before its next step; refused when it is over."""
        row = self._permitted(request, pk, "update")
        self.check_input(request)
        record_act(
            request,
            Act(
                "cancel",
                "operations",
                cluster=str(row.cluster_id or ""),
                namespace=row.namespace,
                name=str(row.pk),
            ),
        )
        return operations.represent(operations.cancel(row))

    def _permitted(self, request: Request, pk: str, verb: str) -> Operation:
        """The operation; what the caller may not see does not exist for them."""
        row = operations.find(pk)
        kind = KINDS.get(row.resource)
        act = Act(
            "get",
            row.resource,
            kind.group if kind else "",
            str(row.cluster_id or ""),
            row.namespace,
            row.name,
            cluster_scoped=bool(kind and not kind.namespaced),
        )
        try:
            authorise(self, request, act)
        except Forbidden:
            raise NotFound(f"operation {pk} does not exist") from None
        if verb != "get":
            authorise(self, request, replace(act, verb=verb))
        return row
