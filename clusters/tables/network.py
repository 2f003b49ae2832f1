"""The columns of what leads traffic."""

import ipaddress
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clusters.manifests import Object
from clusters.tables.columns import (
    AGE,
    NAME,
    Column,
    labels_column,
    selector_column,
    text_column,
)
from clusters.tables.values import (
    NONE,
    SHOWN_MEMBERS,
    UNKNOWN,
    UNSET,
    get,
    join_shortened,
    mappings_at,
    text_at,
)


def _load_balancer(obj: Object) -> str:
    addresses = {
        str(entry.get("ip") or entry.get("hostname"))
        for entry in mappings_at(obj, "status.loadBalancer.ingress")
        if entry.get("ip") or entry.get("hostname")
    }
    return ",".join(sorted(addresses))


def _external_ip(service: Object, now: datetime) -> str:
    external = [
        str(address)
        for address in get(
            service,
            "spec.externalIPs",
        )
        or ()
    ]
    match text_at(service, "spec.type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or NONE
        case "LoadBalancer":
            balanced = _load_balancer(service)
            return (
                ",".join(
                    [
                        *filter(
                            None,
                            [balanced],
                        ),
                        *external,
                    ]
                )
                or "<pending>"
            )
        case "ExternalName":
            return text_at(service, "spec.externalName")
    return UNKNOWN


def _service_ports(service: Object, now: datetime) -> str:
    texts = []
    for port in mappings_at(service, "spec.ports"):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def _ingress_hosts(ingress: Object, now: datetime) -> str:
    hosts: list[str] = []
    is_cut = False
    rules = mappings_at(ingress, "spec.rules")
    for rule in rules:
        if len(hosts) == SHOWN_MEMBERS:
            is_cut = True
        elif rule.get("host"):
            hosts.append(str(rule["host"]))
    if not hosts:
        return "*"
    # The API server counts rules without a host, too.
    return (
        join_shortened(
            hosts,
            len(rules),
        )
        if is_cut
        else ",".join(hosts)
    )


def _join_host_port(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoints(obj: Object, now: datetime) -> str:
    subsets = mappings_at(obj, "subsets")
    if not subsets:
        return NONE
    texts: list[str] = []
    for subset in subsets:
        addresses = [
            str(
                entry.get(
                    "ip",
                    "",
                )
            )
            for entry in mappings_at(subset, "addresses")
        ]
        ports = mappings_at(subset, "ports")
        if not ports:
            # Of a headless service without ports.
            texts += addresses
        for port in ports:
            texts += [
                _join_host_port(
                    address,
                    port.get("port"),
                )
                for address in addresses
            ]
    return join_shortened(texts, len(texts))


def _slice_ports(obj: Object, now: datetime) -> str:
    ports = [
        str(port["port"] if port.get("port") is not None else port.get("name") or "*")
        for port in mappings_at(obj, "ports")
    ]
    return join_shortened(ports, len(ports)) or UNSET


def _slice_endpoints(obj: Object, now: datetime) -> str:
    addresses: list[str] = []
    for endpoint in mappings_at(obj, "endpoints"):
        addresses += [str(address) for address in endpoint.get("addresses") or ()]
    return join_shortened(addresses, len(addresses)) or UNSET


def _class_parameters(obj: Object, now: datetime) -> str:
    parameters = get(obj, "spec.parameters")
    if not parameters:
        return NONE
    group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
    return f"{parameters.get('kind')}{group}/{parameters.get('name')}"


def _parent_reference(obj: Object, now: datetime) -> str:
    parent = get(obj, "spec.parentRef") or {}
    parts = [parent.get("resource"), parent.get("namespace"), parent.get("name")]
    if parent.get("group"):
        parts[0] = f"{parent['resource']}.{parent['group']}"
    return "/".join(str(part) for part in parts if part) or NONE


def _cidrs(obj: Object, now: datetime) -> str:
    networks = [
        str(ipaddress.ip_network(text))
        for text in get(
            obj,
            "spec.cidrs",
        )
        or ()
    ]
    return ",".join(networks)


NETWORK: Mapping[str, tuple[Column, ...]] = {
    "services": (
        NAME,
        text_column("Type", "spec.type"),
        text_column("Cluster-IP", "spec.clusterIP", NONE),
        Column("External-IP", _external_ip),
        Column("Port(s)", _service_ports),
        AGE,
        labels_column("Selector", "spec.selector", wide=True),
    ),
    "endpoints": (NAME, Column("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        NAME,
        text_column("AddressType", "addressType"),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    "ingresses.networking.k8s.io": (
        NAME,
        text_column("Class", "spec.ingressClassName", NONE),
        Column("Hosts", _ingress_hosts),
        Column(
            "Address",
            lambda ingress, now: _load_balancer(ingress),
        ),
        Column(
            "Ports",
            lambda ingress, now: (
                "80, 443"
                if get(
                    ingress,
                    "spec.tls",
                )
                else "80"
            ),
        ),
        AGE,
    ),
    "ingressclasses.networking.k8s.io": (
        NAME,
        text_column("Controller", "spec.controller"),
        Column("Parameters", _class_parameters),
        AGE,
    ),
    "networkpolicies.networking.k8s.io": (
        NAME,
        selector_column(
            "Pod-Selector",
            "spec.podSelector",
            NONE,
            wide=False,
        ),
        AGE,
    ),
    "ipaddresses.networking.k8s.io": (
        NAME,
        Column(
            "ParentRef",
            _parent_reference,
        ),
        AGE,
    ),
    "servicecidrs.networking.k8s.io": (
        NAME,
        Column(
            "CIDRs",
            _cidrs,
        ),
        AGE,
    ),
}
