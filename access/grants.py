"""Giving roles, taking them away, and what a user holds in all."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User
from django.db import transaction
from django.db.models import Q, QuerySet

from access import namespace_uids
from access.models import Grant
from access.policy import RIGHTS, EffectiveGrant, Role
from clusters import registry
from clusters.kinds import segment
from clusters.models import Cluster
from core.errors import ClusterUnavailable, Invalid

Person = AbstractBaseUser | AnonymousUser
EVERYTHING = EffectiveGrant(RIGHTS[Role.ADMIN])


def grants_of_user(user: Person) -> QuerySet[Grant]:
    """The user's own grants and those of their groups, on clusters that are still registered."""
    if not user.pk:
        return Grant.objects.none()
    mine = Q(user_id=user.pk) | Q(group__user=user.pk)
    return Grant.objects.filter(mine, Q(cluster=None) | Q(cluster__deleted_at=None)).distinct()


def effective_grants(user: Person) -> list[EffectiveGrant]:
    """What the user may do and where; a superuser everything everywhere."""
    if not user.pk or not user.is_active:
        return []
    if getattr(user, "is_superuser", False):
        return [EVERYTHING]
    return [
        EffectiveGrant(
            RIGHTS[Role(grant.role)],
            grant.cluster_id,
            grant.namespace or None,
            grant.namespace_uid,
            grant.pk,
        )
        for grant in grants_of_user(user)
    ]


def without_stale(
    held: Iterable[EffectiveGrant], clusters: Iterable[Cluster], *, only: str = ""
) -> list[EffectiveGrant]:
    """The holdings without those on a namespace that is no longer the one that was meant; looks at the clusters that matter."""
    kept, known = list(held), {cluster.pk: cluster for cluster in clusters}
    for pk, cluster in known.items():
        bound = [
            held
            for held in kept
            if held.cluster == pk and held.namespace and (not only or held.namespace == only)
        ]
        if bound:
            live = namespace_uids.uids(
                cluster, {held.namespace for held in bound if held.namespace}
            )
            stale = {held.source for held in bound if not _is_current(held, live)}
            kept = [
                held
                for held in kept
                if not (held.cluster == pk and held.namespace and held.source in stale)
            ]
    return kept


def _is_current(held: EffectiveGrant, live: dict[str, str]) -> bool:
    """Whether the namespace is the one meant. A grant on a name that was not there yet takes the first namespace of that name."""
    found = live.get(held.namespace or "", "")
    if not held.uid and found:
        Grant.objects.filter(pk=held.source, namespace_uid="").update(namespace_uid=found)
        return True
    return held.uid == found


# --- giving and taking ----------------------------------------------------------------------------------------------
def role_of(text: object) -> Role:
    """A role by its name; Invalid otherwise."""
    try:
        return Role(str(text))
    except ValueError:
        raise Invalid(f"role must be one of {', '.join(Role)}", field="role") from None


def resolve_scope(cluster: str, namespace: str) -> tuple[Cluster | None, str, str]:
    """(cluster, namespace, its uid when it is there already); Invalid or ClusterNotFound for what cannot be."""
    if not cluster:
        if namespace:
            raise Invalid("a namespace needs its cluster", field="cluster")
        return None, "", ""
    found = registry.find(cluster)
    if not namespace:
        return found, "", ""
    segment(namespace, "namespace")
    if len(namespace) > 63:
        raise Invalid("namespace must be at most 63 characters", field="namespace")
    return found, namespace, _uid_if_reachable(found, namespace)


def _uid_if_reachable(cluster: Cluster, namespace: str) -> str:
    try:
        return namespace_uids.uid(cluster, namespace)
    except ClusterUnavailable:
        return ""


def give(
    *,
    role: Role,
    user: User | None = None,
    group: Group | None = None,
    cluster: str = "",
    namespace: str = "",
    by: str = "",
) -> Grant:
    """The grant, made or found; an admin of everything may enter Django's admin site as well."""
    where, name, uid = resolve_scope(cluster, namespace)
    with transaction.atomic():
        grant, _ = Grant.objects.get_or_create(
            user=user,
            group=group,
            role=role,
            cluster=where,
            namespace=name,
            namespace_uid=uid,
            tenant=None,
            defaults={"created_by": by},
        )
        if user is not None and role is Role.ADMIN and where is None:
            _set_site_rights(user, True)
    return grant


def take(
    *,
    user: User | None = None,
    group: Group | None = None,
    role: Role | None = None,
    cluster: str = "",
    namespace: str = "",
) -> int:
    """How many grants were taken away: those that fit all that is given; a superuser who loses everything is none any more."""
    found = Grant.objects.filter(user=user.pk) if user else Grant.objects.filter(group=group)
    if role:
        found = found.filter(role=role)
    if cluster:
        found = found.filter(cluster=registry.find(cluster))
    if namespace:
        found = found.filter(namespace=namespace)
    with transaction.atomic():
        count, _ = found.delete()
        if (
            user is not None
            and not cluster
            and not namespace
            and role in (None, Role.ADMIN)
            and getattr(user, "is_superuser", False)
        ):
            _set_site_rights(user, False)
            return count or 1
    return count


def withdraw(grant: Grant) -> None:
    """Take one grant away."""
    with transaction.atomic():
        grant.delete()
        if grant.user and grant.role == Role.ADMIN and grant.cluster_id is None:
            _set_site_rights(grant.user, False)


def _set_site_rights(user: User, value: bool) -> None:
    """Django's own admin site is for admins of everything and for nobody else."""
    User.objects.filter(pk=user.pk).update(is_staff=value, is_superuser=value)


# --- showing --------------------------------------------------------------------------------------------------------
def represent(grant: Grant) -> dict[str, Any]:
    """A grant as plain data."""
    return {
        "id": grant.pk,
        "role": grant.role,
        "user": grant.user.get_username() if grant.user else None,
        "group": grant.group.name if grant.group else None,
        "cluster_id": grant.cluster_id,
        "cluster": grant.cluster.name if grant.cluster else None,
        "namespace": grant.namespace or None,
        "tenant_id": grant.tenant_id,
    }


def platform_role(user: Person, rows: Iterable[Grant]) -> str:
    """The name of the highest role held on everything; nothing without one."""
    return highest_role(user, [row for row in rows if row.cluster_id is None])


def highest_role(user: Person, rows: Iterable[Grant]) -> str:
    """The name of the highest role held anywhere; nothing without one."""
    if getattr(user, "is_superuser", False):
        return Role.ADMIN
    order = list(Role)
    return max((Role(row.role) for row in rows), key=order.index, default="")
