"""The registry of clusters over JSON (KubeGale document, section 1; contract 1.1)."""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from django.utils.timezone import localtime
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters import services
from clusters.models import Cluster
from kubegale.api.auth import Act, authorise
from kubegale.api.dialect import DialectView, Page
from kubegale.api.pagination import page_request
from kubegale.api.parsing import json_body
from kubegale.api.schema import BOOLEAN, INTEGER, OBJECT, PAGING, TEXT, Described, nullable, record


def represent(cluster: Cluster) -> dict[str, Any]:
    """A cluster as JSON; the kubeconfig is always masked."""
    return {
        "id": cluster.pk,
        "name": cluster.name,
        "description": cluster.description,
        "kubeconfig": services.MASK,
        "server": cluster.server,
        "status": cluster.status,
        "status_reason": cluster.status_reason,
        "version": cluster.version,
        "labels": cluster.labels,
        "is_default": cluster.is_default,
        "protected": cluster.protected,
        "created_at": _utc(cluster.created_at),
        "last_seen_at": _utc(cluster.last_seen_at),
    }


def _utc(moment: Any) -> str | None:
    return None if moment is None else f"{localtime(moment, timezone=UTC):%Y-%m-%dT%H:%M:%SZ}"


CLUSTER_SCHEMA = record(
    id=INTEGER,
    name=TEXT,
    description=TEXT,
    kubeconfig={"type": "string", "enum": [services.MASK]},
    server=TEXT,
    status={"type": "string", "enum": list(Cluster.Status.values)},
    status_reason=TEXT,
    version=TEXT,
    labels=OBJECT,
    is_default=BOOLEAN,
    protected=BOOLEAN,
    created_at=TEXT,
    last_seen_at=nullable(TEXT),
)
FIELDS = {"name": TEXT, "description": TEXT, "kubeconfig": TEXT, "labels": OBJECT, "is_default": BOOLEAN, "protected": BOOLEAN}


class ClusterViewSet(ViewSetMixin, DialectView):
    """Clusters: list, read, register, change, remove."""

    operations = {
        "list": Described("List the registered clusters", CLUSTER_SCHEMA, query=PAGING, paged=True),
        "retrieve": Described("One cluster", CLUSTER_SCHEMA),
        "create": Described("Register a cluster", CLUSTER_SCHEMA, body=record(required=("name", "kubeconfig"), **FIELDS)),
        "update": Described("Change a cluster", CLUSTER_SCHEMA, body=record(required=(), **FIELDS)),
        "destroy": Described("Forget a cluster", OBJECT),
    }

    def list(self, request: Request) -> Any:
        """One page, by name or description."""
        scope = authorise(self, request, Act("list", "clusters"))
        page = page_request(request.query_params)
        found = services.search(request.query_params.get("keyword", "").replace("\x00", "")).defer("kubeconfig")
        if scope.clusters is not None:
            found = found.filter(pk__in=scope.clusters)
        items = [represent(cluster) for cluster in found[page.offset : page.offset + page.size]]
        return Page(items, found.count(), page.page, page.size, extra={"list": items})

    def retrieve(self, request: Request, pk: str) -> Any:
        """One cluster."""
        authorise(self, request, Act("get", "clusters", cluster=pk))
        return represent(services.find(pk))

    def create(self, request: Request) -> Any:
        """Register a cluster, after its connection was tried."""
        authorise(self, request, Act("create", "clusters"))
        body = json_body(request)
        return represent(
            services.register(
                name=body.get("name"),
                kubeconfig_text=body.get("kubeconfig"),
                default=body.get("is_default") is True,
                **{field: body[field] for field in services.EDITABLE if field in body},
            )
        )

    def update(self, request: Request, pk: str) -> Any:
        """Change some fields; a new kubeconfig is tried first."""
        authorise(self, request, Act("update", "clusters", cluster=pk))
        body: Mapping[str, object] = json_body(request)
        return represent(services.update(services.find(pk), body))

    def destroy(self, request: Request, pk: str) -> Any:
        """Forget a cluster; what runs in it is left alone."""
        authorise(self, request, Act("delete", "clusters", cluster=pk))
        services.remove(services.find(pk))
        return {}


def cluster_reference(request: Request) -> str:
    """The cluster meant where a document names none: `cluster=`, X-Cluster, else the default one's id ("" when none is)."""
    given = request.query_params.get("cluster") or request.headers.get("X-Cluster")
    return given or services.default_reference()
