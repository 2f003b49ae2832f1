"""An archive from a client, unpacked in a container: every member is checked before it goes in."""

import zlib
from collections.abc import AsyncIterator
from typing import Any

from core.errors import PayloadTooLarge
from workloads.files.archives import (
    ArchiveReader,
    Malformed,
    Member,
    NameGuard,
    safe_name,
    stays_inside,
)
from workloads.files.containers import Confirm, Container
from workloads.files.uploads import Receiver, always

# Of the answer: the rest is only counted.
MAX_ITEMS = 10_000
# What one step of decompression may give, so that a bomb is noticed early.
PART = 256 * 1024


async def decompress(parts: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The bytes inside gzip; Malformed when it is none, PayloadTooLarge above `limit` bytes."""
    engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
    size = 0
    async for part in parts:
        data = part
        while data:
            try:
                plain = engine.decompress(data, PART)
            except zlib.error:
                raise Malformed("the archive is not gzip", reason="BadArchive") from None
            size += len(plain)
            if size > limit:
                raise PayloadTooLarge(f"the archive holds more than {limit} bytes")
            if plain:
                yield plain
            data = engine.unconsumed_tail
            if engine.eof:
                # What follows a finished stream is padding, or another one, which tar never reads.
                data = b""
    if not engine.eof:
        raise Malformed("the archive is cut off", reason="BadArchive")


async def extract(
    container: Container,
    folder: str,
    parts: AsyncIterator[bytes],
    *,
    overwrite: bool,
    limit: int,
    confirm: Confirm = always,
) -> list[dict[str, Any]]:
    """Unpack a tar archive below a directory (without links); [{"path","size","sha256"}].

    Malformed for members that are no file, directory or link that stays inside; Conflict when a
    file exists, unless `overwrite`. Members before a refused one stay. `confirm` raises when no
    more may be written.
    """
    reader = ArchiveReader(parts)
    names = NameGuard()
    items: list[dict[str, Any]] = []
    total = 0
    async with Receiver.open(container, folder, confirm) as receiver:
        async for member in reader.members():
            name = safe_name(member.name)
            if name == ".":
                if member.kind != "dir":
                    raise Malformed("a member of the archive has no name", reason="BadName")
                continue
            names.check(name, is_link=member.kind == "symlink")
            total += member.size
            if total > limit:
                raise PayloadTooLarge(f"the archive holds more than {limit} bytes")
            await _make_parents(receiver, folder, name)
            item = await _place(receiver, reader, member, name, folder, overwrite=overwrite)
            if item and len(items) < MAX_ITEMS:
                items.append(item)
        await receiver.finish()
    async for _ in parts:
        # The padding behind the archive.
        pass
    return items


async def _make_parents(receiver: Receiver, folder: str, name: str) -> None:
    parts = name.split("/")[:-1]
    for end in range(len(parts)):
        await receiver.ensure_directory(_below(folder, "/".join(parts[: end + 1])))


async def _place(
    receiver: Receiver,
    reader: ArchiveReader,
    member: Member,
    name: str,
    folder: str,
    *,
    overwrite: bool,
) -> dict[str, Any] | None:
    """Put one member in its place; what it became, None for a directory."""
    path = _below(folder, name)
    if member.kind == "dir":
        await receiver.ensure_directory(path)
        return None
    await receiver.check_directories(path)
    if not overwrite:
        await receiver.require_absent(path)
    if member.kind == "symlink":
        if not stays_inside(name, member.target):
            raise Malformed("a link in the archive leads out of it", reason="BadLink")
        await receiver.make_link(path, member.target, is_symbolic=True)
        return {"path": path, "size": 0, "sha256": None}
    if member.kind == "hardlink":
        target = safe_name(member.target)
        await receiver.check_directories(f"{_below(folder, target)}/-")
        await receiver.make_link(path, _below(folder, target), is_symbolic=False)
        return {"path": path, "size": 0, "sha256": None}
    if member.kind != "file":
        raise Malformed(
            "the archive holds something else than files, directories and links",
            reason="BadMember",
        )
    await receiver.begin_file(path, f"{member.mode & 0o777:04o}")
    async for data in reader.content():
        await receiver.write(data)
    return await receiver.end_file()


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"
