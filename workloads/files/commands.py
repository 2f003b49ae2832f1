"""Running a script in a container over exec: its input, output, complaints and exit code."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import orjson
from django.conf import settings

from clusters.streams import ERROR_CHANNEL, STDERR, STDIN, STDOUT, Channels, StreamClient
from core.errors import DomainError, Rejected
from workloads.files.failures import ended_midway, failure, printable, timed_out
from workloads.streams.exec import exec_path

# Of what a command complains only the beginning and the end are remembered.
MAX_COMPLAINT = 4096
MAX_STATUS = 64 * 1024
# Of the input in one message.
INPUT_PART = 128 * 1024
# Of the output: what is handed out at once, and what waits at most.
OUTPUT_PART = 256 * 1024
MAX_WAITING = 512 * 1024
# What runtimes say when a program is not in the image.
_NO_PROGRAM = ("executable file not found", "no such file or directory", "not found in $path")


class NoProgram(Exception):
    """The container has no program of that name."""


class Process:
    """A command that runs in a container.

    `code` is its exit code once the output has ended. A silence of FILES_IDLE_SECONDS ends it.
    """

    def __init__(self, channels: Channels, path: str) -> None:
        self.path = path
        self.code: int | None = None
        # The longest silence of the output, in seconds; None for as long as it takes.
        self.patience: float | None = settings.FILES_IDLE_SECONDS
        self._channels = channels
        self._complaint = b""
        self._buffer = b""
        # Output that waits to be read. A task fills it, so that the API server's small messages
        # become large parts, and a time-out is set for each part that has to be waited for alone.
        self._output: deque[bytes] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def complaint(self) -> str:
        """What it wrote to stderr: the beginning and the end of it."""
        return self._complaint.decode(errors="replace")

    async def write(self, *pieces: bytes | memoryview) -> None:
        """Send input; it waits while the container does not read.

        Rejected when the connection broke, ClusterUnavailable when nothing is taken for long.
        """
        for message in _messages(pieces):
            try:
                async with asyncio.timeout(settings.FILES_IDLE_SECONDS):
                    await self._channels.send(STDIN, *message)
            except TimeoutError:
                raise timed_out() from None

    async def _receive(self) -> bytes:
        """The next part of the output; b"" at its end.

        However much it complains meanwhile: a silent output is a time-out.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_messages())
        if not self._output and not self._reading.done():
            self._arrived.clear()
            try:
                async with asyncio.timeout(self.patience):
                    await self._arrived.wait()
            except TimeoutError:
                raise timed_out() from None
        if self._output:
            return self._take()
        # The task has ended: this raises what ended it.
        await self._reading
        return b""

    def _take(self) -> bytes:
        """What waits, as one part of about OUTPUT_PART bytes."""
        parts = [self._output.popleft()]
        size = len(parts[0])
        while self._output and size + len(self._output[0]) <= OUTPUT_PART:
            parts.append(self._output.popleft())
            size += len(parts[-1])
        self._waiting -= size
        self._taken.set()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_messages(self) -> None:
        """Read what the container sends to its end, no faster than it is taken."""
        try:
            while (message := await self._channels.receive()) is not None:
                channel, data = message
                if channel == STDOUT and data:
                    self._output.append(data)
                    self._waiting += len(data)
                    self._arrived.set()
                    while self._waiting > MAX_WAITING:
                        self._taken.clear()
                        await self._taken.wait()
                elif channel == STDERR:
                    self._note_complaint(data)
                elif channel == ERROR_CHANNEL and data:
                    self.code = _exit_code(data)
            if self.code is None:
                raise ended_midway()
        finally:
            self._arrived.set()

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            # What ended it was raised to the reader, or is of no interest any more.
            await asyncio.gather(self._reading, return_exceptions=True)

    def _note_complaint(self, data: bytes) -> None:
        text = self._complaint + data[-2 * MAX_COMPLAINT :]
        if len(text) > 2 * MAX_COMPLAINT:
            text = text[:MAX_COMPLAINT] + text[-MAX_COMPLAINT:]
        self._complaint = text

    async def read_line(self, limit: int = 16 * 1024) -> bytes:
        """The next line of the output without its end; b"" when the output has ended."""
        while b"\n" not in self._buffer:
            part = await self._receive()
            if not part:
                line = self._buffer
                self._buffer = b""
                return line
            self._buffer += part
            if len(self._buffer) > limit and b"\n" not in self._buffer[:limit]:
                raise Rejected("the container's answer is malformed", reason="BadAnswer")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def parts(self) -> AsyncIterator[bytes]:
        """The rest of the output, as it comes."""
        if self._buffer:
            buffer = self._buffer
            self._buffer = b""
            yield buffer
        while part := await self._receive():
            yield part

    async def read(self, limit: int) -> bytes:
        """The rest of the output; Rejected when it is longer than `limit` bytes."""
        data = bytearray()
        async for part in self.parts():
            data += part
            if len(data) > limit:
                raise Rejected("the container's answer is too large", reason="BadAnswer")
        return bytes(data)

    async def end(self) -> int:
        """Drop the rest of the output (at most 1 MiB of it) and return the exit code."""
        await self.read(1 << 20)
        return self.code or 0

    def error(self) -> DomainError:
        """The error for what the command complained of."""
        return failure(self.path, self.code or 0, self.complaint)


def _messages(pieces: Iterable[bytes | memoryview]) -> Iterator[list[bytes | memoryview]]:
    """The pieces in groups of at most INPUT_PART bytes; a larger one is cut, not copied."""
    group: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if size and size + len(piece) > INPUT_PART:
            yield group
            group = []
            size = 0
        view = piece if len(piece) <= INPUT_PART else memoryview(piece)
        while len(view) > INPUT_PART:
            yield [view[:INPUT_PART]]
            view = view[INPUT_PART:]
        group.append(view)
        size += len(view)
    if size:
        yield group


def _exit_code(status: bytes) -> int:
    """The exit code of a Status; NoProgram when the program is missing, Rejected otherwise."""
    if len(status) > MAX_STATUS:
        raise Rejected("the container's answer is malformed", reason="BadAnswer")
    try:
        document = orjson.loads(status)
        if document.get("status") == "Success":
            return 0
        causes = (document.get("details") or {}).get("causes") or []
        for cause in causes:
            if cause.get("reason") == "ExitCode":
                return int(cause.get("message"))
        message = str(document.get("message") or "")
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        message = status.decode(errors="replace")
    if any(words in message.lower() for words in _NO_PROGRAM):
        raise NoProgram
    raise Rejected(
        f"the command could not be run in the container: {printable(message)[:300]}",
        reason="ExecFailed",
    )


@asynccontextmanager
async def run_script(
    client: StreamClient,
    location: tuple[str, str, str],
    script: str,
    arguments: Iterable[str],
    *,
    option: str = "-",
    path: str = "/",
    has_input: bool = False,
) -> AsyncIterator[Process]:
    """A script that runs in (namespace, pod, container); leaving the block ends its connection.

    `option` is the script's $0, `path` is what its errors are about. NoProgram without `sh`.
    """
    namespace, pod, container = location
    query = {
        "container": container,
        "command": ["sh", "-c", script, option, *arguments],
        "stdin": "true" if has_input else "",
        "stdout": "true",
        "stderr": "true",
    }
    async with client.exec(exec_path(namespace, pod), query) as channels:
        process = Process(channels, path)
        try:
            yield process
        finally:
            await process.close()
