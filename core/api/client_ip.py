"""Where a request came from: the peer, or what a proxy of ours says about it."""

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


@lru_cache(maxsize=32)
def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


def is_inside(text: str, networks: Iterable[str]) -> bool:
    """Whether an address is in one of the networks; IPv4 in IPv6's clothes counts as IPv4. False for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in _networks(tuple(networks)))


def _trusted(text: str) -> bool:
    return is_inside(text, settings.TRUSTED_PROXIES)


def came_from(request: Request | HttpRequest, networks: Iterable[str]) -> bool:
    """Whether the caller is in one of the networks; not when a proxy that is none of ours speaks for somebody else."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    if request.META.get("HTTP_X_FORWARDED_FOR") and not _trusted(peer):
        return False
    return is_inside(client_address(request), networks)


def client_certificate(request: Request | HttpRequest) -> Certificate | None:
    """The certificate of the proxy's client, where the peer is in TRUSTED_PROXIES and says that it has verified it.

    None from anybody else, whatever their headers say.
    """
    if not settings.CLIENT_CERT_HEADER or not _trusted(str(request.META.get("REMOTE_ADDR") or "")):
        return None
    if settings.CLIENT_CERT_VERIFIED_HEADER:
        verified = _header(request, settings.CLIENT_CERT_VERIFIED_HEADER)
        if verified not in client_certificates.VERIFIED:
            return None
    return client_certificates.read_header(
        _header(request, settings.CLIENT_CERT_HEADER), settings.CLIENT_CERT_FORMAT
    )


def _header(request: Request | HttpRequest, name: str) -> str:
    return str(request.META.get(f"HTTP_{name.upper().replace('-', '_')}") or "").strip(" \t")


def client_address(request: Request | HttpRequest) -> str:
    """The caller's address: X-Forwarded-For counts only as far as proxies in TRUSTED_PROXIES wrote it. Nothing when unknown."""
    address = str(request.META.get("REMOTE_ADDR") or "")
    hops = [
        hop.strip()
        for hop in str(request.META.get("HTTP_X_FORWARDED_FOR") or "").split(",")
        if hop.strip()
    ]
    while hops and _trusted(address):
        address = hops.pop()
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


def is_cross_site(request: Request | HttpRequest) -> bool:
    """Whether a browser sent it for a page of another origin, as it says itself in Origin and Sec-Fetch-Site."""
    if request.headers.get("Sec-Fetch-Site", "none").strip().lower() not in ("none", "same-origin"):
        return True
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    try:
        parts = urlsplit(origin.strip().lower())
        here = urlsplit(f"{parts.scheme}://{request.get_host().lower()}")
        return not parts.hostname or _place(parts) != _place(here)
    except ValueError:
        return True


def _place(parts: SplitResult) -> tuple[str | None, int | None]:
    """Host and port, with the scheme's own port where none stands."""
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def socket_base(request: Request | HttpRequest) -> str:
    """`ws://host:port` (or wss behind TLS) of the sockets: WS_BASE_URL, else where the caller reached us, as the front serves
    both there; a web server without a front has its sockets on the socket port of the same host."""
    if settings.WS_BASE_URL:
        return str(settings.WS_BASE_URL).rstrip("/")
    scheme = "wss" if request.is_secure() else "ws"
    if request.META.get(BEHIND_FRONT):
        return f"{scheme}://{request.get_host()}"
    host = urlsplit(f"//{request.get_host()}").hostname or "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{settings.KUBEGALE_WS_PORT}"
