"""Tar archives that pass through: read member by member, checked, and written again.

Nothing is unpacked on our disk. A container, or a client, may send any archive: a member is passed
on only when its name stays inside, its type is harmless and its sizes are within bounds.
"""

import posixpath
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

from core.errors import Invalid

BLOCK = tarfile.BLOCKSIZE
# Of the headers with long names and extended attributes.
MAX_EXTENDED = 64 * 1024
MAX_MEMBERS = 200_000
_END = bytes(BLOCK)
_PASSED = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
}


class Malformed(Invalid):
    """The archive cannot be read, or holds what is not passed on."""


@dataclass(slots=True)
class Member:
    """The header of a member; `kind` is file, dir, symlink, hardlink or other."""

    name: str
    kind: str
    size: int
    mode: int
    mtime: float
    target: str = ""
    uid: int = 0
    gid: int = 0

    def header(self) -> bytes:
        """The member's header as POSIX tar, with extended headers for long names."""
        info = tarfile.TarInfo(self.name)
        info.size = self.size if self.kind == "file" else 0
        info.mode = self.mode & 0o7777
        info.mtime = min(max(self.mtime, 0), 8**11 - 1)
        info.uid = self.uid
        info.gid = self.gid
        info.linkname = self.target
        types = {"dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}
        info.type = types.get(self.kind, tarfile.REGTYPE)
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What fills the last block of a member."""
    return bytes(-size % BLOCK)


class CutOff(Malformed):
    """The archive ends before its end."""


class ArchiveReader:
    """Members of a tar archive out of parts of bytes, in the order of the stream.

    After each member its content must be read (`content`) or is skipped.
    """

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self._buffer = bytearray()
        # What is left of the current member, with its padding.
        self._content = 0
        self._filling = 0
        self._count = 0
        self.complete = False

    async def _take(self, size: int) -> bytes:
        """Exactly so many bytes; Malformed when the stream ends before."""
        while len(self._buffer) < size:
            await self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _fill(self) -> None:
        try:
            self._buffer += await anext(self._parts)
        except StopAsyncIteration:
            raise CutOff("the archive is cut off", reason="BadArchive") from None

    async def content(self) -> AsyncIterator[bytes]:
        """The current member's bytes, as they come."""
        while self._content:
            if not self._buffer:
                await self._fill()
                continue
            size = min(len(self._buffer), self._content)
            self._content -= size
            yield await self._take(size)
        await self._take(self._filling)
        self._filling = 0

    async def members(self) -> AsyncIterator[Member]:
        """Each member; Malformed at the first that cannot be read."""
        while True:
            async for _ in self.content():
                pass
            member = await self._next()
            if member is None:
                self.complete = True
                return
            self._count += 1
            if self._count > MAX_MEMBERS:
                raise Malformed("the archive has too many members", reason="BadArchive")
            yield member

    async def _next(self) -> Member | None:
        """The next member with what extended headers say of it; None at the end."""
        long_name = ""
        long_target = ""
        records: dict[str, str] = {}
        for _ in range(8):
            block = await self._take(BLOCK)
            if block == _END:
                return None
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                raise Malformed("the archive is malformed", reason="BadArchive") from None
            if info.size < 0:
                raise Malformed("the archive is malformed", reason="BadArchive")
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = await self._text(info.size)
            elif info.type == tarfile.GNUTYPE_LONGLINK:
                long_target = await self._text(info.size)
            elif info.type in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}:
                records = _records(await self._extended(info.size))
            elif info.type == tarfile.XGLTYPE:
                await self._extended(info.size)
            else:
                return self._member(info, long_name, long_target, records)
        raise Malformed("the archive is malformed", reason="BadArchive")

    async def _extended(self, size: int) -> bytes:
        if size > MAX_EXTENDED:
            raise Malformed("a header of the archive is too large", reason="BadArchive")
        data = await self._take(size)
        await self._take(len(padding(size)))
        return data

    async def _text(self, size: int) -> str:
        data = await self._extended(size)
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")

    def _member(
        self,
        info: tarfile.TarInfo,
        long_name: str,
        long_target: str,
        records: dict[str, str],
    ) -> Member:
        size = records.get("size", "")
        if size and not (size.isascii() and size.isdigit() and len(size) < 16):
            raise Malformed("the archive is malformed", reason="BadArchive")
        length = int(size) if size else info.size
        if any(key.startswith("GNU.sparse") for key in records):
            raise Malformed("the archive has sparse files", reason="BadArchive")
        kind = _PASSED.get(info.type, "other")
        # Links and directories have no content, whatever size their header names.
        if kind in {"dir", "symlink", "hardlink"}:
            length = 0
        self._content = length
        self._filling = len(padding(length))
        name = records.get("path") or long_name or info.name
        target = records.get("linkpath") or long_target or info.linkname
        return Member(
            name,
            "dir" if kind == "file" and name.endswith("/") and not length else kind,
            length,
            info.mode,
            info.mtime,
            target if kind in {"symlink", "hardlink"} else "",
            info.uid,
            info.gid,
        )


def _records(data: bytes) -> dict[str, str]:
    """The records of a pax header: `LENGTH KEY=VALUE` and a line break, one after the other."""
    records: dict[str, str] = {}
    position = 0
    while position < len(data):
        head, space, _ = data[position : position + 12].partition(b" ")
        if not space or not head.isdigit():
            raise Malformed("the archive is malformed", reason="BadArchive")
        end = position + int(head)
        record = data[position + len(head) + 1 : end - 1]
        key, equals, value = record.partition(b"=")
        if not equals or end <= position or end > len(data):
            raise Malformed("the archive is malformed", reason="BadArchive")
        records[key.decode(errors="replace")] = value.decode("utf-8", "surrogateescape")
        position = end
    return records


# --- names ----------------------------------------------------------------------------------------
def safe_name(name: str) -> str:
    """A member's name in its normal form, relative; Malformed when it leads out, or is no name."""
    if any(letter in name for letter in "\0\n\r"):
        raise Malformed("a name in the archive holds a NUL or a line break", reason="BadName")
    if name.startswith("/"):
        raise Malformed("a name in the archive is absolute", reason="BadName")
    if ".." in name.split("/"):
        raise Malformed("a name in the archive leads out of it", reason="BadName")
    return posixpath.normpath(name) if name else "."


class NameGuard:
    """Refuses members whose way leads over a link that the archive itself has made."""

    def __init__(self) -> None:
        self._links: set[str] = set()

    def check(self, name: str, *, is_link: bool) -> None:
        """Malformed for a safe name below a link, or for a file in the place of one."""
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            if "/".join(parts[:end]) in self._links:
                raise Malformed("a name in the archive leads over a link", reason="BadName")
        if is_link:
            self._links.add(name)


def stays_inside(name: str, target: str) -> bool:
    """Whether a symbolic link's target, seen from the member, is relative and stays inside.

    After a name no `..` may follow: when the name is a link, that leads up from where it points.
    """
    if not target or target.startswith("/") or any(letter in target for letter in "\0\n\r"):
        return False
    words = target.split("/")
    while words and words[0] in {"..", "."}:
        words.pop(0)
    if ".." in words:
        return False
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return resolved != ".." and not resolved.startswith("../")
