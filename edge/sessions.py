"""One client's connection: requests are read whole, passed on, and their answers handed back in order."""

import asyncio
from typing import TYPE_CHECKING

from edge.connections import Connection
from edge.outlet import Gone, Outlet
from edge.spool import PART, Spool, spooling
from edge.upstreams import Unavailable, Upstream
from edge.wire import (
    CRLF,
    END,
    HOP_BY_HOP,
    Answer,
    Chunked,
    Refusal,
    Request,
    find_head,
    heed_certificate,
    parse_answer,
    parse_request,
)

if TYPE_CHECKING:
    from edge.front import Front

HEAD, BODY, ANSWER, STREAM, TUNNEL, FAREWELL = (
    "head",
    "body",
    "answer",
    "stream",
    "tunnel",
    "farewell",
)
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS"})
REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
LARGEST_ANSWER_HEAD = 128 * 1024
REFUSAL_SECONDS = 5.0
FAREWELL_SECONDS = 10.0
# How many times the largest body is still read from a client that sends too much, so that it sees
# the refusal.
DRAINED_SIZES = 4


class Left(Exception):
    """The client has gone in the middle of its request."""


class Session:
    """`state` says what it is busy with; a session that only sends its request, or its thanks, may be dropped for others."""

    def __init__(
        self, front: "Front", client: Connection, address: str, *, sockets_only: bool
    ) -> None:
        self.state = HEAD
        self.address = address
        self._front = front
        self._limits = front.limits
        self._client = client
        self._sockets_only = sockets_only
        self._loop = asyncio.get_running_loop()
        self._serving = False
        self._drain = 0

    def abort(self) -> None:
        """Drop the connection at once."""
        self._client.abort()

    async def run(self) -> None:
        """Serve until either side has had enough."""
        try:
            while await self._turn():
                pass
            await self._farewell()
        except (Left, Gone):
            self._client.abort()
        finally:
            self._client.on_end = None
            self._client.close()
            if self._client.transport.get_write_buffer_size():
                self._loop.call_later(self._limits.stall_seconds, self._client.abort)

    async def _turn(self) -> bool:
        """One request and its answer; whether another one may follow."""
        method = b"GET"
        try:
            request = await self._request()
            if request is None:
                return False
            method = request.method
            self._drain = 0
            with spooling(
                self._front.budget, self._limits.spool_memory, self._limits.body_bytes + PART
            ) as body:
                claimed = await self._body(request, body)
                return await self._pass(request, body, claimed)
        except Refusal as refusal:
            self._drain = DRAINED_SIZES * self._limits.body_bytes
            await self._refuse(refusal, method)
            return False

    async def _request(self) -> Request | None:
        """The next head; None when none comes."""
        self.state = HEAD
        buffer, limits = self._client.buffer, self._limits
        patience = limits.idle_seconds if self._serving else limits.head_seconds
        deadline, begun = self._loop.time() + patience, False
        while True:
            while buffer.startswith(CRLF):
                del buffer[:2]
            if buffer and buffer != b"\r":
                if not begun:
                    deadline, begun = self._loop.time() + limits.head_seconds, True
                if end := find_head(buffer, limits):
                    raw = bytes(buffer[:end])
                    del buffer[:end]
                    request = parse_request(raw, limits)
                    trusted = limits.trusts(self.address)
                    heed_certificate(request, limits.certificate_headers, trusted=trusted)
                    return request
            if self._front.stopping and not begun:
                return None
            try:
                if not await self._client.more(deadline):
                    return None
            except TimeoutError:
                if begun:
                    raise Refusal(408, "The request's head did not come in time.") from None
                return None

    async def _body(self, request: Request, body: Spool) -> int:
        """Read the body into the spool. The size that it claims (or has reached) when that is too much, and 0 otherwise."""
        self.state = BODY
        limit = self._limits.body_limit(request.target, request.headers)
        if request.length is not None and request.length > limit:
            return request.length
        if request.length == 0:
            return 0
        if request.expects and not self._client.buffer:
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        began = self._loop.time()
        try:
            if request.length is not None:
                await self._plain(request.length, body, began)
                return 0
            return limit + 1 if await self._chunked(limit, body, began) else 0
        except TimeoutError:
            raise Refusal(408, "The request's body came too slowly.", request.target) from None
        except Refusal as refusal:
            refusal.target = request.target
            raise

    async def _plain(self, length: int, body: Spool, began: float) -> None:
        while body.size < length:
            if data := self._client.take(length - body.size):
                self._keep(body, data)
            else:
                await self._more(body, began)

    async def _chunked(self, limit: int, body: Spool, began: float) -> bool:
        """Whether there is more of it than the limit."""
        decoder = Chunked()
        while True:
            data, rest = decoder.take(self._client.take())
            if body.size + len(data) > limit:
                return True
            if data:
                self._keep(body, data)
            if decoder.done:
                self._client.buffer[:0] = rest
                return False
            await self._more(body, began)

    def _keep(self, body: Spool, data: bytes) -> None:
        if not body.put(data):
            raise Refusal(503, "The server holds too many bodies of requests: try again later.")

    async def _more(self, body: Spool, began: float) -> None:
        """Wait for more of a body; TimeoutError when it pauses too long, or is slower on the whole than it may be."""
        limits = self._limits
        whole = began + limits.body_grace_seconds + body.size / limits.body_rate
        if not await self._client.more(min(whole, self._loop.time() + limits.body_idle_seconds)):
            raise Left

    async def _pass(self, request: Request, body: Spool, claimed: int) -> bool:
        """Hand the request on and its answer back; whether the connection may serve on."""
        self.state = ANSWER
        self._serving = True
        if claimed:
            self._drain = DRAINED_SIZES * self._limits.body_bytes
            request.keep_alive = False
            body.close()
        to_sockets = request.websocket or self._sockets_only
        upstream = self._front.sockets if to_sockets else self._front.web
        try:
            server, answer = await self._ask(upstream, request, body, claimed)
        except Unavailable:
            raise Refusal(
                503, "The server is starting or stopping: try again in a moment."
            ) from None
        try:
            if request.websocket and answer.status == 101:
                await self._tunnel(server, answer)
                return False
            keep = await self._hand_back(request, server, answer)
        except BaseException:
            server.abort()
            raise
        if answer.reusable and not body.waiting:
            upstream.keep(server)
        else:
            server.abort()
        return keep

    async def _ask(
        self, upstream: Upstream, request: Request, body: Spool, claimed: int
    ) -> tuple[Connection, Answer]:
        size = body.waiting
        head = self._upstream_head(request, size, claimed)
        for last in (False, True):
            server, used = await upstream.connection(fresh=last or not _repeatable(request, size))
            try:
                answer = await self._exchange(server, request, head, body)
            except BaseException:
                server.abort()
                raise
            if answer is not None:
                return server, answer
            server.abort()
            # A kept connection may end just as it is used again; what changes nothing is asked once
            # more, and nothing else is sent on one.
            if last or not used:
                break
        raise Refusal(502, "The server ended before it answered.")

    def _upstream_head(self, request: Request, size: int, claimed: int) -> bytes:
        lines = [b"%s %s HTTP/1.%d" % (request.method, request.target, request.minor)]
        lines += [b"%s: %s" % pair for pair in request.end_to_end()]
        if not request.value(b"host"):
            lines.append(b"host: %s" % self._own_name())
        if size or request.length is None or request.value(b"content-length"):
            lines.append(b"content-length: %d" % size)
        if claimed:
            lines.append(b"x-kubegale-length: %d" % claimed)
        lines.append(b"x-kubegale-peer: %s" % self.address.encode())
        if request.websocket:
            lines += [b"connection: Upgrade", b"upgrade: websocket"]
        elif not _repeatable(request, size):
            # The web server ends a connection, whatever it has said, when much of a body was not
            # read.
            lines.append(b"connection: close")
        return CRLF.join(lines) + END

    def _own_name(self) -> bytes:
        """For a client that names no host: the address that it has reached."""
        address, port = self._client.transport.get_extra_info("sockname")[:2]
        return f"[{address}]:{port}".encode() if ":" in address else f"{address}:{port}".encode()

    async def _exchange(
        self, server: Connection, request: Request, head: bytes, body: Spool
    ) -> Answer | None:
        """Send the request and wait for the head of its answer; None when the server closes instead. Left with the client."""

        def stop() -> None:
            if self._client.lost or self.state == STREAM:
                server.abort()

        self._client.on_end = stop
        sending: asyncio.Task[None] | None = None
        if body.waiting <= PART:
            server.write(head + (body.take(body.waiting) if body.waiting else b""))
        else:
            server.write(head)
            sending = asyncio.create_task(self._send(server, body))
        try:
            raw = await self._answer_head(server)
            if self._client.lost:
                raise Left
            return parse_answer(raw, request.method) if raw else None
        except ValueError:
            return None
        finally:
            if sending is not None and not sending.done():
                # The answer came before all of the request was read: nothing more of it is wanted.
                sending.cancel()

    async def _send(self, server: Connection, body: Spool) -> None:
        while body.waiting and await server.writable():
            server.write(body.take())

    async def _answer_head(self, server: Connection) -> bytes:
        deadline = self._loop.time() + self._limits.answer_seconds
        while (end := server.buffer.find(END)) < 0:
            if len(server.buffer) > LARGEST_ANSWER_HEAD:
                return b""
            try:
                if not await server.more(deadline):
                    return b""
            except TimeoutError:
                raise Refusal(504, "The server did not answer in time.") from None
        return server.take(end + 4)

    async def _hand_back(self, request: Request, server: Connection, answer: Answer) -> bool:
        keep = request.keep_alive and answer.length != -1 and not self._front.stopping
        self._client.write(_client_head(answer, keep=keep))
        if answer.length == 0:
            return keep
        if answer.length is None:
            self.state = STREAM
            if self._client.ended:
                raise Left
        outlet = Outlet(self._client, self._limits, self._front.budget)
        try:
            await self._relay(server, answer, outlet)
            await outlet.finish()
        finally:
            outlet.close()
        self.state = ANSWER
        return keep

    async def _relay(self, server: Connection, answer: Answer, outlet: Outlet) -> None:
        left, decoder = answer.length, Chunked()
        while True:
            if data := server.take(left if left is not None and left > 0 else None):
                if left is None:
                    decoder.take(data)
                elif left > 0:
                    left -= len(data)
                await outlet.put(data)
                if left == 0 or decoder.done:
                    return
            elif not await server.more():
                if left != -1:
                    raise Gone
                return

    async def _tunnel(self, server: Connection, answer: Answer) -> None:
        """Both directions of a WebSocket as plain bytes, until one of them ends."""
        self.state = TUNNEL
        self._client.on_end = None
        self._client.write(
            CRLF.join([answer.line, *(b"%s: %s" % pair for pair in answer.headers)]) + END
        )
        ways = [
            asyncio.create_task(self._copy(self._client, server)),
            asyncio.create_task(self._copy(server, self._client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server.close()

    async def _copy(self, source: Connection, target: Connection) -> None:
        while True:
            if data := source.take():
                target.write(data)
                try:
                    if not await target.writable(self._loop.time() + self._limits.stall_seconds):
                        return
                except TimeoutError:
                    target.abort()
                    return
            elif not await source.more():
                return

    async def _refuse(self, refusal: Refusal, method: bytes) -> None:
        """Answer for ourselves: in the words of the API at the address when the application can say them, else plainly."""
        answer = b""
        if refusal.target.startswith(b"/") and refusal.status < 500 and not self._sockets_only:
            answer = await self._in_dialect(refusal, method)
        self._client.write(answer or _plain(refusal, method))

    async def _in_dialect(self, refusal: Refusal, method: bytes) -> bytes:
        """The application's answer to a request that we refuse; nothing when it has none in time."""
        path = refusal.target.partition(b"?")[0]
        head = CRLF.join(
            [
                b"%s %s HTTP/1.1" % (method, path),
                b"host: localhost",
                b"content-length: 0",
                b"x-kubegale-peer: %s" % self.address.encode(),
                b"x-kubegale-refused: %d %s" % (refusal.status, refusal.sentence.encode()),
            ]
        )
        server: Connection | None = None
        try:
            async with asyncio.timeout(REFUSAL_SECONDS):
                server, _ = await self._front.web.connection(fresh=True)
                server.write(head + END)
                answer = parse_answer(await self._answer_head(server), method)
                while answer.length is not None and len(server.buffer) < answer.length:
                    if not await server.more():
                        return b""
                if answer.length is None or answer.length < 0:
                    return b""
                return _client_head(answer, keep=False) + server.take(answer.length)
        except (TimeoutError, Unavailable, ValueError, Refusal):
            return b""
        finally:
            if server is not None:
                server.abort()

    async def _farewell(self) -> None:
        """After a refusal the client may still be sending: a connection closed on unread bytes would take the answer with it."""
        if not self._drain or self._client.lost:
            return
        self.state = FAREWELL
        if self._client.transport.can_write_eof():
            self._client.transport.write_eof()
        deadline, left = self._loop.time() + FAREWELL_SECONDS, self._drain
        try:
            while left > 0:
                left -= len(self._client.take())
                if not await self._client.more(deadline):
                    return
        except TimeoutError:
            return


def _repeatable(request: Request, size: int) -> bool:
    """Whether asking twice does no harm."""
    return not size and request.method in IDEMPOTENT


def _client_head(answer: Answer, *, keep: bool) -> bytes:
    """The head of an answer for the client: this hop's own Connection header in the place of the server's."""
    lines = [answer.line]
    for name, value in answer.headers:
        lowered = name.lower()
        if lowered not in HOP_BY_HOP or lowered == b"transfer-encoding":
            lines.append(b"%s: %s" % (name, value))
    lines.append(b"Connection: keep-alive" if keep else b"Connection: close")
    return CRLF.join(lines) + END


def _plain(refusal: Refusal, method: bytes) -> bytes:
    body = b'{"error":"%s"}\n' % refusal.sentence.encode()
    retry = b"Retry-After: 1\r\n" if refusal.status == 503 else b""
    head = (
        b"HTTP/1.1 %d %s\r\nServer: KubeGale\r\nContent-Type: application/json\r\n%s"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n"
    ) % (refusal.status, REASONS[refusal.status].encode(), retry, len(body))
    return head if method == b"HEAD" else head + body
