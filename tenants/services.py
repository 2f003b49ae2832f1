"""Tenants in a cluster: namespace, quotas, LimitRange, members and isolation (walm.md 2.6)."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.contrib.auth.models import User
from django.db import transaction

from access import users
from access.models import Grant
from access.policy import Role
from clusters import registry
from clusters.accessible_namespaces import read_each
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from core.retry import retry_on_conflict
from tenants import manifests
from tenants.manifests import PROTECTED, Member, TenantSpec
from tenants.models import Tenant
from tenants.quotas import Quota

log = logging.getLogger(__name__)
NAMESPACES = KINDS["namespaces"]
QUOTAS = KINDS["resourcequotas"]
LIMIT_RANGES = KINDS["limitranges"]
NETWORK_POLICIES = KINDS["networkpolicies"]
ROLE_BINDINGS = KINDS["rolebindings"]


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant as the cluster has it: its Namespace and its ResourceQuotas, by name."""

    namespace: Object
    quotas: tuple[Object, ...]

    @property
    def name(self) -> str:
        """The namespace's name."""
        return str(self.namespace["metadata"]["name"])


# --- reading --------------------------------------------------------------------------------------
def describe(cluster: Cluster, name: str) -> TenantState:
    """One tenant; NotFound when there is no such namespace."""
    client = registry.client(cluster)
    namespace = orjson.loads(client.get(NAMESPACES, name))
    quotas = list_all(client, QUOTAS, name)
    return TenantState(namespace, tuple(_sort_by_name(quotas)))


def describe_all(
    cluster: Cluster,
    *,
    only: frozenset[str] | None = None,
) -> list[TenantState]:
    """Every namespace of the cluster as a tenant, or those of `only` that exist.

    Two lists of the cluster are read, however many namespaces there are; with `only` two requests
    for each name.
    """
    if only is not None:
        return _describe_each(cluster, only)
    client = registry.client(cluster)
    quotas = defaultdict[str, list[Object]](list)
    for quota in list_all(client, QUOTAS, ""):
        quotas[quota["metadata"]["namespace"]].append(quota)
    tenants: list[TenantState] = []
    for namespace in list_all(client, NAMESPACES, ""):
        name = namespace["metadata"]["name"]
        tenants.append(TenantState(namespace, tuple(_sort_by_name(quotas[name]))))
    return tenants


def _describe_each(cluster: Cluster, names: Iterable[str]) -> list[TenantState]:
    tenants: list[TenantState] = []
    for name in sorted(names):
        try:
            tenants.append(describe(cluster, name))
        except NotFound:
            continue
    return tenants


def describe_accessible(cluster: Cluster) -> list[TenantState]:
    """Every namespace as a tenant, or those that the cluster's credentials may read.

    Forbidden when they may read none.
    """
    try:
        return describe_all(cluster)
    except Forbidden:
        if not cluster.namespaces:
            raise

    def read(namespace: str) -> list[TenantState]:
        return describe_all(cluster, only=frozenset({namespace}))

    tenants: list[TenantState] = []
    for part in read_each(cluster.namespaces, read):
        tenants += part
    return tenants


def _sort_by_name(items: Iterable[Object]) -> list[Object]:
    return sorted(items, key=lambda item: str(item["metadata"]["name"]))


# --- making ---------------------------------------------------------------------------------------
def create(
    cluster: Cluster,
    spec: TenantSpec,
    *,
    by: str = "",
    contact: str = "",
    description: str = "",
) -> Tenant | None:
    """Create the namespace and everything in it, or nothing.

    When a step fails, the namespace is deleted again and the error raised. None, and nothing
    changed, when the namespace exists already. NotFound for an unknown member.
    """
    # Before anything is created.
    for member in spec.members:
        users.find(member.username)
    client = registry.client(cluster)
    if _exists(client, spec.name):
        return None
    try:
        manifest = manifests.namespace(spec)
        created = orjson.loads(client.create(NAMESPACES, manifest))
    except Conflict as error:
        # Another caller was faster than our check.
        if error.details.get("reason") == "AlreadyExists":
            return None
        raise
    uid = created["metadata"]["uid"]
    try:
        _create_contents(client, spec)
        options = {
            **spec.options,
            "furnished": True,
            "quotas": [quota.name for quota in spec.quotas],
        }
        return _create_row(
            cluster,
            uid,
            spec,
            options,
            by=by,
            contact=contact,
            description=description,
        )
    except BaseException:
        # Also when the worker is stopped: half a tenant would have no limits.
        _undo_create(client, spec.name, uid)
        raise


def _exists(client: ClusterClient, name: str) -> bool:
    try:
        client.get(NAMESPACES, name)
    except NotFound:
        return False
    return True


def _create_contents(client: ClusterClient, spec: TenantSpec) -> None:
    """Create what belongs in the namespace.

    Quotas come first, then defaults, then isolation, and members last: they can do nothing before
    all limits are in place.
    """
    space = spec.name
    for quota in spec.quotas:
        manifest = manifests.resource_quota(quota, space)
        client.create(QUOTAS, manifest, namespace=space)
    client.create(LIMIT_RANGES, manifests.limit_range(space), namespace=space)
    if spec.options.get("network_policy"):
        manifest = manifests.network_policy(space)
        client.create(NETWORK_POLICIES, manifest, namespace=space)
    if spec.options.get("role_bindings"):
        for member in spec.members:
            manifest = manifests.role_binding(member, space)
            client.create(ROLE_BINDINGS, manifest, namespace=space)


def _undo_create(client: ClusterClient, name: str, uid: str) -> None:
    """Delete the namespace that we created; the uid protects one of the same name."""
    try:
        _delete_namespace(client, name, uid)
    except DomainError as error:
        log.error(
            "an incomplete tenant could not be deleted",
            extra={"namespace": name, "reason": error.code},
        )


def _create_row(
    cluster: Cluster,
    uid: str,
    spec: TenantSpec,
    options: Mapping[str, Any],
    *,
    by: str,
    contact: str = "",
    description: str = "",
) -> Tenant:
    """The row of a new tenant; rows and grants of an earlier namespace of that name are deleted."""
    with transaction.atomic():
        forget(cluster, spec.name, but=uid)
        tenant = Tenant.objects.create(
            cluster=cluster,
            namespace=spec.name,
            uid=uid,
            options=dict(options),
            created_by=by,
            contact=contact[:200],
            description=description,
        )
        for member in spec.members:
            _admit(tenant, users.find(member.username), member.role, by=by)
    return tenant


# --- changing -------------------------------------------------------------------------------------
def update(cluster: Cluster, spec: TenantSpec) -> None:
    """Replace labels, annotations and the named quotas; the rest stays. NotFound."""
    client = registry.client(cluster)
    if not _exists(client, spec.name):
        raise NotFound("not found error")
    if spec.labels is not None or spec.annotations is not None:
        _replace(client, NAMESPACES, spec.name, lambda current: _merge_metadata(current, spec))
    for quota in spec.quotas:
        _apply_quota(client, spec.name, quota.name, quota.hard)


def _merge_metadata(current: Object, spec: TenantSpec) -> Object:
    metadata = current["metadata"]
    if spec.labels is not None:
        labels = manifests.merge_metadata(metadata.get("labels") or {}, spec.labels)
        metadata["labels"] = {
            **labels,
            manifests.MULTI_TENANT: manifests.tenant_label(spec.name),
        }
    if spec.annotations is not None:
        metadata["annotations"] = manifests.merge_metadata(
            metadata.get("annotations") or {}, spec.annotations
        )
    return current


def _apply_quota(
    client: ClusterClient,
    space: str,
    name: str,
    hard: Mapping[str, str],
) -> None:
    def set_hard(current: Object) -> Object:
        current["spec"] = {**(current.get("spec") or {}), "hard": dict(hard)}
        return current

    try:
        _replace(client, QUOTAS, name, set_hard, namespace=space)
    except NotFound:
        manifest = manifests.resource_quota(Quota(name, hard), space)
        client.create(QUOTAS, manifest, namespace=space)


def _replace(
    client: ClusterClient,
    kind: Kind,
    name: str,
    change: Any,
    *,
    namespace: str | None = None,
) -> None:
    """Read, change and write an object, again when it was changed in between."""

    def write() -> None:
        current = orjson.loads(client.get(kind, name, namespace=namespace))
        client.replace(kind, name, change(current), namespace=namespace)

    retry_on_conflict(write)


# --- ending ---------------------------------------------------------------------------------------
def delete(cluster: Cluster, name: str, *, only_labelled: bool = False) -> None:
    """Delete the namespace with everything in it, and the tenant's row and grants.

    A namespace that is gone already is fine. Invalid for the cluster's own namespaces and, with
    `only_labelled`, for one without the label of tenants.
    """
    if name in PROTECTED:
        raise Invalid(f"namespace {name} belongs to the cluster itself")
    client = registry.client(cluster)
    try:
        current = orjson.loads(client.get(NAMESPACES, name))
        labels = current["metadata"].get("labels") or {}
        if only_labelled and manifests.MULTI_TENANT not in labels:
            raise Invalid(f"namespace {name} does not have the label {manifests.MULTI_TENANT}")
        _delete_namespace(client, name, current["metadata"]["uid"])
    except NotFound:
        pass
    forget(cluster, name)


def _delete_namespace(client: ClusterClient, name: str, uid: str) -> None:
    # With the precondition a namespace that was created again meanwhile stays.
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": uid},
    }
    client.delete(NAMESPACES, name, options=options)


def forget(cluster: Cluster, name: str, *, but: str = "") -> None:
    """Delete the tenant's row and the grants of namespaces of that name.

    Those of the namespace whose uid is `but` stay, and grants that are not bound to a uid yet.
    """
    with transaction.atomic():
        tenants = Tenant.objects.filter(cluster=cluster, namespace=name)
        tenants.exclude(uid=but).delete()
        grants = Grant.objects.filter(cluster=cluster, namespace=name)
        grants.exclude(namespace_uid__in=("", but)).delete()


def forget_stale(cluster: Cluster, name: str) -> None:
    """Delete rows and grants of earlier namespaces of that name, and none of the present one."""
    try:
        uid = _read_uid(cluster, name)
    except NotFound:
        uid = ""
    forget(cluster, name, but=uid)


# --- members --------------------------------------------------------------------------------------
def find(cluster: Cluster, name: str, *, by: str = "") -> Tenant:
    """The tenant's row; a namespace that has none yet gets one.

    NotFound when the cluster has no such namespace.
    """
    uid = _read_uid(cluster, name)
    tenant = Tenant.objects.filter(cluster=cluster, uid=uid).first()
    return tenant or _create_row(cluster, uid, TenantSpec(name), {}, by=by)


def _read_uid(cluster: Cluster, name: str) -> str:
    namespace = orjson.loads(registry.client(cluster).get(NAMESPACES, name))
    return str(namespace["metadata"]["uid"])


def _admit(tenant: Tenant, user: User, role: Role, *, by: str) -> Grant:
    """One membership for each user: a new role replaces the old one."""
    Grant.objects.filter(tenant=tenant, user=user).exclude(role=role).delete()
    grant, _ = Grant.objects.get_or_create(
        user=user,
        role=role,
        cluster=tenant.cluster,
        namespace=tenant.namespace,
        namespace_uid=tenant.uid,
        defaults={"tenant": tenant, "created_by": by},
    )
    return grant


def admit(
    tenant: Tenant,
    username: str,
    role: Role,
    *,
    by: str = "",
) -> Grant:
    """Make a user a member; with the option `role_bindings` the cluster gets a RoleBinding too.

    NotFound for an unknown user. When the cluster refuses, the membership is not changed either.
    """
    user = users.find(username)
    # The cluster is asked first, so that no row is locked while it takes its time.
    if tenant.options.get("role_bindings"):
        _bind(tenant, Member(username, role))
    with transaction.atomic():
        return _admit(tenant, user, role, by=by)


def _bind(tenant: Tenant, member: Member) -> None:
    """Give the member's RoleBinding their present role."""
    client = registry.client(tenant.cluster)
    # A RoleBinding's roleRef cannot be changed.
    _unbind(client, tenant.namespace, member.username)
    client.create(
        ROLE_BINDINGS,
        manifests.role_binding(member, tenant.namespace),
        namespace=tenant.namespace,
    )


def dismiss(tenant: Tenant, username: str) -> None:
    """End a membership; NotFound when there is none.

    When the cluster refuses to delete the RoleBinding, the membership stays.
    """
    memberships = Grant.objects.filter(tenant=tenant, user__username=username)
    if not memberships.exists():
        raise NotFound(f"{username[:60]!r} is not a member")
    if tenant.options.get("role_bindings"):
        _unbind(registry.client(tenant.cluster), tenant.namespace, username)
    memberships.delete()


def _unbind(client: ClusterClient, space: str, username: str) -> None:
    try:
        name = manifests.binding_name(username)
        client.delete(ROLE_BINDINGS, name, namespace=space)
    except NotFound:
        return
