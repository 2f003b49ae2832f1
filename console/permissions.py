"""What the signed-in person may do, so that pages leave out what the API would refuse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.core.cache import cache
from django.http import HttpRequest

from clusters.kinds import KINDS
from console.api_client import call

CACHE_SECONDS = 5
# Who may do what: an admin's, to see as well.
ACCESS_KINDS = frozenset(
    {"serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings"},
)
# Kinds outside namespaces: seen with a grant on the whole cluster.
CLUSTER_WIDE = frozenset(
    {kind.plural for kind in KINDS.values() if not kind.namespaced} - {"namespaces"}
)
WRITERS = frozenset({"operator", "admin"})
ADMIN_KINDS = CLUSTER_WIDE | ACCESS_KINDS


def describe_person(request: HttpRequest) -> Mapping[str, Any]:
    """Who the person is and what they hold, remembered by the session for seconds."""
    key = f"console-me:{request.session.session_key}"
    person = cache.get(key)
    if person is None:
        person = call(request, "GET", "/api/v1/auth/me").data
        cache.set(key, person, CACHE_SECONDS)
    return cast("Mapping[str, Any]", person)


def administers_everything(request: HttpRequest) -> bool:
    """Whether the person is an admin of the whole platform, by themselves or through a group."""
    return bool(describe_person(request)["platform_role"] == "admin")


def writes_somewhere(request: HttpRequest) -> bool:
    """Whether the person may change something anywhere."""
    return describe_person(request)["role"] in ("operator", "admin")


def may_change(
    request: HttpRequest,
    cluster: object,
    plural: str,
    namespace: str,
) -> bool:
    """Whether to offer the person changes of such an object."""
    allowed = {"admin"} if plural in ADMIN_KINDS else WRITERS
    return not _roles_in(request, cluster, namespace).isdisjoint(allowed)


def administers(request: HttpRequest, cluster: object, namespace: str) -> bool:
    """Whether the person is an admin of a namespace of a cluster, or of more."""
    return "admin" in _roles_in(request, cluster, namespace)


def _roles_in(request: HttpRequest, cluster: object, namespace: str) -> set[str]:
    person = describe_person(request)
    roles = {person["platform_role"]}
    for grant in _cluster_grants(person, cluster):
        # A grant without namespace covers all of them.
        if grant["namespace"] in (None, namespace or None):
            roles.add(grant["role"])
    return roles


@dataclass(frozen=True, slots=True)
class AccessSummary:
    """What the person may do on the platform and in the cluster of the page.

    `platform`, `cluster` and `somewhere`: an admin of everything, of this cluster, of any place.
    `writes`: may change something in this cluster; `operates`: in any place. `whole`: has a role on
    all of this cluster, and so sees its nodes and volumes; `whole_somewhere`: of any cluster.
    `operates_whole`: operates all of this cluster; `audits`: administers all of any cluster.
    """

    platform: bool = False
    cluster: bool = False
    somewhere: bool = False
    writes: bool = False
    operates: bool = False
    whole: bool = False
    whole_somewhere: bool = False
    operates_whole: bool = False
    audits: bool = False

    def hidden_kinds(self) -> frozenset[str]:
        """The kinds that would only be refused."""
        if self.cluster:
            return frozenset()
        return ACCESS_KINDS if self.whole else ADMIN_KINDS

    def hidden_fleet_kinds(self) -> frozenset[str]:
        """The kinds of which the person may see none in any cluster."""
        if self.audits:
            return frozenset()
        return ACCESS_KINDS if self.whole_somewhere else ADMIN_KINDS


def summarise_access(
    request: HttpRequest,
    cluster: object = None,
) -> AccessSummary:
    """What the person may do, with the grants on one cluster; without a cluster, on none."""
    person = describe_person(request)
    platform_admin = person["platform_role"] == "admin"
    grants = _cluster_grants(person, cluster)
    cluster_roles = {grant["role"] for grant in grants if not grant["namespace"]}
    whole_roles = {grant["role"] for grant in person["grants"] if not grant["namespace"]}
    roles = {person["platform_role"], *(grant["role"] for grant in grants)}
    return AccessSummary(
        platform=platform_admin,
        cluster=platform_admin or "admin" in cluster_roles,
        somewhere=person["role"] == "admin",
        writes=not roles.isdisjoint({"operator", "admin"}),
        operates=person["role"] in ("operator", "admin"),
        whole=bool(person["platform_role"]) or bool(cluster_roles),
        whole_somewhere=bool(person["platform_role"]) or bool(whole_roles),
        operates_whole=not WRITERS.isdisjoint({person["platform_role"], *cluster_roles}),
        audits=platform_admin or "admin" in whole_roles,
    )


def _cluster_grants(
    person: Mapping[str, Any],
    cluster: object,
) -> list[Mapping[str, Any]]:
    return [
        grant
        for grant in person["grants"]
        if cluster is not None and str(grant["cluster_id"]) == str(cluster)
    ]
