"""What the signed-in person may do, as the API tells it: only to leave out what would be refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.core.cache import cache
from django.http import HttpRequest

from clusters.kinds import KINDS
from console.api_client import call

REMEMBERED = 5
# Who may do what: an admin's, to see as well.
ACCESS_KINDS = frozenset(
    {"serviceaccounts", "roles", "rolebindings", "clusterroles", "clusterrolebindings"}
)
# Kinds outside namespaces: seen with a grant on the whole cluster.
CLUSTER_WIDE = frozenset(
    {kind.plural for kind in KINDS.values() if not kind.namespaced} - {"namespaces"}
)
FOR_ADMINS = CLUSTER_WIDE | ACCESS_KINDS


def me(request: HttpRequest) -> Mapping[str, Any]:
    """Who the person is and what they hold, remembered by the session for seconds."""
    key = f"console-me:{request.session.session_key}"
    if (found := cache.get(key)) is None:
        found = call(request, "GET", "/api/v1/auth/me").data
        cache.set(key, found, REMEMBERED)
    return cast("Mapping[str, Any]", found)


def administers_everything(request: HttpRequest) -> bool:
    """Whether the person is an admin of the whole platform, by themselves or through a group."""
    return bool(me(request)["platform_role"] == "admin")


def may_change(request: HttpRequest, cluster: object, plural: str, namespace: str) -> bool:
    """Whether to offer the person changes of such an object."""
    found = me(request)
    roles = {found["platform_role"]} | {
        one["role"]
        for one in _here(found, cluster)
        if one["namespace"] in (None, namespace or None)
    }
    return not roles.isdisjoint({"admin"} if plural in FOR_ADMINS else {"operator", "admin"})


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the person is an admin: on everything, in the cluster that is looked at, anywhere; whether they may change anything in it.

    `whole` says that they hold any role on all of that cluster, and so see its nodes and volumes.
    """

    platform: bool = False
    cluster: bool = False
    somewhere: bool = False
    writes: bool = False
    whole: bool = False

    def hidden(self) -> frozenset[str]:
        """The kinds that would only be refused."""
        if self.cluster:
            return frozenset()
        return ACCESS_KINDS if self.whole else FOR_ADMINS


def standing(request: HttpRequest, cluster: object = None) -> Standing:
    """The person's standing."""
    found = me(request)
    platform = found["platform_role"] == "admin"
    here = _here(found, cluster)
    whole = any(one["role"] == "admin" and not one["namespace"] for one in here)
    roles = {found["platform_role"], *(one["role"] for one in here)}
    return Standing(
        platform,
        platform or whole,
        found["role"] == "admin",
        not roles.isdisjoint({"operator", "admin"}),
        bool(found["platform_role"]) or any(not one["namespace"] for one in here),
    )


def _here(found: Mapping[str, Any], cluster: object) -> list[Mapping[str, Any]]:
    return [
        one
        for one in found["grants"]
        if cluster is not None and str(one["cluster_id"]) == str(cluster)
    ]
