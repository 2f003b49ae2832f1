"""The listening side: who is connected, how many may be, and how all of it ends."""

import asyncio
import logging
import os
import signal
import socket
from collections import defaultdict
from collections.abc import Iterable

from edge.connections import Connection
from edge.limits import Limits
from edge.sessions import BODY, FAREWELL, HEAD, STREAM, TUNNEL, Session
from edge.spool import Budget
from edge.upstreams import Upstream

BACKLOG = 2048
# How long feeds and followed logs may go on once the front is told to stop; their clients come back
# by themselves.
STREAM_FAREWELL = 3.0
TUNNEL_FAREWELL = 8.0
log = logging.getLogger("edge")


class Front:
    """`web` answers requests, `sockets` WebSockets."""

    def __init__(self, web: str, sockets: str, limits: Limits) -> None:
        self.web = Upstream(web)
        self.sockets = Upstream(sockets)
        self.limits = limits
        self.budget = Budget(limits.spool_total)
        self.stopping = False
        self._sessions: dict[str, dict[Session, asyncio.Task[None]]] = defaultdict(dict)
        self._count = 0
        self._servers: list[asyncio.Server] = []

    async def listen(self, listener: socket.socket, *, sockets_only: bool) -> None:
        """Accept on a bound socket; `sockets_only` is the port that belongs to the WebSocket server alone."""
        loop = asyncio.get_running_loop()

        def accepted(client: Connection) -> None:
            self._accept(client, sockets_only=sockets_only)

        self._servers.append(
            await loop.create_server(
                lambda: Connection(connected=accepted), sock=listener, backlog=BACKLOG
            )
        )

    def _accept(self, client: Connection, *, sockets_only: bool) -> None:
        peer = client.transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        if not self._has_room(address):
            client.abort()
            return
        session = Session(self, client, address, sockets_only=sockets_only)
        task = asyncio.get_running_loop().create_task(session.run())
        self._sessions[address][session] = task
        self._count += 1
        task.add_done_callback(lambda done: self._forget(session, done))

    def _has_room(self, address: str) -> bool:
        """Whether one more may come. Who has not sent a whole request yet makes room for the new."""
        mine = self._sessions.get(address, {})
        if len(mine) >= self.limits.connections_per_address and not self.limits.trusts(address):
            return _drop_one(mine)
        if self._count >= self.limits.connections:
            greediest = max(self._sessions.values(), key=len)
            return _drop_one(greediest)
        return True

    def _forget(self, session: Session, task: asyncio.Task[None]) -> None:
        self._count -= 1
        sessions = self._sessions[session.address]
        del sessions[session]
        if not sessions:
            del self._sessions[session.address]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed", exc_info=error)

    async def stop(self) -> None:
        """No new connections; what is being answered is finished, what never ends is ended."""
        self.stopping = True
        for server in self._servers:
            server.close()
        self._drop({HEAD, FAREWELL, BODY})
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._count and (passed := loop.time() - began) < self.limits.stop_seconds:
            ending = {HEAD, FAREWELL, BODY}
            ending |= {STREAM} if passed > STREAM_FAREWELL else set()
            ending |= {TUNNEL} if passed > TUNNEL_FAREWELL else set()
            self._drop(ending)
            await asyncio.sleep(0.05)
        self._drop(None)
        self.web.close()
        self.sockets.close()

    def _drop(self, states: set[str] | None) -> None:
        for sessions in self._sessions.values():
            for session in list(sessions):
                if states is None or session.state in states:
                    session.abort()


def _drop_one(sessions: Iterable[Session]) -> bool:
    for states in ((HEAD, FAREWELL), (BODY,)):
        for session in sessions:
            if session.state in states:
                session.abort()
                # Its own end comes later; until then it must not be chosen again.
                session.state = "dropped"
                return True
    return False


def listener(address: str, port: int) -> socket.socket:
    """A bound TCP socket."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((address, port))
    return found


async def serve(front: Front, ports: Iterable[tuple[socket.socket, bool]]) -> None:
    """Listen on all ports until SIGTERM or SIGINT; a second signal does not wait."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        if asked.is_set():
            os._exit(1)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    for bound, sockets_only in ports:
        await front.listen(bound, sockets_only=sockets_only)
    await asked.wait()
    await front.stop()
