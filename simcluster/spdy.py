"""SPDY/3.1 as kubectl speaks it to exec, attach and port-forward: streams over one connection."""

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from aiohttp import WSMessage, WSMsgType, web

SYN_STREAM = 1
SYN_REPLY = 2
RST_STREAM = 3
PING = 6
GO_AWAY = 7
FIN = 1
VERSION = 3
# The words of SPDY/3's compression dictionary that have their length before them …
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status "
    "200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
# … and the rest of it.
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, "
    "Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()
    )
    + _TAIL.encode()
)


@dataclass(eq=False)
class Stream:
    """One stream that the client has opened; `headers` have names in lower case."""

    number: int
    headers: dict[str, str]
    incoming: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)


class Connection:
    """Frames over a byte stream: `feed` takes what comes, `write` sends."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self.streams: dict[int, Stream] = {}
        self.opened: asyncio.Queue[Stream | None] = asyncio.Queue()

    async def feed(self, data: bytes) -> None:
        """Take bytes of the client."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack(">II", self._buffer[:8])
            length = second & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            flags = second >> 24
            if first >> 31:
                await self._control(first & 0xFFFF, flags, payload)
            elif stream := self.streams.get(first):
                if payload:
                    stream.incoming.put_nowait(payload)
                if flags & FIN:
                    stream.incoming.put_nowait(b"")

    def end(self) -> None:
        """The client has left: nothing more comes on any stream."""
        self.opened.put_nowait(None)
        for stream in self.streams.values():
            stream.incoming.put_nowait(b"")

    async def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == SYN_STREAM:
            number = struct.unpack(">I", payload[:4])[0] & 0x7FFFFFFF
            stream = Stream(number, self._headers(payload[10:]))
            self.streams[number] = stream
            await self._send_control(SYN_REPLY, struct.pack(">I", number) + self._no_headers())
            self.opened.put_nowait(stream)
            if flags & FIN:
                stream.incoming.put_nowait(b"")
        elif kind == PING:
            await self._send_control(PING, payload)
        elif kind == RST_STREAM:
            number = struct.unpack(">I", payload[:4])[0]
            if number in self.streams:
                self.streams.pop(number).incoming.put_nowait(b"")

    def _headers(self, block: bytes) -> dict[str, str]:
        data = self._inflate.decompress(block)
        position = 4
        headers: dict[str, str] = {}
        for _ in range(struct.unpack(">I", data[:4])[0]):
            words: list[str] = []
            for _ in range(2):
                length = struct.unpack(">I", data[position : position + 4])[0]
                words.append(data[position + 4 : position + 4 + length].decode())
                position += 4 + length
            headers[words[0].lower()] = words[1]
        return headers

    def _no_headers(self) -> bytes:
        block = self._deflate.compress(struct.pack(">I", 0))
        return block + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    async def _send_control(self, kind: int, payload: bytes) -> None:
        head = struct.pack(">II", 1 << 31 | VERSION << 16 | kind, len(payload))
        await self._write(head + payload)

    async def send(self, stream: Stream, data: bytes, *, is_last: bool = False) -> None:
        """Send data on a stream, and with `is_last` end our side of it."""
        head = struct.pack(">II", stream.number, (FIN if is_last else 0) << 24 | len(data))
        await self._write(head + data)

    async def go_away(self) -> None:
        """Say that there is nothing more to come."""
        last = max(self.streams, default=0)
        await self._send_control(GO_AWAY, struct.pack(">II", last, 0))


class _Bytes(asyncio.Protocol):
    """Takes an HTTP connection over, once it was upgraded."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self.incoming.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.incoming.put_nowait(b"")
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def write(self, data: bytes) -> None:
        """Send; waits for a client that reads slowly."""
        await self._writable.wait()
        if not self.transport.is_closing():
            self.transport.write(data)


def asks_for_spdy(request: web.Request) -> bool:
    """Whether a request wants to be upgraded to SPDY/3.1."""
    return request.headers.get("Upgrade", "").lower() == "spdy/3.1"


@contextlib.asynccontextmanager
async def upgraded(request: web.Request, protocol: str) -> AsyncIterator[Connection]:
    """The connection of a request after its upgrade; it is closed after the block."""
    transport = cast(asyncio.Transport, request.transport)
    taken = _Bytes(transport)
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        f"X-Stream-Protocol-Version: {protocol}",
    ]
    transport.set_protocol(taken)
    transport.write("\r\n".join([*lines, "", ""]).encode())
    connection = Connection(taken.write)
    reading = asyncio.create_task(_feed(connection, taken.incoming))
    try:
        yield connection
        await connection.go_away()
    finally:
        reading.cancel()
        transport.close()


async def _feed(connection: Connection, incoming: "asyncio.Queue[bytes]") -> None:
    while data := await incoming.get():
        await connection.feed(data)
    connection.end()


# --- exec and attach ------------------------------------------------------------------------------
# Channels of the WebSocket protocols, by the names of SPDY's streams.
_CHANNELS = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3, "resize": 4}
_CLOSE = 255


class ChannelSocket:
    """Streams of exec, used like a WebSocket whose messages begin with the number of a channel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._streams: dict[int, Stream] = {}
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, count: int) -> None:
        """Wait for so many streams."""
        while len(self._streams) < count:
            stream = await self._connection.opened.get()
            if stream is None:
                break
            channel = _CHANNELS[stream.headers["streamtype"]]
            self._streams[channel] = stream
            self._tasks.append(asyncio.create_task(self._read(channel, stream)))

    async def _read(self, channel: int, stream: Stream) -> None:
        while data := await stream.incoming.get():
            self._messages.put_nowait(bytes([channel]) + data)
        if channel == _CHANNELS["stdin"]:
            self._messages.put_nowait(bytes([_CLOSE, channel]))
        elif channel == _CHANNELS["error"] and self._connection.opened.qsize():
            # Only the end of the whole connection queues one: the client has left.
            self._messages.put_nowait(None)

    async def send_bytes(self, data: bytes) -> None:
        """A message: the number of its channel, then its data."""
        if (stream := self._streams.get(data[0])) and data[1:]:
            await self._connection.send(stream, data[1:])

    async def __aiter__(self) -> AsyncIterator[WSMessage]:
        while (data := await self._messages.get()) is not None:
            yield WSMessage(WSMsgType.BINARY, data, None)

    async def close(self) -> None:
        """End every stream."""
        for task in self._tasks:
            task.cancel()
        for stream in self._streams.values():
            await self._connection.send(stream, b"", is_last=True)
