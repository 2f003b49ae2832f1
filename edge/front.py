"""The listening side: who is connected, how many may be, and how the front stops."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterable

from edge.callers import Caller
from edge.connections import Connection
from edge.limits import Limits
from edge.sessions import (
    ABANDONED,
    BODY,
    FAREWELL,
    HEAD,
    STREAM,
    TUNNEL,
    Session,
)
from edge.spool import Budget
from edge.upstreams import Upstream

BACKLOG = 2048
# How long feeds and followed logs may go on once the front has to stop; their clients come back
# by themselves.
STREAM_FAREWELL = 3.0
TUNNEL_FAREWELL = 8.0
log = logging.getLogger("edge")


class Front:
    """Accepts clients; `web`, `sockets` and `gateway` are the unix sockets of what is behind it."""

    def __init__(self, web: str, sockets: str, limits: Limits, *, gateway: str = "") -> None:
        self.web = Upstream(web, threads=limits.web_threads)
        self.sockets = Upstream(sockets)
        # None where no gateway runs: the web server then says that it has no such address.
        self.gateway = Upstream(gateway) if gateway else None
        self.limits = limits
        self.budget = Budget(limits.spool_total)
        self.stopping = False
        # By address.
        self._callers: dict[str, Caller] = {}
        self._count = 0
        self._servers: list[asyncio.Server] = []

    async def listen(self, listener: socket.socket, *, sockets_only: bool) -> None:
        """Accept on a bound socket; `sockets_only` is the port of the WebSocket server."""
        loop = asyncio.get_running_loop()

        def accepted(client: Connection) -> None:
            self._accept(client, sockets_only=sockets_only)

        self._servers.append(
            await loop.create_server(
                lambda: Connection(connected=accepted),
                sock=listener,
                backlog=BACKLOG,
            )
        )

    def _accept(self, client: Connection, *, sockets_only: bool) -> None:
        peer = client.transport.get_extra_info("peername")
        # It is no tuple when the client left before it was accepted.
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        if not self._has_room(address):
            client.abort()
            return
        caller = self._callers.get(address)
        if caller is None:
            caller = Caller(address, self.limits, self.budget)
            self._callers[address] = caller
        session = Session(self, client, caller, sockets_only=sockets_only)
        task = asyncio.get_running_loop().create_task(session.run())
        caller.sessions[session] = task
        self._count += 1
        task.add_done_callback(lambda done: self._forget(session, done))

    def _has_room(self, address: str) -> bool:
        """Whether one more may connect; a session without a whole request is dropped for it."""
        limits = self.limits
        caller = self._callers.get(address)
        if caller is not None and not caller.is_trusted:
            siblings = caller.sessions
            if len(siblings) >= limits.connections_per_address:
                return _drop_idle_session(siblings)
        if self._count >= limits.connections:
            callers = self._callers.values()
            largest = max(callers, key=lambda other: len(other.sessions))
            return _drop_idle_session(largest.sessions)
        return True

    def _forget(self, session: Session, task: asyncio.Task[None]) -> None:
        self._count -= 1
        caller = session.caller
        del caller.sessions[session]
        if not caller.sessions:
            del self._callers[caller.address]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed", exc_info=error)

    async def stop(self) -> None:
        """Accept no more, finish what is being answered, then end feeds and WebSockets."""
        self.stopping = True
        for server in self._servers:
            server.close()
        self._drop({HEAD, FAREWELL, BODY, ABANDONED})
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._count:
            seconds = loop.time() - began
            if seconds >= self.limits.stop_seconds:
                break
            states = {HEAD, FAREWELL, BODY, ABANDONED}
            if seconds > STREAM_FAREWELL:
                states.add(STREAM)
            if seconds > TUNNEL_FAREWELL:
                states.add(TUNNEL)
            self._drop(states)
            await asyncio.sleep(0.05)
        self._drop(None)
        for upstream in (self.web, self.sockets, self.gateway):
            if upstream is not None:
                upstream.close()

    def _drop(self, states: set[str] | None) -> None:
        """Abort the sessions in these states; None is every state."""
        for caller in self._callers.values():
            for session in list(caller.sessions):
                if states is None or session.state in states:
                    session.abort()


def _drop_idle_session(sessions: Iterable[Session]) -> bool:
    """Abort a session that is still sending its request; False when there is none."""
    # First those that have sent no whole head, then those with half a body.
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
    bound = socket.socket(family, socket.SOCK_STREAM)
    # A front that restarts does not wait for connections of the last one in TIME_WAIT.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, port))
    return bound


async def serve(front: Front, ports: Iterable[tuple[socket.socket, bool]]) -> None:
    """Listen on all ports until SIGTERM or SIGINT; a second signal does not wait."""
    loop = asyncio.get_running_loop()
    stop_requested = asyncio.Event()

    def request_stop() -> None:
        if stop_requested.is_set():
            os._exit(1)
        stop_requested.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_stop)
    for bound, sockets_only in ports:
        await front.listen(bound, sockets_only=sockets_only)
    await stop_requested.wait()
    await front.stop()
