"""Where the rows of tenants and what the clusters hold have parted."""

from collections.abc import Iterator
from dataclasses import dataclass

from clusters import registry
from clusters.kinds import KINDS, Kind
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
            yield Drift("unreachable", cluster.name, "*", error.message)


def check_cluster(cluster: Cluster) -> Iterator[Drift]:
    """Rows without their namespace, namespaces without a row, and tenants that lack what was asked for."""
    rows = {row.namespace: row for row in Tenant.objects.filter(cluster=cluster)}
    live = {tenant.name: tenant for tenant in services.describe_all(cluster)}
    for name, row in rows.items():
        if name not in live:
            yield Drift("gone", cluster.name, name, "the namespace does not exist any more")
        elif str(live[name].namespace["metadata"]["uid"]) != row.uid:
            yield Drift(
                "remade",
                cluster.name,
                name,
                "the namespace was deleted and made anew: its members have no rights in it",
            )
        else:
            yield from _missing_objects(cluster, row)
    for name, tenant in live.items():
        if name not in rows and manifests.MULTI_TENANT in (
            tenant.namespace["metadata"].get("labels") or {}
        ):
            yield Drift(
                "unknown", cluster.name, name, "labelled as a tenant, but we have no row for it"
            )


def _missing_objects(cluster: Cluster, row: Tenant) -> Iterator[Drift]:
    wanted: list[tuple[Kind, str]] = []
    if row.options.get("furnished"):
        wanted.append((services.LIMIT_RANGES, manifests.LIMIT_RANGE))
        wanted += [(KINDS["resourcequotas"], name) for name in row.options.get("quotas", [])]
    if row.options.get("network_policy"):
        wanted.append((services.NETWORK_POLICIES, manifests.DEFAULT_DENY))
    if row.options.get("role_bindings"):
        names = row.members.exclude(user=None).values_list("user__username", flat=True)
        wanted += [(services.ROLE_BINDINGS, manifests.binding_name(name)) for name in names]
    for kind, name in wanted:
        try:
            registry.client(cluster).get(kind, name, namespace=row.namespace)
        except NotFound:
            yield Drift("missing", cluster.name, row.namespace, f"{kind.name} {name} is not there")


def repair() -> int:
    """Forget rows whose namespace is gone or another one, and take in namespaces that are labelled as tenants; how many."""
    found = [drift for drift in check() if drift.kind in {"gone", "remade", "unknown"}]
    for drift in found:
        cluster = registry.find(drift.cluster)
        if drift.kind == "unknown":
            services.find(cluster, drift.namespace, by="check_tenants")
        else:
            services.forget_stale(cluster, drift.namespace)
    return len(found)
