"""What one client address has open, and how many of its requests the web server works at."""

import asyncio
from collections import deque
from errno import ECONNRESET
from typing import TYPE_CHECKING

from edge.connections import Connection
from edge.limits import Limits
from edge.spool import Budget, Share
from edge.wire import Chunked

if TYPE_CHECKING:
    from edge.sessions import Session

# How much of a chunked body is read in one turn of the loop: a chunk is three steps, and chunks of
# a byte each take thousands of times longer than their bytes.
STEPS = 600


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

    async def wait(self, client: Connection, seconds: float) -> Place:
        """A place, once the requests before this one have had theirs.

        TimeoutError when none comes in time, ConnectionError when the client leaves meanwhile.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Place] = loop.create_future()

        def end(error: Exception) -> None:
            if not waiter.done():
                self._waiting.remove(waiter)
                waiter.set_exception(error)

        def leave() -> None:
            if client.is_lost:
                end(ConnectionResetError(ECONNRESET, "the client has left"))

        self._waiting.append(waiter)
        timer = loop.call_later(seconds, end, TimeoutError())
        client.on_end = leave
        leave()
        try:
            return await waiter
        except asyncio.CancelledError:
            # It may have come at the same moment.
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                waiter.result().release()
            raise
        finally:
            timer.cancel()
            client.on_end = None

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
