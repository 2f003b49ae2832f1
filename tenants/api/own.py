"""The tenants that a caller sees in all clusters, out of the database alone."""

from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.request import Request

from core.api.auth import AccessAttributes, Scope, authorise, find_scope
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, integer
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    record,
)
from core.errors import Forbidden
from tenants.models import Tenant

OWN_TENANT = record(
    id=INTEGER,
    cluster_id=INTEGER,
    cluster=TEXT,
    name=TEXT,
    writable=BOOLEAN,
)


class OwnTenants(DialectView):
    """GET /auth/tenants."""

    aliases = {"clusterId": "cluster_id"}
    operations = {
        "get": OperationSchema(
            "Tenants that you see, in all clusters, and whether you may write in them",
            OWN_TENANT,
            query=(
                QueryParameter("cluster_id", INTEGER, description="Those of one cluster only."),
                QueryParameter(
                    "writable",
                    BOOLEAN,
                    description="Only those in which you may write, as for templates of a tenant.",
                ),
                *PAGING,
            ),
            paged=True,
        ),
    }

    def get(self, request: Request) -> Any:
        """One page, by cluster and name."""
        scope = authorise(self, request, AccessAttributes("list", "tenants"))
        query = request.query_params
        page = page_request(query)
        writable = self._writable(request)
        rows = _inside(scope)
        if boolean(query.get("writable", "false"), "writable"):
            rows = writable
        if cluster := query.get("cluster_id", ""):
            rows = rows.filter(cluster_id=integer(cluster, "cluster_id", maximum=2**63 - 1))
        keyword = query.get("keyword", "").replace("\x00", "")
        rows = rows.filter(namespace__icontains=keyword).select_related("cluster")
        tenants = rows.order_by("cluster__name", "namespace", "pk")
        selected = list(tenants[page.offset : page.offset + page.size])
        keys = {tenant.pk for tenant in selected}
        writable_keys = set(writable.filter(pk__in=keys).values_list("pk", flat=True))
        items = [
            {
                "id": tenant.pk,
                "cluster_id": tenant.cluster_id,
                "cluster": tenant.cluster.name,
                "name": tenant.namespace,
                "writable": tenant.pk in writable_keys,
            }
            for tenant in selected
        ]
        return Page(items, rows.count(), page.page, page.size)

    def _writable(self, request: Request) -> QuerySet[Tenant]:
        """The tenants in which the caller may write; none for who may write nowhere."""
        act = AccessAttributes("list", "writabletenants")
        try:
            return _inside(find_scope(self, request, act))
        except Forbidden:
            return Tenant.objects.none()


def _inside(scope: Scope) -> QuerySet[Tenant]:
    """The tenants of registered clusters in a scope over clusters."""
    tenants = Tenant.objects.filter(cluster__deleted_at=None)
    if scope.clusters is None:
        return tenants
    # An empty Q() would match every row, pk=None matches none.
    inside = Q(pk=None)
    for cluster, namespaces in scope.clusters.items():
        place = Q(cluster_id=cluster)
        if namespaces is not None:
            place &= Q(namespace__in=namespaces)
        inside |= place
    return tenants.filter(inside)
