"""Differences between the rows of tenants and the namespaces of the clusters."""

from collections.abc import Iterator
from dataclasses import dataclass

from clusters import registry
from clusters.kinds import Kind
from clusters.models import Cluster
from core.errors import ClusterUnavailable, Forbidden, NotFound
from tenants import manifests, services
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference; `kind` is gone, remade, unknown, missing or unreachable."""

    kind: str
    cluster: str
    namespace: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.cluster}/{self.namespace}: {self.sentence}"


def check() -> Iterator[Drift]:
    """Every difference in every registered cluster."""
    for cluster in registry.clusters():
        try:
            yield from check_cluster(cluster)
        except (ClusterUnavailable, Forbidden) as error:
            # One unreachable cluster does not end the check of the others.
            yield Drift("unreachable", cluster.name, "*", error.message)


def check_cluster(cluster: Cluster) -> Iterator[Drift]:
    """The differences in one cluster.

    Rows without their namespace, namespaces without a row, and tenants that lack objects they were
    created with. ClusterUnavailable and Forbidden are passed on.
    """
    rows = {row.namespace: row for row in Tenant.objects.filter(cluster=cluster)}
    live = {tenant.name: tenant for tenant in services.describe_all(cluster)}
    for name, row in rows.items():
        if name not in live:
            sentence = "the namespace does not exist any more"
            yield Drift("gone", cluster.name, name, sentence)
        elif str(live[name].namespace["metadata"]["uid"]) != row.uid:
            sentence = (
                "the namespace was deleted and created again: its members have no rights in it"
            )
            yield Drift("remade", cluster.name, name, sentence)
        else:
            yield from _missing_objects(cluster, row)
    for name, tenant in live.items():
        labels = tenant.namespace["metadata"].get("labels") or {}
        if name not in rows and manifests.MULTI_TENANT in labels:
            sentence = "labelled as a tenant, but we have no row for it"
            yield Drift("unknown", cluster.name, name, sentence)


def _missing_objects(cluster: Cluster, row: Tenant) -> Iterator[Drift]:
    for kind, name in _expected_objects(row):
        try:
            registry.client(cluster).get(kind, name, namespace=row.namespace)
        except NotFound:
            sentence = f"{kind.name} {name} is not there"
            yield Drift("missing", cluster.name, row.namespace, sentence)


def _expected_objects(row: Tenant) -> list[tuple[Kind, str]]:
    """(kind, name) of what the tenant was created with."""
    expected: list[tuple[Kind, str]] = []
    # Tenants that were adopted from existing namespaces got neither limits nor quotas from us.
    if row.options.get("furnished"):
        expected.append((services.LIMIT_RANGES, manifests.LIMIT_RANGE))
        quota_names = row.options.get("quotas", [])
        expected += [(services.QUOTAS, name) for name in quota_names]
    if row.options.get("network_policy"):
        expected.append((services.NETWORK_POLICIES, manifests.DEFAULT_DENY))
    if row.options.get("role_bindings"):
        # Groups have no RoleBinding of ours.
        users = row.members.exclude(user=None)
        usernames = users.values_list("user__username", flat=True)
        expected += [
            (services.ROLE_BINDINGS, manifests.binding_name(username)) for username in usernames
        ]
    return expected


def repair() -> int:
    """Delete rows whose namespace is gone or another one, and adopt namespaces labelled as tenants.

    Returns how many differences were repaired; missing objects and unreachable clusters are not.
    """
    kinds = {"gone", "remade", "unknown"}
    repairable = [drift for drift in check() if drift.kind in kinds]
    for drift in repairable:
        cluster = registry.find(drift.cluster)
        if drift.kind == "unknown":
            services.find(cluster, drift.namespace, by="check_tenants")
        else:
            services.forget_stale(cluster, drift.namespace)
    return len(repairable)
