"""Where orders can run: regions over all clusters, and which host ports are free there."""

import logging
import socket
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache

from billing.kubernetes_structs import Node, Pod, Service
from billing.manifests import LABEL
from billing.models import Order, PortClaim
from billing.services import inventory
from clusters import registry
from clusters.address_policy import is_allowed
from clusters.models import Cluster
from core.errors import ClusterUnavailable, DomainError, Invalid

log = logging.getLogger(__name__)
CACHE_KEY = "vkube:regions"
# Of a connection attempt; a node without the port refuses at once.
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


def list_regions() -> list[str]:
    """The regions with a usable node in any reachable cluster, sorted.

    Cached for VKUBE_REGION_CACHE_SECONDS, since every cluster is asked.
    """
    cached = cache.get(CACHE_KEY)
    if cached is not None:
        return list(cached)
    names: set[str] = set()
    for _, nodes in inventory.survey_clusters(inventory.list_nodes).answers:
        for node in nodes:
            label = inventory.node_region(node)
            if label and node.is_usable():
                names.add(label[1])
    cache.set(CACHE_KEY, sorted(names), settings.VKUBE_REGION_CACHE_SECONDS)
    return sorted(names)


def list_regions_or_none() -> list[str]:
    """The regions; the document answers every failure with an empty list."""
    try:
        return list_regions()
    except Exception:
        log.exception("regions cannot be listed")
        return []


def locate(region: str) -> list[Site]:
    """The sites of a region, the default cluster first.

    NoSuchRegion when no cluster has it; ClusterUnavailable while a cluster that does not answer
    might.
    """
    survey = inventory.survey_clusters(inventory.list_nodes)
    sites: list[Site] = []
    for cluster, nodes in survey.answers:
        site = _site(cluster, region, nodes)
        if site is not None:
            sites.append(site)
    if sites:
        return sites
    if survey.silent:
        names = ", ".join(cluster.name for cluster in survey.silent)
        raise ClusterUnavailable(
            f"region {region!r} is in no reachable cluster, and {names} cannot be asked",
            reason="silent",
        )
    raise NoSuchRegion("region not found", field="region")


def _site(cluster: Cluster, region: str, nodes: list[Node]) -> Site | None:
    """The region in a cluster; None without a usable node there."""
    nodes_of_region: list[Node] = []
    usable_labels: list[str] = []
    for node in nodes:
        label = inventory.node_region(node)
        if label is None or label[1] != region:
            continue
        nodes_of_region.append(node)
        if node.is_usable():
            usable_labels.append(label[0])
    if not usable_labels:
        return None
    return Site(cluster, region, usable_labels[0], nodes_of_region)


# --- host ports -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ClusterSurvey:
    """One look at a region in a cluster: its nodes, and the host ports that pods and Services use.

    It is made before any row is locked, since a cluster may answer slowly; what orders claim is
    read from the database when the answer is needed.
    """

    site: Site
    used_ports: frozenset[int]

    def ports_in_use(self, *, own_order: Order | None = None) -> frozenset[int]:
        """The host ports that are not free now; what `own_order` claims is left out."""
        return self.used_ports | _claimed_ports(self.site, own_order)


def survey_ports(
    site: Site, ports: Collection[int] = (), *, own_order: Order | None = None
) -> ClusterSurvey:
    """Ask the cluster which host ports are used on any node of the site.

    Pods of `own_order` are left out. With VKUBE_PORT_PROBE a connection to each of
    `ports` is tried as well. ClusterUnavailable when the cluster does not answer.
    """
    client = registry.client(site.cluster)
    # Ports of the nodes' own services, which no API shows.
    used = set(settings.VKUBE_RESERVED_PORTS)
    used |= _pod_ports(site, inventory.list_active_pods(client), own_order)
    used.update(_node_ports(inventory.list_services(client)))
    if settings.VKUBE_PORT_PROBE and ports:
        # The order's own pods answer too, so the ports that it claims are not probed.
        own: set[int] = set()
        if own_order:
            own = _claimed_ports(site, None) - _claimed_ports(site, own_order)
        used |= _probe(site, [port for port in ports if port not in used | own])
    return ClusterSurvey(site, frozenset(used))


def _pod_ports(site: Site, pods: list[Pod], own_order: Order | None) -> set[int]:
    node_names = {node.metadata.name for node in site.nodes}
    ports: set[int] = set()
    for pod in pods:
        labels = pod.metadata.labels or {}
        if own_order is not None and labels.get(LABEL) == own_order.pk:
            continue
        is_pending = not pod.spec.node_name and _selects_region(pod, site.region)
        if pod.spec.node_name in node_names or is_pending:
            ports.update(_host_ports(pod))
    return ports


def _selects_region(pod: Pod, region: str) -> bool:
    """Whether a pod that waits for a node asks for the region."""
    selector = pod.spec.node_selector or {}
    return any(selector.get(label) == region for label in inventory.region_labels())


def _host_ports(pod: Pod) -> Iterator[int]:
    for container in [*pod.spec.containers, *(pod.spec.init_containers or [])]:
        for port in container.ports or []:
            if port.host_port:
                yield port.host_port
            elif pod.spec.host_network and port.container_port:
                # In the node's network every port of the container is one of the node.
                yield port.container_port


def _node_ports(services: list[Service]) -> Iterator[int]:
    for service in services:
        for port in service.spec.ports or []:
            if port.node_port:
                yield port.node_port
        if service.spec.health_check_node_port:
            yield service.spec.health_check_node_port


def _claimed_ports(site: Site, own_order: Order | None) -> set[int]:
    """Ports promised to orders, from before their pods exist until after those are gone."""
    claims = PortClaim.objects.filter(cluster=site.cluster, region=site.region)
    if own_order is not None:
        claims = claims.exclude(deployment__order=own_order)
    return set(claims.values_list("port", flat=True))


def _probe(site: Site, ports: list[int]) -> set[int]:
    """Those of the ports on which a node of the site accepts a connection."""
    addresses = [
        address.address
        for node in site.nodes
        for address in node.status.addresses or []
        if address.type == "InternalIP"
        and is_allowed(address.address, settings.CLUSTER_ADDRESS_POLICY)
    ]
    pairs = [(address, port) for port in ports for address in addresses][:MAX_PROBES]
    with ThreadPoolExecutor(inventory.WORKERS) as pool:
        answers = list(pool.map(lambda pair: _connects(*pair), pairs))
    return {port for (_, port), is_open in zip(pairs, answers, strict=True) if is_open}


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def check_ports(region: str, ports: list[int]) -> tuple[str, list[int]]:
    """(status, occupied ports in the order asked) in the document's words.

    The status is NotOccupied, PortsOccupied, NoResource without the region, or InternalErr for
    every failure.
    """
    occupied: set[int] = set()
    try:
        for site in locate(region):
            occupied |= survey_ports(site, ports).ports_in_use()
    except NoSuchRegion:
        return "NoResource", []
    except DomainError as error:
        # What a cluster answers is no defect of ours, so there is no traceback.
        log.warning("ports of region %r cannot be checked: %s", region, error.message)
        return "InternalErr", []
    except Exception:
        log.exception("ports of region %r cannot be checked", region)
        return "InternalErr", []
    occupied_ports = [port for port in ports if port in occupied]
    return ("PortsOccupied", occupied_ports) if occupied_ports else ("NotOccupied", [])
