"""One client's connection: requests are read whole, forwarded, and answered in order."""

import asyncio
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from edge.callers import Caller, Place
from edge.connections import Connection
from edge.outlet import ClientGone, Outlet
from edge.refusals import has_dialect, write_answer, write_question
from edge.relay import LARGEST_ANSWER_HEAD, Straight, relay, start_passing, tunnel
from edge.routes import is_streamed
from edge.spool import PART, Spool
from edge.upstreams import Unavailable, Upstream
from edge.wire import (
    CRLF,
    END,
    Answer,
    Chunked,
    Refusal,
    Request,
    check_certificate_headers,
    find_head,
    parse_answer,
    parse_request,
)

if TYPE_CHECKING:
    from edge.front import Front

# The states of a session, in the order of a request.
HEAD = "head"
BODY = "body"
ANSWER = "answer"
STREAM = "stream"
TUNNEL = "tunnel"
FAREWELL = "farewell"
# The client has left; a thread of the web server is busy with its request until it has answered.
ABANDONED = "abandoned"
# Of a body that the web server reads to its end, so that the connection serves on, and that one
# write to a unix socket takes whole or not at all.
SMALL_BODY = 32 * 1024
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# Before a request; to pass over endless ones would cost more than to send them.
MOST_EMPTY_LINES = 100
REFUSAL_SECONDS = 5.0
FAREWELL_SECONDS = 10.0
# For how long a stream counts among the requests that are worked at.
STREAM_SECONDS = 1.0
# How many times the largest body is still read from a client that sends too much, so that it sees
# the refusal.
DRAINED_SIZES = 4


class ClientLeft(Exception):
    """The client has left in the middle of its request."""


class Session:
    """One client's connection.

    `state` says what it is busy with. In the states HEAD, BODY and FAREWELL it may be dropped for
    other clients.
    """

    def __init__(
        self,
        front: "Front",
        client: Connection,
        caller: Caller,
        *,
        sockets_only: bool,
    ) -> None:
        self.state = HEAD
        self.caller = caller
        self.address = caller.address
        self._front = front
        self._limits = front.limits
        self._client = client
        self._sockets_only = sockets_only
        self._loop = asyncio.get_running_loop()
        # Whether a request was answered before: a client may be idle between two of them.
        self._serving = False
        # How many bytes are read and dropped at the end, so that the client sees its refusal.
        self._drain = 0
        # What the web server is asked over.
        self._server: Connection | None = None

    def abort(self) -> None:
        """Drop the connection at once."""
        self._client.abort()
        if self.state == ABANDONED and self._server is not None:
            self._server.abort()

    async def run(self) -> None:
        """Serve requests until either side ends the connection."""
        try:
            while await self._serve_request():
                pass
            await self._drain_client()
        except (ClientLeft, ClientGone):
            self._client.abort()
        finally:
            self._client.on_end = None
            self._client.close()
            if self._client.transport.get_write_buffer_size():
                # close() waits for the client to read; one that does not is dropped.
                self._loop.call_later(self._limits.stall_seconds, self._client.abort)

    async def _serve_request(self) -> bool:
        """Serve one request; whether another one may follow."""
        method = b"GET"
        target = b""
        request: Request | None = None
        try:
            request = await self._read_head()
            if request is None:
                return False
            method = request.method
            target = request.target
            self._drain = 0
            if request.is_for_gateway and self._front.gateway and not self._sockets_only:
                return await self._pass_on(request, self._front.gateway)
            if is_streamed(request.method, request.target) and not request.websocket:
                return await self._pass_on(request, self._front.sockets)
            if not target.isascii() and not self._is_for_sockets(request):
                raise Refusal(400, "The request's address cannot be read.")
            limits = self._limits
            spool = Spool(
                self.caller.share,
                limits.spool_memory,
                limits.body_bytes + PART,
            )
            with closing(spool) as body:
                excess = await self._read_body(request, body)
                return await self._forward(request, body, excess)
        except Refusal as refusal:
            self._drain = DRAINED_SIZES * self._limits.body_bytes
            refusal.target = refusal.target or target
            await self._refuse(refusal, method, request)
            return False

    async def _read_head(self) -> Request | None:
        """The next head; None when none comes."""
        self.state = HEAD
        buffer = self._client.buffer
        limits = self._limits
        patience = limits.idle_seconds if self._serving else limits.head_seconds
        deadline = self._loop.time() + patience
        begun = False
        empty_lines = 0
        while True:
            # RFC 9112, 2.2: empty lines before a request are ignored.
            while buffer.startswith(CRLF):
                del buffer[:2]
                empty_lines += 1
                if empty_lines > MOST_EMPTY_LINES:
                    raise Refusal(400, "The request line cannot be read.")
            if buffer and buffer != b"\r":
                if not begun:
                    deadline = self._loop.time() + limits.head_seconds
                    begun = True
                if end := find_head(buffer, limits):
                    raw = bytes(buffer[:end])
                    del buffer[:end]
                    request = parse_request(raw, limits)
                    check_certificate_headers(
                        request,
                        limits.certificate_headers,
                        trusted=self.caller.is_trusted,
                    )
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

    async def _read_body(self, request: Request, body: Spool) -> int:
        """Read the body into the spool; 0, or the size that it claims when that is too much.

        For a chunked body that is too large it is the size that it has reached. Refusal when it
        comes too slowly or is malformed.
        """
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
            if request.length is None:
                is_larger = await self._read_chunked(limit, body, began)
                return limit + 1 if is_larger else 0
            await self._read_plain(request.length, body, began)
            return 0
        except TimeoutError:
            raise Refusal(
                408,
                "The request's body came too slowly.",
                request.target,
            ) from None
        except Refusal as refusal:
            refusal.target = request.target
            raise

    async def _read_plain(self, length: int, body: Spool, began: float) -> None:
        while body.size < length:
            if data := self._client.take(length - body.size):
                self._spool(body, data)
            else:
                await self._wait_for_body(body, began)

    async def _read_chunked(self, limit: int, body: Spool, began: float) -> bool:
        """Whether the body is larger than the limit; then it is read no further."""
        decoder = Chunked()
        while True:
            data, rest = await self.caller.decode(decoder, self._client.take())
            while decoder.is_paused and body.size + len(data) <= limit:
                if self._client.is_lost:
                    raise ClientLeft
                more, rest = await self.caller.decode(decoder, b"")
                data += more
            if body.size + len(data) > limit:
                return True
            if data:
                self._spool(body, data)
            if decoder.done:
                # The client has sent its next request already.
                self._client.buffer[:0] = rest
                return False
            await self._wait_for_body(body, began)

    def _spool(self, body: Spool, data: bytes) -> None:
        if not body.put(data):
            raise Refusal(
                503,
                "The server holds too many bodies of requests: try again later.",
            )

    async def _wait_for_body(self, body: Spool, began: float) -> None:
        """Wait for more of a body.

        TimeoutError when it pauses too long, or is slower on average than the lowest rate.
        """
        limits = self._limits
        rate_deadline = began + limits.body_grace_seconds + body.size / limits.body_rate
        if self._client.buffer and self._loop.time() < rate_deadline:
            # It has come while other bodies had their turn.
            return
        idle_deadline = self._loop.time() + limits.body_idle_seconds
        if not await self._client.more(min(rate_deadline, idle_deadline)):
            raise ClientLeft

    async def _forward(self, request: Request, body: Spool, excess: int) -> bool:
        """Send the request to its server and the answer back.

        `excess` is the size of a body that is too large, else 0. True when the connection may serve
        on.
        """
        self.state = ANSWER
        self._serving = True
        if excess:
            self._drain = DRAINED_SIZES * self._limits.body_bytes
            request.keep_alive = False
            body.close()
        is_for_sockets = self._is_for_sockets(request)
        upstream = self._front.sockets if is_for_sockets else self._front.web
        place = None
        if upstream is self._front.web:
            place = self._take_place() or await self._wait_for_place()
        try:
            server, answer = await self._ask(upstream, request, body, excess)
            try:
                if request.websocket and answer.status == 101:
                    self.state = TUNNEL
                    await tunnel(
                        self._client,
                        server,
                        answer,
                        stall_seconds=self._limits.stall_seconds,
                    )
                    return False
                # A body that lasts until the end of the connection needs that end.
                has_end = answer.length != -1
                keep_alive = request.keep_alive and has_end and not self._front.stopping
                head = answer.head_for_client(keep_alive=keep_alive)
                outlet = await self._hand_back(head, answer, server, place=place)
            except BaseException:
                server.abort()
                raise
        except Unavailable:
            raise Refusal(
                503,
                "The server is starting or stopping: try again in a moment.",
            ) from None
        finally:
            if place is not None:
                place.release()
        # Before the client has read its answer the server is free for others; its end must not
        # end their connection.
        self._client.on_end = None
        if answer.reusable and not body.waiting:
            upstream.keep(server, answer.process)
        else:
            server.abort()
        if outlet is not None:
            with closing(outlet):
                await outlet.finish()
        return keep_alive

    def _take_place(self) -> Place | None:
        """A place among the requests of this address that are worked at; None when none is free.

        Refusal when too much waits for the address.
        """
        caller = self.caller
        if caller.share.is_short_of(PART):
            sentence = "The server holds too much that waits for your address: try again later."
            raise Refusal(503, sentence)
        return caller.places.take()

    async def _wait_for_place(self) -> Place:
        """The place, once the requests before this one have had theirs. Refusal, ClientLeft."""
        try:
            return await self.caller.places.wait(self._client, self._limits.answer_seconds)
        except TimeoutError:
            raise Refusal(504, "The server did not answer in time.") from None
        except ConnectionError:
            raise ClientLeft from None

    def _is_for_sockets(self, request: Request) -> bool:
        return request.websocket or self._sockets_only

    async def _ask(
        self,
        upstream: Upstream,
        request: Request,
        body: Spool,
        excess: int,
    ) -> tuple[Connection, Answer]:
        """(connection to the server, head of its answer).

        Unavailable when the server does not accept, Refusal when it does not answer.
        """
        size = body.waiting
        head = self._upstream_head(request, size, excess)
        is_repeatable = _repeatable(request, size)
        serves_on = _leaves_connection(request, size, excess)
        while serves_on and body.waiting:
            # A small body goes out with the head, and stays for a second attempt.
            head += body.take()
        for last in (False, True):
            server, used = await upstream.connection(fresh=last or not serves_on)
            try:
                answer = await self._exchange(server, request, head, body)
            except BaseException:
                server.abort()
                raise
            if answer is not None:
                return server, answer
            is_unread = server.is_refused
            server.abort()
            # An idle connection may end just as it is used again. What changes nothing is sent
            # once more; anything else only when the server can have read none of it.
            if last or not used or not (is_repeatable or is_unread):
                break
        raise Refusal(502, "The server ended before it answered.")

    # --- the gateway ------------------------------------------------------------------------------
    async def _pass_on(self, request: Request, upstream: Upstream) -> bool:
        """Pass a request and its answer on as they come, without a limit to their sizes.

        Whether another request may follow.
        """
        self.state = STREAM
        self._serving = True
        is_repeatable = request.length == 0 and request.method in IDEMPOTENT
        try:
            server, used = await upstream.connection(fresh=not is_repeatable)
            raw = await start_passing(self._client, request, server, self.caller)
            if not raw and used and not self._client.is_lost:
                # A kept connection may end just as it is used again.
                server, _ = await upstream.connection(fresh=True)
                raw = await start_passing(self._client, request, server, self.caller)
        except Unavailable:
            raise Refusal(
                503,
                "The server is starting or stopping: try again in a moment.",
            ) from None
        sending, head = raw or (None, b"")
        try:
            if not head:
                raise Refusal(502, "The server ended before it answered.")
            answer = parse_answer(head, request.method)
            if answer.status == 101:
                self.state = TUNNEL
                await tunnel(self._client, server, answer, stall_seconds=self._limits.stall_seconds)
                return False
            is_sent = sending is None or (sending.done() and not sending.cancelled())
            has_end = answer.length != -1
            keep_alive = request.keep_alive and has_end and is_sent and not self._front.stopping
            if not is_sent:
                # The client may still be sending, and has to see why it is refused.
                self._drain = DRAINED_SIZES * self._limits.body_bytes
            self._client.write(answer.head_for_client(keep_alive=keep_alive))
            if answer.length != 0:
                await relay(server, answer, Straight(self._client))
        except ValueError:
            raise Refusal(502, "The server's answer cannot be read.") from None
        except BaseException:
            server.abort()
            raise
        finally:
            if sending is not None:
                sending.cancel()
        # The end of this client must not end the connection, which others will use.
        self._client.on_end = None
        if answer.reusable and is_sent:
            upstream.keep(server, answer.process)
        else:
            server.abort()
        return keep_alive

    def _upstream_head(self, request: Request, size: int, excess: int) -> bytes:
        """The request's head as the server gets it, with what the front knows of the client."""
        lines = [b"%s %s HTTP/1.%d" % (request.method, request.target, request.minor)]
        lines += [b"%s: %s" % pair for pair in request.end_to_end()]
        if not request.value(b"host"):
            lines.append(b"host: %s" % self._own_name())
        if size or request.length is None or request.value(b"content-length"):
            lines.append(b"content-length: %d" % size)
        if excess:
            lines.append(b"x-kubegale-length: %d" % excess)
        lines.append(b"x-kubegale-peer: %s" % self.address.encode())
        if request.websocket:
            lines += [b"connection: Upgrade", b"upgrade: websocket"]
        elif not _leaves_connection(request, size, excess):
            # The web server ends a connection, after any answer, when much of a body was not
            # read.
            lines.append(b"connection: close")
        return CRLF.join(lines) + END

    def _own_name(self) -> bytes:
        """The Host of a client that names none: the address that it has reached."""
        address, port = self._client.transport.get_extra_info("sockname")[:2]
        literal = f"[{address}]" if ":" in address else address
        return f"{literal}:{port}".encode()

    async def _exchange(
        self,
        server: Connection,
        request: Request,
        head: bytes,
        body: Spool,
    ) -> Answer | None:
        """Send the request and wait for the head of its answer.

        None when the server closes instead; ClientLeft when the client does.
        """
        if self._client.is_lost:
            raise ClientLeft
        sending: asyncio.Task[None] | None = None
        has_threads = not self._is_for_sockets(request)

        def leave_server() -> None:
            if self.state == STREAM:
                server.abort()
            elif not self._client.is_lost:
                # A client that only ends its sending still waits for the answer.
                return
            elif has_threads and (sending is None or sending.done()):
                # The server would not notice. Until its thread is free, the place is not, or who
                # asks and leaves again and again would have all threads.
                self.state = ABANDONED
            else:
                server.abort()

        self._server = server
        self._client.on_end = leave_server
        if body.waiting <= PART:
            # In one write with the head: most bodies are small.
            server.write(head + (body.take(body.waiting) if body.waiting else b""))
        else:
            server.keep_answer()
            server.write(head)
            sending = asyncio.create_task(self._send_body(server, body))
        try:
            raw = await self._read_answer_head(server)
            if self._client.is_lost:
                raise ClientLeft
            return parse_answer(raw, request.method) if raw else None
        except ValueError:
            return None
        finally:
            if sending is not None and not sending.done():
                # The answer came before all of the request was read: the server wants no more of
                # it.
                sending.cancel()

    async def _send_body(self, server: Connection, body: Spool) -> None:
        while body.waiting and await server.writable():
            server.write(body.take())

    async def _read_answer_head(self, server: Connection) -> bytes:
        """The head with its empty line; b"" when the server closes or sends too much. Refusal."""
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

    async def _hand_back(
        self,
        head: bytes,
        answer: Answer,
        server: Connection,
        *,
        place: Place | None,
    ) -> Outlet | None:
        """Take all of the answer from the server, and send it.

        The outlet has what the client has not read yet; None when nothing is left.
        """
        length = answer.length
        if length is not None and 0 <= length <= len(server.buffer) and not self._client.blocked:
            # All of it has come: most answers are small. It leaves in one packet.
            self._client.write(head + server.take(length))
            return None
        self._client.write(head)
        if length == 0:
            return None
        if length is None:
            # From here on the end of the client's sending ends the stream (see `_exchange`).
            self.state = STREAM
            if self._client.ended:
                raise ClientLeft
        if place is not None and length in (None, -1):
            # It may be a feed, which costs little and never ends.
            self._loop.call_later(STREAM_SECONDS, place.release)
        outlet = Outlet(self._client, self._limits, self.caller.share)
        try:
            await relay(server, answer, outlet)
        except BaseException:
            outlet.close()
            raise
        self.state = ANSWER
        return outlet

    async def _refuse(
        self,
        refusal: Refusal,
        method: bytes,
        request: Request | None,
    ) -> None:
        """Answer a request that we refuse."""
        answer = b""
        # The sockets' port has no other API.
        if has_dialect(refusal) and not self._sockets_only:
            answer = await self._refusal_in_dialect(refusal, method)
        self._client.write(answer or write_answer(refusal, method, request))

    async def _refusal_in_dialect(self, refusal: Refusal, method: bytes) -> bytes:
        """The application's answer to a request that we refuse; b"" when none comes in time."""
        server: Connection | None = None
        try:
            async with asyncio.timeout(REFUSAL_SECONDS):
                server, _ = await self._front.web.connection(fresh=True)
                server.write(write_question(refusal, method, self.address))
                answer = parse_answer(await self._read_answer_head(server), method)
                while answer.length is not None and len(server.buffer) < answer.length:
                    if not await server.more():
                        return b""
                if answer.length is None or answer.length < 0:
                    return b""
                return answer.head_for_client(keep_alive=False) + server.take(answer.length)
        except (TimeoutError, Unavailable, ValueError, Refusal):
            return b""
        finally:
            if server is not None:
                server.abort()

    async def _drain_client(self) -> None:
        """Read on after a refusal, as the client may still be sending.

        A connection that is closed on unread bytes is reset, and would take the answer with it.
        """
        if not self._drain or self._client.is_lost:
            return
        self.state = FAREWELL
        if self._client.transport.can_write_eof():
            # The client may have closed the connection since its last bytes.
            with suppress(OSError):
                self._client.transport.write_eof()
        deadline = self._loop.time() + FAREWELL_SECONDS
        left = self._drain
        try:
            while left > 0:
                left -= len(self._client.take())
                if not await self._client.more(deadline):
                    return
        except TimeoutError:
            return


def _repeatable(request: Request, size: int) -> bool:
    """Whether the request may be sent twice."""
    return not size and request.method in IDEMPOTENT


def _leaves_connection(request: Request, size: int, excess: int) -> bool:
    """Whether the server's connection can serve on after the request."""
    return _repeatable(request, size) or (size <= SMALL_BODY and not excess)
