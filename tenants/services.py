"""Tenants in a cluster: a namespace with quotas, a limit range, members and what isolates it (walm.md 2.6)."""

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
from tenants.manifests import PROTECTED, Blueprint, Member
from tenants.models import Tenant
from tenants.quotas import Quota

log = logging.getLogger(__name__)
NAMESPACES, QUOTAS, LIMIT_RANGES = (
    KINDS["namespaces"],
    KINDS["resourcequotas"],
    KINDS["limitranges"],
)
NETWORK_POLICIES, ROLE_BINDINGS = KINDS["networkpolicies"], KINDS["rolebindings"]


@dataclass(frozen=True, slots=True)
class Described:
    """A tenant as the cluster has it: its Namespace and its ResourceQuotas, by name."""

    namespace: Object
    quotas: tuple[Object, ...]

    @property
    def name(self) -> str:
        """The namespace's name."""
        return str(self.namespace["metadata"]["name"])


# --- reading --------------------------------------------------------------------------------------
def describe(cluster: Cluster, name: str) -> Described:
    """One tenant; NotFound when there is no such namespace."""
    client = registry.client(cluster)
    namespace = orjson.loads(client.get(NAMESPACES, name))
    return Described(namespace, tuple(_sort_by_name(list_all(client, QUOTAS, name))))


def describe_all(cluster: Cluster, *, only: frozenset[str] | None = None) -> list[Described]:
    """Every namespace of the cluster as a tenant; of `only` those that the caller may see. Two lists, however many there are."""
    client, quotas = registry.client(cluster), defaultdict[str, list[Object]](list)
    if only is None:
        for quota in list_all(client, QUOTAS, ""):
            quotas[quota["metadata"]["namespace"]].append(quota)
        return [
            Described(item, tuple(_sort_by_name(quotas[item["metadata"]["name"]])))
            for item in list_all(client, NAMESPACES, "")
        ]
    found: list[Described] = []
    for name in sorted(only):
        try:
            found.append(describe(cluster, name))
        except NotFound:
            continue
    return found


def describe_accessible(cluster: Cluster) -> list[Described]:
    """Every namespace as a tenant, or those that the cluster's credentials may look into; Forbidden when they may look into none."""
    try:
        return describe_all(cluster)
    except Forbidden:
        if not cluster.namespaces:
            raise

    def read(namespace: str) -> list[Described]:
        return describe_all(cluster, only=frozenset({namespace}))

    return [tenant for part in read_each(cluster.namespaces, read) for tenant in part]


def _sort_by_name(items: Iterable[Object]) -> list[Object]:
    return sorted(items, key=lambda item: str(item["metadata"]["name"]))


# --- making ---------------------------------------------------------------------------------------
def create(
    cluster: Cluster,
    blueprint: Blueprint,
    *,
    by: str = "",
    contact: str = "",
    description: str = "",
) -> Tenant | None:
    """Make the namespace and everything in it, or nothing: what fails half-way is taken back, and the first error raised.

    None, and nothing changed, when the namespace is there already.
    """
    for member in blueprint.members:
        users.find(member.username)
    client = registry.client(cluster)
    if _exists(client, blueprint.name):
        return None
    try:
        made = orjson.loads(client.create(NAMESPACES, manifests.namespace(blueprint)))
    except Conflict as error:
        if error.details.get("reason") == "AlreadyExists":
            return None
        raise
    try:
        _create_contents(client, blueprint)
        options = {
            **blueprint.options,
            "furnished": True,
            "quotas": [quota.name for quota in blueprint.quotas],
        }
        return _create_row(
            cluster,
            made["metadata"]["uid"],
            blueprint,
            options,
            by=by,
            contact=contact,
            description=description,
        )
    except BaseException:
        _undo_create(client, blueprint.name, made["metadata"]["uid"])
        raise


def _exists(client: ClusterClient, name: str) -> bool:
    try:
        client.get(NAMESPACES, name)
    except NotFound:
        return False
    return True


def _create_contents(client: ClusterClient, blueprint: Blueprint) -> None:
    """Quotas first, then defaults, then what isolates: a member can do nothing before all limits stand."""
    space = blueprint.name
    for quota in blueprint.quotas:
        client.create(QUOTAS, manifests.resource_quota(quota, space), namespace=space)
    client.create(LIMIT_RANGES, manifests.limit_range(space), namespace=space)
    if blueprint.options.get("network_policy"):
        client.create(NETWORK_POLICIES, manifests.network_policy(space), namespace=space)
    if blueprint.options.get("role_bindings"):
        for member in blueprint.members:
            client.create(ROLE_BINDINGS, manifests.role_binding(member, space), namespace=space)


def _undo_create(client: ClusterClient, name: str, uid: str) -> None:
    """Delete the namespace that we made, and only that one."""
    try:
        client.delete(
            NAMESPACES,
            name,
            options={"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}},
        )
    except DomainError as error:
        log.error(
            "a half-made tenant could not be taken back",
            extra={"namespace": name, "reason": error.code},
        )


def _create_row(
    cluster: Cluster,
    uid: str,
    blueprint: Blueprint,
    options: Mapping[str, Any],
    *,
    by: str,
    contact: str = "",
    description: str = "",
) -> Tenant:
    """The row of a new tenant; whatever was known of an earlier namespace of that name goes, rights and all."""
    with transaction.atomic():
        forget(cluster, blueprint.name, but=uid)
        tenant = Tenant.objects.create(
            cluster=cluster,
            namespace=blueprint.name,
            uid=uid,
            options=dict(options),
            created_by=by,
            contact=contact[:200],
            description=description,
        )
        for member in blueprint.members:
            _admit(tenant, users.find(member.username), member.role, by=by)
    return tenant


# --- changing -------------------------------------------------------------------------------------
def update(cluster: Cluster, blueprint: Blueprint) -> None:
    """Replace labels, annotations and the quotas that are named; the rest stays. NotFound without the namespace."""
    client = registry.client(cluster)
    if not _exists(client, blueprint.name):
        raise NotFound("not found error")
    if blueprint.labels is not None or blueprint.annotations is not None:
        _replace(
            client, NAMESPACES, blueprint.name, lambda current: _merge_metadata(current, blueprint)
        )
    for quota in blueprint.quotas:
        _apply_quota(client, blueprint.name, quota.name, quota.hard)


def _merge_metadata(current: Object, blueprint: Blueprint) -> Object:
    metadata = current["metadata"]
    if blueprint.labels is not None:
        labels = manifests.merge_metadata(metadata.get("labels") or {}, blueprint.labels)
        metadata["labels"] = {
            **labels,
            manifests.MULTI_TENANT: manifests.tenant_label(blueprint.name),
        }
    if blueprint.annotations is not None:
        metadata["annotations"] = manifests.merge_metadata(
            metadata.get("annotations") or {}, blueprint.annotations
        )
    return current


def _apply_quota(client: ClusterClient, space: str, name: str, hard: Mapping[str, str]) -> None:
    def changed(current: Object) -> Object:
        current["spec"] = {**(current.get("spec") or {}), "hard": dict(hard)}
        return current

    try:
        _replace(client, QUOTAS, name, changed, namespace=space)
    except NotFound:
        client.create(QUOTAS, manifests.resource_quota(Quota(name, hard), space), namespace=space)


def _replace(
    client: ClusterClient, kind: Kind, name: str, change: Any, *, namespace: str | None = None
) -> None:
    """Read, change, write; again when somebody else was faster."""

    def write() -> None:
        current = orjson.loads(client.get(kind, name, namespace=namespace))
        client.replace(kind, name, change(current), namespace=namespace)

    retry_on_conflict(write)


# --- ending ---------------------------------------------------------------------------------------
def delete(cluster: Cluster, name: str, *, only_labelled: bool = False) -> None:
    """Delete the namespace with all that is in it; one that is gone is fine, a system's own is refused (Invalid)."""
    if name in PROTECTED:
        raise Invalid(f"namespace {name} belongs to the cluster itself")
    client = registry.client(cluster)
    try:
        current = orjson.loads(client.get(NAMESPACES, name))
        if only_labelled and manifests.MULTI_TENANT not in (
            current["metadata"].get("labels") or {}
        ):
            raise Invalid(f"namespace {name} does not have the label {manifests.MULTI_TENANT}")
        uid = current["metadata"]["uid"]
        client.delete(
            NAMESPACES,
            name,
            options={"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}},
        )
    except NotFound:
        pass
    forget(cluster, name)


def forget(cluster: Cluster, name: str, *, but: str = "") -> None:
    """Drop the tenant's row and every right on a namespace of that name that was there, except the one whose uid is `but`."""
    with transaction.atomic():
        Tenant.objects.filter(cluster=cluster, namespace=name).exclude(uid=but).delete()
        Grant.objects.filter(cluster=cluster, namespace=name).exclude(
            namespace_uid__in=("", but)
        ).delete()


def forget_stale(cluster: Cluster, name: str) -> None:
    """Drop what is known of earlier namespaces of that name, and nothing of the one that is there now."""
    try:
        uid = str(orjson.loads(registry.client(cluster).get(NAMESPACES, name))["metadata"]["uid"])
    except NotFound:
        uid = ""
    forget(cluster, name, but=uid)


# --- members --------------------------------------------------------------------------------------
def find(cluster: Cluster, name: str, *, by: str = "") -> Tenant:
    """The tenant's row, made for a namespace that has none yet; NotFound when the cluster has no such namespace."""
    uid = str(orjson.loads(registry.client(cluster).get(NAMESPACES, name))["metadata"]["uid"])
    tenant = Tenant.objects.filter(cluster=cluster, uid=uid).first()
    return tenant or _create_row(cluster, uid, Blueprint(name), {}, by=by)


def _admit(tenant: Tenant, user: User, role: Role, *, by: str) -> Grant:
    """One membership for each user: a new role replaces the old one."""
    Grant.objects.filter(tenant=tenant, user=user).exclude(role=role).delete()
    return Grant.objects.get_or_create(
        user=user,
        role=role,
        cluster=tenant.cluster,
        namespace=tenant.namespace,
        namespace_uid=tenant.uid,
        defaults={"tenant": tenant, "created_by": by},
    )[0]


def admit(tenant: Tenant, username: str, role: Role, *, by: str = "") -> Grant:
    """Make somebody a member; with the option `role_bindings` also in the cluster's own terms."""
    user = users.find(username)
    with transaction.atomic():
        grant = _admit(tenant, user, role, by=by)
        if tenant.options.get("role_bindings"):
            client = registry.client(tenant.cluster)
            _unbind(client, tenant.namespace, username)
            client.create(
                ROLE_BINDINGS,
                manifests.role_binding(Member(username, role), tenant.namespace),
                namespace=tenant.namespace,
            )
    return grant


def dismiss(tenant: Tenant, username: str) -> None:
    """Take a membership away; NotFound when there is none."""
    with transaction.atomic():
        count, _ = Grant.objects.filter(tenant=tenant, user__username=username).delete()
        if not count:
            raise NotFound(f"{username[:60]!r} is no member")
        if tenant.options.get("role_bindings"):
            _unbind(registry.client(tenant.cluster), tenant.namespace, username)


def _unbind(client: ClusterClient, space: str, username: str) -> None:
    try:
        client.delete(ROLE_BINDINGS, manifests.binding_name(username), namespace=space)
    except NotFound:
        return
