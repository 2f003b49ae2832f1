"""One client's connection: heads are read, the policy is asked, and bytes pass both ways."""

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.db import DatabaseError

from clusters.raw_connections import ByteReader
from core.api.client_ip import address_behind
from core.api.long_lived import stream_policy
from core.errors import (
    ClusterNotFound,
    ClusterUnavailable,
    DomainError,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
    Unauthenticated,
)
from gateway import port_links, port_pages, records, reviews, store
from gateway.messages import Caller, Request, RequestHead, Response, Target
from gateway.port_pages import PortPage
from gateway.request_info import (
    BadPath,
    decode_path,
    decode_query,
    decode_segment,
    read_request_info,
)
from gateway.status import refusal, unauthorized
from gateway.wire import (
    END,
    LAST_CHUNK,
    BadMessage,
    ChunkedBody,
    WireRequest,
    encode_chunk,
    encode_head,
    encode_response,
    parse_request,
)

if TYPE_CHECKING:
    from gateway.listening import Gateway

READ_BYTES = 256 * 1024
# The largest body that is read and dropped behind a refusal, so that its connection stays usable.
MAX_DROPPED = 1024 * 1024
DROP_SECONDS = 10.0
PEER_HEADER = "x-kubegale-peer"
# How a browser's WebSocket, which can set no header, names its token to an API server.
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."  # noqa: S105
_STATUSES: tuple[tuple[type[DomainError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (ClusterNotFound, 404),
    (NotFound, 404),
    (MethodNotAllowed, 405),
    (TooManyRequests, 429),
    (Invalid, 400),
    (ClusterUnavailable, 503),
)
log = logging.getLogger(__name__)


class ClientLeft(Exception):
    """The client has closed its connection, or sends no more of its request."""


class Session:
    """One client's connection. `address` is the client's; behind the front the front tells it."""

    def __init__(
        self,
        gateway: "Gateway",
        reader: ByteReader,
        writer: asyncio.StreamWriter,
        *,
        behind_front: bool,
    ) -> None:
        self.gateway = gateway
        self.reader = reader
        self.writer = writer
        # What else ends when the client's connection does.
        self.on_lost: list[Callable[[], None]] = []
        self._behind_front = behind_front
        peer = writer.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        # Between two requests, and while an answer without an end goes on.
        self.is_idle = True
        self.is_streaming = False
        self._served = False
        # Whether the body of the request that is being served was read to its end.
        self.body_is_read = True

    # --- connection -------------------------------------------------------------------------------
    async def run(self) -> None:
        """Serve requests until either side ends the connection."""
        try:
            while not self.gateway.is_stopping and await self._serve_request():
                pass
        except (ClientLeft, OSError, asyncio.IncompleteReadError):
            self.abort()
        except BadMessage as error:
            self._refuse_message(error)
        finally:
            self.writer.close()

    def abort(self) -> None:
        """Drop the connection now, and the one to the cluster with it."""
        self.writer.transport.abort()
        self.client_lost()

    def client_lost(self) -> None:
        """The client's connection is closed: end what serves it."""
        for end in list(self.on_lost):
            end()

    def client_ended(self) -> None:
        """The client sends no more: that ends a stream, but not an answer that has an end."""
        if self.is_streaming:
            self.abort()

    def _refuse_message(self, error: BadMessage) -> None:
        response = refusal(error.status, error.sentence)
        self.writer.write(encode_response(response, keep_alive=False, method="GET"))

    # --- one request ------------------------------------------------------------------------------
    async def _serve_request(self) -> bool:
        """Serve one request; whether another one may follow."""
        self.is_idle = True
        raw = await self._read_head()
        if raw is None:
            return False
        self.is_idle = False
        self._served = True
        wire = parse_request(raw)
        self._note_peer(wire)
        self.body_is_read = wire.length == 0
        request_id = records.new_request_id()
        try:
            return await self._answer(wire, request_id)
        except BadPath as error:
            response = refusal(400, str(error))
        except DomainError as error:
            response = refusal_of(error)
        except DatabaseError:
            log.exception("a request to the gateway could not be checked")
            response = refusal(503, "the database does not answer", retry_after=2)
        return await self.send(wire, response, request_id)

    async def _read_head(self) -> bytes | None:
        """The next head; None when none comes. BadMessage when it is too long or too slow."""
        patience = settings.GATEWAY_IDLE_SECONDS if self._served else settings.GATEWAY_HEAD_SECONDS
        try:
            async with asyncio.timeout(patience):
                first = await self.reader.read(1)
                # RFC 9112, 2.2: empty lines before a request are ignored.
                while first in {b"\r", b"\n"}:
                    first = await self.reader.read(1)
        except TimeoutError:
            return None
        if not first:
            return None
        try:
            async with asyncio.timeout(settings.GATEWAY_HEAD_SECONDS):
                return first + await self.reader.readuntil(END)
        except TimeoutError:
            raise BadMessage("the head of the request did not come in time", 408) from None
        except asyncio.LimitOverrunError:
            raise BadMessage("the head of the request is too large", 431) from None

    def _note_peer(self, wire: WireRequest) -> None:
        """Take the client's address from the front, and from nobody else."""
        if self._behind_front:
            peer = next((value for name, value in wire.headers if name == PEER_HEADER), "")
            # Several lines of the header are one list.
            hops = [value for name, value in wire.headers if name == "x-forwarded-for"]
            self.address = address_behind(peer, ",".join(hops))

    async def _answer(self, wire: WireRequest, request_id: str) -> bool:
        if parts := port_pages.split_target(wire.target):
            wire.is_link = True
            return await self._answer_link(wire, request_id, *parts)
        head, target = _read_address(wire)
        bearer = _bearer(wire)
        if not bearer:
            return await self.send(wire, unauthorized(), request_id)
        if wire.method == "OPTIONS":
            raise MethodNotAllowed("the method OPTIONS is not allowed")
        info = read_request_info(head.method, head.path, head.query)
        if target.is_live:
            return await self.gateway.forwarding.serve(
                self, wire, head, info, target, bearer, request_id
            )
        credential = await self.gateway.threads.run(stream_policy().sign_in, bearer)
        request = Request(head, info, target, Caller(credential, self.address), request_id)
        async with self.gateway.bulkhead.open_request(request.caller.user):
            if reviews.is_own(info):
                body = await self.read_small_body(wire, reviews.MAX_BODY)
                answer = await store.in_store_thread(reviews.respond, request, body)
            else:
                answer = await store.respond(request)
            return await self.send(wire, answer, request_id)

    async def _answer_link(
        self, wire: WireRequest, request_id: str, secret: str, path: str
    ) -> bool:
        """Answer a browser that has opened a port by a link."""
        port_pages.refuse_parts(wire.headers)
        link = await self.gateway.threads.run(port_links.find, secret)
        if link is None:
            return await self.send(wire, port_pages.expired(), request_id)
        if not path.startswith("/"):
            return await self.send(wire, port_pages.to_root(secret), request_id)
        if wire.method == "OPTIONS":
            return await self.send(wire, port_pages.preflight(wire.headers), request_id)
        wire.target = link.target + path[1:]
        head, target = _read_address(wire)
        info = read_request_info(head.method, head.path, head.query)
        page = PortPage(link, secret)
        with self.gateway.bulkhead.open_page(int(link.credential["user"])):
            return await self.gateway.forwarding.serve(
                self, wire, head, info, target, link.credential, request_id, page=page
            )

    # --- bodies of requests -----------------------------------------------------------------------
    async def read_body(self, wire: WireRequest) -> AsyncIterator[bytes]:
        """The body of the request as it comes; BadMessage, ClientLeft."""
        if wire.length == 0:
            return
        if wire.expects and not self.reader.has_waiting:
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if wire.length is None:
            decoder = ChunkedBody()
            while not decoder.done:
                data = decoder.feed(await self._read_some(READ_BYTES))
                if data:
                    yield data
            if decoder.has_more:
                # What followed was sent before its answer was due; it is not served.
                wire.keep_alive = False
        else:
            left = wire.length
            while left:
                data = await self._read_some(min(left, READ_BYTES))
                left -= len(data)
                yield data
        self.body_is_read = True

    async def read_small_body(self, wire: WireRequest, limit: int) -> bytes:
        """A whole body; BadMessage with 413 when it has more bytes than `limit`."""
        if (wire.length or 0) > limit:
            raise BadMessage(f"the body is larger than {limit} bytes", 413)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(settings.GATEWAY_HEAD_SECONDS):
                async for part in self.read_body(wire):
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise BadMessage(f"the body is larger than {limit} bytes", 413)
        except TimeoutError:
            raise BadMessage("the body of the request did not come in time", 408) from None
        return b"".join(parts)

    async def _read_some(self, most: int) -> bytes:
        async with asyncio.timeout(settings.GATEWAY_BODY_IDLE_SECONDS):
            data = await self.reader.read(most)
        if not data:
            raise ClientLeft
        return data

    async def _drop_body(self, wire: WireRequest) -> bool:
        """Read the rest of a body that nobody wants; False when it is too long for that."""
        if self.body_is_read:
            return True
        if wire.expects or (wire.length or 0) > MAX_DROPPED:
            return False
        size = 0
        try:
            async with asyncio.timeout(DROP_SECONDS):
                async for part in self.read_body(wire):
                    size += len(part)
                    if size > MAX_DROPPED:
                        return False
        except (TimeoutError, BadMessage):
            return False
        return True

    # --- answers of our own -----------------------------------------------------------------------
    async def send(self, wire: WireRequest, response: Response, request_id: str) -> bool:
        """Send an answer of the gateway itself; whether another request may follow."""
        if wire.is_link:
            response = port_pages.isolate(response)
        keep_alive = await self._drop_body(wire) and wire.keep_alive
        keep_alive = keep_alive and not self.gateway.is_stopping
        headers = (*response.headers, ("x-request-id", request_id))
        body = response.body
        if isinstance(body, bytes):
            whole = Response(response.status, body, headers)
            self.writer.write(encode_response(whole, keep_alive=keep_alive, method=wire.method))
            await self.writer.drain()
            return keep_alive
        return await self._send_stream(wire, Response(response.status, body, headers), keep_alive)

    async def _send_stream(self, wire: WireRequest, response: Response, keep_alive: bool) -> bool:
        """Send chunks as they come, until they end or the client leaves."""
        chunks = cast(AsyncIterator[bytes], response.body)
        is_chunked = not wire.is_http_1_0
        keep_alive = keep_alive and is_chunked
        headers = [
            *response.headers,
            *([("transfer-encoding", "chunked")] if is_chunked else []),
            ("connection", "keep-alive" if keep_alive else "close"),
        ]
        self.writer.write(encode_head(response.status, "", headers))
        task = asyncio.current_task()
        if wire.method == "HEAD" or task is None:
            return keep_alive
        self.is_streaming = True
        ending = _TaskEnding(task)
        self.on_lost.append(ending.abort)
        try:
            async for chunk in chunks:
                if chunk:
                    self.writer.write(encode_chunk(chunk) if is_chunked else chunk)
                    await self.writer.drain()
        except asyncio.CancelledError:
            if not ending.is_used:
                raise
            raise ClientLeft from None
        finally:
            self.is_streaming = False
            self.on_lost.remove(ending.abort)
        if is_chunked:
            self.writer.write(LAST_CHUNK)
        return keep_alive


class _TaskEnding:
    """Cancels a task, and remembers that it was us."""

    def __init__(self, task: "asyncio.Task[object]") -> None:
        self._task = task
        self.is_used = False

    def abort(self) -> None:
        """Cancel the task."""
        self.is_used = True
        self._task.cancel()


def _read_address(wire: WireRequest) -> tuple[RequestHead, Target]:
    """(head with the path below the target, target) of `/kube/{target}/…`; BadPath, NotFound."""
    raw_path, mark, raw_query = wire.target.partition("?")
    _, root, *rest = raw_path.split("/", 3)
    if root != "kube" or not rest or not rest[0]:
        raise NotFound("the gateway serves /kube/{cluster}/…")
    name, _, time = decode_segment(rest[0]).partition("@")
    has_time = "@" in decode_segment(rest[0])
    if not name:
        raise NotFound("the address names no cluster")
    below = "/" + (rest[1] if len(rest) > 1 else "")
    head = RequestHead(
        method=wire.method,
        path=decode_path(below),
        query=decode_query(raw_query),
        headers=tuple(wire.headers),
        raw_target=below + mark + raw_query,
    )
    return head, Target(name, time if has_time else None)


def _bearer(wire: WireRequest) -> str:
    """The caller's token: of the Authorization header, or of a WebSocket's protocols; or ""."""
    for name, value in wire.headers:
        if name == "authorization":
            scheme, _, token = value.partition(" ")
            return token.strip() if scheme.lower() == "bearer" and token.isascii() else ""
    if wire.upgrade != "websocket":
        return ""
    for name, value in wire.headers:
        if name == "sec-websocket-protocol":
            for word in value.split(","):
                if word.strip().startswith(TOKEN_PROTOCOL):
                    return _decode_token(word.strip().removeprefix(TOKEN_PROTOCOL))
    return ""


def _decode_token(text: str) -> str:
    try:
        padding = "=" * (-len(text) % 4)
        return base64.b64decode(text + padding, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def refusal_of(error: DomainError) -> Response:
    """The Status that tells of an error."""
    if isinstance(error, Unauthenticated):
        return unauthorized()
    code = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    # What the cluster itself has refused keeps its status.
    code = int(error.details.get("status") or code)
    return refusal(code, error.message, retry_after=int(error.details.get("retry_after") or 0))
