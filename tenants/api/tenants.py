"""Tenants over KubeGale's own routes: plans, members, options and usage."""

import datetime
from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from rest_framework.request import Request

from access import authorization, grants
from access.models import ApiToken, Grant
from clusters.manifests import Object
from clusters.models import Cluster
from core.api.audit import annotate
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import moment
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NUMBER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Conflict, Invalid
from tenants import manifests, plans, quotas, services
from tenants.manifests import Member, TenantSpec
from tenants.models import QuotaPlan, Tenant
from tenants.quotas import Quota
from workloads.api import RequestTarget

# No samples are older, and a day before the first year there is no time.
FIRST_MOMENT = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
NUMBERS = record(required=(), **dict.fromkeys(quotas.RESOURCES, NUMBER))
MAP = {"type": "object", "additionalProperties": TEXT}
TEXTS = {
    **record(required=(), **dict.fromkeys(quotas.RESOURCES, TEXT)),
    "additionalProperties": TEXT,
    "description": "Quantities, under these names or under Kubernetes' own "
    "(`requests.cpu`, `count/jobs.batch`).",
}
MEMBER = record(username=TEXT, role=TEXT)
TENANT = record(
    id=nullable(INTEGER),
    cluster_id=INTEGER,
    name=TEXT,
    uid=TEXT,
    status=TEXT,
    labels=MAP,
    annotations=MAP,
    created_at=TEXT,
    contact=TEXT,
    description=TEXT,
    options=OBJECT,
    members=array(MEMBER),
    quotas=array(record(name=TEXT, hard=TEXTS, used=TEXTS)),
    usage=record(hard=NUMBERS, used=NUMBERS),
)
TENANT_BODY = record(
    required=("cluster_id",),
    cluster_id=INTEGER,
    name=TEXT,
    labels=nullable(MAP),
    annotations=nullable(MAP),
    plan=TEXT,
    quotas=array(record(name=TEXT, hard=TEXTS)),
    members=array(MEMBER),
    contact=TEXT,
    description=TEXT,
    network_policy=BOOLEAN,
    role_bindings=BOOLEAN,
    pod_security={"type": "string", "enum": list(manifests.POD_SECURITY)},
)
# What a tenant was made with stays: members and options have routes of their own, or none.
TENANT_CHANGE = {
    **TENANT_BODY,
    "properties": {
        name: schema
        for name, schema in TENANT_BODY["properties"].items()
        if name not in {"members", "network_policy", "role_bindings", "pod_security"}
    },
}
PLAN = record(
    id=INTEGER,
    name=TEXT,
    description=TEXT,
    hard=TEXTS,
)
SAMPLE = record(at=TEXT, hard=NUMBERS, used=NUMBERS)


def represent(
    cluster: Cluster,
    described: services.TenantState,
    row: Tenant | None,
    members: list[Grant],
) -> dict[str, Any]:
    """A tenant as JSON data in the shape of TENANT: the cluster's objects and our row."""
    metadata = described.namespace["metadata"]
    return {
        "id": row.pk if row else None,
        "cluster_id": cluster.pk,
        "name": described.name,
        "uid": str(metadata["uid"]),
        "status": (described.namespace.get("status") or {}).get("phase", ""),
        "labels": metadata.get("labels") or {},
        "annotations": metadata.get("annotations") or {},
        "created_at": metadata.get("creationTimestamp") or "",
        "contact": row.contact if row else "",
        "description": row.description if row else "",
        "options": row.options if row else {},
        "members": [_represent_member(grant) for grant in members],
        "quotas": [_represent_quota(quota) for quota in described.quotas],
        "usage": plans.usage(described),
    }


def _represent_quota(quota: Object) -> dict[str, Any]:
    hard, used = quotas.hard_and_used(quota)
    return {
        "name": quota["metadata"]["name"],
        "hard": quotas.all_texts(hard),
        "used": quotas.all_texts(used),
    }


def _represent_member(grant: Grant) -> dict[str, str]:
    username = grant.user.get_username() if grant.user else ""
    return {"username": username, "role": grant.role}


def _represent_all(
    cluster: Cluster,
    described: list[services.TenantState],
) -> list[dict[str, Any]]:
    """Tenants with their rows and members, in three queries however many they are."""
    # By uid: a namespace made again under the same name is not the tenant of the row.
    uids = [str(tenant.namespace["metadata"]["uid"]) for tenant in described]
    rows_of_cluster = Tenant.objects.filter(cluster=cluster, uid__in=uids)
    rows = {row.uid: row for row in rows_of_cluster}
    members: dict[int, list[Grant]] = {}
    grants_of_tenants = Grant.objects.filter(tenant__in=rows.values()).select_related("user")
    for grant in grants_of_tenants.order_by("user__username"):
        members.setdefault(grant.tenant_id or 0, []).append(grant)
    items = []
    for tenant, uid in zip(described, uids, strict=True):
        row = rows.get(uid)
        row_members = members.get(row.pk, []) if row else []
        items.append(represent(cluster, tenant, row, row_members))
    return items


class TenantView(DialectView):
    """Rights on a tenant are rights in its namespace; they are checked before anything else."""

    aliases = {"clusterId": "cluster_id"}

    def permit(
        self,
        request: Request,
        verb: str,
        name: str = "",
        *,
        kind: str = "tenants",
    ) -> tuple[RequestTarget, Scope]:
        """The request's target, and the scope of the caller in it; Forbidden."""
        target = RequestTarget(self, request)
        act = AccessAttributes(verb, kind, "", target.cluster_text, name, name)
        scope = authorise(self, request, act)
        target.check()
        return target, scope

    def require_may_grant(
        self,
        request: Request,
        cluster: Cluster,
        name: str,
        members: Iterable[Member],
    ) -> None:
        """Forbidden unless the caller, with the request's token, may grant the members' roles."""
        token = request.auth if isinstance(request.auth, ApiToken) else None
        for role in {member.role for member in members}:
            authorization.require_may_grant(
                request.user,
                token,
                role,
                cluster=str(cluster.pk),
                namespace=name,
            )


class Tenants(TenantView):
    """GET and POST /tenants."""

    operations = {
        "get": OperationSchema(
            "Tenants of a cluster: its namespaces, with quotas and members",
            TENANT,
            query=(CLUSTER, *PAGING),
            paged=True,
        ),
        "post": OperationSchema(
            "Make a tenant",
            TENANT,
            body=TENANT_BODY,
            also_query=("cluster_id",),
        ),
    }

    def get(self, request: Request) -> Any:
        """One page, by name."""
        target, scope = self.permit(request, "list")
        page = page_request(request.query_params)
        keyword = request.query_params.get("keyword", "").lower()
        cluster = target.cluster()
        matching = [
            tenant
            for tenant in services.describe_all(cluster, only=scope.namespaces)
            if keyword in tenant.name.lower()
        ]
        matching.sort(key=lambda tenant: tenant.name)
        selected = matching[page.offset : page.offset + page.size]
        items = _represent_all(cluster, selected)
        return Page(items, len(matching), page.page, page.size)

    def post(self, request: Request) -> Any:
        """The new tenant; Conflict when the namespace exists already."""
        # The right is checked for the namespace that the body names, before the body is.
        name = RequestTarget(self, request).body.get("name")
        name = name if isinstance(name, str) else ""
        target, _ = self.permit(request, "create", name)
        cluster = target.cluster()
        body = target.body
        if not name:
            raise Invalid("name is required", field="name")
        spec = _parse_tenant_spec(name, body)
        self.require_may_grant(request, cluster, name, spec.members)
        members = [f"{member.username}: {member.role}" for member in spec.members]
        annotate(request, details={"members": members, "options": dict(spec.options)})
        tenant = services.create(
            cluster,
            spec,
            by=request.user.get_username(),
            contact=_text(body, "contact"),
            description=_text(body, "description"),
        )
        if tenant is None:
            raise Conflict(
                f"namespace {name} exists already",
                reason="AlreadyExists",
                status=409,
            )
        return _represent_all(cluster, [services.describe(cluster, name)])[0]


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if value is None:
        return ""
    # PostgreSQL stores no NUL character in text.
    if not isinstance(value, str) or "\x00" in value or len(value) > 200:
        raise Invalid(f"{field} must be text of at most 200 characters", field=field)
    return value


def _parse_tenant_spec(name: str, body: dict[str, Any]) -> TenantSpec:
    return TenantSpec(
        name=name,
        labels=manifests.parse_text_map(body.get("labels"), "labels"),
        annotations=manifests.parse_text_map(body.get("annotations"), "annotations"),
        quotas=_parse_quotas(body),
        members=_parse_members(body.get("members")),
        options=manifests.check_options(body),
    )


def _parse_quotas(body: dict[str, Any]) -> tuple[Quota, ...]:
    entries = body.get("quotas")
    if entries is not None and not isinstance(entries, list):
        raise Invalid("quotas must be a list", field="quotas")
    items: list[Any] = []
    for entry in entries or []:
        if isinstance(entry, dict):
            entry = {"quotaName": entry.get("name"), "hard": entry.get("hard")}
        items.append(entry)
    if body.get("plan") is not None:
        plan = plans.find(body["plan"])
        items.append({"quotaName": plan.name, "hard": plan.hard})
    return quotas.parse_quotas(items)


def _parse_members(value: object) -> tuple[Member, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Invalid("members must be a list", field="members")
    members = tuple(_parse_member(item) for item in value)
    # Two roles for one user would leave it to the order which one holds.
    if len({member.username for member in members}) != len(members):
        raise Invalid("members names a user twice", field="members")
    return members


def _parse_member(item: object) -> Member:
    if not isinstance(item, dict) or not isinstance(item.get("username"), str):
        raise Invalid("a member needs a username and a role", field="members")
    return Member(item["username"], grants.role_of(item.get("role")))


class TenantDetail(TenantView):
    """GET, PUT and DELETE /tenants/{name}."""

    operations = {
        "get": OperationSchema("One tenant", TENANT, query=(CLUSTER,)),
        "put": OperationSchema(
            "Change labels, annotations, quotas, contact and description",
            TENANT,
            body=TENANT_CHANGE,
            also_query=("cluster_id",),
        ),
        "delete": OperationSchema(
            "Delete a tenant with all that is in it",
            OBJECT,
            query=(CLUSTER,),
            also_body=("cluster_id",),
        ),
    }

    def get(self, request: Request, name: str) -> Any:
        """The tenant; NotFound without the namespace."""
        target, _ = self.permit(request, "get", name)
        cluster = target.cluster()
        return _represent_all(cluster, [services.describe(cluster, name)])[0]

    def put(self, request: Request, name: str) -> Any:
        """The changed tenant."""
        target, _ = self.permit(request, "update", name)
        cluster = target.cluster()
        body = target.body
        # A body that repeats the name of the address changes nothing.
        if body.get("name", name) != name:
            raise Invalid("name cannot be changed", field="name")
        spec = TenantSpec(
            name=name,
            labels=manifests.parse_text_map(body.get("labels"), "labels"),
            annotations=manifests.parse_text_map(body.get("annotations"), "annotations"),
            quotas=_parse_quotas(body),
        )
        texts = {}
        # A member that is left out stays as it is.
        for field in ("contact", "description"):
            if field in body:
                texts[field] = _text(body, field)
        services.update(cluster, spec)
        if texts:
            tenant = services.find(cluster, name, by=request.user.get_username())
            Tenant.objects.filter(pk=tenant.pk).update(**texts)
        return _represent_all(cluster, [services.describe(cluster, name)])[0]

    def delete(self, request: Request, name: str) -> Any:
        """{}: the namespace is being deleted, and every right in it ended. NotFound."""
        target, _ = self.permit(request, "delete", name)
        cluster = target.cluster()
        # NotFound here: deleting what is gone already is no error for the service.
        services.describe(cluster, name)
        services.delete(cluster, name)
        return {}


class Members(TenantView):
    """GET and POST /tenants/{name}/members: an admin of the tenant manages its members."""

    operations = {
        "get": OperationSchema(
            "Members of a tenant",
            MEMBER,
            query=(CLUSTER,),
            paged=True,
        ),
        "post": OperationSchema(
            "Make somebody a member, or give them another role",
            MEMBER,
            body=record(cluster_id=INTEGER, username=TEXT, role=TEXT),
            also_query=("cluster_id",),
        ),
    }

    def get(self, request: Request, name: str) -> Any:
        """All of them, by name."""
        target, _ = self.permit(request, "list", name, kind="tenants")
        cluster = target.cluster()
        (tenant,) = _represent_all(cluster, [services.describe(cluster, name)])
        members = tenant["members"]
        return Page(members, len(members), 1, max(len(members), 1))

    def post(self, request: Request, name: str) -> Any:
        """The member."""
        target, _ = self.permit(request, "create", name, kind="members")
        cluster = target.cluster()
        member = _parse_member(target.body)
        self.require_may_grant(request, cluster, name, [member])
        annotate(request, details={"member": member.username, "role": member.role})
        by = request.user.get_username()
        tenant = services.find(cluster, name, by=by)
        grant = services.admit(tenant, member.username, member.role, by=by)
        return _represent_member(grant)


class MemberDetail(TenantView):
    """DELETE /tenants/{name}/members/{username}."""

    operations = {
        "delete": OperationSchema(
            "Take a membership away",
            OBJECT,
            query=(CLUSTER,),
            also_body=("cluster_id",),
        )
    }

    def delete(self, request: Request, name: str, username: str) -> Any:
        """{}: the member's rights end at once."""
        target, _ = self.permit(request, "delete", name, kind="members")
        annotate(request, details={"member": username})
        services.dismiss(services.find(target.cluster(), name), username)
        return {}


class Usage(TenantView):
    """GET /tenants/{name}/usage: quota used against hard, now and over time."""

    operations = {
        "get": OperationSchema(
            "What a tenant uses of its quotas",
            record(now=record(hard=NUMBERS, used=NUMBERS), samples=array(SAMPLE)),
            query=(CLUSTER, QueryParameter("since", TEXT), QueryParameter("until", TEXT)),
            answer_name="TenantUsageOverTime",
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """{"now","samples"}; samples of the last day unless since and until say otherwise."""
        target, _ = self.permit(request, "get", name)
        cluster = target.cluster()
        query = request.query_params
        until = moment(query.get("until", ""), "until") or timezone.now()
        since = moment(query.get("since", ""), "since")
        if since is None:
            # From a moment of the year 1 no day can be subtracted.
            since = max(until, FIRST_MOMENT) - datetime.timedelta(days=1)
        described = services.describe(cluster, name)
        row = Tenant.objects.filter(
            cluster=cluster, uid=str(described.namespace["metadata"]["uid"])
        ).first()
        return {
            "now": plans.usage(described),
            "samples": plans.usage_history(
                row,
                since=since,
                until=until,
            )
            if row
            else [],
        }


class Plans(DialectView):
    """GET and POST /plans: templates of quotas."""

    operations = {
        "get": OperationSchema("Templates of quotas", PLAN, paged=True),
        "post": OperationSchema(
            "Make a template of quotas",
            PLAN,
            body=record(required=("name", "hard"), name=TEXT, description=TEXT, hard=TEXTS),
        ),
    }

    def get(self, request: Request) -> Any:
        """All of them, by name."""
        authorise(self, request, AccessAttributes("list", "plans"))
        items = [plans.represent(plan) for plan in QuotaPlan.objects.all()]
        return Page(items, len(items), 1, max(len(items), 1))

    def post(self, request: Request) -> Any:
        """The new plan."""
        target = RequestTarget(self, request)
        authorise(self, request, AccessAttributes("create", "plans"))
        target.check()
        body = target.body
        plan = plans.create(body.get("name"), body.get("hard"), body.get("description") or "")
        annotate(request, name=plan.name)
        return plans.represent(plan)


class PlanDetail(DialectView):
    """DELETE /plans/{name}."""

    operations = {
        "delete": OperationSchema(
            "Delete a template of quotas; tenants made from it keep theirs", OBJECT
        )
    }

    def delete(self, request: Request, name: str) -> Any:
        """{}."""
        authorise(self, request, AccessAttributes("delete", "plans", name=name))
        plans.find(name).delete()
        return {}
