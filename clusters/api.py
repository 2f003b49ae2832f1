"""The registry of clusters over JSON (KubeGale document, section 1; contract 1.1)."""

from collections.abc import Collection, Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters import cluster_fields, registry
from clusters.manifests import MASK
from clusters.models import Cluster
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise, visible_clusters
from core.api.confirmation import ConfirmationRequest, require_confirmation
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, dry_run, json_body
from core.api.schema import (
    BOOLEAN,
    DRY_RUN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    array,
    nullable,
    record,
)
from core.errors import Invalid
from core.times import rfc3339


def represent(cluster: Cluster, *, readable: Collection[int] | None = None) -> dict[str, Any]:
    """A cluster as JSON; the kubeconfig is always masked.

    Warnings name only clusters of `readable` (ids; None is all).
    """
    return represent_all([cluster], readable=readable)[0]


def represent_all(
    rows: Collection[Cluster], *, readable: Collection[int] | None = None
) -> list[dict[str, Any]]:
    """Clusters as JSON, with one query for the warnings of all; `readable` as of `represent`."""
    registrations_by_uid = registry.registrations(rows)
    documents: list[dict[str, Any]] = []
    for row in rows:
        duplicates = registry.duplicate_warnings(
            row,
            registrations_by_uid,
            readable,
        )
        documents.append(_represent(row, [*registry.expiry_warnings(row), *duplicates]))
    return documents


def _represent(cluster: Cluster, warnings: list[str]) -> dict[str, Any]:
    return {
        "id": cluster.pk,
        "name": cluster.name,
        "description": cluster.description,
        "kubeconfig": MASK,
        "server": cluster.server,
        "status": cluster.status,
        "status_reason": cluster.status_reason,
        "version": cluster.version,
        "labels": cluster.labels,
        "is_default": cluster.is_default,
        "protected": cluster.protected,
        "maintenance": cluster.maintenance,
        "impersonate": cluster.impersonate,
        "prometheus": cluster.prometheus,
        "context": cluster.context,
        "contexts": cluster.contexts,
        "credentials_expire_at": rfc3339(cluster.credentials_expire_at),
        "namespaces": cluster.namespaces,
        "warnings": warnings,
        "created_at": rfc3339(cluster.created_at),
        "last_seen_at": rfc3339(cluster.last_seen_at),
    }


CLUSTER_SCHEMA = record(
    id=nullable(INTEGER),
    name=TEXT,
    description=TEXT,
    kubeconfig={"type": "string", "enum": [MASK]},
    server=TEXT,
    status={"type": "string", "enum": list(Cluster.Status.values)},
    status_reason=TEXT,
    version=TEXT,
    labels=OBJECT,
    is_default=BOOLEAN,
    protected=BOOLEAN,
    maintenance=BOOLEAN,
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
    "maintenance": BOOLEAN,
    "impersonate": BOOLEAN,
    "prometheus": TEXT,
}
# Members of the answer that a client may send back with the rest, without changing them.
READ_ONLY = tuple(name for name in CLUSTER_SCHEMA["properties"] if name not in FIELDS)


class ClusterViewSet(ViewSetMixin, DialectView):
    """Clusters: list, read, register, change, remove."""

    operations = {
        "list": OperationSchema(
            "List the registered clusters",
            CLUSTER_SCHEMA,
            query=PAGING,
            paged=True,
        ),
        "retrieve": OperationSchema("One cluster", CLUSTER_SCHEMA),
        "create": OperationSchema(
            "Register a cluster",
            CLUSTER_SCHEMA,
            body=record(required=("name", "kubeconfig"), dry_run=BOOLEAN, **FIELDS),
        ),
        "update": OperationSchema(
            "Change a cluster",
            CLUSTER_SCHEMA,
            body=record(required=(), **FIELDS),
            also_body=READ_ONLY,
        ),
        "destroy": OperationSchema(
            "Forget a cluster",
            OBJECT,
            query=(DRY_RUN,),
            also_body=("dry_run",),
            guarded=True,
        ),
    }

    def list(self, request: Request) -> Any:
        """One page, by name or description."""
        scope = authorise(self, request, AccessAttributes("list", "clusters"))
        page = page_request(request.query_params)
        # PostgreSQL takes no NUL in a text.
        keyword = request.query_params.get("keyword", "").replace("\x00", "")
        clusters = registry.search(keyword).defer("kubeconfig")
        if scope.clusters is not None:
            clusters = clusters.filter(pk__in=scope.clusters)
        rows = list(clusters[page.offset : page.offset + page.size])
        items = represent_all(rows, readable=scope.clusters)
        return Page(
            items,
            clusters.count(),
            page.page,
            page.size,
            # The document's example calls the items of this collection `list`.
            extra={"list": items},
        )

    def retrieve(self, request: Request, pk: str) -> Any:
        """One cluster."""
        authorise(self, request, AccessAttributes("get", "clusters", cluster=pk))
        return represent(registry.find(pk), readable=visible_clusters(self, request))

    def create(self, request: Request) -> Any:
        """Register a cluster, after its connection was tried.

        `dry_run` only tries the connection; the answer's id is null.
        """
        authorise(self, request, AccessAttributes("create", "clusters"))
        body = json_body(request)
        annotate(request, name=body.get("name"))
        # A trial connects as registering does, but saves nothing.
        if dry_run(body.get("dry_run", False)):
            annotate(request, details={"dry_run": True})
            cluster = registry.draft(
                name=body.get("name"),
                kubeconfig_text=body.get("kubeconfig"),
                context=body.get("context", ""),
                description=body.get("description", ""),
                labels=body.get("labels", {}),
                protected=body.get("protected", False),
                impersonate=body.get("impersonate", False),
                prometheus=body.get("prometheus", ""),
                namespaces=body.get("namespaces", []),
            )
            return represent(cluster)
        cluster = registry.register(
            name=body.get("name"),
            kubeconfig_text=body.get("kubeconfig"),
            context=body.get("context", ""),
            default=boolean(body.get("is_default") or False, "is_default"),
            description=body.get("description", ""),
            labels=body.get("labels", {}),
            protected=body.get("protected", False),
            impersonate=body.get("impersonate", False),
            prometheus=body.get("prometheus", ""),
            namespaces=body.get("namespaces", []),
        )
        return represent(cluster)

    def update(self, request: Request, pk: str) -> Any:
        """Change some fields; a new kubeconfig is tried first."""
        authorise(self, request, AccessAttributes("update", "clusters", cluster=pk))
        body: Mapping[str, object] = json_body(request)
        cluster = registry.find(pk)
        # A client may send back what it read, but not with another id or server.
        for name in ("id", "server"):
            if name in body and body[name] != represent(cluster)[name]:
                raise Invalid(f"{name} cannot be changed", field=name)
        changeable = {"name", "kubeconfig", "context", "is_default", *cluster_fields.EDITABLE}
        annotate(request, details={"changed": sorted(set(body) & changeable)})
        cluster = registry.update(cluster, body)
        return represent(cluster, readable=visible_clusters(self, request))

    def destroy(self, request: Request, pk: str) -> Any:
        """Remove a cluster from the registry; what runs in it stays as it is."""
        authorise(self, request, AccessAttributes("delete", "clusters", cluster=pk))
        cluster = registry.find(pk)
        # Forgetting a cluster takes nothing away from it, so there is nothing to forecast.
        if dry_run(request.query_params.get("dry_run", json_body(request).get("dry_run", False))):
            return {}
        protected = "is protected" if cluster.protected else ""
        require_confirmation(
            request,
            ConfirmationRequest(
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
    """The id or name of the cluster that a request of a dialect without cluster ids is for.

    The query's `cluster`, the header X-Cluster, else the default cluster's id ("" while none is
    registered). Invalid when query and header differ.
    """
    parameter = request.query_params.get("cluster")
    header = request.headers.get("X-Cluster")
    if parameter and header and parameter != header:
        raise Invalid("cluster and X-Cluster name two clusters", field="cluster")
    return parameter or header or registry.default_reference()
