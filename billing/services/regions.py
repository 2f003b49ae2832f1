"""Where orders can run: regions over all clusters, and which host ports are free there."""

import logging
import socket
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache

from billing.manifests import LABEL
from billing.models import Order, PortClaim
from billing.services import inventory
from billing.services.inventory import Node, Pod
from clusters import registry
from clusters.address_policy import allowed
from clusters.models import Cluster
from core.errors import ClusterUnavailable, DomainError, Invalid

log = logging.getLogger(__name__)
CACHE_KEY = "vkube:regions"
PROBE_SECONDS = 0.5
MAX_PROBES = 256


class NoSuchRegion(Invalid):
    """No usable node of any cluster is in that region."""

    code = "no_such_region"


@dataclass(frozen=True, slots=True)
class Site:
    """A region in one cluster: the node label that names it, and its nodes, unusable ones too."""

    cluster: Cluster
    region: str
    label: str
    nodes: list[Node]


def regions() -> list[str]:
    """The regions of ready and schedulable nodes of every reachable cluster, sorted; kept for a moment."""
    if (known := cache.get(CACHE_KEY)) is not None:
        return list(known)
    answers = inventory.survey(inventory.nodes).answers
    found = sorted(
        {
            place[1]
            for _, nodes in answers
            for node in nodes
            if node.usable() and (place := node.region())
        }
    )
    cache.set(CACHE_KEY, found, settings.VKUBE_REGION_CACHE_SECONDS)
    return found


def regions_or_none() -> list[str]:
    """The regions; the document answers every failure with an empty list."""
    try:
        return regions()
    except Exception:
        log.exception("regions cannot be listed")
        return []


def locate(region: str) -> list[Site]:
    """Where a region is, the default cluster first. NoSuchRegion when nobody has it; ClusterUnavailable while that cannot be known."""
    survey = inventory.survey(inventory.nodes)
    found = [site for cluster, nodes in survey.answers if (site := _site(cluster, region, nodes))]
    if not found and survey.silent:
        names = ", ".join(cluster.name for cluster in survey.silent)
        raise ClusterUnavailable(
            f"region {region!r} is in no reachable cluster, and {names} cannot be asked",
            reason="silent",
        )
    if not found:
        raise NoSuchRegion("region not found", field="region")
    return found


def _site(cluster: Cluster, region: str, nodes: list[Node]) -> Site | None:
    here = [node for node in nodes if (place := node.region()) and place[1] == region]
    usable = [place[0] for node in here if node.usable() and (place := node.region())]
    return Site(cluster, region, usable[0], here) if usable else None


# --- host ports -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ClusterSurvey:
    """One look at a region in a cluster: its nodes, and the host ports that pods and Services hold.

    It is taken before any row is locked, since a cluster may answer slowly; what orders claim is
    read from the database when the answer is needed.
    """

    site: Site
    taken: frozenset[int]

    def occupied(self, *, besides: Order | None = None) -> frozenset[int]:
        """The host ports that are not free now; `besides` leaves out what one order claims."""
        return self.taken | _claimed_ports(self.site, besides)


def survey(
    site: Site, ports: Collection[int] = (), *, besides: Order | None = None
) -> ClusterSurvey:
    """Ask the cluster which host ports are taken on any node of the site.

    `besides` leaves out the pods of one order. With `ports` a connection to each may be tried as
    well (VKUBE_PORT_PROBE).
    """
    client = registry.client(site.cluster)
    taken = set(settings.VKUBE_RESERVED_PORTS)
    taken |= _pod_ports(site, inventory.active_pods(client), besides)
    taken.update(_node_ports(inventory.services(client)))
    if settings.VKUBE_PORT_PROBE and ports:
        # The order's own pods answer too, so what it claims is not asked.
        own = _claimed_ports(site, None) - _claimed_ports(site, besides) if besides else set()
        taken |= _probe(site, [port for port in ports if port not in taken | own])
    return ClusterSurvey(site, frozenset(taken))


def _pod_ports(site: Site, pods: list[Pod], besides: Order | None) -> set[int]:
    names = {node.metadata.name for node in site.nodes}
    found: set[int] = set()
    for pod in pods:
        if besides is not None and (pod.metadata.labels or {}).get(LABEL) == besides.pk:
            continue
        if pod.spec.node_name in names or (
            not pod.spec.node_name and _selects_region(pod, site.region)
        ):
            found.update(_host_ports(pod))
    return found


def _selects_region(pod: Pod, region: str) -> bool:
    """Whether a pod that waits for a node asks for the region."""
    wanted = pod.spec.node_selector or {}
    return any(wanted.get(label) == region for label in inventory.region_labels())


def _host_ports(pod: Pod) -> Iterator[int]:
    for container in [*pod.spec.containers, *(pod.spec.init_containers or [])]:
        for port in container.ports or []:
            if port.host_port:
                yield port.host_port
            elif pod.spec.host_network and port.container_port:
                yield port.container_port


def _node_ports(services: list[inventory.Service]) -> Iterator[int]:
    for service in services:
        yield from (port.node_port for port in service.spec.ports or [] if port.node_port)
        if service.spec.health_check_node_port:
            yield service.spec.health_check_node_port


def _claimed_ports(site: Site, besides: Order | None) -> set[int]:
    """Ports promised to orders, from before their pods exist until after those are gone."""
    claims = PortClaim.objects.filter(cluster=site.cluster, region=site.region)
    if besides is not None:
        claims = claims.exclude(deployment__order=besides)
    return set(claims.values_list("port", flat=True))


def _probe(site: Site, ports: list[int]) -> set[int]:
    addresses = [
        item.address
        for node in site.nodes
        for item in node.status.addresses or []
        if item.type == "InternalIP" and allowed(item.address, settings.CLUSTER_ADDRESS_POLICY)
    ]
    pairs = [(address, port) for port in ports for address in addresses][:MAX_PROBES]
    with ThreadPoolExecutor(inventory.WORKERS) as pool:
        answers = pool.map(lambda pair: _connects(*pair), pairs)
    return {port for (_, port), answered in zip(pairs, answers, strict=True) if answered}


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def check_ports(region: str, ports: list[int]) -> tuple[str, list[int]]:
    """(status, occupied ports in the order asked) in the document's words; every failure is InternalErr."""
    try:
        surveys = [survey(site, ports) for site in locate(region)]
        occupied = frozenset[int]().union(*(look.occupied() for look in surveys))
    except NoSuchRegion:
        return "NoResource", []
    except DomainError as error:  # what a cluster answers is no fault of ours
        log.warning("ports of region %r cannot be checked: %s", region, error.message)
        return "InternalErr", []
    except Exception:
        log.exception("ports of region %r cannot be checked", region)
        return "InternalErr", []
    found = [port for port in ports if port in occupied]
    return ("PortsOccupied", found) if found else ("NotOccupied", [])
