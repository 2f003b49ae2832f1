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
    """One server. A connection serves one request at a time.

    A kept connection leads to the process that has accepted it, and waits there for a thread even
    while other processes are idle; a new one is accepted by whoever is free. `threads` is how many
    requests one process works at, and 0 where it takes any number.
    """

    def __init__(self, path: str, *, threads: int = 0) -> None:
        self.path = path
        self._threads = threads
        # By process; b"" has those that have not said whose they are.
        self._idle: dict[bytes, deque[tuple[float, Connection]]] = {}
        self._busy: dict[bytes, set[Connection]] = {}

    async def connection(self, *, fresh: bool = False) -> tuple[Connection, bool]:
        """(a connection, whether it has served before); with `fresh` a new one in any case.

        A server that is just starting is waited for START_SECONDS; Unavailable after that.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        while not fresh and (process := self._choose_process()) is not None:
            # The latest first: it is the least likely to have been closed.
            since, idle = self._idle[process].pop()
            if not self._idle[process]:
                del self._idle[process]
            if not idle.ended and not idle.buffer and now - since < IDLE_SECONDS:
                self._take(process, idle)
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
                self._take(b"", connection)
                return connection, False

    def _choose_process(self) -> bytes | None:
        """The least busy process that has a kept connection and a free thread; None for none."""
        if not self._idle:
            return None
        # Which processes those are busy for that have not said so yet, nobody knows.
        unknown = self._count_busy(b"")
        process = min(self._idle, key=self._count_busy)
        busy = self._count_busy(process) + (unknown if process else 0)
        return None if 0 < self._threads <= busy else process

    def _count_busy(self, process: bytes) -> int:
        return len(self._busy.get(process, ()))

    def _take(self, process: bytes, connection: Connection) -> None:
        """Count the connection as busy until it is kept or ends."""
        self._busy.setdefault(process, set()).add(connection)
        connection.on_end = lambda: self._release(process, connection)

    def _release(self, process: bytes, connection: Connection) -> None:
        connection.on_end = None
        busy = self._busy.get(process, set())
        busy.discard(connection)
        if not busy:
            self._busy.pop(process, None)

    def keep(self, connection: Connection, process: bytes) -> None:
        """Take back a connection of a process that has answered and may serve again."""
        if connection.on_end is not None:
            connection.on_end()
        if connection.ended or connection.buffer:
            connection.abort()
            return
        connection.release_answer()
        now = asyncio.get_running_loop().time()
        self._idle.setdefault(process, deque()).append((now, connection))
        for name, idle in list(self._idle.items()):
            while idle and now - idle[0][0] >= IDLE_SECONDS:
                idle.popleft()[1].close()
            if not idle:
                del self._idle[name]

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            for _, connection in idle:
                connection.close()
        self._idle.clear()
