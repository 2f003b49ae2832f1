"""The metrics that the product keeps: clusters' connections and usage, quotas, certificates."""

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime, timedelta

import orjson
from cryptography import x509
from django.db.models import OuterRef, Subquery

from alerts import conditions, scopes
from alerts.conditions import MetricCondition
from alerts.matching import Match, rows_of_type
from alerts.models import Rule
from alerts.scopes import Fleet
from clusters import quantities, registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from storage_api.models import ClusterSync
from storage_api.protection import unseal_all
from tenants.models import Tenant, UsageSample
from workloads.models import Sample

# Samples that are older say nothing about now.
_NEWEST = timedelta(minutes=30)
# Metrics of a cluster that add up what all of its namespaces use.
_SUMS = frozenset({"cpu", "memory", "pods"})


def matches(
    rule: Rule,
    condition: MetricCondition,
    fleet: Fleet,
    now: datetime,
) -> list[Match]:
    """What fulfils a metric condition now."""
    return [
        match
        for match in _samples(rule, condition, fleet, now)
        if match.value is not None
        and conditions.compare(match.value, condition.op, condition.value)
    ]


def _samples(
    rule: Rule,
    condition: MetricCondition,
    fleet: Fleet,
    now: datetime,
) -> Iterator[Match]:
    match condition.of:
        case "cluster":
            yield from _of_clusters(rule, condition.metric, fleet, now)
        case "tenant":
            yield from _of_tenants(rule, fleet, now)
        case "quota":
            yield from _of_quotas(rule, fleet, now)
        case _:
            yield from _of_certificates(rule, fleet, now)


def _of_clusters(
    rule: Rule,
    metric: str,
    fleet: Fleet,
    now: datetime,
) -> Iterator[Match]:
    reached = scopes.reach(rule, fleet, None)
    newest = Sample.objects.filter(
        cluster=OuterRef("pk"),
        at__gt=now - _NEWEST,
    ).order_by("-at")
    clusters = registry.clusters().annotate(
        sample_cpu=Subquery(newest.values("cpu")[:1]),
        sample_memory=Subquery(newest.values("memory")[:1]),
        sample_pods=Subquery(newest.values("pods")[:1]),
    )
    beats = dict(ClusterSync.objects.values_list("cluster_id", "beaten_at"))
    for cluster in clusters:
        if reached is not None and cluster.pk not in reached:
            continue
        # Sums over all namespaces are for who may read all of them.
        is_partial = reached is not None and reached[cluster.pk] is not None
        if metric in _SUMS and is_partial:
            continue
        value: float | None = None
        if metric == "up":
            is_known = cluster.status != Cluster.Status.PENDING
            value = float(cluster.status == Cluster.Status.ACTIVE) if is_known else None
        elif metric == "collector_lag_seconds":
            beaten = beats.get(cluster.pk)
            value = (now - beaten).total_seconds() if beaten else None
        elif metric == "credentials_expire_seconds":
            end = cluster.credentials_expire_at
            value = (end - now).total_seconds() if end else None
        else:
            value = getattr(cluster, f"sample_{metric}")
        yield Match(
            f"metric/cluster/{cluster.pk}",
            now,
            cluster.pk,
            "Cluster",
            "",
            cluster.name,
            None if value is None else float(value),
            {"cluster": cluster.name, "kind": "Cluster", "name": cluster.name},
        )


def _of_tenants(
    rule: Rule,
    fleet: Fleet,
    now: datetime,
) -> Iterator[Match]:
    """The largest share of a quota that each tenant's newest sample uses."""
    reached = scopes.reach(rule, fleet, KINDS["resourcequotas"])
    newest = UsageSample.objects.filter(tenant=OuterRef("pk"), at__gt=now - _NEWEST)
    newest = newest.order_by("-at")
    tenants = Tenant.objects.filter(cluster__in=fleet.names).annotate(
        used=Subquery(newest.values("used")[:1]), hard=Subquery(newest.values("hard")[:1])
    )
    for tenant in tenants:
        place = (fleet.names[tenant.cluster_id], tenant.namespace)
        if not _is_inside(reached, tenant.cluster_id, tenant.namespace):
            continue
        resource, share = _largest_share(tenant.hard or {}, tenant.used or {})
        if resource:
            yield _share_match(
                "Tenant",
                fleet,
                place,
                tenant.namespace,
                resource,
                share,
                now,
            )


def _of_quotas(
    rule: Rule,
    fleet: Fleet,
    now: datetime,
) -> Iterator[Match]:
    for cluster, namespace, name, data in rows_of_type(
        rule,
        KINDS["resourcequotas"],
        fleet,
    ):
        # An agent may have stored anything, and no rule of others may fail beside it.
        status = _member(orjson.loads(data), "status")
        resource, share = _largest_share(_member(status, "hard"), _member(status, "used"))
        if resource:
            place = (cluster, namespace)
            yield _share_match(
                "ResourceQuota",
                fleet,
                place,
                name,
                resource,
                share,
                now,
            )


def _member(parent: object, name: str) -> dict[str, object]:
    """The mapping under a name; {} for anything else."""
    value = parent.get(name) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def _share_match(
    kind: str,
    fleet: Fleet,
    place: tuple[str, str],
    name: str,
    resource: str,
    share: float,
    now: datetime,
) -> Match:
    cluster, namespace = place
    labels = {
        "cluster": cluster,
        "namespace": namespace,
        "kind": kind,
        "name": name,
        "resource": resource,
    }
    subject = "/".join(("metric", kind, cluster, namespace, name))
    return Match(
        subject,
        now,
        fleet.ids[cluster],
        kind,
        namespace,
        name,
        share,
        labels,
    )


def _largest_share(hard: dict[str, object], used: dict[str, object]) -> tuple[str, float]:
    """(resource, percent) of what is used most; ("", 0.0) when nothing is limited."""
    shares = []
    for name, limit in hard.items():
        bound = quantities.number(limit)
        if bound > 0:
            shares.append((100 * quantities.number(used.get(name)) / bound, name))
    if not shares:
        return "", 0.0
    share, resource = max(shares)
    return resource, share


def _is_inside(
    reached: dict[int, scopes.Namespaces] | None,
    cluster: int,
    namespace: str,
) -> bool:
    if reached is None:
        return True
    if cluster not in reached:
        return False
    namespaces = reached[cluster]
    return namespaces is None or namespace in namespaces


def _of_certificates(
    rule: Rule,
    fleet: Fleet,
    now: datetime,
) -> Iterator[Match]:
    """Seconds until the certificate of each TLS Secret ends.

    The certificate is public; nothing else of the Secret is read, and nothing of it leaves here.
    """
    rows = rows_of_type(
        rule,
        KINDS["secrets"],
        fleet,
        column="jsonb_build_object('crt', r.data #> '{data,tls.crt}')",
        only="r.data ->> 'type' = 'kubernetes.io/tls'",
    )
    for cluster, namespace, name, data in rows:
        end = _certificate_end(data)
        if end is None:
            continue
        labels = {"cluster": cluster, "namespace": namespace, "kind": "Secret", "name": name}
        subject = "/".join(("metric", "Secret", cluster, namespace, name))
        left = (end - now).total_seconds()
        yield Match(
            subject,
            now,
            fleet.ids[cluster],
            "Secret",
            namespace,
            name,
            left,
            labels,
        )


def _certificate_end(data: str) -> datetime | None:
    try:
        encoded = orjson.loads(unseal_all(data.encode())).get("crt")
        return x509.load_pem_x509_certificate(b64decode(encoded)).not_valid_after_utc
    except (ValueError, TypeError):
        # No certificate, or one that nobody can read: that is not what is asked here.
        return None
