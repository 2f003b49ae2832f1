"""Grants over JSON: admins grant and withdraw roles where they are admins, and nowhere else."""

from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.request import Request

from access import authorization, grants, users
from access.models import ApiToken, Grant
from access.policy import Role
from core.api.audit import annotate
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import integer, json_body
from core.api.schema import INTEGER, OBJECT, PAGING, TEXT, OperationSchema, nullable, record
from core.errors import Forbidden, Invalid, NotFound

GRANT = record(
    id=INTEGER,
    role=TEXT,
    user=nullable(TEXT),
    group=nullable(TEXT),
    group_id=nullable(INTEGER),
    cluster_id=nullable(INTEGER),
    cluster=nullable(TEXT),
    namespace=nullable(TEXT),
    tenant_id=nullable(INTEGER),
)
BODY = record(
    required=("role",),
    role=TEXT,
    user=TEXT,
    group=TEXT,
    cluster=TEXT,
    namespace=TEXT,
)


def visible_grants(scope: Scope) -> QuerySet[Grant]:
    """The grants inside what the caller administers."""
    rows = grants.on_registered_clusters().select_related("user", "group", "cluster")
    if scope.clusters is None:
        return rows
    # An empty Q() would match every row, pk=None matches none.
    inside = Q(pk=None)
    for cluster, namespaces in scope.clusters.items():
        if namespaces is None:
            inside |= Q(cluster=cluster)
        else:
            inside |= Q(cluster=cluster, namespace__in=namespaces)
    return rows.filter(inside)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if (value is not None and not isinstance(value, str | int)) or isinstance(value, bool):
        raise Invalid(f"{name} must be text", field=name)
    return "" if value is None else str(value)


def require_may_grant(
    request: Request,
    role: Role,
    *,
    cluster: str,
    namespace: str,
) -> None:
    """Forbidden unless the caller may grant (or withdraw) the role there."""
    token = request.auth if isinstance(request.auth, ApiToken) else None
    authorization.require_may_grant(
        request.user,
        token,
        role,
        cluster=cluster,
        namespace=namespace,
    )


class Grants(DialectView):
    """GET and POST /grants."""

    operations = {
        "get": OperationSchema(
            "Grants that you administer",
            GRANT,
            query=PAGING[:2],
            paged=True,
        ),
        "post": OperationSchema("Give a user or a group a role", GRANT, body=BODY),
    }

    def get(self, request: Request) -> Any:
        """One page, oldest first."""
        rows = visible_grants(authorise(self, request, AccessAttributes("list", "grants")))
        page = page_request(request.query_params)
        items = [grants.represent(row) for row in rows[page.offset : page.offset + page.size]]
        return Page(items, rows.count(), page.page, page.size)

    def post(self, request: Request) -> Any:
        """The grant; Forbidden for a role that the caller does not have there as an admin."""
        body = json_body(request)
        cluster = _text(body, "cluster")
        namespace = _text(body, "namespace")
        authorise(
            self,
            request,
            AccessAttributes("create", "grants", cluster=cluster, namespace=namespace),
        )
        role = grants.role_of(body.get("role"))
        require_may_grant(request, role, cluster=cluster, namespace=namespace)
        user = _text(body, "user")
        group = _text(body, "group")
        if bool(user) == bool(group):
            raise Invalid("give either a user or a group")
        grant = grants.give(
            **users.grant_subject(user or group, is_group=bool(group)),
            role=role,
            cluster=cluster,
            namespace=namespace,
            by=request.user.get_username(),
        )
        annotate(
            request,
            name=user or group,
            details={"role": role, "is_group": bool(group)},
        )
        return grants.represent(grant)


class GrantDetail(DialectView):
    """DELETE /grants/{id}."""

    operations = {"delete": OperationSchema("Take a grant away", OBJECT)}

    def delete(self, request: Request, pk: str) -> Any:
        """{}: its rights end at once.

        A grant that the caller does not administer answers as one that does not exist.
        """
        scope = authorise(self, request, AccessAttributes("list", "grants"))
        row = (
            visible_grants(scope).filter(pk=integer(pk, "id", minimum=0, maximum=2**63 - 1)).first()
        )
        if row is None and scope.clusters is not None:
            raise Forbidden("you may not delete grants here")
        if row is None:
            raise NotFound("there is no such grant")
        cluster = str(row.cluster_id or "")
        namespace = row.namespace
        authorise(
            self,
            request,
            AccessAttributes("delete", "grants", cluster=cluster, namespace=namespace),
        )
        require_may_grant(
            request,
            grants.role_of(row.role),
            cluster=cluster,
            namespace=namespace,
        )
        annotate(
            request,
            name=str(row.user or row.group),
            details={"role": row.role},
        )
        grants.withdraw(row)
        return {}
