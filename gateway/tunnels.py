"""Two connections joined: what comes on one goes out on the other, with flow control."""

import asyncio
from typing import cast

from django.conf import settings

from clusters.raw_connections import ByteReader


class _End(asyncio.Protocol):
    """One of the two connections; `other` is the transport of the second one.

    Bytes pass in the callback in which they came: tasks and buffers between would halve the rate.
    """

    def __init__(self, other: asyncio.Transport, ended: "asyncio.Future[None]") -> None:
        self._other = other
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        # What still comes while the other side closes has nowhere to go.
        if not self._other.is_closing():
            self._other.write(data)

    def pause_writing(self) -> None:
        """This side does not read: the other side has to wait."""
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


async def join(
    reader: ByteReader,
    writer: asyncio.StreamWriter,
    other_reader: ByteReader,
    other_writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes both ways until one side ends; then close both, once all is written.

    The connections are used up: their readers and writers get nothing more.
    """
    transport = cast(asyncio.Transport, writer.transport)
    other = cast(asyncio.Transport, other_writer.transport)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if reader.at_eof() or other_reader.at_eof():
        ended.set_result(None)
    transport.set_protocol(_End(other, ended))
    other.set_protocol(_End(transport, ended))
    # What came behind the heads waits in the readers, and may have paused their transports.
    for source, target, waiting in (
        (transport, other, reader.take()),
        (other, transport, other_reader.take()),
    ):
        if waiting:
            target.write(waiting)
        if not source.is_reading() and not source.is_closing():
            source.resume_reading()
    try:
        await ended
    finally:
        loop = asyncio.get_running_loop()
        for left in (other, transport):
            left.close()
            # TLS says farewell in both directions: who goes on sending is not waited for.
            loop.call_later(settings.GATEWAY_FAREWELL_SECONDS, left.abort)
