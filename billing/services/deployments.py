"""Deploying an order, following it to ready, and taking it away again."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction

from billing import clock, manifests
from billing.containers import PortWanted, Wanted
from billing.models import Deployment, Order, PortClaim
from billing.services import following, objects, orders, sites, webhooks
from billing.services.sites import Site
from clusters import services as registry
from clusters.documents import Object
from kubegale.errors import ClusterUnavailable, Conflict, DomainError, Forbidden, Invalid

State, Service = Deployment.State, Order.Service
CLAIM_PATIENCE_MS = 10_000


def live(order: Order) -> Deployment | None:
    """What runs for the order now."""
    return (
        Deployment.objects.filter(order=order, state__in=Deployment.LIVE)
        .select_related("cluster")
        .first()
    )


def require_deployable(order: Order, at: datetime) -> None:
    """Forbidden unless the order is paid and its time is not over."""
    if order.status != Order.Status.FILED:
        raise Forbidden("the order is not paid")
    if order.service == Service.ABORTED:
        raise Forbidden("the order was refunded")
    if order.service == Service.DONE or (order.expires_at and order.expires_at <= at):
        raise Forbidden("the order has expired")


# --- deploying ------------------------------------------------------------------------------------------------------
def deploy(order: Order, wanted: Wanted) -> Deployment:
    """Run what is wanted in place of what ran before; the order's row is locked meanwhile.

    Forbidden for orders that may not, Invalid for regions and ports that cannot be had, Conflict while another call changes the order.
    What the cluster refuses, or fails to answer, leaves the order as it was.
    """
    found = sites.locate(wanted.region)
    with transaction.atomic():
        order, at = orders.locked(order), clock.now()
        require_deployable(order, at)
        before = live(order)
        site = _site(found, before)
        host_ports = _host_ports(order, wanted, site, before)
        manifest = manifests.deployment(order, wanted, label=site.label, host_ports=host_ports)
        row = _record(order, wanted, site, manifest=manifest, before=before, at=at)
        _claim(row, site, host_ports)
        objects.apply(order, site.cluster, manifest, fresh=before is None)
        _activate(order, at)
        if row.operation is None:
            following.follow(row)
    return row


def _site(found: Collection[Site], before: Deployment | None) -> Site:
    """The cluster that has the region: the one where the order runs already, else the default one, else the oldest."""
    for site in found:
        if before is not None and before.cluster_id == site.cluster.pk:
            return site
    if before is not None and before.region == next(iter(found)).region:
        # Moving would leave a second copy running where nobody can be asked to stop it.
        registry.client(before.cluster).version()
    return next(iter(found))


def _host_ports(
    order: Order, wanted: Wanted, site: Site, before: Deployment | None
) -> dict[PortWanted, int]:
    """Which host port each wanted port gets; Invalid when a chosen one is taken or none is left."""
    ports = [port for container in wanted.containers for port in container.ports]
    chosen = {port: port.host for port in ports if port.host}
    random = order.ports == Order.Ports.RANDOM and ports
    if not chosen and not random:
        return {}
    occupied = sites.taken([site], list(chosen.values()), besides=order)
    if busy := sorted({host for host in chosen.values() if host in occupied}):
        raise Invalid(
            f"hostPort occupied: {', '.join(map(str, busy))}", field="hostPort", occupied=busy
        )
    return _drawn(ports, site, occupied, before) if random else chosen


def _drawn(
    ports: list[PortWanted], site: Site, occupied: Collection[int], before: Deployment | None
) -> dict[PortWanted, int]:
    """Host ports that the system draws: those held before where they still fit, else the lowest free ones."""
    held = {}
    if before is not None and (before.cluster_id, before.region) == (site.cluster.pk, site.region):
        held = {(claim.container_port, claim.protocol): claim.port for claim in before.claims.all()}
    kept = {
        port: number
        for port in ports
        if (number := held.get((port.container, port.protocol))) and number not in occupied
    }
    free = (
        number
        for number in sorted(settings.VKUBE_RANDOM_PORTS)
        if number not in occupied and number not in kept.values()
    )
    for port in ports:
        if port not in kept:
            number = next(free, None)
            if number is None:
                raise Invalid("no host port is left in this region", field="ports")
            kept[port] = number
    return kept


def _record(
    order: Order,
    wanted: Wanted,
    site: Site,
    *,
    manifest: Object,
    before: Deployment | None,
    at: datetime,
) -> Deployment:
    """The row of this deploy: the one before when nothing changed, else a new one in its place."""
    digest = manifests.digest(manifest)
    same_place = before is not None and before.cluster_id == site.cluster.pk
    if (
        before is not None
        and same_place
        and before.digest == digest
        and before.namespace == settings.VKUBE_NAMESPACE
    ):
        if before.state == State.FAILED:
            Deployment.objects.filter(pk=before.pk).update(
                state=State.APPLIED, error="", operation=None
            )
            before.state, before.operation = State.APPLIED, None
        return before
    if before is not None:
        _retire(before, in_place=same_place and before.namespace == settings.VKUBE_NAMESPACE)
    row = Deployment.objects.create(
        order=order,
        cluster=site.cluster,
        namespace=settings.VKUBE_NAMESPACE,
        name=str(order.service_name),
        region=site.region,
        containers=_summary(manifest),
        memory_bytes=wanted.memory_bytes,
        digest=digest,
        created_at=at,
    )
    webhooks.emit(order, "deployment.applied", at, cluster=site.cluster.name, region=site.region)
    return row


def _summary(manifest: Object) -> list[Object]:
    """What is remembered of the containers: never environment, command or arguments, which may hold secrets."""
    found = manifest["spec"]["template"]["spec"]["containers"]
    return [
        {
            "name": item["name"],
            "image": item["image"],
            "memory": item["resources"]["limits"]["memory"],
            "ports": item.get("ports", []),
        }
        for item in found
    ]


def _retire(before: Deployment, *, in_place: bool) -> None:
    """What is replaced where it stands gives its ports back at once; what is left behind elsewhere when it is gone."""
    Deployment.objects.filter(pk=before.pk).update(
        state=State.REPLACED if in_place else State.REMOVING
    )
    if in_place:
        PortClaim.objects.filter(deployment=before).delete()


def _claim(row: Deployment, site: Site, host_ports: dict[PortWanted, int]) -> None:
    """Hold the host ports, in one order everywhere so that two deploys never wait for each other in a circle."""
    with _patience():
        PortClaim.objects.filter(deployment=row).delete()
        for port, number in sorted(
            host_ports.items(), key=lambda item: (item[1], item[0].protocol)
        ):
            PortClaim.objects.create(
                deployment=row,
                cluster=site.cluster,
                region=site.region,
                port=number,
                protocol=port.protocol,
                container_port=port.container,
            )


@contextmanager
def _patience() -> Iterator[None]:
    """A port that another deploy takes at this moment is taken; one that is not decided soon is a conflict."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true)", [f"{CLAIM_PATIENCE_MS}ms"]
            )
            yield
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except IntegrityError:
        raise Invalid("hostPort occupied", field="hostPort") from None
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", "") in {"55P03", "40P01"}:
            raise Conflict(
                "a host port is being taken by another deploy; try again", reason="busy"
            ) from None
        raise


def _activate(order: Order, at: datetime) -> None:
    """The first successful deploy starts the clock."""
    if order.service != Service.PENDING:
        orders.change(order, at, expected={"service": order.service})
        return
    ends = at + timedelta(seconds=order.seconds)
    orders.change(
        order,
        at,
        expected={"service": Service.PENDING},
        service=Service.RUNNING,
        activated_at=at,
        expires_at=ends,
    )
    webhooks.emit(order, "service.running", at)


# --- taking away ----------------------------------------------------------------------------------------------------
def release(order: Order) -> None:
    """Mark what runs for removal; part of the caller's transaction."""
    Deployment.objects.filter(order=order, state__in=Deployment.LIVE).update(state=State.REMOVING)


def remove_pending(order: Order | None = None) -> int:
    """Try to take away what is marked for removal, of one order or of all; how many are gone now. Never fails: it is called again."""
    waiting = (
        Deployment.objects.filter(state=State.REMOVING)
        .select_related("cluster", "order")
        .order_by("attempts", "pk")
    )
    if order is not None:
        waiting = waiting.filter(order=order)
    dead: set[int] = set()
    return sum(_remove(row, dead) for row in waiting[:500] if row.cluster_id not in dead)


def _remove(row: Deployment, dead: set[int]) -> bool:
    if row.cluster.deleted_at is not None:
        return _gone(row, State.ABANDONED, "its cluster is no longer registered")
    try:
        if not _stands_for_another(row):
            objects.delete(registry.client(row.cluster), row.namespace, row.name)
    except (DomainError, ValueError) as error:
        if isinstance(error, ClusterUnavailable):
            dead.add(row.cluster_id)
        Deployment.objects.filter(pk=row.pk).update(
            attempts=row.attempts + 1, error=str(error)[:500]
        )
        return False
    return _gone(row, State.REMOVED)


def _stands_for_another(row: Deployment) -> bool:
    """Whether the order was deployed to the same place again since."""
    again = Deployment.objects.filter(
        order_id=row.order_id, cluster_id=row.cluster_id, namespace=row.namespace
    )
    return again.filter(state__in=Deployment.LIVE).exists()


def _gone(row: Deployment, state: str, error: str = "") -> bool:
    with transaction.atomic():
        at = clock.now()
        moved = Deployment.objects.filter(pk=row.pk, state=State.REMOVING).update(
            state=state, removed_at=at, error=error
        )
        if moved:
            PortClaim.objects.filter(deployment=row).delete()
            webhooks.emit(row.order, "deployment.removed", at, cluster=row.cluster.name)
    return bool(moved)
