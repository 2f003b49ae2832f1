"""The door to a cluster for what lasts (followed logs, watches, exec), on asyncio.

The rules are those of `clusters.client`: one circuit breaker, no redirects, checked addresses.
"""

import asyncio
import copy
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from clusters import impersonation, tls
from clusters.api_errors import not_an_api_server, redirect_error, status_error, unreachable
from clusters.circuit_breaker import CircuitBreaker, api_group
from clusters.client import PROBE_SECONDS, ClientLimits
from clusters.credentials import authorization_header
from clusters.handshakes import TurnTakingConnector
from clusters.impersonation import Identity
from clusters.kubeconfig import Access
from clusters.network_causes import describe
from clusters.raw_connections import (
    AddressInfo,
    AddressRefused,
    ConnectionPool,
    RawConnection,
    checked_socket,
)
from clusters.wire import QueryParameters, encode_body
from core.errors import ClusterUnavailable, DomainError

# Bytes: of a whole answer, of one WebSocket message, of a Status that refuses a WebSocket.
MAX_ANSWER = 64 * 1024 * 1024
MAX_FRAME = 4 * 1024 * 1024
MAX_STATUS = 64 * 1024
# Channel protocols of exec, the newest first; v5 adds closing one direction, which a terminal does
# not need.
EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
# Channel numbers of these protocols; the fourth carries the Status with the exit code.
STDIN, STDOUT, STDERR, ERROR_CHANNEL, RESIZE = range(5)
_REFUSALS: ContextVar[list[DomainError]] = ContextVar("refusals")


class StreamClient:
    """Talks to one API server from one event loop."""

    def __init__(self, access: Access, limits: ClientLimits | None = None) -> None:
        self.limits = limits or ClientLimits()
        self.circuit = CircuitBreaker(self.limits.circuit)
        self._probing = asyncio.Lock()
        self._host = access.server
        # aiohttp refuses a server name for plain HTTP.
        self._server_name = access.tls_server_name if access.server.startswith("https:") else None
        self._headers = [("User-Agent", "kubegale")]
        header = authorization_header(access)
        if header:
            self._headers.append(("Authorization", header))
        context = tls.make_context(access)
        self._connections = ConnectionPool(
            access,
            context,
            policy=self.limits.policy,
            connect_seconds=self.limits.connect,
        )
        self._session = aiohttp.ClientSession(
            connector=TurnTakingConnector(
                circuit=self.circuit,
                ssl=context,
                limit=0,
                socket_factory=self._socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_trace_config()],
        )

    def acting_as(self, identity: Identity) -> "StreamClient":
        """A copy that shares the connections and names a user in every call (impersonation)."""
        client = copy.copy(self)
        client._headers = [*self._headers, *impersonation.headers(identity)]
        return client

    async def close(self) -> None:
        """Give every connection back."""
        self._connections.close()
        await self._session.close()

    # --- whole HTTP messages as bytes, for the gateway --------------------------------------------
    def raw_head(self, method: str, target: str) -> list[bytes]:
        """The first lines of a request with this cluster's Host and our credentials."""
        lines = [
            f"{method} {self._connections.base_path}{target} HTTP/1.1",
            f"Host: {self._connections.host_header}",
            *(f"{name}: {value}" for name, value in self._headers if name != "User-Agent"),
        ]
        return [line.encode() for line in lines]

    async def raw_connection(self, *, fresh: bool = False) -> tuple[RawConnection, bool]:
        """(a connection for one request, whether it has served before); `fresh` for a new one.

        ClusterUnavailable when there is none, or while the circuit breaker is open.
        """
        self.circuit.check()
        await self._probe_if_doubtful()
        try:
            return await self._connections.connection(fresh=fresh)
        except OSError as error:
            # TimeoutError and the errors of TLS are kinds of OSError.
            reason, sentence, fault = _cause(error)
            self.circuit.record_failure(reason)
            raise unreachable(reason, sentence, fault) from error

    def keep_raw(self, connection: RawConnection) -> None:
        """Take back a connection whose answer was read to its end."""
        self._connections.keep(connection)

    def _socket(self, info: AddressInfo) -> socket.socket:
        return checked_socket(info, self.limits.policy)

    def _url(self, path: str, query: QueryParameters | None) -> URL:
        pairs: list[tuple[str, object]] = []
        for name, value in (query or {}).items():
            # A list is a parameter that is repeated: the words of a command.
            values = value if isinstance(value, list) else [value]
            if value not in (None, ""):
                pairs += [(name, word) for word in values]
        text = f"?{urlencode(pairs)}" if pairs else ""
        return URL(f"{self._host}{path}{text}", encoded=True)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of `core.errors`; failures to connect count for the circuit breaker."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # aiohttp wraps what the trace (see `_trace_config`) raises.
            if isinstance(error.__cause__, DomainError):
                raise error.__cause__ from None
            reason, sentence, fault = _cause(error)
            if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                self.circuit.record_failure(reason)
            raise unreachable(reason, sentence, fault) from error

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: QueryParameters | None = None,
        body: object = None,
        content_type: str = "application/json",
        read: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer as it arrives; an error of `core.errors` for any other.

        `read` is the longest silence in seconds, None for as long as it takes.
        """
        self.circuit.check()
        await self._probe_if_doubtful()
        started = time.monotonic()
        headers = [*self._headers, ("Accept", "*/*")]
        if body is not None:
            headers.append(("Content-Type", content_type))
        with self._translate_errors(), self._count_timeout(path, started):
            async with self._session.request(
                method,
                self._url(path, query),
                headers=headers,
                data=None if body is None else encode_body(body),
                allow_redirects=False,
                server_hostname=self._server_name,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.limits.connect, sock_read=read
                ),
            ) as response:
                self.circuit.record_success()
                if response.status >= 400:
                    raise _refusal(response, await self._body(response))
                if response.status >= 300:
                    raise redirect_error()
                yield response

    @contextmanager
    def _count_timeout(self, path: str, started: float) -> Iterator[None]:
        """Let a call without an answer count for the circuit breaker.

        A call that the API server only passes on (logs, exec) says nothing about the cluster.
        """
        try:
            yield
        except aiohttp.ConnectionTimeoutError:
            # Counted as a failure to connect.
            raise
        except TimeoutError:
            if api_group(path):
                self.circuit.record_timeout(started)
            raise

    async def _probe_if_doubtful(self) -> None:
        """After a time-out, read the version first: a slow call does not mean a dead cluster."""
        if not self.circuit.is_doubtful():
            return
        async with self._probing:
            # Another task may have probed while this one waited for the lock.
            if not self.circuit.is_doubtful():
                return
            self.circuit.check()
            seconds = min(PROBE_SECONDS, self.limits.read)
            try:
                with self._translate_errors():
                    async with (
                        asyncio.timeout(seconds),
                        self._session.get(
                            self._url("/version", None),
                            headers=self._headers,
                            allow_redirects=False,
                            server_hostname=self._server_name,
                        ) as response,
                    ):
                        await self._body(response)
            except ClusterUnavailable as error:
                if error.details.get("reason") == "timeout":
                    self.circuit.trip("timeout")
                raise
            self.circuit.record_success()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """A whole body, within the time limit however slowly it drips."""
        parts: list[bytes] = []
        size = 0
        async with asyncio.timeout(self.limits.read):
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER:
                    raise ClusterUnavailable(
                        "the cluster's answer is too large", reason="bad_answer"
                    )
        return b"".join(parts)

    async def read(
        self,
        method: str,
        path: str,
        *,
        query: QueryParameters | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> bytes:
        """One whole answer."""
        async with self.open(
            method,
            path,
            query=query,
            body=body,
            content_type=content_type,
            read=self.limits.read,
        ) as response:
            return await self._body(response)

    async def json(
        self,
        method: str,
        path: str,
        *,
        query: QueryParameters | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Any:
        """One whole answer as data."""
        data = await self.read(method, path, query=query, body=body, content_type=content_type)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            raise not_an_api_server() from None

    @asynccontextmanager
    async def exec(self, path: str, query: QueryParameters) -> AsyncIterator["Channels"]:
        """The channels of a command in a container; an error of `core.errors` when refused."""
        self.circuit.check()
        with self._translate_errors():
            async with asyncio.timeout(self.limits.read):
                connection = await self._upgrade(self._url(path, query))
            self.circuit.record_success()
            try:
                yield Channels(connection)
            finally:
                await connection.close()

    async def _upgrade(self, url: URL) -> aiohttp.ClientWebSocketResponse:
        refusals: list[DomainError] = []
        # ws_connect discards the body that says why it was refused; the trace puts it here.
        token = _REFUSALS.set(refusals)
        try:
            return await self._session.ws_connect(
                url,
                headers=self._headers,
                protocols=EXEC_PROTOCOLS,
                heartbeat=30,
                max_msg_size=MAX_FRAME,
                server_hostname=self._server_name,
                timeout=aiohttp.ClientWSTimeout(ws_close=2),
            )
        except aiohttp.WSServerHandshakeError as error:
            if refusals:
                raise refusals[0] from None
            raise ClusterUnavailable(
                f"the API server does not open a stream there (HTTP {error.status})",
                reason="bad_answer",
            ) from None
        finally:
            _REFUSALS.reset(token)


class Channels:
    """The numbered channels of one exec connection."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection

    async def receive(self) -> tuple[int, bytes] | None:
        """(channel, bytes) of the next message; None when the other side has closed."""
        while True:
            message = await self._connection.receive()
            # The first byte (or letter) of a message is the number of its channel.
            if message.type is aiohttp.WSMsgType.BINARY and message.data:
                return message.data[0], message.data[1:]
            if message.type is aiohttp.WSMsgType.TEXT and message.data:
                return ord(message.data[0]), message.data[1:].encode()
            if message.type in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.CLOSED,
            }:
                return None
            if message.type is aiohttp.WSMsgType.ERROR:
                raise ClusterUnavailable(
                    "the cluster cannot be reached: the connection broke",
                    reason="tcp",
                )

    async def send(self, channel: int, *pieces: bytes | memoryview) -> None:
        """Send bytes as one message on a channel; ClusterUnavailable when the connection broke."""
        try:
            await self._connection.send_bytes(b"".join((bytes([channel]), *pieces)))
        except (ConnectionError, RuntimeError) as error:
            raise ClusterUnavailable(
                "the cluster cannot be reached: the connection broke", reason="tcp"
            ) from error


def _refusal(response: aiohttp.ClientResponse, data: bytes) -> DomainError:
    """The error for an answer; its detail "retry_after" is the answer's Retry-After in seconds."""
    error = status_error(response.status, data)
    seconds = response.headers.get("Retry-After", "")
    if seconds.isdigit():
        error.details = {**error.details, "retry_after": int(seconds)}
    return error


def _trace_config() -> aiohttp.TraceConfig:
    """Hooks for what `ws_connect` has no options for.

    It follows redirects with our credentials, and hides why a WebSocket was refused.
    """

    async def refuse_redirect(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: Any
    ) -> None:
        raise redirect_error()

    async def keep_refusal(
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        refusals = _REFUSALS.get(None)
        if refusals is not None and params.response.status >= 400:
            refusals.append(_refusal(params.response, await _status_bytes(params.response)))

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse_redirect)
    trace.on_request_end.append(keep_refusal)
    return trace


async def _status_bytes(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of a body, enough for any Status."""
    data = b""
    async for part in response.content.iter_any():
        data += part
        if len(data) > MAX_STATUS:
            break
    return data


def _cause(error: BaseException) -> tuple[str, str, str]:
    """(one word, a sentence, the fault of TLS) for why a connection failed.

    As `network_causes.describe`; none of them holds an address or a credential.
    """
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, AddressRefused
    ):
        return "address_refused", "its address is not allowed by CLUSTER_ADDRESS_POLICY", ""
    if isinstance(error, AddressRefused):
        return "address_refused", "its address is not allowed by CLUSTER_ADDRESS_POLICY", ""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "timeout", "no answer to the connection attempt in time", ""
    return describe(error)
