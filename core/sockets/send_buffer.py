"""What waits to be sent to one client: bounded, oldest lines dropped and counted when the client does not read for long."""

import asyncio
import time
from collections import deque
from typing import Any

from core.sockets.protocol import Socket

Frame = dict[str, Any]
GATHER_SECONDS = 0.05
GATHER_BYTES = 64 * 1024
UNACKNOWLEDGED = 5000


class Outbox:
    """Lines wait their turn within `limit` bytes; notices (status, ping) are never dropped."""

    def __init__(self, limit: int, stall: float) -> None:
        self._limit, self._stall = limit, stall
        self._frames: deque[tuple[int, Frame]] = deque()
        self._notices: deque[Frame] = deque()
        self._size = self._dropped = 0
        self._filled, self._room, self._flowing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._flowing.set()
        self._seq = 0
        self._acknowledged: int | None = None
        self._finished = False

    def notify(self, frame: Frame) -> None:
        """Send this next, whatever waits."""
        self._notices.append(frame)
        self._filled.set()

    async def put(self, frame: Frame, size: int) -> None:
        """Queue a line in its order. Waits for room (so that the source is read no further), at most `stall` seconds unless paused."""
        deadline: float | None = None
        while self._size >= self._limit:
            self._room.clear()
            # A pause is a wish, not a stall: the clock of patience begins after it.
            deadline = (
                (deadline or time.monotonic() + self._stall) if self._flowing.is_set() else None
            )
            try:
                async with asyncio.timeout(
                    None if deadline is None else max(deadline - time.monotonic(), 0)
                ):
                    await self._room.wait()
            except TimeoutError:
                self._drop(size)
        self._frames.append((size, frame))
        self._size += size
        self._filled.set()

    def _drop(self, needed: int) -> None:
        """Make room for the newest by giving up the oldest half of the lines; what is no line stays."""
        kept: list[tuple[int, Frame]] = []
        while self._frames and (self._size > self._limit // 2 or self._size + needed > self._limit):
            size, frame = self._frames.popleft()
            self._size -= size
            if frame["type"] == "log":
                self._dropped += 1
            else:
                kept.append((0, frame))
        self._frames.extendleft(reversed(kept))

    def pause(self) -> None:
        """Send no lines until told to."""
        self._flowing.clear()

    def resume(self) -> None:
        """Send lines again."""
        self._flowing.set()
        self._filled.set()
        self._room.set()

    def acknowledge(self, seq: int) -> None:
        """From the first of these on, no more than 5,000 lines are sent ahead of the client."""
        self._acknowledged = max(seq, self._acknowledged or 0)
        self._filled.set()

    def _may_send(self) -> bool:
        ahead = self._acknowledged is not None and self._seq - self._acknowledged >= UNACKNOWLEDGED
        return self._flowing.is_set() and not ahead

    async def drain(self, socket: Socket, *, batched: bool = False) -> None:
        """Send until `finish`: notices at once, lines gathered for 50 ms or 64 KiB."""
        while not self._finished or self._notices or self._frames:
            await self._filled.wait()
            self._filled.clear()
            if (
                self._frames
                and self._size < GATHER_BYTES
                and not self._notices
                and not self._finished
            ):
                await asyncio.sleep(GATHER_SECONDS)
            await self._send_waiting(socket, batched)

    async def _send_waiting(self, socket: Socket, batched: bool) -> None:
        while self._notices or (self._frames and self._may_send()):
            if self._notices:
                await socket.send(self._notices.popleft())
                continue
            batch = self._take(GATHER_BYTES if batched else 1)
            await socket.send({"type": "batch", "frames": batch} if batched else batch[0])

    def _take(self, size: int) -> list[Frame]:
        """At least one frame; the number of lines that were dropped before it comes first."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return [{"type": "dropped", "count": dropped}]
        batch: list[Frame] = []
        while self._frames and size > 0:
            length, frame = self._frames.popleft()
            self._size -= length
            size -= max(length, 1)
            if frame["type"] == "log":
                self._seq += 1
                frame = {"type": "log", "seq": self._seq, **frame}
            batch.append(frame)
        self._room.set()
        return batch

    def finish(self) -> None:
        """Nothing more will come: `drain` ends when everything was sent."""
        self._finished = True
        self._acknowledged = None
        self.resume()
