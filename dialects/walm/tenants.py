"""Walm's tenants: a tenant is a namespace with quotas (walm.md, 2.6)."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from core.api.audit import note
from core.api.auth import Scope
from core.api.parsing import json_body, raw_body
from core.api.schema import BOOLEAN, NUMBER, TEXT, Described, array, nullable, record
from core.errors import Invalid, NotFound
from dialects.walm.envelope import (
    CLUSTER,
    NOTHING,
    Missing,
    WalmView,
    as_addressed,
    explained,
    nothing,
)
from tenants import quotas, services
from tenants.manifests import MULTI_TENANT, Blueprint, texts

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
    unifyUnitTenantQuotas=array(record(quotaName=TEXT, hard=NUMBERS, used=NUMBERS)),
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
# Members of an answer that are the server's to say; clients send back what they read.
ANSWERED = tuple(name for name in INFO["properties"] if name not in PARAMS["properties"])


def info(tenant: services.Described) -> dict[str, Any]:
    """TenantInfo: every key, always."""
    metadata = tenant.namespace["metadata"]
    labels, phase = (
        metadata.get("labels") or {},
        (tenant.namespace.get("status") or {}).get("phase", ""),
    )
    found = [(quota["metadata"]["name"], *quotas.hard_and_used(quota)) for quota in tenant.quotas]
    return {
        "tenantName": tenant.name,
        "tenantCreationTime": metadata.get("creationTimestamp") or "",
        "tenantLabels": labels,
        "tenantAnnotations": metadata.get("annotations") or {},
        "tenantStatus": f"&NamespaceStatus{{Phase:{phase},}}"
        if settings.WALM_TENANT_STATUS_GO_TEXT
        else phase,
        "tenantQuotas": [
            {"quotaName": name, "hard": quotas.texts(hard), "used": quotas.texts(used)}
            for name, hard, used in found
        ],
        "multiTenant": MULTI_TENANT in labels,
        "ready": phase == "Active",
        "unifyUnitTenantQuotas": [
            {"quotaName": name, "hard": quotas.numbers(hard), "used": quotas.numbers(used)}
            for name, hard, used in found
        ],
    }


class TenantView(WalmView):
    """A call about tenants."""

    plural = "tenants"

    def permit_one(self, request: Request, verb: str, name: str) -> Scope:
        """The scope for one tenant: rights on it are rights in its namespace."""
        return self.permit(request, verb, namespace=name, name=name)


class Tenants(TenantView):
    """GET /tenant."""

    operations = {
        "get": Described(
            "Every tenant: all namespaces that the caller may see.",
            record(items=array(INFO)),
            (CLUSTER,),
            answer_name="WalmTenants",
        )
    }

    def get(self, request: Request) -> Any:
        """{"items"}, without a num."""
        scope = self.permit(request, "list")
        with explained("failed to list tenants : "):
            return {
                "items": [
                    info(tenant)
                    for tenant in services.describe_all(self.cluster(), only=scope.namespaces)
                ]
            }


class Tenant(TenantView):
    """GET, POST, PUT and DELETE /tenant/{tenantName}."""

    operations = {
        "get": Described("One tenant.", INFO, (CLUSTER,)),
        "post": Described(
            "Make a tenant; one that is there is left alone.",
            NOTHING,
            (CLUSTER,),
            PARAMS,
            also_body=ANSWERED,
        ),
        "put": Described(
            "Change labels, annotations and the quotas named.",
            NOTHING,
            (CLUSTER,),
            PARAMS,
            also_body=ANSWERED,
        ),
        "delete": Described("Delete a tenant with all that is in it.", NOTHING, (CLUSTER,)),
    }

    def get(self, request: Request, name: str) -> Any:
        """TenantInfo."""
        self.permit_one(request, "get", name)
        with explained("failed to get tenant : "):
            cluster = self.cluster()
            try:
                return info(services.describe(cluster, name))
            except NotFound as error:
                raise Missing(f"tenant {name} is not found") from error

    def post(self, request: Request, name: str) -> HttpResponse:
        """Empty: made, or there already and unchanged."""
        self.permit_one(request, "create", name)
        body = _body(request, name)
        with explained("failed to create tenant : "):
            services.create(self.cluster(), _blueprint(name, body), by=request.user.get_username())
        return nothing()

    def put(self, request: Request, name: str) -> HttpResponse:
        """Empty: changed."""
        self.permit_one(request, "update", name)
        body = _body(request, name)
        with explained("failed to update tenant : "):
            services.update(self.cluster(), _blueprint(name, body))
        return nothing()

    def delete(self, request: Request, name: str) -> HttpResponse:
        """Empty, also when there is no such tenant."""
        self.permit_one(request, "delete", name)
        with explained(f"failed to delete namespace {name}: "):
            services.delete(
                self.cluster(), name, only_labelled=settings.WALM_DELETE_LABELLED_TENANTS_ONLY
            )
        return nothing()


def _body(request: Request, name: str) -> dict[str, Any]:
    with explained("failed to read tenant params : "):
        if not raw_body(request).strip():
            raise Invalid("EOF")
        body = json_body(request)
        as_addressed(body, "tenantName", name)
    note(request, details={"quotas": _names(body.get("tenantQuotas"))})
    return body


def _names(given: object) -> list[str]:
    found = given if isinstance(given, list) else []
    return [str(item.get("quotaName"))[:63] for item in found if isinstance(item, dict)][:20]


def _blueprint(name: str, body: dict[str, Any]) -> Blueprint:
    return Blueprint(
        name=name,
        labels=texts(body.get("tenantLabels"), "tenantLabels"),
        annotations=texts(body.get("tenantAnnotations"), "tenantAnnotations"),
        quotas=quotas.read(body.get("tenantQuotas")),
    )
