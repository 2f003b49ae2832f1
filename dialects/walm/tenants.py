"""Walm's tenants: a tenant is a namespace with quotas (walm.md, 2.6)."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from core.api.audit import annotate
from core.api.auth import Scope
from core.api.parsing import json_body, raw_body
from core.api.schema import BOOLEAN, NUMBER, TEXT, OperationSchema, array, nullable, record
from core.errors import Invalid, NotFound
from dialects.walm.envelope import (
    CLUSTER,
    NOTHING,
    Missing,
    WalmView,
    empty_response,
    prefix_errors,
    require_address,
)
from tenants import quotas, services
from tenants.manifests import MULTI_TENANT, TenantSpec, parse_text_map

TEXTS = record(**dict.fromkeys(quotas.RESOURCES, TEXT))
NUMBERS = record(**dict.fromkeys(quotas.RESOURCES, NUMBER))
MAP = {"type": "object", "additionalProperties": TEXT}
INFO = record(
    tenantName=TEXT,
    tenantCreationTime=TEXT,
    tenantLabels=MAP,
    tenantAnnotations=MAP,
    tenantStatus=TEXT,
    tenantQuotas=array(record(quotaName=TEXT, hard=TEXTS, used=TEXTS)),
    multiTenant=BOOLEAN,
    ready=BOOLEAN,
    unifyUnitTenantQuotas=array(
        record(
            quotaName=TEXT,
            hard=NUMBERS,
            used=NUMBERS,
        )
    ),
)
PARAMS = record(
    required=(),
    tenantAnnotations=nullable(MAP),
    tenantLabels=nullable(MAP),
    tenantQuotas=nullable(
        array(
            record(
                required=("quotaName", "hard"),
                quotaName=TEXT,
                hard={
                    **record(required=(), **dict.fromkeys(quotas.RESOURCES, TEXT)),
                    "additionalProperties": TEXT,
                },
                used={**MAP, "description": "As answered; changes nothing."},
            )
        )
    ),
)
# Members of an answer that clients may send back, without changing them.
ANSWERED = tuple(name for name in INFO["properties"] if name not in PARAMS["properties"])


def info(tenant: services.TenantState) -> dict[str, Any]:
    """The document's TenantInfo, always with all of its keys."""
    metadata = tenant.namespace["metadata"]
    labels = metadata.get("labels") or {}
    phase = (tenant.namespace.get("status") or {}).get("phase", "")
    status = phase
    if settings.WALM_TENANT_STATUS_GO_TEXT:
        # The original answers how Go prints the struct.
        status = f"&NamespaceStatus{{Phase:{phase},}}"
    text_quotas: list[dict[str, Any]] = []
    number_quotas: list[dict[str, Any]] = []
    for quota in tenant.quotas:
        name = quota["metadata"]["name"]
        hard, used = quotas.hard_and_used(quota)
        text_quotas.append(
            {"quotaName": name, "hard": quotas.quota_texts(hard), "used": quotas.quota_texts(used)}
        )
        number_quotas.append(
            {
                "quotaName": name,
                "hard": quotas.quota_numbers(hard),
                "used": quotas.quota_numbers(used),
            }
        )
    return {
        "tenantName": tenant.name,
        "tenantCreationTime": metadata.get("creationTimestamp") or "",
        "tenantLabels": labels,
        "tenantAnnotations": metadata.get("annotations") or {},
        "tenantStatus": status,
        "tenantQuotas": text_quotas,
        # The label alone counts, with any value, as in the original.
        "multiTenant": MULTI_TENANT in labels,
        "ready": phase == "Active",
        "unifyUnitTenantQuotas": number_quotas,
    }


class WalmTenantView(WalmView):
    """A call about tenants."""

    plural = "tenants"

    def permit_tenant(self, request: Request, verb: str, name: str) -> Scope:
        """The scope for one tenant: rights on it are rights in its namespace."""
        return self.permit(request, verb, namespace=name, name=name)


class Tenants(WalmTenantView):
    """GET /tenant."""

    operations = {
        "get": OperationSchema(
            "Every tenant: all namespaces that the caller may see.",
            record(items=array(INFO)),
            (CLUSTER,),
            answer_name="WalmTenants",
        )
    }

    def get(self, request: Request) -> Any:
        """{"items"}, without a num."""
        scope = self.permit(request, "list")
        with prefix_errors("failed to list tenants : "):
            rows = services.describe_all(self.cluster(), only=scope.namespaces)
            return {"items": [info(row) for row in rows]}


class Tenant(WalmTenantView):
    """GET, POST, PUT and DELETE /tenant/{tenantName}."""

    operations = {
        "get": OperationSchema("One tenant.", INFO, (CLUSTER,)),
        "post": OperationSchema(
            "Make a tenant; one that is there is left alone.",
            NOTHING,
            (CLUSTER,),
            PARAMS,
            also_body=ANSWERED,
        ),
        "put": OperationSchema(
            "Change labels, annotations and the quotas named.",
            NOTHING,
            (CLUSTER,),
            PARAMS,
            also_body=ANSWERED,
        ),
        "delete": OperationSchema(
            "Delete a tenant with all that is in it.",
            NOTHING,
            (CLUSTER,),
        ),
    }

    def get(self, request: Request, name: str) -> Any:
        """TenantInfo."""
        self.permit_tenant(request, "get", name)
        with prefix_errors("failed to get tenant : "):
            cluster = self.cluster()
            try:
                return info(services.describe(cluster, name))
            except NotFound as error:
                raise Missing(f"tenant {name} is not found") from error

    def post(self, request: Request, name: str) -> HttpResponse:
        """Empty: the tenant was created, or exists already and is unchanged."""
        self.permit_tenant(request, "create", name)
        body = _body(request, name)
        with prefix_errors("failed to create tenant : "):
            services.create(
                self.cluster(),
                _tenant_spec(name, body),
                by=request.user.get_username(),
            )
        return empty_response()

    def put(self, request: Request, name: str) -> HttpResponse:
        """Empty: changed."""
        self.permit_tenant(request, "update", name)
        body = _body(request, name)
        with prefix_errors("failed to update tenant : "):
            services.update(self.cluster(), _tenant_spec(name, body))
        return empty_response()

    def delete(self, request: Request, name: str) -> HttpResponse:
        """Empty, also when there is no such tenant."""
        self.permit_tenant(request, "delete", name)
        with prefix_errors(f"failed to delete namespace {name}: "):
            services.delete(
                self.cluster(),
                name,
                only_labelled=settings.WALM_DELETE_LABELLED_TENANTS_ONLY,
            )
        return empty_response()


def _body(request: Request, name: str) -> dict[str, Any]:
    with prefix_errors("failed to read tenant params : "):
        if not raw_body(request).strip():
            # What Go's decoder says of an empty body; clients know the text.
            raise Invalid("EOF")
        body = json_body(request)
        require_address(body, "tenantName", name)
    annotate(request, details={"quotas": _quota_names(body.get("tenantQuotas"))})
    return body


def _quota_names(tenant_quotas: object) -> list[str]:
    """The names for the audit line, which is written before the quotas are checked."""
    if not isinstance(tenant_quotas, list):
        return []
    names = [str(quota.get("quotaName"))[:63] for quota in tenant_quotas if isinstance(quota, dict)]
    # The audit line stays small, however long the body is.
    return names[:20]


def _tenant_spec(name: str, body: dict[str, Any]) -> TenantSpec:
    return TenantSpec(
        name=name,
        labels=parse_text_map(body.get("tenantLabels"), "tenantLabels"),
        annotations=parse_text_map(body.get("tenantAnnotations"), "tenantAnnotations"),
        quotas=quotas.parse_quotas(body.get("tenantQuotas")),
    )
