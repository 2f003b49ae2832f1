"""Recording a terminal while it runs: output and sizes, never what was typed; written in chunks by database threads."""

import asyncio
import logging
import time

import orjson
from django.conf import settings

from workloads.streams import recordings, runtime
from workloads.streams.tickets import Ticket

log = logging.getLogger(__name__)
CHUNK = 64 * 1024
MOST = 20 * 1024 * 1024
FLUSH_SECONDS = 5.0


class Recorder:
    """Takes output as it comes; does nothing when no recording is wanted."""

    def __init__(self, ticket: Ticket | None) -> None:
        self._ticket = ticket
        self._began = time.monotonic()
        self._lines: list[bytes] = []
        self._waiting = self._size = self._number = 0
        self._columns: dict[str, object] = {}
        self._row: int | None = None
        self._flushing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, ticket: Ticket) -> "Recorder":
        """A recorder for the ticket's terminal: always, when it was asked for, or never (TERMINAL_RECORDING)."""
        asked = settings.TERMINAL_RECORDING == "asked" and bool(ticket.options.get("record"))
        return cls(ticket if asked or settings.TERMINAL_RECORDING == "always" else None)

    def output(self, text: str) -> None:
        """What was printed."""
        self._event("o", text)

    def resize(self, cols: int, rows: int) -> None:
        """A new size; the first one is that of the whole."""
        self._columns = self._columns or {"width": cols, "height": rows}
        self._event("r", f"{cols}x{rows}")

    def _event(self, kind: str, text: str) -> None:
        if self._ticket is None:
            return
        line = orjson.dumps(
            [round(time.monotonic() - self._began, 6), kind, text], option=orjson.OPT_APPEND_NEWLINE
        )
        if self._size + len(line) > MOST:
            self._columns["truncated"] = True
            return
        self._lines.append(line)
        self._waiting += len(line)
        self._size += len(line)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._waiting < CHUNK and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        await self._flush()

    async def _flush(self) -> None:
        if self._ticket is None or not self._lines:
            return
        events, self._lines, self._waiting = b"".join(self._lines).decode(), [], 0
        if self._row is None:
            self._row = await runtime.in_database_thread(recordings.begin, self._ticket)
        self._number += 1
        await runtime.in_database_thread(
            recordings.add,
            self._row,
            self._number,
            events,
            size=self._size,
            columns=dict(self._columns),
        )

    async def finish(self) -> None:
        """Write what is left."""
        if self._ticket is None:
            return
        try:
            if self._flushing:
                await asyncio.gather(self._flushing, return_exceptions=True)
            await self._flush()
            if self._row is not None:
                await runtime.in_database_thread(recordings.finish, self._row)
        except Exception:
            log.exception("a recording could not be written")
