"""Protection against guessing passwords: failures are counted, hashing is limited.

A name that failed often from a network waits there, and nowhere else. A network from which many
names failed is told to wait when it fails again; a right password is accepted all the same, since
others behind that address did not cause the failures.
"""

import hashlib
import ipaddress
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.cache import cache

from core.errors import TooManyRequests

SECONDS = 60
FAILURES_OF_NAME = 10
FAILURES_FROM_ADDRESS = 100


def _refusal(retry_after: int = SECONDS) -> TooManyRequests:
    return TooManyRequests("too many failed sign-ins; wait a minute", retry_after=retry_after)


def network_of(address: str) -> str:
    """What an address is counted as: itself, or for IPv6 its /64, which one host often has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _key(*parts: str) -> str:
    return "sign-in-failures:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _keys(name: str, address: str) -> tuple[str, str]:
    """(cache key of the name from that network, cache key of the network)."""
    network = network_of(address)
    return _key(name.casefold(), network), _key(network)


def check(name: str, address: str) -> None:
    """TooManyRequests when the name failed too often from that network."""
    name_key, _ = _keys(name, address)
    if cache.get(name_key, 0) >= FAILURES_OF_NAME:
        raise _refusal()


def record_failure(name: str, address: str) -> None:
    """Count a failure; TooManyRequests when the network had too many before, of any names."""
    name_key, network_key = _keys(name, address)
    is_over = cache.get(network_key, 0) >= FAILURES_FROM_ADDRESS
    for key in (name_key, network_key):
        if not cache.add(key, 1, SECONDS):
            _increment(key)
    if is_over:
        raise _refusal()


def _increment(key: str) -> None:
    try:
        cache.incr(key)
    except ValueError:
        # It expired between the two calls: its minute is over.
        cache.add(key, 1, SECONDS)


class HashingQueue:
    """Limits how many passwords are hashed at once, and how many requests wait for that.

    A request that comes when the queue is full, or waits longer than `seconds`, is refused.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self._running = threading.BoundedSemaphore(at_once)
        self._admitted = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Run the block when it is its turn; TooManyRequests when the queue is full or too slow."""
        if not self._admitted.acquire(blocking=False):
            raise _refusal(1)
        try:
            if not self._running.acquire(timeout=self._seconds):
                raise _refusal(1)
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._admitted.release()


# Hashing takes a whole processor for a fraction of a second. The queue leaves two of a process's
# sixteen threads to everything else.
LONGEST_QUEUE = 14
AT_ONCE = max(1, min(4, os.cpu_count() or 1))
HASHING = HashingQueue(
    at_once=AT_ONCE,
    waiting=LONGEST_QUEUE - AT_ONCE,
    seconds=8.0,
)
