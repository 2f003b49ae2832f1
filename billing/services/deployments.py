"""Deploying an order, stopping and starting it, and removing it from its cluster."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import QuerySet

from billing import manifests
from billing.containers import DeployRequest, PortRequest
from billing.models import Deployment, Order, PortClaim
from billing.services import objects, orders, regions, rollout_watch, webhooks
from billing.services.regions import ClusterSurvey, Site
from clusters import registry
from clusters.manifests import Object
from core import clock
from core.errors import ClusterUnavailable, Conflict, DomainError, Forbidden, Invalid
from core.locks import try_lock

State = Deployment.State
Service = Order.Service
ENDED = (Service.DONE, Service.ABORTED)
# How long a deploy waits for a port that another one is claiming.
CLAIM_TIMEOUT_MS = 10_000
# How long recording the cluster's answer waits for the order's row: the answer must not be lost.
FINISH_TIMEOUT_MS = 60_000
BUSY = "another deploy of this order is under way; try again"


def find_live(order: Order) -> Deployment | None:
    """The deploy that runs for the order now; None without one."""
    rows = Deployment.objects.filter(order=order, state__in=Deployment.LIVE)
    return rows.select_related("cluster").first()


def require_deployable(order: Order, at: datetime) -> None:
    """Forbidden unless the order is paid and its time is not over."""
    if order.status != Order.Status.FILED:
        raise Forbidden("the order is not paid")
    if order.service == Service.ABORTED:
        raise Forbidden("the order was refunded")
    if order.service == Service.DONE or (order.expires_at and order.expires_at <= at):
        raise Forbidden("the order has expired")


# --- deploying ------------------------------------------------------------------------------------
def deploy(order: Order, request: DeployRequest) -> Deployment:
    """Run the request's containers in place of what ran before.

    Clusters are asked outside transactions: first the survey, then a transaction that claims the
    ports and records the deploy as `applying`, then the cluster's answer, then a transaction that
    records it. Forbidden for orders that may not deploy, Invalid for regions and ports that are
    not available, Conflict while another call deploys the order. When the cluster refuses or does
    not answer, the order stays as it was; an order that ended meanwhile runs nothing.
    """
    with _order_lock(order):
        previous = find_live(order)
        site = _choose_site(regions.locate(request.region), previous)
        survey = _survey(order, request, site)
        row, manifest = _begin(order, request, survey, previous)
        number = row.pk
        if previous is not None and _is_unchanged(row, previous):
            # `_finish` deletes the new row again, so the object keeps the number of the old one.
            number = previous.pk
        try:
            companions = manifests.companions(order, request)
            objects.apply(order, site.cluster, manifest, companions, number=number)
        except Exception as error:
            # Without an answer only the cluster knows whether a replacement was written.
            is_unclear = previous is not None and isinstance(error, ClusterUnavailable)
            if not (is_unclear and number == row.pk and _is_applied(row)):
                _cancel(row, is_first=previous is None)
                raise
        return _finish(row)


@contextmanager
def _order_lock(order: Order) -> Iterator[None]:
    """One call at a time deploys, stops or starts an order; Conflict while another does.

    No row is locked. PostgreSQL releases the lock when the process dies; whatever that process left
    half-done is ended by the next call.
    """
    with try_lock(_lock_name(order.pk)) as is_mine:
        if not is_mine:
            raise Conflict(BUSY, reason="busy")
        for row in _deploys_in_progress(order):
            _recover(row)
        yield


def _lock_name(order_id: str) -> str:
    return f"billing.deploy/{order_id}"


def _deploys_in_progress(order: Order | None = None) -> QuerySet[Deployment]:
    """Deploys whose outcome is not recorded yet, of one order or of all."""
    rows = Deployment.objects.filter(state=State.APPLYING).select_related("cluster", "order")
    return rows if order is None else rows.filter(order=order)


def _choose_site(sites: Collection[Site], previous: Deployment | None) -> Site:
    """The cluster where the order runs already, else the default one, else the oldest.

    ClusterUnavailable when the order runs in a cluster of the region that does not answer.
    """
    for site in sites:
        if previous is not None and previous.cluster_id == site.cluster.pk:
            return site
    first = next(iter(sites))
    if previous is not None and previous.region == first.region:
        # Its cluster was silent. Moving would leave a second copy running that we cannot stop.
        registry.client(previous.cluster).version()
    return first


def _survey(order: Order, request: DeployRequest, site: Site) -> ClusterSurvey:
    """The host ports in use; the cluster is asked only when the deploy needs any."""
    ports = _ports(request)
    chosen = [port.host for port in ports if port.host]
    # Nothing to compare with the cluster: the deploy works while it is slow.
    if not chosen and not (ports and order.ports == Order.Ports.RANDOM):
        return ClusterSurvey(site, frozenset())
    return regions.survey_ports(site, chosen, own_order=order)


def _ports(request: DeployRequest) -> list[PortRequest]:
    return [port for container in request.containers for port in container.ports]


def _begin(
    order: Order,
    request: DeployRequest,
    survey: ClusterSurvey,
    previous: Deployment | None,
) -> tuple[Deployment, Object]:
    """Record the deploy and claim its ports, before the cluster is asked; (row, manifest)."""
    site = survey.site
    with transaction.atomic():
        # The order may have been refunded or deployed while the cluster was asked.
        order = orders.lock(order)
        at = clock.now()
        require_deployable(order, at)
        _require_unchanged(order, previous)
        host_ports = _host_ports(order, request, survey, previous)
        manifest = manifests.deployment(
            order,
            request,
            label=site.label,
            host_ports=host_ports,
        )
        row = Deployment.objects.create(
            order=order,
            cluster=site.cluster,
            namespace=settings.VKUBE_NAMESPACE,
            name=str(order.service_name),
            region=site.region,
            containers=_summary(manifest),
            memory_bytes=request.memory_bytes,
            digest=manifests.digest(manifest),
            state=State.APPLYING,
            created_at=at,
        )
        is_replacement = previous is not None and _is_same_object(row, previous)
        _claim_ports(row, predecessor=previous if is_replacement else None)
    return row, manifest


def _require_unchanged(order: Order, previous: Deployment | None) -> None:
    """Conflict when another deploy is under way, or began after this one read `previous`."""
    if Deployment.objects.filter(order=order, state=State.APPLYING).exists():
        raise Conflict(BUSY, reason="busy")
    current = find_live(order)
    current_pk = current.pk if current else None
    if current_pk != (previous.pk if previous else None):
        raise Conflict("the order has changed meanwhile; try again", reason="busy")


def _host_ports(
    order: Order,
    request: DeployRequest,
    survey: ClusterSurvey,
    previous: Deployment | None,
) -> dict[PortRequest, int]:
    """The host port of each requested port; Invalid when it is occupied or none is left."""
    ports = _ports(request)
    chosen = {port: port.host for port in ports if port.host}
    is_random = order.ports == Order.Ports.RANDOM and ports
    if not chosen and not is_random:
        return {}
    occupied = survey.ports_in_use(own_order=order)
    busy = sorted({host for host in chosen.values() if host in occupied})
    if busy:
        text = ", ".join(map(str, busy))
        raise Invalid(
            f"hostPort occupied: {text}",
            field="hostPort",
            occupied=busy,
        )
    if is_random:
        return _random_host_ports(ports, survey.site, occupied, previous)
    return chosen


def _random_host_ports(
    ports: list[PortRequest],
    site: Site,
    occupied: Collection[int],
    previous: Deployment | None,
) -> dict[PortRequest, int]:
    """Host ports that the system chooses: those of the previous deploy, else the lowest free."""
    assigned: dict[PortRequest, int] = {}
    place = (site.cluster.pk, site.region)
    if previous is not None and (previous.cluster_id, previous.region) == place:
        claims = {
            (claim.container_port, claim.protocol): claim.port for claim in previous.claims.all()
        }
        for port in ports:
            number = claims.get((port.container, port.protocol))
            # A buyer's clients go on reaching the same port after an update.
            if number and number not in occupied:
                assigned[port] = number
    unavailable = {*occupied, *assigned.values()}
    free = (number for number in sorted(settings.VKUBE_RANDOM_PORTS) if number not in unavailable)
    for port in ports:
        if port in assigned:
            continue
        number = next(free, None)
        if number is None:
            raise Invalid("no host port is left in this region", field="ports")
        assigned[port] = number
    return assigned


def _is_same_object(row: Deployment, previous: Deployment) -> bool:
    """Whether both deploys are one object in one cluster."""
    return (row.cluster_id, row.namespace) == (previous.cluster_id, previous.namespace)


def _is_unchanged(row: Deployment, previous: Deployment) -> bool:
    """Whether the deploy repeats the previous one exactly."""
    return _is_same_object(row, previous) and row.digest == previous.digest


def _finish(row: Deployment) -> Deployment:
    """Record that the cluster accepted the deploy: it replaces what ran before.

    The order's time begins with its first deploy. Of an order that ended meanwhile everything is
    removed. Conflict when another call has ended the deploy.
    """
    with transaction.atomic():
        order = orders.lock(row.order, patience_ms=FINISH_TIMEOUT_MS)
        at = clock.now()
        previous = find_live(order)
        if order.service in ENDED:
            moved = _move(row, State.REMOVING)
        elif previous is not None and _is_unchanged(row, previous):
            moved = _delete_row(row)
            row = _revive(previous)
        else:
            if previous is not None:
                _retire(previous, in_place=_is_same_object(row, previous))
            moved = _move(row, State.APPLIED)
            _claim_ports(row)
            webhooks.emit(
                order,
                "deployment.applied",
                at,
                cluster=row.cluster.name,
                region=row.region,
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
    """Delete a deploy that changed nothing, with its claims.

    False when it is no longer being applied.
    """
    count, _ = Deployment.objects.filter(pk=row.pk, state=State.APPLYING).delete()
    return bool(count)


def _revive(previous: Deployment) -> Deployment:
    """A deploy that was repeated without a change; one that had failed or stopped starts again."""
    if previous.state == State.FAILED or previous.stopped:
        # Without an operation the caller begins to watch the rollout.
        Deployment.objects.filter(pk=previous.pk).update(
            state=State.APPLIED, error="", operation=None, stopped=False
        )
        previous.state = State.APPLIED
        previous.operation = None
        previous.stopped = False
    return previous


def _cancel(row: Deployment, *, is_first: bool) -> None:
    """The cluster has refused: delete the row and its claims; what ran before still runs.

    Of a first deploy nothing is left in the cluster; what cannot be deleted now is removed later.
    """
    is_undone = not is_first or objects.undo(row.cluster, row.namespace, row.name)
    with transaction.atomic():
        order = orders.lock(row.order, patience_ms=FINISH_TIMEOUT_MS)
        # The row stays as long as the cluster may still have its object.
        if is_undone:
            _delete_row(row)
        else:
            _move(row, State.REMOVING)
    if order.service in ENDED:
        remove_pending(order)


def _is_applied(row: Deployment) -> bool:
    """Whether the cluster has what this deploy wrote; False when it does not answer."""
    try:
        # Each deploy writes its number into the object that it applies.
        return objects.read_deploy_number(row.cluster, row.namespace, row.name) == row.pk
    except (DomainError, ValueError):
        return False


def recover() -> None:
    """End the deploys of processes that died, as the cluster shows them.

    A cluster that does not answer is asked again by the next call.
    """
    for row in _deploys_in_progress().order_by("attempts", "pk")[:500]:
        with try_lock(_lock_name(row.order_id)) as is_mine:
            # A row whose lock is taken belongs to a call that is alive.
            if not is_mine or not _deploys_in_progress().filter(pk=row.pk).exists():
                continue
            try:
                _recover(row)
            except (DomainError, ValueError) as error:
                Deployment.objects.filter(pk=row.pk).update(
                    attempts=row.attempts + 1, error=str(error)[:500]
                )


def _recover(row: Deployment) -> None:
    if row.cluster.deleted_at is not None:
        _cancel(row, is_first=False)
    elif objects.read_deploy_number(row.cluster, row.namespace, row.name) == row.pk:
        _finish(row)
    else:
        _cancel(row, is_first=find_live(row.order) is None)


def _summary(manifest: Object) -> list[Object]:
    """What is stored of the containers: [{"name","image","memory","ports"}].

    Never environment, command or arguments, which may contain secrets.
    """
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "memory": container["resources"]["limits"]["memory"],
            "ports": container.get("ports", []),
        }
        for container in manifest["spec"]["template"]["spec"]["containers"]
    ]


def _retire(previous: Deployment, *, in_place: bool) -> None:
    """End the deploy that was replaced.

    When the same object was replaced its ports are free at once; a deploy in another place keeps
    them until it is removed.
    """
    state = State.REPLACED if in_place else State.REMOVING
    Deployment.objects.filter(pk=previous.pk).update(state=state)
    if in_place:
        PortClaim.objects.filter(deployment=previous).delete()


def _claim_ports(row: Deployment, *, predecessor: Deployment | None = None) -> None:
    """Claim the host ports of the row; Invalid or Conflict when another deploy claims one.

    Ports that `predecessor`, the deploy that it will replace, claims already are left out.
    """
    claims: dict[tuple[int, str], int] = {}
    for container in row.containers:
        for port in container["ports"]:
            if "hostPort" in port:
                claims[port["hostPort"], port["protocol"]] = port["containerPort"]
    if predecessor is not None:
        for claim in PortClaim.objects.filter(deployment=predecessor, region=row.region):
            claims.pop((claim.port, claim.protocol), None)
    with _port_lock_timeout():
        PortClaim.objects.filter(deployment=row).delete()
        # Always in one order, so that two deploys never wait for each other in a circle.
        for (number, protocol), container_port in sorted(claims.items()):
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
    """Translate the database's refusals of claims made in the block.

    Invalid for a port that another deploy claims, Conflict when that is not decided soon.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{CLAIM_TIMEOUT_MS}ms"])
            yield
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except IntegrityError:
        raise Invalid("hostPort occupied", field="hostPort") from None
    except OperationalError as error:
        # lock_not_available, deadlock_detected
        if getattr(error.__cause__, "pgcode", "") in {"55P03", "40P01"}:
            raise Conflict(
                "another deploy is taking a host port; try again", reason="busy"
            ) from None
        raise


def _activate(order: Order, at: datetime) -> None:
    """Begin the order's time with its first successful deploy."""
    if order.service != Service.PENDING:
        orders.change(order, at, expected={"service": order.service})
        return
    orders.change(
        order,
        at,
        expected={"service": Service.PENDING},
        service=Service.RUNNING,
        activated_at=at,
        expires_at=at + timedelta(seconds=order.seconds),
    )
    webhooks.emit(order, "service.running", at)


# --- stopping and starting ------------------------------------------------------------------------
def stop(order: Order) -> Deployment:
    """Scale to 0 until `start`; the order's time goes on. Conflict when nothing was deployed."""
    with _locked_deployment(order) as row:
        objects.scale(row.cluster, row.namespace, row.name, 0)
        _record_scale(row, stopped=True)
    return row


def start(order: Order) -> Deployment:
    """Scale to 1 again and watch the rollout. Conflict when nothing was deployed."""
    with _locked_deployment(order) as row:
        objects.scale(row.cluster, row.namespace, row.name, 1)
        _record_scale(row, stopped=False)
    return row


def restart(order: Order) -> Deployment:
    """Replace the pod and watch the rollout. Conflict without a pod that runs."""
    with _locked_deployment(order) as row:
        if row.stopped:
            raise Conflict("the service is stopped: start it", reason="stopped")
        objects.restart(row.cluster, row.namespace, row.name, clock.now())
        _record_scale(row, stopped=False)
    return row


@contextmanager
def _locked_deployment(order: Order) -> Iterator[Deployment]:
    """The deploy that runs for the order; none can replace it within the block.

    Forbidden for orders that may not deploy, Conflict when nothing was deployed.
    """
    with _order_lock(order):
        require_deployable(orders.find(order.pk), clock.now())
        current = find_live(order)
        if current is None:
            raise Conflict("nothing was deployed", reason="not_deployed")
        yield current


def _record_scale(row: Deployment, *, stopped: bool) -> None:
    """Record that the pod was stopped, or that a new one starts.

    A deploy that ended meanwhile stays as it is.
    """
    with transaction.atomic():
        order = orders.lock(row.order, patience_ms=FINISH_TIMEOUT_MS)
        at = clock.now()
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


# --- removing -------------------------------------------------------------------------------------
def release(order: Order) -> None:
    """Mark what runs for removal; part of the caller's transaction.

    A deploy that is being applied is left to its own call, which finds the order ended.
    """
    Deployment.objects.filter(order=order, state__in=Deployment.LIVE).update(state=State.REMOVING)


def remove_pending(order: Order | None = None) -> int:
    """Try to remove what is marked for removal, of one order or of all.

    Returns how many were removed. It never fails, since it is called again.
    """
    waiting = (
        Deployment.objects.filter(state=State.REMOVING)
        .select_related("cluster", "order")
        .order_by("attempts", "pk")
    )
    if order is not None:
        waiting = waiting.filter(order=order)
    unreachable: set[int] = set()
    count = 0
    for row in waiting[:500]:
        # A cluster that did not answer once is not waited for again.
        if row.cluster_id not in unreachable:
            count += _remove(row, unreachable)
    return count


def _remove(row: Deployment, unreachable: set[int]) -> bool:
    """Remove one deploy; a cluster that does not answer is added to `unreachable`."""
    if row.cluster.deleted_at is not None:
        return _mark_removed(row, State.ABANDONED, "its cluster is no longer registered")
    if _rows_of_object(row).filter(state=State.APPLYING).exists():
        # The deploy under way decides first what runs there.
        return False
    try:
        if not _is_deployed_again(row):
            objects.delete(registry.client(row.cluster), row.namespace, row.name)
    except (DomainError, ValueError) as error:
        if isinstance(error, ClusterUnavailable):
            unreachable.add(row.cluster_id)
        Deployment.objects.filter(pk=row.pk).update(
            attempts=row.attempts + 1, error=str(error)[:500]
        )
        return False
    return _mark_removed(row, State.REMOVED)


def _is_deployed_again(row: Deployment) -> bool:
    """Whether the order was deployed as the same object again since."""
    return _rows_of_object(row).filter(state__in=Deployment.LIVE).exists()


def _rows_of_object(row: Deployment) -> QuerySet[Deployment]:
    """The order's deploys that share one object in the cluster with this one."""
    return Deployment.objects.filter(
        order_id=row.order_id,
        cluster_id=row.cluster_id,
        namespace=row.namespace,
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
