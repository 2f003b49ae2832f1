"""Connections to an API server that carry whole HTTP messages as bytes, for the gateway.

Every connected socket, of whichever client, is made by `checked_socket`: one place decides which
addresses are allowed.
"""

import asyncio
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from clusters.address_policy import is_allowed
from clusters.kubeconfig import Access

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
# Seconds: a peer that vanished is noticed after TCP_KEEPIDLE + TCP_KEEPCNT * TCP_KEEPINTVL.
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
# Seconds after which an idle connection is not used again: API servers close theirs after 90.
IDLE_SECONDS = 45.0
MAX_IDLE = 32
# Reading stops while twice as many bytes wait; the most that is read at once is larger.
READ_AHEAD = 64 * 1024
WRITE_AHEAD = 128 * 1024


class AddressRefused(OSError):
    """A name led to an address that the policy does not allow."""


def checked_socket(info: AddressInfo, policy: str) -> socket.socket:
    """A socket for the very address that will be connected to; AddressRefused.

    A peer that vanishes is noticed within a minute.
    """
    family, kind, protocol, _, address = info
    if not is_allowed(str(address[0]), policy):
        raise AddressRefused("the cluster's address is not allowed by CLUSTER_ADDRESS_POLICY")
    connection = socket.socket(family, kind, protocol)
    keep_alive(connection)
    return connection


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel notice within a minute that the other side of a socket has vanished."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in KEEPALIVE:
        # macOS has other names for some of them.
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


class ByteReader(asyncio.StreamReader):
    """A StreamReader that tells whether bytes wait in it."""

    @property
    def has_waiting(self) -> bool:
        """Whether bytes have come that nobody has read."""
        return bool(self._buffer)

    def take(self) -> bytes:
        """The bytes that have come, for whoever reads on from the transport itself."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    _buffer: bytearray


@dataclass(slots=True, eq=False)
class RawConnection:
    """One connection; it carries one request at a time."""

    reader: ByteReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0

    def abort(self) -> None:
        """Close now, and drop what was not written."""
        self.writer.transport.abort()


class ConnectionPool:
    """Kept connections to one API server.

    `connect_seconds` is for name, TCP and TLS together.
    """

    def __init__(
        self,
        access: Access,
        context: ssl.SSLContext,
        *,
        policy: str,
        connect_seconds: float,
    ) -> None:
        parts = urlsplit(access.server)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._context = context if parts.scheme == "https" else None
        self._server_name = access.tls_server_name or self._host
        self._policy = policy
        self._connect_seconds = connect_seconds
        self._idle: deque[RawConnection] = deque()
        self.host_header = parts.netloc
        # A server's address may have a path, as those of other gateways do.
        self.base_path = parts.path.rstrip("/")

    async def connection(self, *, fresh: bool = False) -> tuple[RawConnection, bool]:
        """(a connection, whether it has served before); with `fresh` a new one in any case.

        OSError, ssl.SSLError or TimeoutError when none can be made.
        """
        now = asyncio.get_running_loop().time()
        while self._idle and not fresh:
            # The latest first: it is the least likely to have been closed.
            idle = self._idle.pop()
            if now - idle.idle_since < IDLE_SECONDS and not _has_ended(idle):
                return idle, True
            idle.abort()
        async with asyncio.timeout(self._connect_seconds):
            return await self._connect(), False

    async def _connect(self) -> RawConnection:
        """Try each address that the name has, in the resolver's order."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        failure: OSError = OSError("the name has no address")
        for info in infos:
            try:
                connected = checked_socket(info, self._policy)
            except OSError as error:
                failure = error
                continue
            try:
                connected.setblocking(False)
                await loop.sock_connect(connected, info[4])
                reader = ByteReader(limit=READ_AHEAD, loop=loop)
                protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
                transport, _ = await loop.create_connection(
                    lambda: protocol,  # noqa: B023  # called before the loop goes on
                    sock=connected,
                    ssl=self._context,
                    server_hostname=self._server_name if self._context else None,
                )
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            except OSError as error:
                connected.close()
                failure = error
                # Another address of a server whose certificate is wrong has the same one.
                if isinstance(error, ssl.SSLError):
                    raise
            except BaseException:
                connected.close()
                raise
            else:
                writer.transport.set_write_buffer_limits(high=WRITE_AHEAD)
                return RawConnection(reader, writer)
        raise failure

    def keep(self, connection: RawConnection) -> None:
        """Take back a connection that has answered and may serve again."""
        now = asyncio.get_running_loop().time()
        if _has_ended(connection):
            connection.abort()
            return
        connection.idle_since = now
        self._idle.append(connection)
        while len(self._idle) > MAX_IDLE or now - self._idle[0].idle_since >= IDLE_SECONDS:
            self._idle.popleft().abort()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().abort()


def _has_ended(connection: RawConnection) -> bool:
    reader = connection.reader
    return (
        reader.at_eof()
        or reader.has_waiting
        or reader.exception() is not None
        or connection.writer.transport.is_closing()
    )
