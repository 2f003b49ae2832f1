"""Bytes into a container: each file is written beside its place and then renamed.

One exec takes any number of files (script RECEIVE). It commits a file on command alone, so that
whatever breaks leaves no half file: the script removes its temporary file when its input ends, and
we do once more from outside.
"""

import asyncio
import base64
import hashlib
import re
import stat
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from django.conf import settings

from core.errors import ClusterUnavailable, DomainError, Invalid, Rejected
from workloads.files import scripts
from workloads.files.commands import NoProgram, Process
from workloads.files.containers import Confirm, Container, Entry
from workloads.files.failures import LINK_CODE, ended_midway, exists_already, failure, timed_out
from workloads.files.paths import check_allowed, components

MODE = re.compile(r"0?[0-7]{3,4}\Z")
DEFAULT_MODE = "0644"
# What dd writes at once.
BLOCK = 1024 * 1024
# Of one line of base64, where dd cannot wait for whole blocks.
TEXT_BLOCK = 48 * 1024
# So many small pieces take more memory than what is in them.
MAX_PIECES = 1024
CLEAN_UP_SECONDS = 10.0
# Directories that are remembered as checked.
MAX_CHECKED = 20_000


def check_mode(text: str) -> str:
    """The permission bits as octal digits, "" for none; Invalid for anything else."""
    if text and not MODE.match(text):
        raise Invalid("mode must be octal digits such as 0644", field="mode")
    return text


async def always() -> None:
    """Confirm without a condition."""


async def remove_temporary(container: Container, paths: Iterable[str]) -> None:
    """Remove temporary files as well as it goes."""
    inner = [container.inner(path) for path in paths]
    with suppress(DomainError, NoProgram, TimeoutError):
        async with asyncio.timeout(CLEAN_UP_SECONDS):
            async with container.run(scripts.CLEAN_UP, inner[0], *inner) as process:
                await process.end()


class Receiver:
    """The script RECEIVE at work in a container; open it with `Receiver.open`.

    Errors of the script are raised by the call that notices them, about the file at hand.
    """

    def __init__(self, container: Container, process: Process, confirm: Confirm) -> None:
        self._container = container
        self._process = process
        self._confirm = confirm
        self._is_raw = "fullblock" in container.way.tools
        self._block = BLOCK if self._is_raw else TEXT_BLOCK
        # Lines of its output, until it ends.
        self._lines: list[bytes] = []
        self._watching = asyncio.create_task(self._watch())
        self._checked: set[str] = set()
        self._path = process.path
        self._target = ""
        self._temporary = ""
        # Files that are whole and wait for their names.
        self._staged: list[str] = []
        # What waits for the rest of its block.
        self._pieces: list[bytes | memoryview] = []
        self._waiting = 0
        self._size = 0
        self._digest = hashlib.sha256()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, container: Container, path: str, confirm: Confirm = always
    ) -> AsyncIterator["Receiver"]:
        """A receiver; its errors are about `path` until a file begins.

        `confirm` raises when a file that is whole may not get its name.
        """
        receiver: Receiver | None = None
        try:
            async with container.run(scripts.RECEIVE, path, has_input=True) as process:
                # The script is silent for as long as the client takes to send.
                process.patience = None
                receiver = cls(container, process, confirm)
                try:
                    yield receiver
                finally:
                    await receiver._stop_watching()
        finally:
            left = [receiver._temporary, *receiver._staged] if receiver is not None else []
            if receiver is not None and any(left):
                # Shielded: the task is cancelled when its client leaves, and the half file must go.
                await asyncio.shield(remove_temporary(container, filter(None, left)))

    async def _watch(self) -> None:
        """Read the output to its end: only who reads notices that the script has ended."""
        while line := await self._process.read_line():
            # A hostile container could answer without an end.
            if len(self._lines) < 64:
                self._lines.append(line)
            else:
                self._lines[-1] = line

    async def _stop_watching(self) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError, DomainError, NoProgram):
            await self._watching

    def _check_ended(self) -> None:
        """Raise why the script has ended, if it has."""
        if not self._watching.done():
            return
        if (error := self._watching.exception()) is not None:
            raise error
        raise self._failure()

    def _failure(self) -> DomainError:
        code = self._process.code
        if code == LINK_CODE:
            return Rejected(
                f"{self._path}: a link stands on the way to it",
                reason="Link",
                field="path",
            )
        if code:
            return failure(self._path, code, self._process.complaint)
        return ended_midway()

    async def _send(self, *pieces: bytes | memoryview) -> None:
        self._check_ended()
        writing = asyncio.ensure_future(self._process.write(*pieces))
        try:
            # The script may end (no space is left) while it takes no input any more.
            await asyncio.wait({writing, self._watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        if writing.cancelled():
            self._check_ended()
        elif error := writing.exception():
            if isinstance(error, ClusterUnavailable):
                # The connection closes when the script ends: why it did is better to know.
                await asyncio.wait({self._watching}, timeout=CLEAN_UP_SECONDS)
                self._check_ended()
            raise error

    async def _tell(self, *pairs: tuple[str, str]) -> None:
        text = "".join(f"{word}\n{value}\n" for word, value in pairs)
        await self._send(text.encode())

    async def check_directories(self, path: str) -> None:
        """Let the script refuse when a directory on the way to the path has become a link."""
        steps = [step for step in components(path)[:-1] if step not in self._checked]
        self._checked.update(steps)
        if steps:
            await self._tell(*(("check", self._container.inner(step)) for step in steps))

    async def ensure_directory(self, path: str) -> None:
        """Make a directory unless it is there; its parents were made before."""
        if path in self._checked:
            return
        self._path = path
        check_allowed(path, self._container.denied)
        inner = self._container.inner(path)
        await self.check_directories(path)
        await self._tell(("check", inner), ("dir", inner))
        if len(self._checked) < MAX_CHECKED:
            self._checked.add(path)

    async def require_absent(self, path: str) -> None:
        """Let the script refuse when something stands at the path."""
        self._path = path
        await self._tell(("absent", self._container.inner(path)))

    def _begin(self, target: str) -> str:
        check_allowed(target, self._container.denied)
        folder = target.rpartition("/")[0]
        self._path = target
        self._target = target
        self._temporary = f"{folder}/.kubegale-{uuid.uuid4().hex[:12]}"
        return self._container.inner(self._temporary)

    async def begin_file(self, target: str, mode: str, existing: Entry | None = None) -> None:
        """Begin a file; without a mode it keeps that of the existing one, or gets 0644."""
        temporary = self._begin(target)
        self._size = 0
        self._digest = hashlib.sha256()
        if not mode:
            mode = f"{stat.S_IMODE(existing.mode):04o}" if existing else DEFAULT_MODE
        self._mode = mode
        self._owner = f"{existing.uid}:{existing.gid}" if existing else ""
        await self._tell(("temp", temporary))

    async def write(self, data: bytes) -> None:
        """Add bytes to the file."""
        self._digest.update(data)
        self._size += len(data)
        rest = memoryview(data)
        while self._waiting + len(rest) >= self._block:
            end = self._block - self._waiting
            self._pieces.append(rest[:end])
            rest = rest[end:]
            await self._send_block()
        if rest:
            # A piece that is whole stays as it is.
            self._pieces.append(data if len(rest) == len(data) else rest)
            self._waiting += len(rest)
        if len(self._pieces) >= MAX_PIECES:
            self._pieces = [b"".join(self._pieces)]

    async def _send_block(self) -> None:
        """Send what waits; it is copied nowhere before its messages are made."""
        pieces = self._pieces
        self._pieces = []
        self._waiting = 0
        if self._is_raw:
            await self._send(b"data\n%d\n" % sum(map(len, pieces)), *pieces)
        else:
            await self._send(b"text\n", base64.b64encode(b"".join(pieces)), b"\n")

    async def end_file(self) -> dict[str, Any]:
        """Give the file its own name; {"path","size","sha256"}."""
        await self._end_file(("into", self._container.inner(self._target)))
        return self._item()

    async def stage_file(self) -> dict[str, Any]:
        """End the file under its temporary name; {"path","size","sha256","temporary"}."""
        await self._end_file(("stage", ""))
        self._staged.append(self._temporary)
        return {**self._item(), "temporary": self._temporary}

    async def keep_staged(self) -> None:
        """Wait until all is written, and leave the staged files: an operation names them."""
        await self._tell(("keep", ""))
        await self.finish()
        self._staged.clear()

    def _item(self) -> dict[str, Any]:
        return {
            "path": self._target,
            "size": self._size,
            "sha256": self._digest.hexdigest(),
        }

    async def _end_file(self, last: tuple[str, str]) -> None:
        if self._pieces:
            await self._send_block()
        # The right may have gone since the last part came.
        await self._confirm()
        pairs = [("size", str(self._size))]
        if self._owner:
            pairs.append(("owner", self._owner))
        pairs.append(("mode", self._mode))
        pairs.append(last)
        await self._tell(*pairs)

    async def make_link(self, target: str, text: str, *, is_symbolic: bool) -> None:
        """Make a link, under another name first as a file; `text` is what it points at."""
        temporary = self._begin(target)
        word = "symlink" if is_symbolic else "hardlink"
        where = text if is_symbolic else self._container.inner(text)
        await self._tell(
            ("target", where),
            (word, temporary),
            ("into", self._container.inner(target)),
        )

    async def finish(self) -> None:
        """Wait until all is written; the error of whatever failed."""
        await self._tell(("end", ""))
        await asyncio.wait({self._watching}, timeout=settings.FILES_IDLE_SECONDS)
        if not self._watching.done():
            raise timed_out()
        if (error := self._watching.exception()) is not None:
            raise error
        if self._process.code:
            for line in self._lines:
                if line.startswith(b"exists "):
                    text = line.removeprefix(b"exists ").decode(errors="replace")
                    raise exists_already(text.removeprefix(self._container.root))
            raise self._failure()
        self._temporary = ""
