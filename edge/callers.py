"""What one client address has open, and how many of its requests the web server works at."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.limits import Limits
from edge.spool import Budget, Share
from edge.wire import Chunked

# How much of a chunked body is read in one turn of the loop: a chunk is three steps, and chunks of
# a byte each take thousands of times longer than their bytes.
STEPS = 600

if TYPE_CHECKING:
    from edge.sessions import Session


class Place:
    """One request's right to be worked at, which is given back once."""

    def __init__(self, places: "Places") -> None:
        self._places: Places | None = places

    def release(self) -> None:
        """Let the next request have it; nothing when that was done before."""
        if self._places is not None:
            self._places.pass_on()
            self._places = None


class Places:
    """So many requests at once; the others wait their turn, the first that came first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[Place]] = deque()

    def take(self) -> Place | None:
        """A place that is free now."""
        if not self._free:
            return None
        self._free -= 1
        return Place(self)

    def queue(self) -> "asyncio.Future[Place]":
        """A place later. To end the wait, `leave` first and give the future an exception."""
        waiter: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def leave(self, waiter: "asyncio.Future[Place]") -> None:
        """Wait no more; nothing when the place has come."""
        with suppress(ValueError):
            self._waiting.remove(waiter)

    def pass_on(self) -> None:
        """Give a place to the next that waits, else back."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(Place(self))
                return
        self._free += 1


class Caller:
    """One address. A proxy of ours speaks for many clients, and has no limits of its own."""

    def __init__(self, address: str, limits: Limits, budget: Budget) -> None:
        self.address = address
        self.is_trusted = limits.trusts(address)
        self.sessions: dict[Session, asyncio.Task[None]] = {}
        most = budget.total if self.is_trusted else limits.spool_per_address
        self.share = Share(budget, most)
        requests = limits.connections if self.is_trusted else limits.requests_per_address
        self.places = Places(requests)
        self._turn = asyncio.Lock()

    async def decode(self, decoder: Chunked, data: bytes) -> tuple[bytes, bytes]:
        """As `Chunked.take`, of limited length: one body of the address in one turn of the loop."""
        async with self._turn:
            taken = decoder.take(data, STEPS)
            if decoder.is_paused:
                # The turn is kept meanwhile: others are served between two parts, however many
                # such bodies an address sends at once.
                await asyncio.sleep(0)
        return taken
