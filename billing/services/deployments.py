"""Deploying an order, following it to ready, and taking it away again."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import QuerySet

from billing import clock, manifests
from billing.containers import DeployRequest, PortRequest
from billing.locks import try_lock
from billing.models import Deployment, Order, PortClaim
from billing.services import objects, orders, regions, rollout_watch, webhooks
from billing.services.regions import ClusterSurvey, Site
from clusters import registry
from clusters.manifests import Object
from core.errors import ClusterUnavailable, Conflict, DomainError, Forbidden, Invalid

State, Service = Deployment.State, Order.Service
ENDED = (Service.DONE, Service.ABORTED)
CLAIM_TIMEOUT_MS = 10_000


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


# --- deploying ------------------------------------------------------------------------------------
def deploy(order: Order, wanted: DeployRequest) -> Deployment:
    """Run what is wanted in place of what ran before.

    Clusters are asked outside transactions: first the survey, then a transaction that claims the
    ports and records the deploy as `applying`, then the cluster's answer, then a transaction that
    records it. Forbidden for orders that may not, Invalid for regions and ports that cannot be had,
    Conflict while another call deploys the order. What the cluster refuses, or fails to answer,
    leaves the order as it was; an order that ended meanwhile runs nothing.
    """
    with _order_lock(order):
        before = live(order)
        site = _site(regions.locate(wanted.region), before)
        look = _survey(order, wanted, site)
        row, manifest = _begin(order, wanted, look, before)
        number = before.pk if before is not None and _is_unchanged(row, before) else row.pk
        try:
            companions = manifests.companions(order, wanted)
            objects.apply(order, site.cluster, manifest, companions, number=number)
        except Exception as error:
            # Without an answer it is not known whether a replacement was written; the cluster knows.
            unclear = before is not None and isinstance(error, ClusterUnavailable)
            if not (unclear and number == row.pk and _is_applied(row)):
                _cancel(row, fresh=before is None)
                raise
        return _finish(row)


@contextmanager
def _order_lock(order: Order) -> Iterator[None]:
    """One call at a time deploys, stops or starts an order; Conflict while another does.

    No row is locked. PostgreSQL notices when the process dies, so whatever it left half-done is
    ended by whoever comes next.
    """
    with try_lock(_lock_name(order.pk)) as mine:
        if not mine:
            raise Conflict("another deploy of this order is under way; try again", reason="busy")
        for row in _applying(order):
            _recover(row)
        yield


def _lock_name(order: str) -> str:
    return f"billing.deploy/{order}"


def _applying(order: Order | None = None) -> QuerySet[Deployment]:
    rows = Deployment.objects.filter(state=State.APPLYING).select_related("cluster", "order")
    return rows if order is None else rows.filter(order=order)


def _site(found: Collection[Site], before: Deployment | None) -> Site:
    """The cluster that has the region: the one where the order runs already, else the default one, else the oldest."""
    for site in found:
        if before is not None and before.cluster_id == site.cluster.pk:
            return site
    if before is not None and before.region == next(iter(found)).region:
        # Moving would leave a second copy running where nobody can be asked to stop it.
        registry.client(before.cluster).version()
    return next(iter(found))


def _survey(order: Order, wanted: DeployRequest, site: Site) -> ClusterSurvey:
    """What the cluster says about host ports, as far as the deploy wants any."""
    ports = _ports(wanted)
    chosen = [port.host for port in ports if port.host]
    if not chosen and not (ports and order.ports == Order.Ports.RANDOM):
        return ClusterSurvey(site, frozenset())
    return regions.survey(site, chosen, besides=order)


def _ports(wanted: DeployRequest) -> list[PortRequest]:
    return [port for container in wanted.containers for port in container.ports]


def _begin(
    order: Order, wanted: DeployRequest, look: ClusterSurvey, before: Deployment | None
) -> tuple[Deployment, Object]:
    """Record the deploy and claim its ports, before the cluster is asked; the row and the manifest."""
    with transaction.atomic():
        order, at = orders.lock(order), clock.now()
        require_deployable(order, at)
        _require_unchanged(order, before)
        host_ports = _host_ports(order, wanted, look, before)
        manifest = manifests.deployment(order, wanted, label=look.site.label, host_ports=host_ports)
        row = Deployment.objects.create(
            order=order,
            cluster=look.site.cluster,
            namespace=settings.VKUBE_NAMESPACE,
            name=str(order.service_name),
            region=look.site.region,
            containers=_summary(manifest),
            memory_bytes=wanted.memory_bytes,
            digest=manifests.digest(manifest),
            state=State.APPLYING,
            created_at=at,
        )
        _claim_ports(
            row, besides=before if before is not None and _is_same_object(row, before) else None
        )
    return row, manifest


def _require_unchanged(order: Order, before: Deployment | None) -> None:
    """Conflict when another deploy is under way, or came after this one looked."""
    if Deployment.objects.filter(order=order, state=State.APPLYING).exists():
        raise Conflict("another deploy of this order is under way; try again", reason="busy")
    current = live(order)
    if (current.pk if current else None) != (before.pk if before else None):
        raise Conflict("the order has changed meanwhile; try again", reason="busy")


def _host_ports(
    order: Order, wanted: DeployRequest, look: ClusterSurvey, before: Deployment | None
) -> dict[PortRequest, int]:
    """Which host port each wanted port gets; Invalid when a chosen one is taken or none is left."""
    ports = _ports(wanted)
    chosen = {port: port.host for port in ports if port.host}
    random = order.ports == Order.Ports.RANDOM and ports
    if not chosen and not random:
        return {}
    occupied = look.occupied(besides=order)
    if busy := sorted({host for host in chosen.values() if host in occupied}):
        raise Invalid(
            f"hostPort occupied: {', '.join(map(str, busy))}", field="hostPort", occupied=busy
        )
    return _random_host_ports(ports, look.site, occupied, before) if random else chosen


def _random_host_ports(
    ports: list[PortRequest], site: Site, occupied: Collection[int], before: Deployment | None
) -> dict[PortRequest, int]:
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


def _is_same_object(row: Deployment, before: Deployment) -> bool:
    """Whether the one stands where the other stood, as one object."""
    return (row.cluster_id, row.namespace) == (before.cluster_id, before.namespace)


def _is_unchanged(row: Deployment, before: Deployment) -> bool:
    """Whether nothing changed."""
    return _is_same_object(row, before) and row.digest == before.digest


def _finish(row: Deployment) -> Deployment:
    """The cluster has accepted: the row takes the place of what ran before, and the order's time begins.

    Of an order that ended meanwhile everything is taken away. Conflict when another call took over.
    """
    with transaction.atomic():
        order, at = orders.lock(row.order, patience_ms=60_000), clock.now()
        before = live(order)
        if order.service in ENDED:
            moved = _move(row, State.REMOVING)
        elif before is not None and _is_unchanged(row, before):
            moved = _delete_row(row)
            row = _revive(before)
        else:
            if before is not None:
                _retire(before, in_place=_is_same_object(row, before))
            moved = _move(row, State.APPLIED)
            _claim_ports(row)
            webhooks.emit(
                order, "deployment.applied", at, cluster=row.cluster.name, region=row.region
            )
        if not moved:
            raise Conflict("the deploy took so long that another call ended it", reason="busy")
        if order.service not in ENDED:
            _activate(order, at)
            if row.operation is None:
                rollout_watch.follow(row)
    if order.service in ENDED:
        remove_pending(order)
    return row


def _move(row: Deployment, state: str) -> bool:
    """applying -> the state; False when the row is no longer being applied."""
    moved = Deployment.objects.filter(pk=row.pk, state=State.APPLYING).update(state=state)
    row.state = state
    return bool(moved)


def _delete_row(row: Deployment) -> bool:
    """Forget a deploy that changed nothing, its claims with it; False when it is no longer being applied."""
    return bool(Deployment.objects.filter(pk=row.pk, state=State.APPLYING).delete()[0])


def _revive(before: Deployment) -> Deployment:
    """What was deployed again as it stood is followed again when it had failed or been stopped."""
    if before.state == State.FAILED or before.stopped:
        Deployment.objects.filter(pk=before.pk).update(
            state=State.APPLIED, error="", operation=None, stopped=False
        )
        before.state = State.APPLIED
        before.operation = None
        before.stopped = False
    return before


def _cancel(row: Deployment, *, fresh: bool) -> None:
    """The cluster has refused: the row and its claims go, and what ran before is what runs.

    Of a first deploy nothing is left in the cluster; what cannot be undone now is removed later.
    """
    undone = not fresh or objects.undo(row.cluster, row.namespace, row.name)
    with transaction.atomic():
        order = orders.lock(row.order, patience_ms=60_000)
        if undone:
            _delete_row(row)
        else:
            _move(row, State.REMOVING)
    if order.service in ENDED:
        remove_pending(order)


def _is_applied(row: Deployment) -> bool:
    """Whether the cluster has what this deploy wrote; False as well when it does not say."""
    try:
        return objects.applied(row.cluster, row.namespace, row.name) == row.pk
    except (DomainError, ValueError):
        return False


def recover() -> None:
    """End the deploys of processes that died, as the cluster shows them.

    A cluster that does not answer is asked again by the next call.
    """
    for row in _applying().order_by("attempts", "pk")[:500]:
        with try_lock(_lock_name(row.order_id)) as mine:
            if not mine or not _applying().filter(pk=row.pk).exists():
                continue
            try:
                _recover(row)
            except (DomainError, ValueError) as error:
                Deployment.objects.filter(pk=row.pk).update(
                    attempts=row.attempts + 1, error=str(error)[:500]
                )


def _recover(row: Deployment) -> None:
    if row.cluster.deleted_at is not None:
        _cancel(row, fresh=False)
    elif objects.applied(row.cluster, row.namespace, row.name) == row.pk:
        _finish(row)
    else:
        _cancel(row, fresh=live(row.order) is None)


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


def _claim_ports(row: Deployment, *, besides: Deployment | None = None) -> None:
    """Hold the host ports of the row, but for those that `besides`, which it will replace, holds still.

    Always in one order, so that two deploys never wait for each other in a circle.
    """
    ports = [port for container in row.containers for port in container["ports"]]
    needed = {
        (port["hostPort"], port["protocol"]): port["containerPort"]
        for port in ports
        if "hostPort" in port
    }
    others = PortClaim.objects.filter(deployment=besides, region=row.region)
    for claim in others if besides is not None else ():
        needed.pop((claim.port, claim.protocol), None)
    with _port_lock_timeout():
        PortClaim.objects.filter(deployment=row).delete()
        for (number, protocol), container_port in sorted(needed.items()):
            PortClaim.objects.create(
                deployment=row,
                cluster=row.cluster,
                region=row.region,
                port=number,
                protocol=protocol,
                container_port=container_port,
            )


@contextmanager
def _port_lock_timeout() -> Iterator[None]:
    """A port that another deploy takes at this moment is taken; one that is not decided soon is a conflict."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{CLAIM_TIMEOUT_MS}ms"])
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


# --- stopping and starting ------------------------------------------------------------------------
def stop(order: Order) -> Deployment:
    """Run no pod until `start`; the order's time goes on. Conflict when nothing was deployed."""
    with _locked_deployment(order) as row:
        objects.scale(row.cluster, row.namespace, row.name, 0)
        _record_scale(row, stopped=True)
    return row


def start(order: Order) -> Deployment:
    """Run what was stopped again, and follow it."""
    with _locked_deployment(order) as row:
        objects.scale(row.cluster, row.namespace, row.name, 1)
        _record_scale(row, stopped=False)
    return row


def restart(order: Order) -> Deployment:
    """Have a new pod made, and follow it. Conflict when nothing was deployed, or it is stopped."""
    with _locked_deployment(order) as row:
        if row.stopped:
            raise Conflict("the service is stopped: start it", reason="stopped")
        objects.restart(row.cluster, row.namespace, row.name, clock.now())
        _record_scale(row, stopped=False)
    return row


@contextmanager
def _locked_deployment(order: Order) -> Iterator[Deployment]:
    """What runs for the order, which no deploy can replace meanwhile."""
    with _order_lock(order):
        require_deployable(orders.find(order.pk), clock.now())
        current = live(order)
        if current is None:
            raise Conflict("nothing was deployed", reason="not_deployed")
        yield current


def _record_scale(row: Deployment, *, stopped: bool) -> None:
    """Record that the pod is stopped, or that a new one is on its way; what ended meanwhile stays as it is."""
    with transaction.atomic():
        order, at = orders.lock(row.order, patience_ms=60_000), clock.now()
        columns: dict[str, Any] = {"stopped": stopped}
        if not stopped:
            columns.update(state=State.APPLIED, error="")
        moved = Deployment.objects.filter(pk=row.pk, state__in=Deployment.LIVE).update(**columns)
        if not moved:
            return
        row.stopped = stopped
        orders.change(order, at, expected={})
        if not stopped:
            rollout_watch.follow(row)


# --- taking away ----------------------------------------------------------------------------------
def release(order: Order) -> None:
    """Mark what runs for removal; part of the caller's transaction.

    What is being applied is left to the call that applies it, which finds the order over.
    """
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
        return _mark_removed(row, State.ABANDONED, "its cluster is no longer registered")
    if _rows_of_object(row).filter(state=State.APPLYING).exists():
        return False  # whoever applies there tells first what stands
    try:
        if not _is_deployed_again(row):
            objects.delete(registry.client(row.cluster), row.namespace, row.name)
    except (DomainError, ValueError) as error:
        if isinstance(error, ClusterUnavailable):
            dead.add(row.cluster_id)
        Deployment.objects.filter(pk=row.pk).update(
            attempts=row.attempts + 1, error=str(error)[:500]
        )
        return False
    return _mark_removed(row, State.REMOVED)


def _is_deployed_again(row: Deployment) -> bool:
    """Whether the order was deployed to the same place again since."""
    return _rows_of_object(row).filter(state__in=Deployment.LIVE).exists()


def _rows_of_object(row: Deployment) -> QuerySet[Deployment]:
    """The order's deploys that share one object in the cluster with this one."""
    return Deployment.objects.filter(
        order_id=row.order_id, cluster_id=row.cluster_id, namespace=row.namespace
    )


def _mark_removed(row: Deployment, state: str, error: str = "") -> bool:
    with transaction.atomic():
        at = clock.now()
        moved = Deployment.objects.filter(pk=row.pk, state=State.REMOVING).update(
            state=state, removed_at=at, error=error
        )
        if moved:
            PortClaim.objects.filter(deployment=row).delete()
            webhooks.emit(row.order, "deployment.removed", at, cluster=row.cluster.name)
    return bool(moved)
