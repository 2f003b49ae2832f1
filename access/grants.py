"""Granting and withdrawing roles, and what a user may do in all."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User
from django.db import transaction
from django.db.models import Q, QuerySet

from access import namespace_uids
from access.models import Grant
from access.policy import RIGHTS, EffectiveGrant, Role
from clusters import registry
from clusters.kinds import quote_segment
from clusters.models import Cluster
from core import row_cache
from core.errors import ClusterUnavailable, Invalid
from core.row_cache import Topic

Person = AbstractBaseUser | AnonymousUser
EVERYTHING = EffectiveGrant(RIGHTS[Role.ADMIN])


def grants_of_user(user: Person) -> QuerySet[Grant]:
    """The user's own grants and those of their groups, on clusters that are still registered."""
    if not user.pk:
        return Grant.objects.none()
    mine = Q(user_id=user.pk) | Q(group__user=user.pk)
    return on_registered_clusters().filter(mine).distinct()


def on_registered_clusters() -> QuerySet[Grant]:
    """The grants on everything and on clusters that are still registered."""
    return Grant.objects.filter(Q(cluster=None) | Q(cluster__deleted_at=None))


def effective_grants(user: Person) -> list[EffectiveGrant]:
    """What the user may do and where; a superuser may do everything everywhere."""
    if not user.pk or not user.is_active:
        return []
    if getattr(user, "is_superuser", False):
        return [EVERYTHING]
    return list(row_cache.read(Topic.ACCESS, ("grants", user.pk), lambda: _read_effective(user)))


def _read_effective(user: Person) -> list[EffectiveGrant]:
    return [
        EffectiveGrant(
            rights=RIGHTS[Role(grant.role)],
            cluster=grant.cluster_id,
            namespace=grant.namespace or None,
            uid=grant.namespace_uid,
            source=grant.pk,
        )
        for grant in grants_of_user(user)
    ]


def without_stale(
    effective: Iterable[EffectiveGrant], clusters: Iterable[Cluster], *, only: str = ""
) -> list[EffectiveGrant]:
    """The grants without those on a namespace that was deleted and created again since.

    Each of the clusters in which a grant is on a namespace is asked for the uids; `only` looks at
    one namespace. ClusterUnavailable is passed on.
    """
    remaining = list(effective)
    by_pk = {cluster.pk: cluster for cluster in clusters}
    for pk, cluster in by_pk.items():
        bound = [
            grant
            for grant in remaining
            if grant.cluster == pk and grant.namespace and (not only or grant.namespace == only)
        ]
        if not bound:
            continue
        names = {grant.namespace for grant in bound if grant.namespace}
        live_uids = namespace_uids.read_uids(cluster, names)
        stale = {grant.source for grant in bound if not _is_current(grant, live_uids)}
        remaining = [
            grant
            for grant in remaining
            if not (grant.cluster == pk and grant.namespace and grant.source in stale)
        ]
    return remaining


def _is_current(grant: EffectiveGrant, live_uids: dict[str, str]) -> bool:
    """Whether the namespace is the one that the grant was made for.

    A grant on a name that did not exist yet is bound to the first namespace of that name.
    """
    live_uid = live_uids.get(grant.namespace or "", "")
    if not grant.uid and live_uid:
        # Two requests may come here at once: only the first may set the uid.
        Grant.objects.filter(pk=grant.source, namespace_uid="").update(namespace_uid=live_uid)
        return True
    return grant.uid == live_uid


# --- giving and taking ----------------------------------------------------------------------------
def role_of(text: object) -> Role:
    """A role by its name; Invalid otherwise."""
    try:
        return Role(str(text))
    except ValueError:
        raise Invalid(f"role must be one of {', '.join(Role)}", field="role") from None


def resolve_scope(cluster: str, namespace: str) -> tuple[Cluster | None, str, str]:
    """(cluster, namespace, the namespace's uid) of a grant; the uid is "" while it does not exist.

    Invalid for a namespace without a cluster or with an impossible name, ClusterNotFound.
    """
    if not cluster:
        if namespace:
            raise Invalid("a namespace needs its cluster", field="cluster")
        return None, "", ""
    target = registry.find(cluster)
    if not namespace:
        return target, "", ""
    quote_segment(namespace, "namespace")
    if len(namespace) > 63:
        raise Invalid("namespace must be at most 63 characters", field="namespace")
    return target, namespace, _uid_if_reachable(target, namespace)


def _uid_if_reachable(cluster: Cluster, namespace: str) -> str:
    try:
        return namespace_uids.read_uid(cluster, namespace)
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
    """Grant a role to a user or a group; the row may exist already.

    An admin of everything may enter Django's admin site as well. Invalid or ClusterNotFound as
    `resolve_scope`.
    """
    # Asks the cluster, so it stands before the transaction.
    target, name, uid = resolve_scope(cluster, namespace)
    with transaction.atomic():
        grant, _ = Grant.objects.get_or_create(
            user=user,
            group=group,
            role=role,
            cluster=target,
            namespace=name,
            namespace_uid=uid,
            tenant=None,
            defaults={"created_by": by},
        )
        if user is not None and role is Role.ADMIN and target is None:
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
    """Delete the subject's grants that match every argument; returns how many.

    A superuser who loses their grants on everything is no superuser afterwards, which counts as
    one grant when there was no row.
    """
    rows = Grant.objects.filter(user=user.pk) if user else Grant.objects.filter(group=group)
    if role:
        rows = rows.filter(role=role)
    if cluster:
        rows = rows.filter(cluster=registry.find(cluster))
    if namespace:
        rows = rows.filter(namespace=namespace)
    loses_everything = not cluster and not namespace and role in (None, Role.ADMIN)
    with transaction.atomic():
        count, _ = rows.delete()
        if user is not None and loses_everything and getattr(user, "is_superuser", False):
            _set_site_rights(user, False)
            return count or 1
    return count


def withdraw(grant: Grant) -> None:
    """Delete one grant."""
    with transaction.atomic():
        grant.delete()
        if grant.user and grant.role == Role.ADMIN and grant.cluster_id is None:
            _set_site_rights(grant.user, False)


def _set_site_rights(user: User, value: bool) -> None:
    """Django's own admin site is for admins of everything only."""
    User.objects.filter(pk=user.pk).update(is_staff=value, is_superuser=value)


# --- showing --------------------------------------------------------------------------------------
def represent(grant: Grant) -> dict[str, Any]:
    """A grant as JSON data.

    {"id","role","user","group","group_id","cluster_id","cluster","namespace","tenant_id"}; one of
    user and group is None, cluster and namespace are None where the grant is wider.
    """
    return {
        "id": grant.pk,
        "role": grant.role,
        "user": grant.user.get_username() if grant.user else None,
        "group": grant.group.name if grant.group else None,
        "group_id": grant.group_id,
        "cluster_id": grant.cluster_id,
        "cluster": grant.cluster.name if grant.cluster else None,
        "namespace": grant.namespace or None,
        "tenant_id": grant.tenant_id,
    }


def platform_role(user: Person, rows: Iterable[Grant]) -> str:
    """The name of the highest role on everything; "" without one."""
    return highest_role(user, [row for row in rows if row.cluster_id is None])


def highest_role(user: Person, rows: Iterable[Grant]) -> str:
    """The name of the highest role anywhere; "" without one."""
    if getattr(user, "is_superuser", False):
        return Role.ADMIN
    order = list(Role)
    return max((Role(row.role) for row in rows), key=order.index, default="")
