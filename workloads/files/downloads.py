"""Bytes out of a container: a file, from any byte on, or a directory as an archive."""

import asyncio
import stat
import zlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.errors import Rejected
from workloads.files import scripts
from workloads.files.archives import (
    BLOCK,
    ArchiveReader,
    CutOff,
    Malformed,
    Member,
    NameGuard,
    padding,
)
from workloads.files.archives import safe_name as safe_member_name
from workloads.files.commands import Process
from workloads.files.containers import Container, Entry, parse_entry
from workloads.files.failures import LINK_CODE, ended_midway, not_a_directory
from workloads.files.listing import list_directory
from workloads.files.paths import components, excluded_below, is_denied

# Compression is quick rather than small: the network to the cluster is seldom the slower part.
GZIP_LEVEL = 1
# What is compressed at once, outside of the event loop.
GZIP_PART = 256 * 1024
# Where a directory is read file by file.
MAX_WAITING = 100_000


@dataclass(slots=True)
class OpenFile:
    """A file that is being read: what it is, and its bytes from the asked one on."""

    entry: Entry
    start: int
    parts: AsyncIterator[bytes]


@asynccontextmanager
async def open_file(container: Container, path: str, start: int = 0) -> AsyncIterator[OpenFile]:
    """A regular file from a byte on; its parts are exactly as many bytes as its size says.

    Rejected (while the parts are read) when the file became shorter. Invalid for a directory.
    """
    async with container.walk(scripts.READ, path, option=str(start + 1)) as (
        process,
        resolved,
        line,
    ):
        if not line:
            raise process.error()
        entry = parse_entry(resolved, line)

        async def parts() -> AsyncIterator[bytes]:
            left = max(entry.size - start, 0)
            async for part in process.parts():
                # A file that grows, or a container that lies, gives more than was announced.
                yield part[:left]
                left -= min(len(part), left)
                if not left:
                    return
            if process.code:
                raise process.error()
            if left:
                raise Rejected(f"{path} became shorter while it was read", reason="Changed")

        yield OpenFile(entry, start, parts())


async def pack_directory(container: Container, path: str, *, limit: int) -> AsyncIterator[bytes]:
    """A plain tar archive of a directory, whose members all stand below its name.

    Denied paths are left out. Rejected above `limit` bytes of content. What the container could not
    read stands at the end in `.kubegale-errors.txt`, as a download has no other place for it.
    """
    entry = await container.inspect(path)
    if not stat.S_ISDIR(entry.mode):
        raise not_a_directory(path)
    top = path.rpartition("/")[2] or "root"
    if "tar" in container.way.tools:
        members = _pack_with_tar(container, entry.path, top, limit)
    else:
        members = _pack_one_by_one(container, entry.path, top, limit)
    async for data in members:
        yield data
    yield bytes(2 * BLOCK)


async def _pack_with_tar(
    container: Container, folder: str, top: str, limit: int
) -> AsyncIterator[bytes]:
    head, _, base = folder.rpartition("/")
    base = base or "."
    denied = excluded_below(folder, container.denied)
    # Patterns of tar: what could be one is left to our own check of each member.
    excludes = [f"--exclude=.{path.removeprefix(head)}" for path in denied]
    steps = components(folder)
    arguments = [
        container.inner(head or "/"),
        base,
        str(len(steps)),
        *(container.inner(step) for step in steps),
        *excludes,
    ]
    names = NameGuard()
    total = 0
    async with container.run(scripts.PACK, folder, *arguments) as process:
        line = await process.read_line()
        if line != b"archive":
            await process.end()
            if process.code == LINK_CODE:
                raise Rejected(f"{folder} was replaced by a link meanwhile", reason="Conflict")
            raise process.error()
        reader = ArchiveReader(process.parts())
        left_out = 0
        async for member in _members(reader, process):
            name = _relative_name(member.name, base)
            if name is None or member.kind == "other" or _is_hidden(container, folder, name):
                left_out += name is None
                continue
            relative = f"{top}/{name}" if name else top
            try:
                names.check(relative, is_link=member.kind == "symlink")
            except Malformed:
                left_out += 1
                continue
            total += member.size
            if total > limit:
                raise Rejected(f"{folder} holds more than {limit} bytes", reason="TooLarge")
            member.name = relative
            if member.kind == "hardlink":
                target = _relative_name(member.target, base)
                if target is None:
                    continue
                member.target = f"{top}/{target}"
            yield member.header()
            async for data in reader.content():
                yield data
            yield padding(member.size)
        await process.end()
        complaint = process.complaint if process.code else ""
    if left_out:
        complaint += f"\n{left_out} members with names that lead out of the archive were left out\n"
    if complaint:
        for data in _errors_member(top, complaint):
            yield data


async def _members(reader: ArchiveReader, process: Process) -> AsyncIterator[Member]:
    """The archive's members; what tar complained of when it ended early."""
    try:
        async for member in reader.members():
            yield member
    except CutOff:
        raise process.error() if process.code else ended_midway() from None


def _errors_member(top: str, complaint: str) -> list[bytes]:
    content = complaint.encode()
    member = Member(f"{top}/.kubegale-errors.txt", "file", len(content), 0o644, 0)
    return [member.header(), content, padding(len(content))]


def _relative_name(name: str, base: str) -> str | None:
    """The name without the directory's own, "" for it; None when it leads elsewhere."""
    try:
        normal = safe_member_name(name)
    except Malformed:
        return None
    if base == ".":
        return "" if normal == "." else normal
    if normal == base:
        return ""
    return normal.removeprefix(f"{base}/") if normal.startswith(f"{base}/") else None


def _is_hidden(container: Container, folder: str, name: str) -> bool:
    return is_denied(f"{folder.rstrip('/')}/{name}", container.denied)


async def _pack_one_by_one(
    container: Container, folder: str, top: str, limit: int
) -> AsyncIterator[bytes]:
    """The archive of a container without tar: one exec for each directory and each file."""
    waiting: deque[tuple[str, str]] = deque([(folder, top)])
    total = 0
    yield Member(top, "dir", 0, 0o755, 0).header()
    complaints: list[str] = []
    while waiting:
        place, name = waiting.popleft()
        listing = await list_directory(container, place)
        if listing["truncated"]:
            complaints.append(f"{place}: more entries than can be read\n")
        for item in listing["items"]:
            path = item["path"]
            if is_denied(path, container.denied) or "\ufffd" in path or "\n" in path:
                continue
            inner = f"{name}/{item['name']}"
            mode = int(item["mode"], 8)
            if item["type"] == "dir":
                yield Member(inner, "dir", 0, mode, 0).header()
                waiting.append((path, inner))
                if len(waiting) > MAX_WAITING:
                    raise Rejected(f"{folder} has too many directories", reason="TooLarge")
            elif item["type"] == "link" and item.get("target"):
                yield Member(inner, "symlink", 0, mode, 0, item["target"]).header()
            elif item["type"] == "file":
                try:
                    async with open_file(container, path) as file:
                        size = file.entry.size
                        total += size
                        if total > limit:
                            raise Rejected(
                                f"{folder} holds more than {limit} bytes", reason="TooLarge"
                            )
                        yield Member(inner, "file", size, mode, file.entry.mtime).header()
                        async for data in file.parts:
                            yield data
                        yield padding(size)
                except Rejected as error:
                    if error.details.get("reason") != "PermissionDenied":
                        raise
                    complaints.append(f"{error.message}\n")
    for data in _errors_member(top, "".join(complaints)) if complaints else []:
        yield data


async def compress(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The parts as gzip, compressed outside of the event loop."""
    engine = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    buffer = bytearray()
    async for part in parts:
        buffer += part
        if len(buffer) >= GZIP_PART:
            data = await asyncio.to_thread(engine.compress, bytes(buffer))
            buffer.clear()
            if data:
                yield data
    data = await asyncio.to_thread(engine.compress, bytes(buffer))
    yield data + engine.flush()
