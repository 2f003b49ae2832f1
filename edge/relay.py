"""Bytes on their way: requests that pass unread, bodies of answers, upgraded connections."""

import asyncio

from edge.callers import Caller
from edge.connections import Connection
from edge.outlet import ClientGone, Outlet
from edge.wire import CRLF, END, Answer, Chunked, Refusal, Request

LARGEST_ANSWER_HEAD = 128 * 1024


class Straight:
    """Writes to a client without storing what it has not taken: the server waits meanwhile."""

    def __init__(self, client: Connection) -> None:
        self._client = client

    async def put(self, data: bytes) -> None:
        """Send; ClientGone when the client has left."""
        self._client.write(data)
        if not await self._client.writable():
            raise ClientGone


async def start_passing(
    client: Connection, request: Request, server: Connection, caller: Caller
) -> "tuple[asyncio.Task[None] | None, bytes] | None":
    """(task that sends the body, head of the answer); None when the server closes instead."""

    def abort_server() -> None:
        if client.is_lost or client.ended:
            server.abort()

    client.on_end = abort_server
    sending: asyncio.Task[None] | None = None
    if request.length != 0:
        server.keep_answer()
    server.write(_gateway_head(request, caller.address))
    if request.length != 0:
        if request.expects and not client.buffer:
            client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        sending = asyncio.create_task(_stream_body(client, request, server, caller))
    try:
        while (end := server.buffer.find(END)) < 0:
            if len(server.buffer) > LARGEST_ANSWER_HEAD or not await server.more():
                if sending is not None:
                    sending.cancel()
                server.abort()
                return None
    except BaseException:
        if sending is not None:
            sending.cancel()
        server.abort()
        raise
    return sending, server.take(end + 4)


def _gateway_head(request: Request, address: str) -> bytes:
    """The head as the gateway gets it: it reads the body's framing, and upgrades, itself."""
    lines = [b"%s %s HTTP/1.%d" % (request.method, request.target, request.minor)]
    lines += [b"%s: %s" % pair for pair in request.end_to_end()]
    if upgrade := b"upgrade" in request.nominated and request.value(b"upgrade"):
        lines += [b"connection: Upgrade", b"upgrade: %s" % upgrade]
    if request.length is None:
        lines.append(b"transfer-encoding: chunked")
    elif request.value(b"content-length"):
        lines.append(b"content-length: %d" % request.length)
    lines.append(b"x-kubegale-peer: %s" % address.encode())
    return CRLF.join(lines) + END


async def _stream_body(
    client: Connection, request: Request, server: Connection, caller: Caller
) -> None:
    """Send the body on as it comes, framed as it is; a malformed one ends the connection."""
    left = request.length
    decoder = Chunked()
    while left is None or left:
        data = client.take(left)
        if not data:
            if not await client.more():
                server.abort()
                return
            continue
        if left is not None:
            left -= len(data)
        else:
            try:
                _, rest = await caller.decode(decoder, data)
                while decoder.is_paused:
                    _, rest = await caller.decode(decoder, b"")
            except Refusal:
                server.abort()
                return
            if decoder.done:
                client.buffer[:0] = rest
                data = data[: len(data) - len(rest)]
                left = 0
        server.write(data)
        if not await server.writable():
            return


async def relay(server: Connection, answer: Answer, outlet: "Outlet | Straight") -> None:
    """Move the body of an answer, as it comes, until its end; ClientGone."""
    # None for a chunked body, -1 for one that lasts until the end of the connection.
    left = answer.length
    decoder = Chunked()
    while True:
        most = left if left is not None and left > 0 else None
        if data := server.take(most):
            if left is None:
                # The chunks pass as they are; they are decoded only to see their end.
                decoder.take(data)
            elif left > 0:
                left -= len(data)
            await outlet.put(data)
            if left == 0 or decoder.done:
                return
        elif not await server.more():
            if left != -1:
                # The answer is cut off: the client has to see that its connection ends, too.
                raise ClientGone
            return


async def tunnel(
    client: Connection, server: Connection, answer: Answer, *, stall_seconds: float
) -> None:
    """Both directions of an upgraded connection as plain bytes, until one of them ends."""
    client.on_end = None
    client.write(answer.head + END)
    ways = [
        asyncio.create_task(_copy(client, server, stall_seconds)),
        asyncio.create_task(_copy(server, client, stall_seconds)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        server.close()


async def _copy(source: Connection, target: Connection, stall_seconds: float) -> None:
    """Until either side ends, or the target does not read for `stall_seconds`."""
    while True:
        if data := source.take():
            target.write(data)
            try:
                if not await target.writable(asyncio.get_running_loop().time() + stall_seconds):
                    return
            except TimeoutError:
                target.abort()
                return
        elif not await source.more():
            return
