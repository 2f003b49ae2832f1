"""The door to a cluster for what lasts (logs that follow, watches, exec), on asyncio, under the rules of `clusters.client`."""

import asyncio
import copy
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from clusters import impersonation, tls
from clusters.address_policy import allowed
from clusters.call_limits import Circuit, api_group
from clusters.client import (
    PROBE_SECONDS,
    Limits,
    authorization,
    dumps,
    status_error,
    unreachable,
)
from clusters.impersonation import Identity
from clusters.kubeconfig import Access
from clusters.network_causes import describe
from core.errors import ClusterUnavailable, DomainError

MAX_ANSWER = 64 * 1024 * 1024
MAX_FRAME = 4 * 1024 * 1024
MAX_STATUS = 64 * 1024
# Channel protocols of exec, the newest first; v5 adds closing one direction, which a terminal does not need.
EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, OUTCOME, RESIZE = range(5)
Query = Mapping[str, object]
_REFUSALS: ContextVar[list[DomainError]] = ContextVar("refusals")


class AddressRefused(OSError):
    """A name led to an address that the policy does not allow."""


class StreamClient:
    """Talks to one API server from one event loop."""

    def __init__(self, access: Access, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.circuit = Circuit(self.limits.circuit)
        self._probing = asyncio.Lock()
        self._host = access.server
        self._server_name = access.tls_server_name if access.server.startswith("https:") else None
        given = authorization(access)
        self._headers = [("User-Agent", "kubegale")]
        if given:
            self._headers.append(("Authorization", given))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls.make_context(access), limit=0, socket_factory=self._socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_tracing()],
        )

    def acting_as(self, someone: Identity) -> "StreamClient":
        """The same client, with its connections, that names somebody in every call (impersonation)."""
        named = copy.copy(self)
        named._headers = [*self._headers, *impersonation.headers(someone)]
        return named

    async def close(self) -> None:
        """Give every connection back."""
        await self._session.close()

    def _socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """A socket for the very address that will be connected to; a peer that vanishes is noticed within a minute."""
        family, kind, protocol, _, address = info
        if not allowed(str(address[0]), self.limits.policy):
            raise AddressRefused("the cluster's address is not allowed by CLUSTER_ADDRESS_POLICY")
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return made

    def _url(self, path: str, query: Query | None) -> URL:
        pairs = [
            (key, each)
            for key, value in (query or {}).items()
            if value not in (None, "")
            for each in (value if isinstance(value, list) else [value])
        ]
        return URL(f"{self._host}{path}{'?' + urlencode(pairs) if pairs else ''}", encoded=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Library errors in the domain's words; failures to connect count for the circuit."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error.__cause__, DomainError):
                raise error.__cause__ from None
            reason, sentence, fault = _cause(error)
            if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                self.circuit.failed(reason)
            raise unreachable(reason, sentence, fault) from error

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        read: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer as it arrives; `read` is the longest silence in seconds, None for as long as it takes. A domain error otherwise."""
        self.circuit.check()
        await self._dispel_doubt()
        started = time.monotonic()
        headers = [*self._headers, ("Accept", "*/*")]
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        with self._translated(), self._silence(path, started):
            async with self._session.request(
                method,
                self._url(path, query),
                headers=headers,
                data=None if body is None else dumps(body),
                allow_redirects=False,
                server_hostname=self._server_name,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.limits.connect, sock_read=read
                ),
            ) as response:
                self.circuit.succeeded()
                if response.status >= 400:
                    raise _refusal(response, await self._body(response))
                if response.status >= 300:
                    _redirected()
                yield response

    @contextmanager
    def _silence(self, path: str, started: float) -> Iterator[None]:
        """A call without an answer makes the cluster doubtful, unless it is one that the API server only passes on."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError:
            raise
        except TimeoutError:
            if api_group(path):
                self.circuit.timed_out(started)
            raise

    async def _dispel_doubt(self) -> None:
        """After a call without an answer, ask for the version first, in a few seconds, before anything else."""
        if not self.circuit.doubtful():
            return
        async with self._probing:
            if not self.circuit.doubtful():
                return
            self.circuit.check()
            seconds = min(PROBE_SECONDS, self.limits.read)
            try:
                with self._translated():
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
            self.circuit.succeeded()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """A whole body, within the time limit however slowly it drips."""
        parts, size = [], 0
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
        self, method: str, path: str, *, query: Query | None = None, body: object = None
    ) -> bytes:
        """One whole answer."""
        async with self.open(
            method, path, query=query, body=body, read=self.limits.read
        ) as response:
            return await self._body(response)

    async def json(
        self, method: str, path: str, *, query: Query | None = None, body: object = None
    ) -> Any:
        """One whole answer as data."""
        data = await self.read(method, path, query=query, body=body)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            raise ClusterUnavailable(
                "the address does not answer like a Kubernetes API server", reason="bad_answer"
            ) from None

    @asynccontextmanager
    async def exec(self, path: str, query: Query) -> AsyncIterator["Channels"]:
        """The channels of a command that the API server runs in a container; a domain error when it refuses to."""
        self.circuit.check()
        with self._translated():
            async with asyncio.timeout(self.limits.read):
                channels = await self._upgrade(self._url(path, query))
            self.circuit.succeeded()
            try:
                yield Channels(channels)
            finally:
                await channels.close()

    async def _upgrade(self, url: URL) -> aiohttp.ClientWebSocketResponse:
        refusals: list[DomainError] = []
        # ws_connect throws the body away that says why; the trace below puts it here.
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
        """(channel, bytes); None when the other side has closed."""
        while True:
            message = await self._connection.receive()
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
                    "the cluster cannot be reached: the connection broke", reason="tcp"
                )

    async def send(self, channel: int, data: bytes) -> None:
        """Bytes for a channel; ClusterUnavailable when the connection is gone."""
        try:
            await self._connection.send_bytes(bytes([channel]) + data)
        except (ConnectionError, RuntimeError) as error:
            raise ClusterUnavailable(
                "the cluster cannot be reached: the connection broke", reason="tcp"
            ) from error


def _refusal(response: aiohttp.ClientResponse, data: bytes) -> DomainError:
    """The domain's error for an answer, with the seconds after which the API server wants to be asked again."""
    error = status_error(response.status, data)
    if (seconds := response.headers.get("Retry-After", "")).isdigit():
        error.details = {**error.details, "retry_after": int(seconds)}
    return error


def _redirected() -> NoReturn:
    raise ClusterUnavailable(
        "the cluster's address redirects elsewhere; redirects are not followed", reason="redirect"
    )


def _tracing() -> aiohttp.TraceConfig:
    """What aiohttp keeps to itself when it opens a WebSocket: it follows redirects with our credentials, and hides why it was refused."""

    async def refuse_redirect(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: Any
    ) -> None:
        _redirected()

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
    """The beginning of a body, enough for any Status."""
    data = b""
    async for part in response.content.iter_any():
        data += part
        if len(data) > MAX_STATUS:
            break
    return data


def _cause(error: BaseException) -> tuple[str, str, str]:
    """(one word, a sentence, the fault of TLS) for what a connection died of, without addresses or credentials."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, AddressRefused
    ):
        return "address_refused", "its address is not allowed by CLUSTER_ADDRESS_POLICY", ""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "timeout", "no answer to the connection attempt in time", ""
    return describe(error)
