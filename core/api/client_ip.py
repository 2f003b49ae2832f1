"""Where a request came from: the peer, or what a trusted proxy says about its client."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

from core import client_certificates
from core.client_certificates import Certificate
from core.front import BEHIND_FRONT

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Views see DRF's request, middleware and the admin site Django's.
AnyRequest = Request | HttpRequest


@lru_cache(maxsize=32)
def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


def is_inside(text: str, networks: Iterable[str]) -> bool:
    """Whether an address is in one of the networks; False for what is no address.

    An IPv4 address in IPv6's notation (`::ffff:10.0.0.1`) counts as IPv4.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in _networks(tuple(networks)))


def _is_trusted_proxy(address: str) -> bool:
    return is_inside(address, settings.TRUSTED_PROXIES)


def _peer(request: AnyRequest) -> str:
    """The address at the other end of the connection; "" when unknown."""
    return str(request.META.get("REMOTE_ADDR") or "")


def came_from(request: AnyRequest, networks: Iterable[str]) -> bool:
    """Whether the caller is in one of the networks.

    False when a proxy that is not in TRUSTED_PROXIES speaks for another client.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    if forwarded and not _is_trusted_proxy(_peer(request)):
        return False
    return is_inside(client_address(request), networks)


def client_certificate(request: AnyRequest) -> Certificate | None:
    """The verified certificate of a trusted proxy's client, or None.

    The peer must be in TRUSTED_PROXIES and say that it has verified the certificate; headers of
    anybody else count for nothing.
    """
    if not settings.CLIENT_CERT_HEADER or not _is_trusted_proxy(_peer(request)):
        return None
    if settings.CLIENT_CERT_VERIFIED_HEADER:
        verified = _header(request, settings.CLIENT_CERT_VERIFIED_HEADER)
        if verified not in client_certificates.VERIFIED:
            return None
    certificate = _header(request, settings.CLIENT_CERT_HEADER)
    return client_certificates.read_header(certificate, settings.CLIENT_CERT_FORMAT)


def _header(request: AnyRequest, name: str) -> str:
    key = f"HTTP_{name.upper().replace('-', '_')}"
    return str(request.META.get(key) or "").strip(" \t")


def client_address(request: AnyRequest) -> str:
    """The caller's IP address; "" when unknown.

    X-Forwarded-For counts only as far as proxies in TRUSTED_PROXIES wrote it.
    """
    return address_behind(_peer(request), str(request.META.get("HTTP_X_FORWARDED_FOR") or ""))


def address_behind(address: str, header: str) -> str:
    """The client's address, by the peer's and an X-Forwarded-For; as `client_address`."""
    hops = [hop.strip() for hop in header.split(",") if hop.strip()]
    # Each proxy appends the address it was reached from, so the list is read from its end.
    while hops and _is_trusted_proxy(address):
        address = hops.pop()
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


def is_cross_site(request: AnyRequest) -> bool:
    """Whether a browser sent it for a page of another origin (Origin, Sec-Fetch-Site)."""
    site = request.headers.get("Sec-Fetch-Site", "none").strip().lower()
    if site not in ("none", "same-origin"):
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    try:
        parts = urlsplit(origin.strip().lower())
        own = urlsplit(f"{parts.scheme}://{request.get_host().lower()}")
        return not parts.hostname or _host_and_port(parts) != _host_and_port(own)
    except ValueError:
        return True


def _host_and_port(
    parts: SplitResult,
) -> tuple[str | None, int | None]:
    """(host, port); without a port in the address it is the scheme's own."""
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.hostname, parts.port or standard


def socket_base(request: AnyRequest) -> str:
    """The address of the WebSockets: `ws://host:port`, or `wss` behind TLS.

    WS_BASE_URL, else where the caller reached us, as the front serves both there. A web server
    without a front has its sockets on the socket port of the same host.
    """
    if settings.WS_BASE_URL:
        return str(settings.WS_BASE_URL).rstrip("/")
    scheme = "wss" if request.is_secure() else "ws"
    if request.META.get(BEHIND_FRONT):
        return f"{scheme}://{request.get_host()}"
    host = urlsplit(f"//{request.get_host()}").hostname or "localhost"
    literal = f"[{host}]" if ":" in host else host
    return f"{scheme}://{literal}:{settings.KUBEGALE_WS_PORT}"
