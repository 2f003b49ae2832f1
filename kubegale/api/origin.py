"""Where a request came from: the peer, or what a proxy of ours says about it."""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4)
def _networks(words: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


def _trusted(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in _networks(tuple(settings.TRUSTED_PROXIES)))


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
