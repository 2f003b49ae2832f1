"""The gateway inside the process of the sockets: its listeners, and what its connections share."""

import asyncio
import logging
import os
import ssl
from contextlib import suppress

from django.conf import settings

from clusters.raw_connections import READ_AHEAD, WRITE_AHEAD, ByteReader, keep_alive
from core.sockets.connections import DatabaseThreads
from gateway import certificates, store
from gateway.bulkhead import Bulkhead
from gateway.forwarding import Forwarding
from gateway.reauthorisation import Reauthoriser
from gateway.sessions import Session

BACKLOG = 2048
THREADS = 12
log = logging.getLogger(__name__)


class _ClientProtocol(asyncio.StreamReaderProtocol):
    """Tells a session at once that its client has left, also while nothing is read or written."""

    def __init__(self, gateway: "Gateway", *, behind_front: bool) -> None:
        loop = asyncio.get_running_loop()
        self._gateway = gateway
        self._behind_front = behind_front
        self._byte_reader = ByteReader(limit=READ_AHEAD, loop=loop)
        self._session: Session | None = None
        super().__init__(self._byte_reader, self._connected, loop=loop)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=WRITE_AHEAD)
        connection = writer.get_extra_info("socket")
        if connection is not None and not self._behind_front:
            with suppress(OSError):
                keep_alive(connection)
        session = Session(self._gateway, self._byte_reader, writer, behind_front=self._behind_front)
        self._session = session
        await self._gateway.serve(session)

    def eof_received(self) -> bool | None:
        keeps_open = super().eof_received()
        if self._session is not None:
            self._session.client_ended()
        return keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._session is not None:
            self._session.client_lost()


class Gateway:
    """Serves Kubernetes' API of every cluster, beside the WebSockets of the same process."""

    def __init__(self) -> None:
        self.threads = DatabaseThreads(THREADS, "gateway")
        self.bulkhead = Bulkhead()
        self.reauthoriser = Reauthoriser(self.threads)
        self.forwarding = Forwarding(self)
        self.is_stopping = False
        self._servers: list[asyncio.Server] = []
        self._sessions: set[Session] = set()
        self._background: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on GATEWAY_ADDRESS with TLS, and on the unix socket of the front."""
        self._background = asyncio.create_task(self.reauthoriser.run())
        if path := os.environ.get("KUBEGALE_GATEWAY_SOCKET"):
            with suppress(FileNotFoundError):
                os.unlink(path)
            await self._listen(path=path)
        if settings.GATEWAY_ADDRESS:
            host, _, port = settings.GATEWAY_ADDRESS.rpartition(":")
            context = certificates.server_context() if settings.GATEWAY_TLS else None
            await self._listen(host=host.strip("[]"), port=int(port), context=context)

    async def _listen(
        self,
        *,
        path: str = "",
        host: str = "",
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> _ClientProtocol:
            return _ClientProtocol(self, behind_front=bool(path))

        if path:
            server = await loop.create_unix_server(protocol, path, backlog=BACKLOG)
        else:
            server = await loop.create_server(
                protocol,
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=settings.GATEWAY_HEAD_SECONDS if context else None,
                backlog=BACKLOG,
            )
        self._servers.append(server)

    async def serve(self, session: Session) -> None:
        """Serve one connection to its end."""
        if len(self._sessions) >= settings.GATEWAY_CONNECTIONS:
            session.abort()
            return
        self._sessions.add(session)
        try:
            await session.run()
        except Exception:
            log.exception("a connection to the gateway failed")
            session.abort()
        finally:
            self._sessions.discard(session)

    @property
    def ports(self) -> list[int]:
        """The ports that are listened on."""
        names = [part.getsockname() for server in self._servers for part in server.sockets]
        return [name[1] for name in names if isinstance(name, tuple)]

    async def stop(self) -> None:
        """Accept no more, let answers end for GATEWAY_FAREWELL_SECONDS, then cut what lasts."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        deadline = asyncio.get_running_loop().time() + settings.GATEWAY_FAREWELL_SECONDS
        for session in list(self._sessions):
            if session.is_idle or session.is_streaming:
                session.abort()
        while self._sessions and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        for session in list(self._sessions):
            session.abort()
        if self._background is not None:
            self._background.cancel()
        await self.threads.close()
        await store.close()
