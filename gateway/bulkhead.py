"""What one cluster or user may take of the gateway: a cluster that hangs holds nobody else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
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
        self._pages: Counter[int] = Counter()

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
        with _counting(self._by_user, user, settings.GATEWAY_REQUESTS_PER_USER):
            yield

    def open_page(self, user: int) -> AbstractContextManager[None]:
        """Count a request behind one of a user's links until it ends.

        A page out of a pod may ask as often as it likes, for what its pod never answers: it must
        fill neither the cluster's share nor its maker's. TooManyRequests above
        PORT_LINK_REQUESTS_PER_USER.
        """
        return _counting(self._pages, user, settings.PORT_LINK_REQUESTS_PER_USER)


@contextmanager
def _counting(counter: Counter[int], user: int, most: int) -> Iterator[None]:
    if counter[user] >= most:
        raise TooManyRequests(f"you have {most} requests open", retry_after=2)
    counter[user] += 1
    try:
        yield
    finally:
        counter[user] -= 1
        if not counter[user]:
            del counter[user]
