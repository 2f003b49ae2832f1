"""The servers behind the front: kept connections to their unix sockets."""

import asyncio
from collections import deque

from edge.connections import Connection

KEPT_SECONDS = (
    30.0  # less than the web server's own patience, so that it is never the one that closes
)
START_SECONDS = 3.0
PAUSE = 0.05


class Unavailable(Exception):
    """Nothing listens on the socket."""


class Upstream:
    """One server. A connection serves one request at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: deque[tuple[float, Connection]] = deque()

    async def connection(self, *, fresh: bool = False) -> tuple[Connection, bool]:
        """(a connection, whether it has served before). A server that is just starting again is waited for; Unavailable."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle and not fresh:
            since, kept = self._idle.pop()
            if not kept.ended and not kept.buffer and now - since < KEPT_SECONDS:
                return kept, True
            kept.abort()
        deadline = now + START_SECONDS
        while True:
            try:
                _, made = await loop.create_unix_connection(Connection, self.path)
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                if loop.time() > deadline:
                    raise Unavailable from None
                await asyncio.sleep(PAUSE)
            except OSError as error:
                raise Unavailable from error
            else:
                return made, False

    def keep(self, connection: Connection) -> None:
        """Take a connection back that has answered and may serve again."""
        if connection.ended or connection.buffer:
            connection.abort()
            return
        now = asyncio.get_running_loop().time()
        self._idle.append((now, connection))
        while self._idle and now - self._idle[0][0] >= KEPT_SECONDS:
            self._idle.popleft()[1].close()

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop()[1].close()
