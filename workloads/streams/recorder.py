"""Recording a terminal while it runs: output and sizes, never what was typed; written in chunks by database threads."""

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


async def _written(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A write to the database; a database that does not answer in time is as good as one that refuses."""
    async with asyncio.timeout(WRITE_SECONDS):
        return await connections.in_database_thread(function, *args, **kwargs)


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
        self._failed = asyncio.Event()
        self._closing = Closing(FAULT, UNWRITTEN)

    @classmethod
    def of(cls, ticket: Ticket) -> "Recorder":
        """A recorder for the ticket's terminal: always, when it was asked for, or never (TERMINAL_RECORDING)."""
        asked = settings.TERMINAL_RECORDING == "asked" and bool(ticket.options.get("record"))
        return cls(ticket if asked or settings.TERMINAL_RECORDING == "always" else None)

    async def start(self) -> None:
        """Begin the recording; Closing when that is not possible."""
        if self._ticket is None:
            return
        try:
            self._row = await _written(recordings.begin, self._ticket)
        except Exception as error:
            log.exception("a recording could not be begun")
            raise self._closing from error

    async def failure(self) -> None:
        """Wait until the recording can no longer be written, and raise the Closing that says so."""
        await self._failed.wait()
        raise self._closing

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
        if self._size + len(line) > settings.TERMINAL_RECORDING_BYTES:
            self._fill_up()
            return
        self._lines.append(line)
        self._waiting += len(line)
        self._size += len(line)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())

    def _fill_up(self) -> None:
        """Where every shell has to be recorded, one whose recording is full ends: what it does next would be seen by no one."""
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
        self._lines = []
        self._waiting = 0
        self._number += 1
        columns = dict(self._columns)
        await _written(
            recordings.add_chunk, self._row, self._number, events, size=self._size, columns=columns
        )

    async def finish(self) -> None:
        """Write what is left."""
        if self._row is None:
            return
        try:
            if self._flushing:
                await asyncio.gather(self._flushing, return_exceptions=True)
            await self._flush()
            await _written(recordings.finish, self._row, dict(self._columns))
        except Exception:
            log.exception("a recording could not be written")
