"""Which addresses a cluster, or anything else that we call, may have.

An address policy is `private` (every ordinary address), `public` (global addresses only) or a comma
list of networks. Link-local addresses and metadata services are never allowed.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import urlsplit

from core.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Cloud metadata services that have no link-local address.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
BROADCAST = ipaddress.ip_address("255.255.255.255")
# IPv6 networks whose last 32 bits are an IPv4 address: compatible addresses, both NAT64 prefixes.
_EMBEDDING = tuple(
    ipaddress.ip_network(text) for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
# `namespace/service:port`, reached through the API server's proxy with the cluster's credentials.
SERVICE = re.compile(
    r"(?P<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)"
    r"/(?P<service>[a-z0-9]([-a-z0-9:]{0,90}[a-z0-9])?)\Z"
)


def _unwrap(address: Address) -> Address:
    """The IPv4 address inside a mapped, compatible, 6to4 or NAT64 one; others as they are."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if inner := address.ipv4_mapped or address.sixtofour:
        return inner
    if address.is_loopback or address.is_unspecified:
        return address
    if any(address in network for network in _EMBEDDING):
        # Its last 32 bits.
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@lru_cache(maxsize=16)
def _rule(policy: str) -> Callable[[Address], bool]:
    """A predicate for the addresses that a policy allows."""
    if policy == "private":
        # IPv6 counts its loopback address among the reserved ones.
        return lambda address: address.is_loopback or not address.is_reserved
    if policy == "public":
        return lambda address: address.is_global and not address.is_reserved
    networks = [
        ipaddress.ip_network(part.strip(), strict=False)
        for part in policy.split(",")
        if part.strip()
    ]
    return lambda address: any(address in network for network in networks)


def is_allowed(text: str, policy: str) -> bool:
    """Whether an IP address may be called under a policy.

    Never link-local, metadata, multicast, broadcast and unspecified addresses.
    """
    # Without the zone of an IPv6 address.
    address = _unwrap(ipaddress.ip_address(text.partition("%")[0]))
    if (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in METADATA
        or address == BROADCAST
    ):
        return False
    return _rule(policy)(address)


def check_host(host: str, policy: str) -> None:
    """Raise Invalid when the host is an IP address that the policy refuses.

    A name is checked when it is connected to: it may lead elsewhere by then.
    """
    literal = host.strip("[]")
    try:
        ipaddress.ip_address(literal.partition("%")[0])
    except ValueError:
        # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses, too.
        try:
            literal = socket.inet_ntoa(socket.inet_aton(literal))
        except (OSError, UnicodeError):
            return
    if not is_allowed(literal, policy):
        raise Invalid(f"the address {host} is not allowed", reason="address_refused")


def check_prometheus(text: str, policy: str) -> str:
    """A cluster's `prometheus` as it may be saved: "", `namespace/service:port` or an address.

    Invalid for anything else, and for an http(s) address that the policy refuses.
    """
    if not text or SERVICE.match(text):
        return text
    try:
        parts = urlsplit(text)
        host = parts.hostname
        # Reading it raises ValueError for a port that is no number.
        _ = parts.port
    except ValueError:
        raise Invalid("prometheus is not a valid address", field="prometheus") from None
    if (
        parts.scheme not in {"http", "https"}
        or not host
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise Invalid(
            "prometheus must look like namespace/service:port or https://host:port",
            field="prometheus",
        )
    check_host(host, policy)
    return text.rstrip("/")
