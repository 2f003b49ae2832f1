"""What one cluster or user may take of the gateway: a cluster that hangs holds nobody else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from django.conf import settings

from core.errors import TooManyRequests

# Decisions of the policy at a time: some of them ask the cluster for the uid of a namespace.
DECISIONS = 2


@dataclass(slots=True)
class _Compartment:
    """The requests to one cluster whose answers have not begun."""

    waiting: int = 0
    deciding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DECISIONS))


class Bulkhead:
    """Counts requests by cluster until their answers begin, and open requests by user."""

    def __init__(self) -> None:
        self._compartments: dict[str, _Compartment] = {}
        self._by_user: Counter[int] = Counter()

    @contextmanager
    def waiting(self, cluster: str) -> Iterator["asyncio.Semaphore"]:
        """Count a request in until its answer begins; gives the semaphore of decisions.

        TooManyRequests when GATEWAY_WAITING_PER_CLUSTER requests wait for the cluster already.
        """
        name = cluster.lower()
        compartment = self._compartments.setdefault(name, _Compartment())
        if compartment.waiting >= settings.GATEWAY_WAITING_PER_CLUSTER:
            raise TooManyRequests("too many requests are waiting for this cluster", retry_after=2)
        compartment.waiting += 1
        try:
            yield compartment.deciding
        finally:
            compartment.waiting -= 1
            # Names come from clients: without this they could fill the memory.
            if not compartment.waiting:
                self._compartments.pop(name, None)

    @asynccontextmanager
    async def open_request(self, user: int) -> AsyncIterator[None]:
        """Count a user's request until it ends; TooManyRequests above GATEWAY_REQUESTS_PER_USER."""
        if self._by_user[user] >= settings.GATEWAY_REQUESTS_PER_USER:
            raise TooManyRequests(
                f"you have {settings.GATEWAY_REQUESTS_PER_USER} requests open", retry_after=2
            )
        self._by_user[user] += 1
        try:
            yield
        finally:
            self._by_user[user] -= 1
            if not self._by_user[user]:
                del self._by_user[user]
