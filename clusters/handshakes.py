"""How many connections to API servers a process opens at once.

A collector of a hundred clusters opens thousands when it starts. All at once, none of them would
end its TLS handshake in time: they take turns instead, and the time-out counts from the turn on.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler

from clusters.circuit_breaker import CircuitBreaker

# In one process, and to one API server: one that does not answer leaves turns to the others.
PER_PROCESS = 32
PER_SERVER = 8
# A process has one event loop; tests have several.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _turns_of_process() -> asyncio.Semaphore:
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(PER_PROCESS))


class TurnTakingConnector(aiohttp.TCPConnector):
    """Opens connections to one API server, each in its turn.

    A turn that comes after others have failed is given up: ClusterUnavailable, as for any other
    call while `circuit` is open.
    """

    def __init__(self, *, circuit: CircuitBreaker, **options: Any) -> None:
        super().__init__(**options)
        self._circuit = circuit
        self._turns_of_server = asyncio.Semaphore(PER_SERVER)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,
    ) -> ResponseHandler:
        failures = self._circuit.failures
        async with self._turns_of_server, _turns_of_process():
            # Not before every connection: the circuit breaker lets one caller pass only once.
            if self._circuit.failures > failures:
                self._circuit.check()
            return await super()._create_connection(req, traces, timeout)
