"""What waits to be sent to one client: bounded; old lines are dropped when it does not read."""

import asyncio
import time
from collections import deque
from typing import Any

from core.sockets.protocol import Socket

Frame = dict[str, Any]
# Lines are gathered for so long, or up to so many bytes, before they are sent together.
GATHER_SECONDS = 0.05
GATHER_BYTES = 64 * 1024
# How many lines may be sent ahead of a client that acknowledges them.
UNACKNOWLEDGED = 5000


class SendBuffer:
    """Lines wait their turn within `limit` bytes; notices (status, ping) are never dropped.

    `stall` is how many seconds a full buffer waits for its client before it drops lines.
    """

    def __init__(self, limit: int, stall: float) -> None:
        self._limit = limit
        self._stall = stall
        self._frames: deque[tuple[int, Frame]] = deque()
        self._notices: deque[Frame] = deque()
        self._size = 0
        self._dropped = 0
        self._filled = asyncio.Event()
        self._has_space = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._seq = 0
        self._acknowledged: int | None = None
        self._finished = False

    def notify(self, frame: Frame) -> None:
        """Send this next, before everything that waits."""
        self._notices.append(frame)
        self._filled.set()

    async def put(self, frame: Frame, size: int) -> None:
        """Queue a line of `size` bytes in its order.

        A full buffer makes the caller wait, so that it reads no more from the source: at most
        `stall` seconds, then the oldest lines are dropped. While the client has paused it waits
        without an end.
        """
        deadline: float | None = None
        while self._size >= self._limit:
            self._has_space.clear()
            if not self._flowing.is_set():
                # A pause is no stall: the time-out begins after it.
                deadline = None
            elif deadline is None:
                deadline = time.monotonic() + self._stall
            seconds = None if deadline is None else max(deadline - time.monotonic(), 0)
            try:
                async with asyncio.timeout(seconds):
                    await self._has_space.wait()
            except TimeoutError:
                self._drop(size)
        self._frames.append((size, frame))
        self._size += size
        self._filled.set()

    def _drop(self, needed: int) -> None:
        """Drop the oldest half of the lines, or more until `needed` bytes fit; notices stay."""
        others: list[tuple[int, Frame]] = []
        half = self._limit // 2
        while self._frames and (self._size > half or self._size + needed > self._limit):
            size, frame = self._frames.popleft()
            self._size -= size
            if frame["type"] == "log":
                self._dropped += 1
            else:
                # It counts no bytes from now on, so that the loop ends.
                others.append((0, frame))
        self._frames.extendleft(reversed(others))

    def pause(self) -> None:
        """Send no lines until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        """Send lines again."""
        self._flowing.set()
        self._filled.set()
        self._has_space.set()

    def acknowledge(self, seq: int) -> None:
        """The client has read all lines up to `seq`.

        From the first call on, no more than UNACKNOWLEDGED lines are sent ahead of the client.
        """
        self._acknowledged = max(seq, self._acknowledged or 0)
        self._filled.set()

    def _may_send_lines(self) -> bool:
        if not self._flowing.is_set():
            return False
        if self._acknowledged is None:
            return True
        return self._seq - self._acknowledged < UNACKNOWLEDGED

    async def drain(self, socket: Socket, *, batched: bool = False) -> None:
        """Send until `finish`: notices at once, lines gathered for 50 ms or 64 KiB.

        `batched` puts the gathered lines into one frame. Disconnected when the client leaves.
        """
        while not self._finished or self._notices or self._frames:
            await self._filled.wait()
            self._filled.clear()
            urgent = self._notices or self._finished or self._size >= GATHER_BYTES
            if self._frames and not urgent:
                await asyncio.sleep(GATHER_SECONDS)
            await self._send_waiting(socket, batched)

    async def _send_waiting(self, socket: Socket, batched: bool) -> None:
        while self._notices or (self._frames and self._may_send_lines()):
            if self._notices:
                await socket.send(self._notices.popleft())
                continue
            batch = self._take(GATHER_BYTES if batched else 1)
            await socket.send({"type": "batch", "frames": batch} if batched else batch[0])

    def _take(self, size: int) -> list[Frame]:
        """Frames of about `size` bytes, at least one; or, alone, a count of dropped lines."""
        if self._dropped:
            count = self._dropped
            self._dropped = 0
            return [{"type": "dropped", "count": count}]
        batch: list[Frame] = []
        while self._frames and size > 0:
            length, frame = self._frames.popleft()
            self._size -= length
            size -= max(length, 1)
            if frame["type"] == "log":
                self._seq += 1
                frame = {"type": "log", "seq": self._seq, **frame}
            batch.append(frame)
        self._has_space.set()
        return batch

    def finish(self) -> None:
        """Nothing more will come: `drain` ends once everything is sent."""
        self._finished = True
        self._acknowledged = None
        self.resume()
