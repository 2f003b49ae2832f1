"""What the routes of templates share: who may see and change which, and what they answer."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from rest_framework.request import Request

from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.parsing import integer, json_body
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    OBJECT,
    TEXT,
    Schema,
    array,
    nullable,
    record,
    with_title,
)
from core.errors import Forbidden, Invalid, NotFound
from manifest_templates.models import Template, TemplateVersion
from manifest_templates.services import represent
from tenants.models import Tenant

VERSION_SUMMARY = with_title(
    "TemplateVersionSummary",
    record(version=TEXT, notes=TEXT, created_by=TEXT, created_at=TEXT),
)
SCOPE: Schema = {"type": "string", "enum": ["all", "tenant"]}
TEMPLATE = record(
    id=INTEGER,
    name=TEXT,
    description=TEXT,
    category=TEXT,
    tags=array(TEXT),
    scope=SCOPE,
    tenant=nullable(TEXT),
    cluster_id=nullable(INTEGER),
    icon=TEXT,
    built_in=BOOLEAN,
    version=nullable(TEXT),
    versions=array(VERSION_SUMMARY),
    created_by=TEXT,
    created_at=TEXT,
    updated_at=TEXT,
)
VERSION = record(
    template_id=INTEGER,
    version=TEXT,
    body=TEXT,
    schema=OBJECT,
    notes=TEXT,
    created_by=TEXT,
    created_at=TEXT,
)
METADATA_MEMBERS: Mapping[str, Schema] = {
    "name": TEXT,
    "description": TEXT,
    "category": TEXT,
    "tags": array(TEXT),
    "icon": TEXT,
}
# `tenant` is the name of its namespace, or its number; `cluster_id` where several have the name.
SCOPE_MEMBERS: Mapping[str, Schema] = {
    "scope": SCOPE,
    "tenant": {"oneOf": [TEXT, INTEGER]},
    "cluster_id": INTEGER,
}
VERSION_MEMBERS: Mapping[str, Schema] = {"body": TEXT, "schema": ANYTHING, "notes": TEXT}


class TemplateView(DialectView):
    """Templates for all are read by everybody with any right and changed by administrators.

    Those of a tenant are read by who may read in its namespace and changed by who may write there.
    """

    aliases = {"clusterId": "cluster_id"}

    def visible(self, request: Request) -> QuerySet[Template]:
        """The templates that the caller may see; Forbidden without any right."""
        authorise(self, request, AccessAttributes("list", "templates"))
        rows = Template.objects.select_related("tenant")
        if not Template.objects.filter(scope=Template.Scope.TENANT).exists():
            return rows
        try:
            scope = authorise(
                self,
                request,
                AccessAttributes("list", "tenanttemplates"),
            )
        except Forbidden:
            return rows.filter(scope=Template.Scope.ALL)
        if scope.clusters is None:
            return rows
        condition = Q(scope=Template.Scope.ALL)
        for pk, namespaces in scope.clusters.items():
            place = Q(tenant__cluster_id=pk)
            if namespaces is not None:
                place &= Q(tenant__namespace__in=namespaces)
            condition |= place
        return rows.filter(condition)

    def find(self, request: Request, pk: str) -> Template:
        """A template that the caller may see; NotFound."""
        row = _template_of(self.visible(request), pk)
        if row is None:
            raise NotFound("no such template")
        return row

    def find_to_change(
        self,
        request: Request,
        verb: str,
        pk: str,
    ) -> Template:
        """A template that the caller may change.

        Forbidden in the same words for one of a foreign tenant and one that is not there.
        """
        row = _template_of(Template.objects.select_related("tenant"), pk)
        if row is not None and row.tenant is not None:
            try:
                self.authorise_scope(
                    request,
                    verb,
                    row.tenant,
                    row.name,
                    row.scope,
                )
            except Forbidden:
                row = None
            else:
                return row
        name = "" if row is None else row.name
        authorise(
            self,
            request,
            AccessAttributes(verb, "templates", name=name[:253]),
        )
        if row is None:
            raise NotFound("no such template")
        return row

    def authorise_scope(
        self,
        request: Request,
        verb: str,
        tenant: Tenant | None,
        name: str,
        scope: str,
    ) -> None:
        """Forbidden for who may not change templates of that tenant, or None those for all."""
        if tenant is None or scope == Template.Scope.ALL:
            # Also for templates whose tenant is gone.
            authorise(
                self,
                request,
                AccessAttributes(verb, "templates", name=name[:253]),
            )
            return
        act = AccessAttributes(
            verb,
            "tenanttemplates",
            cluster=str(tenant.cluster_id),
            namespace=tenant.namespace,
            name=name[:253],
        )
        authorise(self, request, act)

    def tenant_of_body(
        self,
        request: Request,
        verb: str,
    ) -> Tenant | None:
        """The tenant that a new template is for, None for everybody.

        Forbidden for who may not make one there; Invalid for a tenant that is not the caller's.
        """
        body = json_body(request)
        scope = body.get("scope")
        reference = body.get("tenant")
        name = body.get("name")
        name = name if isinstance(name, str) else ""
        if scope is None:
            scope = Template.Scope.ALL if reference in (None, "") else Template.Scope.TENANT
        if scope != Template.Scope.TENANT:
            authorise(
                self,
                request,
                AccessAttributes(verb, "templates", name=name[:253]),
            )
            if scope != Template.Scope.ALL:
                raise Invalid(
                    "scope must be all or tenant",
                    field="scope",
                )
            if reference not in (None, ""):
                raise Invalid(
                    "a template for all names no tenant",
                    field="tenant",
                )
            return None
        # Before the body is judged, so that who has no right at all learns nothing.
        scopes = authorise(
            self,
            request,
            AccessAttributes("list", "tenanttemplates"),
        ).clusters
        tenant = _find_tenant(reference, body.get("cluster_id"), scopes)
        self.authorise_scope(request, verb, tenant, name, scope)
        return tenant


def _template_of(rows: QuerySet[Template], pk: str) -> Template | None:
    """The row of that number; None also for what is no number."""
    try:
        number = integer(pk, "id", minimum=1, maximum=2**63 - 1)
    except Invalid:
        return None
    return rows.filter(pk=number).first()


def _find_tenant(
    reference: object,
    cluster_id: object,
    visible: Mapping[int, frozenset[str] | None] | None,
) -> Tenant:
    """The tenant of that name or number among those the caller sees; Invalid."""
    if reference in (None, "") or isinstance(reference, bool):
        raise Invalid(
            "tenant is required for the scope tenant",
            field="tenant",
        )
    if isinstance(reference, int):
        rows = Tenant.objects.filter(pk=min(abs(reference), 2**63 - 1))
    elif isinstance(reference, str) and len(reference) <= 63 and "\x00" not in reference:
        rows = Tenant.objects.filter(namespace=reference)
    else:
        raise Invalid(
            "tenant must be the name of a tenant",
            field="tenant",
        )
    if cluster_id is not None:
        rows = rows.filter(
            cluster_id=integer(
                cluster_id,
                "cluster_id",
                minimum=0,
            )
        )
    tenants = [
        row
        for row in rows.filter(cluster__deleted_at=None)[:1000]
        if _is_visible(
            visible,
            row,
        )
    ]
    if not tenants:
        raise Invalid("tenant is none of yours", field="tenant")
    if len(tenants) > 1:
        raise Invalid(
            "several clusters have such a tenant: give cluster_id",
            field="cluster_id",
        )
    return tenants[0]


def _is_visible(visible: Mapping[int, frozenset[str] | None] | None, tenant: Tenant) -> bool:
    if visible is None:
        return True
    if tenant.cluster_id not in visible:
        return False
    namespaces = visible[tenant.cluster_id]
    return namespaces is None or tenant.namespace in namespaces


def with_versions(rows: QuerySet[Template]) -> QuerySet[Template]:
    """The rows with their versions, highest first and without texts, in one query more."""
    versions = TemplateVersion.objects.defer("body", "schema").order_by(
        "-precedence",
        "-id",
    )
    return rows.prefetch_related(Prefetch("versions", versions))


def represent_one(template: Template) -> dict[str, Any]:
    """One template for the API."""
    return represent_all(with_versions(Template.objects.filter(pk=template.pk)))[0]


def represent_all(rows: Iterable[Template]) -> list[dict[str, Any]]:
    """Templates of `with_versions` for the API."""
    return [represent(row, row.versions.all()) for row in rows]


def note_change(request: Request, template: Template, **details: Any) -> None:
    """Name the template in the audit trail; values and bodies stay out of it."""
    annotate(
        request,
        name=template.name,
        details={"template_id": template.pk, **details},
    )
