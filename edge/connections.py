"""A TCP or unix connection for coroutines: read with a deadline, write with back-pressure."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

READ_AHEAD = 128 * 1024


class Connection(asyncio.Protocol):
    """Bytes come into `buffer`; reading stops while more than READ_AHEAD of them wait there.

    `write_ahead` is how many bytes wait inside for a reader that is slower than we are before
    `blocked` is true.
    """

    def __init__(
        self,
        write_ahead: int = 64 * 1024,
        connected: "Callable[[Connection], None] | None" = None,
    ) -> None:
        self.buffer = bytearray()
        # The other side sends no more.
        self.ended = False
        # The connection is closed.
        self.is_lost = False
        # A write failed, as the other side had stopped reading: of a small one it has read nothing.
        self.is_refused = False
        # The other side reads more slowly than we write.
        self.blocked = False
        self.on_end: Callable[[], None] | None = None
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        # Asked for at each wait, it would cost a call of the system.
        self._loop = asyncio.get_running_loop()
        self._write_ahead = write_ahead
        self._connected = connected
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        # When those that wait have waited long enough: times of the loop.
        self._latest: dict[asyncio.Future[None], float] = {}
        # It stays over many waits: to start one for each costs more than the wait.
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        # A second descriptor of the same socket, to read what the loop leaves in it.
        self._leftover: socket.socket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._write_ahead)
        if self._connected is not None:
            self._connected(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.buffer += data
        if len(self.buffer) > READ_AHEAD and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        """The other side sends no more; it may still read."""
        self.ended = True
        _wake(self._reader)
        if self.on_end is not None:
            self.on_end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self._leftover is not None:
            # No more than the system's buffer of one socket.
            with suppress(OSError):
                while data := self._leftover.recv(READ_AHEAD, socket.MSG_DONTWAIT):
                    self.buffer += data
            self.release_answer()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.ended = True
        self.is_lost = True
        self.is_refused = isinstance(exc, BrokenPipeError)
        _wake(self._reader)
        _wake(self._writer)
        if self.on_end is not None:
            self.on_end()

    def pause_writing(self) -> None:
        """Called by the loop."""
        self.blocked = True

    def resume_writing(self) -> None:
        """Called by the loop."""
        self.blocked = False
        _wake(self._writer)

    def keep_answer(self) -> None:
        """Read what has come even when a write fails, until `release_answer`.

        For a request whose body is sent in parts: a server may answer and close before it has read
        all of it. The loop closes a connection at the first failing write and drops what it has not
        read.
        """
        if self._leftover is None and not self.is_lost:
            self._leftover = self.transport.get_extra_info("socket").dup()

    def release_answer(self) -> None:
        """End `keep_answer`."""
        if self._leftover is not None:
            self._leftover.close()
            self._leftover = None

    async def more(self, deadline: float | None = None) -> bool:
        """Wait for bytes that are not in `buffer` yet; False when none will come.

        `deadline` is a time of the event loop; TimeoutError when it passes.
        """
        if self.ended:
            return False
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._reader = self._loop.create_future()
        size = len(self.buffer)
        try:
            await self._until(self._reader, deadline)
        finally:
            self._reader = None
        return len(self.buffer) > size

    def take(self, most: int | None = None) -> bytes:
        """The bytes that have come, at most `most` of them."""
        if most is None or most >= len(self.buffer):
            data = bytes(self.buffer)
            self.buffer.clear()
        else:
            data = bytes(self.buffer[:most])
            del self.buffer[:most]
        return data

    def write(self, data: bytes) -> None:
        """Send, or buffer until the other side reads; dropped when it is gone."""
        if not self.is_lost:
            self.transport.write(data)

    async def writable(self, deadline: float | None = None) -> bool:
        """Wait until the other side has read enough; False when it is gone.

        `deadline` is a time of the event loop; TimeoutError when it passes.
        """
        while self.blocked and not self.is_lost:
            self._writer = self._loop.create_future()
            try:
                await self._until(self._writer, deadline)
            finally:
                self._writer = None
        return not self.is_lost

    async def _until(self, waiter: "asyncio.Future[None]", deadline: float | None) -> None:
        if deadline is None:
            await waiter
            return
        self._latest[waiter] = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer(deadline)
        try:
            await waiter
        finally:
            del self._latest[waiter]

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """End the waits that are over, and come again for the next one."""
        self._timer = None
        now = self._loop.time()
        for waiter, deadline in self._latest.items():
            if deadline <= now:
                _expire(waiter)
        later = [deadline for deadline in self._latest.values() if deadline > now]
        if later and not self.is_lost:
            self._set_timer(min(later))

    def close(self) -> None:
        """Close once everything is written."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """Close now, and drop what was not written."""
        if self.transport is not None:
            self.transport.abort()


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _expire(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
