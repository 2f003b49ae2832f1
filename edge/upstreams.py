"""The servers behind the front: reused connections to their unix sockets."""

import asyncio
from collections import deque

from edge.connections import Connection

# How long an idle connection is used again: less than the server's own keep-alive (65 s), so that
# the server is never the one that closes it.
IDLE_SECONDS = 30.0
# How long a server that is just starting is waited for, and the pause between two attempts.
START_SECONDS = 3.0
PAUSE_SECONDS = 0.05


class Unavailable(Exception):
    """Nothing listens on the socket."""


class Upstream:
    """One server. A connection serves one request at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._idle: deque[tuple[float, Connection]] = deque()

    async def connection(self, *, fresh: bool = False) -> tuple[Connection, bool]:
        """(a connection, whether it has served before); with `fresh` a new one in any case.

        A server that is just starting is waited for START_SECONDS; Unavailable after that.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._idle and not fresh:
            # The latest first: it is the least likely to have been closed.
            since, idle = self._idle.pop()
            if not idle.ended and not idle.buffer and now - since < IDLE_SECONDS:
                return idle, True
            idle.abort()
        deadline = now + START_SECONDS
        while True:
            try:
                _, connection = await loop.create_unix_connection(Connection, self.path)
            except (
                FileNotFoundError,
                ConnectionRefusedError,
                BlockingIOError,
            ):
                if loop.time() > deadline:
                    raise Unavailable from None
                await asyncio.sleep(PAUSE_SECONDS)
            except OSError as error:
                raise Unavailable from error
            else:
                return connection, False

    def keep(self, connection: Connection) -> None:
        """Take back a connection that has answered and may serve again."""
        if connection.ended or connection.buffer:
            connection.abort()
            return
        connection.release_answer()
        now = asyncio.get_running_loop().time()
        self._idle.append((now, connection))
        while self._idle and now - self._idle[0][0] >= IDLE_SECONDS:
            self._idle.popleft()[1].close()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop()[1].close()
