"""Guessing passwords is slow: failures are counted, and only so many passwords are hashed at a time.

A name that failed often from an address waits there, and nowhere else. An address from which many names failed is told to wait when
it is wrong again; a right password is taken all the same, since others behind that address are none of its owner's doing.
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
    """What an address is counted as: itself, or its network where one host has a whole one (IPv6: /64)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _key(*parts: str) -> str:
    return "sign-in-failures:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _keys(name: str, address: str) -> tuple[str, str]:
    where = network_of(address)
    return _key(name.casefold(), where), _key(where)


def check(name: str, address: str) -> None:
    """TooManyRequests when the name failed too often from there."""
    of_name, _ = _keys(name, address)
    if cache.get(of_name, 0) >= FAILURES_OF_NAME:
        raise _refusal()


def record_failure(name: str, address: str) -> None:
    """Count a failure; TooManyRequests when the address had too many before, whichever names they were of."""
    of_name, of_address = _keys(name, address)
    over = cache.get(of_address, 0) >= FAILURES_FROM_ADDRESS
    for key in (of_name, of_address):
        if not cache.add(key, 1, SECONDS):
            _increment(key)
    if over:
        raise _refusal()


def _increment(key: str) -> None:
    try:
        cache.incr(key)
    except ValueError:
        # Forgotten between the two calls: its minute is over.
        cache.add(key, 1, SECONDS)


class HashingQueue:
    """So many at work at once, so many in line behind them for so many seconds; whoever comes later is refused."""

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self._work = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._seconds = seconds

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A turn at work; TooManyRequests when the line is full or does not move."""
        if not self._places.acquire(blocking=False):
            raise _refusal(1)
        try:
            if not self._work.acquire(timeout=self._seconds):
                raise _refusal(1)
            try:
                yield
            finally:
                self._work.release()
        finally:
            self._places.release()


# Hashing takes a whole processor for a part of a second. The line leaves two of a process's sixteen threads to everything else.
LONGEST_QUEUE = 14
AT_ONCE = max(1, min(4, os.cpu_count() or 1))
HASHING = HashingQueue(at_once=AT_ONCE, waiting=LONGEST_QUEUE - AT_ONCE, seconds=8.0)
