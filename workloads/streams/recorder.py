"""Records a terminal while it runs: output and sizes, never what was typed.

Database threads write it in chunks.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import orjson
from django.conf import settings

from core.sockets import connections
from core.sockets.protocol import FAULT, POLICY, Closing
from core.sockets.tickets import Ticket
from workloads.streams import recordings

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
CHUNK = 64 * 1024
FLUSH_SECONDS = 5.0
WRITE_SECONDS = 15.0
UNWRITTEN = "the recording cannot be written, and there is no shell without it"
FULL = "the recording is full, and there is no shell without it"


async def _run_in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns; TimeoutError when the database does not answer in time."""
    async with asyncio.timeout(WRITE_SECONDS):
        return await connections.in_database_thread(function, *args, **kwargs)


class Recorder:
    """Takes output as it comes; does nothing without a ticket, when nothing is to be recorded."""

    def __init__(self, ticket: Ticket | None) -> None:
        self._ticket = ticket
        self._started_at = time.monotonic()
        self._lines: list[bytes] = []
        # Bytes that wait to be written, bytes of the whole recording, number of the last chunk.
        self._waiting = 0
        self._size = 0
        self._number = 0
        self._columns: dict[str, object] = {}
        self._row: int | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._failed = asyncio.Event()
        self._closing = Closing(FAULT, UNWRITTEN)

    @classmethod
    def for_ticket(cls, ticket: Ticket) -> "Recorder":
        """A recorder for the ticket's terminal.

        TERMINAL_RECORDING decides: always, when the ticket asks for it ("asked"), or never.
        """
        is_requested = bool(ticket.options.get("record"))
        is_recorded = settings.TERMINAL_RECORDING == "always" or (
            settings.TERMINAL_RECORDING == "asked" and is_requested
        )
        return cls(ticket if is_recorded else None)

    async def start(self) -> None:
        """Begin the recording; Closing when the database does not take it."""
        if self._ticket is None:
            return
        try:
            self._row = await _run_in_database(recordings.begin, self._ticket)
        except Exception as error:
            log.exception("a recording could not be started")
            raise self._closing from error

    async def failure(self) -> None:
        """Wait until the recording cannot go on, and raise the Closing that ends the shell."""
        await self._failed.wait()
        raise self._closing

    def output(self, text: str) -> None:
        """Record output."""
        self._event("o", text)

    def resize(self, cols: int, rows: int) -> None:
        """Record a new size; the first is that of the whole recording."""
        self._columns = self._columns or {"width": cols, "height": rows}
        self._event("r", f"{cols}x{rows}")

    def _event(self, kind: str, text: str) -> None:
        if self._ticket is None:
            return
        # An event of asciicast v2: [seconds, "o" or "r", text].
        seconds = round(time.monotonic() - self._started_at, 6)
        line = orjson.dumps([seconds, kind, text], option=orjson.OPT_APPEND_NEWLINE)
        if self._size + len(line) > settings.TERMINAL_RECORDING_BYTES:
            self._mark_full()
            return
        self._lines.append(line)
        self._waiting += len(line)
        self._size += len(line)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())

    def _mark_full(self) -> None:
        """The recording ends here; where every shell must be recorded, so does the shell."""
        self._columns["truncated"] = True
        if settings.TERMINAL_RECORDING == "always":
            self._closing = Closing(POLICY, FULL)
            self._failed.set()

    async def _flush_soon(self) -> None:
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._waiting < CHUNK and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        try:
            await self._flush()
        except Exception:
            log.exception("a recording could not be written")
            self._failed.set()

    async def _flush(self) -> None:
        if self._row is None or not self._lines:
            return
        events = b"".join(self._lines).decode()
        # Before the write: output that comes meanwhile belongs to the next chunk.
        self._lines = []
        self._waiting = 0
        self._number += 1
        columns = dict(self._columns)
        await _run_in_database(
            recordings.add_chunk,
            self._row,
            self._number,
            events,
            size=self._size,
            columns=columns,
        )

    async def finish(self) -> None:
        """Write what is left."""
        if self._row is None:
            return
        try:
            if self._flushing:
                await asyncio.gather(self._flushing, return_exceptions=True)
            await self._flush()
            await _run_in_database(recordings.finish, self._row, dict(self._columns))
        except Exception:
            log.exception("a recording could not be written")
