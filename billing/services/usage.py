"""Evidence of use: samples of the pods of orders, and what they add to each order's bill."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import DecimalField, F, Max, Sum
from django.db.models.functions import Cast, Trunc

from billing import pricing
from billing.kubernetes_structs import LabelledObject, Pod
from billing.manifests import LABEL
from billing.models import Deployment, Order, Posting, UsageSample
from billing.services import deployments, inventory, ledger, objects, orders
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from clusters.quantities import parse
from core import clock
from core.errors import DomainError
from storage_api.models import Change

# How old a pod's last sample may be for its deletion to be looked up.
LOOKBACK = timedelta(hours=1)
# Bytes times milliseconds outgrow 64 bits within a month.
_EXACT = DecimalField(max_digits=60, decimal_places=0)


def parse_time(text: str) -> datetime | None:
    """A Kubernetes time (RFC 3339); None for anything else."""
    try:
        time = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo else None


def sample_cluster(cluster: Cluster) -> int:
    """Sample the pods of all orders in a cluster; returns how many samples were recorded.

    ClusterUnavailable when the cluster does not answer.
    """
    pods = inventory.list_objects(
        registry.client(cluster),
        KINDS["pods"],
        Pod,
        namespace=settings.VKUBE_NAMESPACE,
        labelSelector=LABEL,
    )
    by_order: dict[str, list[Pod]] = {}
    for pod in pods:
        order_id = (pod.metadata.labels or {}).get(LABEL, "")
        by_order.setdefault(order_id, []).append(pod)
    running = Order.objects.filter(pk__in=by_order, service=Order.Service.RUNNING)
    count = sum(_sample_order(order, cluster, by_order[order.pk]) for order in running)
    return count + _sample_deleted_pods(cluster, {pod.metadata.uid for pod in pods})


def _sample_deleted_pods(cluster: Cluster, present: set[str]) -> int:
    """Sample the end of pods that were deleted since their last sample.

    The store's change log knows when. Only pods that were seen running count, and only the time
    since: what is written into the store cannot invent use.
    """
    recent = UsageSample.objects.filter(cluster=cluster, at__gt=clock.now() - LOOKBACK).exclude(
        pod_uid__in=present
    )
    last_samples = recent.order_by("pod_uid", "-at").distinct("pod_uid").select_related("order")
    count = 0
    for sample in last_samples:
        if sample.order.service == Order.Service.RUNNING:
            count += _sample_deletion(sample)
    return count


def _sample_deletion(last: UsageSample) -> int:
    """Record a pod's time from its last sample to its deletion; 1, or 0 when that is unknown."""
    with transaction.atomic():
        order = orders.lock(last.order)
        deletion = _deletion(last, clock.now())
        if deletion is None or order.service != Order.Service.RUNNING:
            return 0
        running_ms = pricing.running_ms(
            order,
            at=deletion.at,
            since=last.since,
            before=last.at,
        )
        # A copy of the last sample: the same pod with the same memory.
        last.pk = None
        last.at = deletion.at
        last.running_ms = running_ms
        last.save(force_insert=True)
    return 1


def _deletion(last: UsageSample, now: datetime) -> Change | None:
    """The store's record of the pod's deletion after its last sample; None without one."""
    return Change.objects.filter(
        cluster_id=last.cluster.name,
        resource_type="Pod",
        namespace=settings.VKUBE_NAMESPACE,
        resource_name=last.pod_name,
        uid=last.pod_uid,
        op=Change.DELETED,
        at__gt=last.at,
        at__lte=now,
    ).first()


def sample_order(order: Order) -> None:
    """Take a last sample before an order ends.

    A cluster that does not answer adds nothing, in the buyer's favour.
    """
    row = deployments.find_live(order)
    if row is None:
        return
    try:
        pods = inventory.list_objects(
            registry.client(row.cluster),
            KINDS["pods"],
            Pod,
            namespace=row.namespace,
            labelSelector=f"{LABEL}={order.pk}",
        )
    except (DomainError, ValueError):
        return
    _sample_order(order, row.cluster, pods)


def _sample_order(order: Order, cluster: Cluster, pods: list[Pod]) -> int:
    """Record a sample of each running pod, and charge the order when that is due."""
    with transaction.atomic():
        # With the order's row locked two samplings at once never count a moment twice.
        order = orders.lock(order)
        at = clock.now()
        if order.service != Order.Service.RUNNING:
            return 0
        count = sum(_sample_pod(order, cluster, pod, at) for pod in pods)
        if _is_settlement_due(order, at):
            ledger.charge(order, at)
    return count


def _sample_pod(order: Order, cluster: Cluster, pod: Pod, at: datetime) -> bool:
    since = running_since(pod)
    memory = running_memory(pod)
    if since is None or not memory:
        return False
    earlier = UsageSample.objects.filter(order=order, pod_uid=pod.metadata.uid)
    last_at = earlier.aggregate(last=Max("at"))["last"]
    UsageSample.objects.create(
        order=order,
        cluster=cluster,
        pod_uid=pod.metadata.uid,
        pod_name=pod.metadata.name,
        at=at,
        since=since,
        memory_bytes=memory,
        running_ms=pricing.running_ms(order, at=at, since=since, before=last_at),
    )
    return True


def _container_starts(pod: Pod) -> dict[str, datetime]:
    """When each running container of a running pod started, by name."""
    if pod.status.phase != "Running":
        return {}
    starts: dict[str, datetime] = {}
    for status in pod.status.container_statuses or []:
        running = status.state.running
        started_at = parse_time(running.started_at) if running else None
        if started_at is not None:
            starts[status.name] = started_at
    return starts


def running_since(pod: Pod) -> datetime | None:
    """When the last of the pod's running containers started; None while none runs."""
    return max(_container_starts(pod).values(), default=None)


def running_memory(pod: Pod) -> int:
    """The memory limits of the pod's running containers, in bytes."""
    starts = _container_starts(pod)
    memory = 0
    for container in pod.spec.containers:
        if container.name in starts:
            limits = container.resources.limits or {}
            memory += int(parse(limits.get("memory", 0)) or 0)
    return memory


def _is_settlement_due(order: Order, at: datetime) -> bool:
    charges = Posting.objects.filter(order=order, kind=Posting.Kind.CHARGE)
    start = charges.aggregate(last=Max("at"))["last"] or order.activated_at
    return start is not None and at - start >= timedelta(seconds=settings.VKUBE_SETTLE_SECONDS)


# --- over time ------------------------------------------------------------------------------------
STEPS = ("hour", "day", "month")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Use and cost of one hour, day or month, by the times of the samples."""

    start: datetime
    running_seconds: int
    gib_hours: Decimal
    cost: Decimal


def usage_by_step(order: Order, step: str) -> list[Bucket]:
    """Use and cost by `step` (hour, day or month, in UTC), oldest first."""
    samples = UsageSample.objects.filter(order=order)
    columns = samples.annotate(bucket=Trunc("at", step, tzinfo=UTC))
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
    """Delete Deployments of orders that do not run here; returns their names.

    A deploy that died half-way may leave one. Those younger than VKUBE_STRAY_SECONDS stay, since
    their deploy may still be under way.
    """
    client = registry.client(cluster)
    at = clock.now()
    labelled = inventory.list_objects(
        client,
        KINDS["deployments"],
        LabelledObject,
        namespace=settings.VKUBE_NAMESPACE,
        labelSelector=LABEL,
    )
    deleted = []
    for deployment in labelled:
        metadata = deployment.metadata
        created_at = parse_time(metadata.creation_timestamp)
        if created_at is None or at - created_at <= timedelta(seconds=settings.VKUBE_STRAY_SECONDS):
            continue
        if _is_stray(cluster, deployment):
            objects.delete(client, metadata.namespace, metadata.name)
            deleted.append(metadata.name)
    return deleted


def _is_stray(cluster: Cluster, deployment: LabelledObject) -> bool:
    """Whether the Deployment belongs to an order of ours that does not run in the cluster.

    What other installations created in the same cluster is left alone.
    """
    metadata = deployment.metadata
    order = Order.objects.filter(pk=(metadata.labels or {}).get(LABEL, "")).first()
    if order is None or str(order.service_name) != metadata.name:
        return False
    states = (*Deployment.LIVE, Deployment.State.APPLYING, Deployment.State.REMOVING)
    return not Deployment.objects.filter(
        order=order,
        cluster=cluster,
        state__in=states,
    ).exists()
