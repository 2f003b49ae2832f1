"""Evidence of use: one look at a cluster's pods of orders, and what that look adds to each order's bill."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import DecimalField, F, Max, Sum
from django.db.models.functions import Cast, Trunc

from billing import clock, pricing
from billing.manifests import LABEL
from billing.models import Deployment, Order, Posting, UsageSample
from billing.services import deployments, inventory, ledger, objects, orders
from billing.services.inventory import Labelled, Pod
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from clusters.quantities import parse
from core.errors import DomainError
from storage_api.models import Change

# How far back a pod's last look may lie for its end to be looked up.
LOOKBACK = timedelta(hours=1)
# Bytes times milliseconds outgrow 64 bits within a month.
_EXACT = DecimalField(max_digits=60, decimal_places=0)


def parse_time(text: str) -> datetime | None:
    """A Kubernetes time; None when it is none."""
    try:
        found = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return found if found.tzinfo else None


def sample_cluster(cluster: Cluster) -> int:
    """Look at the cluster's pods of orders once; how many samples were taken. ClusterUnavailable when it cannot be asked."""
    found = inventory.items(
        registry.client(cluster),
        KINDS["pods"],
        Pod,
        namespace=settings.VKUBE_NAMESPACE,
        labelSelector=LABEL,
    )
    by_order: dict[str, list[Pod]] = {}
    for pod in found:
        by_order.setdefault((pod.metadata.labels or {}).get(LABEL, ""), []).append(pod)
    running = Order.objects.filter(pk__in=by_order, service=Order.Service.RUNNING)
    taken = sum(_sample_order(order, cluster, by_order[order.pk]) for order in running)
    return taken + _sample_deleted_pods(cluster, {pod.metadata.uid for pod in found})


def _sample_deleted_pods(cluster: Cluster, present: set[str]) -> int:
    """Evidence of the end of pods that are gone since they were last looked at: the store's change log says when that was.

    Only pods that were seen running count, and only the time since: what is written into the store cannot invent use.
    """
    recent = UsageSample.objects.filter(cluster=cluster, at__gt=clock.now() - LOOKBACK).exclude(
        pod_uid__in=present
    )
    last = recent.order_by("pod_uid", "-at").distinct("pod_uid").select_related("order")
    return sum(_sample_deletion(row) for row in last if row.order.service == Order.Service.RUNNING)


def _sample_deletion(last: UsageSample) -> int:
    with transaction.atomic():
        order, now = orders.lock(last.order), clock.now()
        gone = _deletion(last, now)
        if gone is None or order.service != Order.Service.RUNNING:
            return 0
        added = pricing.running_ms(order, at=gone.at, since=last.since, before=last.at)
        last.pk, last.at, last.running_ms = None, gone.at, added
        last.save(force_insert=True)
    return 1


def _deletion(last: UsageSample, now: datetime) -> Change | None:
    """When the store saw the pod go, since it was last looked at."""
    key = {
        "cluster_id": last.cluster.name,
        "resource_type": "Pod",
        "namespace": settings.VKUBE_NAMESPACE,
        "resource_name": last.pod_name,
    }
    return Change.objects.filter(
        **key, uid=last.pod_uid, op=Change.DELETED, at__gt=last.at, at__lte=now
    ).first()


def sample_order(order: Order) -> None:
    """A last look before an order ends; a cluster that cannot be asked adds nothing, in the buyer's favour."""
    row = deployments.live(order)
    if row is None:
        return
    try:
        client = registry.client(row.cluster)
        pods = inventory.items(
            client, KINDS["pods"], Pod, namespace=row.namespace, labelSelector=f"{LABEL}={order.pk}"
        )
    except (DomainError, ValueError):
        return
    _sample_order(order, row.cluster, pods)


def _sample_order(order: Order, cluster: Cluster, pods: list[Pod]) -> int:
    """Record each running pod; the order's row is locked, so that two looks at once never count a moment twice."""
    with transaction.atomic():
        order, at = orders.lock(order), clock.now()
        if order.service != Order.Service.RUNNING:
            return 0
        taken = sum(_sample_pod(order, cluster, pod, at) for pod in pods)
        if _is_settlement_due(order, at):
            ledger.charge(order, at)
    return taken


def _sample_pod(order: Order, cluster: Cluster, pod: Pod, at: datetime) -> bool:
    since, memory = running_since(pod), running_memory(pod)
    if since is None or not memory:
        return False
    seen = UsageSample.objects.filter(order=order, pod_uid=pod.metadata.uid).aggregate(
        last=Max("at")
    )["last"]
    UsageSample.objects.create(
        order=order,
        cluster=cluster,
        pod_uid=pod.metadata.uid,
        pod_name=pod.metadata.name,
        at=at,
        since=since,
        memory_bytes=memory,
        running_ms=pricing.running_ms(order, at=at, since=since, before=seen),
    )
    return True


def _container_starts(pod: Pod) -> dict[str, datetime]:
    """When each running container of a running pod started."""
    if pod.status.phase != "Running":
        return {}
    started = {
        status.name: parse_time(status.state.running.started_at)
        for status in pod.status.container_statuses or []
        if status.state.running
    }
    return {name: at for name, at in started.items() if at is not None}


def running_since(pod: Pod) -> datetime | None:
    """When the last of the pod's running containers started; None while none runs."""
    return max(_container_starts(pod).values(), default=None)


def running_memory(pod: Pod) -> int:
    """The memory limits of the pod's running containers, in bytes."""
    running = _container_starts(pod)
    return sum(
        int(parse((container.resources.limits or {}).get("memory", 0)) or 0)
        for container in pod.spec.containers
        if container.name in running
    )


def _is_settlement_due(order: Order, at: datetime) -> bool:
    last = Posting.objects.filter(order=order, kind=Posting.Kind.CHARGE).aggregate(last=Max("at"))[
        "last"
    ]
    start = last or order.activated_at
    return start is not None and at - start >= timedelta(seconds=settings.VKUBE_SETTLE_SECONDS)


# --- over time ------------------------------------------------------------------------------------
STEPS = ("hour", "day", "month")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Use and cost of one hour, day or month, by when they were seen."""

    start: datetime
    running_seconds: int
    gib_hours: Decimal
    cost: Decimal


def over_time(order: Order, step: str) -> list[Bucket]:
    """Use and cost by hour, day or month (UTC), oldest first."""
    columns = UsageSample.objects.filter(order=order).annotate(bucket=Trunc("at", step, tzinfo=UTC))
    rows = columns.values("bucket").annotate(
        ms=Sum("running_ms"),
        byte_ms=Sum(Cast("memory_bytes", _EXACT) * F("running_ms"), output_field=_EXACT),
    )
    return [
        Bucket(
            start=row["bucket"],
            running_seconds=row["ms"] // 1000,
            gib_hours=pricing.gib_hours(int(row["byte_ms"])),
            cost=pricing.usage_price(order.price, int(row["byte_ms"])),
        )
        for row in rows.order_by("bucket")
    ]


# --- strays ---------------------------------------------------------------------------------------
def delete_strays(cluster: Cluster) -> list[str]:
    """Delete what carries our label but belongs to no order here: left by a deploy that died half-way. The names of what went."""
    client, at = registry.client(cluster), clock.now()
    found = inventory.items(
        client,
        KINDS["deployments"],
        Labelled,
        namespace=settings.VKUBE_NAMESPACE,
        labelSelector=LABEL,
    )
    gone = []
    for item in found:
        born = parse_time(item.metadata.creation_timestamp)
        if (
            born
            and at - born > timedelta(seconds=settings.VKUBE_STRAY_SECONDS)
            and _is_stray(cluster, item)
        ):
            objects.delete(client, item.metadata.namespace, item.metadata.name)
            gone.append(item.metadata.name)
    return gone


def _is_stray(cluster: Cluster, item: Labelled) -> bool:
    """Whether the name is an order's of ours that does not run here; what other installations made is none of our business."""
    order = Order.objects.filter(pk=(item.metadata.labels or {}).get(LABEL, "")).first()
    if order is None or str(order.service_name) != item.metadata.name:
        return False
    ours = (*Deployment.LIVE, Deployment.State.APPLYING, Deployment.State.REMOVING)
    return not Deployment.objects.filter(order=order, cluster=cluster, state__in=ours).exists()
