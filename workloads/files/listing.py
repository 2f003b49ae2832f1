"""What stands in a directory of a container, in one exec."""

import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.errors import Rejected
from core.times import rfc3339
from workloads.files import scripts
from workloads.files.commands import Process
from workloads.files.containers import Container
from workloads.files.scripts import MAX_ENTRIES, RECORD_END

# Of all records: 10,000 entries with the longest names and targets are far below.
MAX_BYTES = 64 * 1024 * 1024
FILE_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class _Link:
    """Where a link of the directory leads."""

    target: str
    is_directory: bool


async def list_directory(container: Container, path: str) -> dict[str, Any]:
    """{"path","items","truncated"}: directories first, then by name, at most 10,000.

    A link to a directory counts as a directory. NotFound, or Invalid for what is no directory.
    """
    async with container.walk(scripts.LIST, path, option=scripts.RECORD) as (process, _, line):
        data = await _read_records(process, line)
        if process.code:
            raise process.error()
    items, links = _parse(data, path)
    for item in items:
        if link := links.get(item["name"]):
            item["target"] = link.target
    leading = {name for name, link in links.items() if link.is_directory}
    items.sort(
        key=lambda item: (item["type"] != "dir" and item["name"] not in leading, item["name"])
    )
    return {
        "path": path,
        "items": items[:MAX_ENTRIES],
        "truncated": len(items) > MAX_ENTRIES,
    }


async def _read_records(process: Process, line: bytes) -> bytes:
    rest = await process.read(MAX_BYTES)
    return line + b"\n" + rest


def _parse(data: bytes, folder: str) -> tuple[list[dict[str, Any]], dict[str, _Link]]:
    items: dict[str, dict[str, Any]] = {}
    links: dict[str, _Link] = {}
    for record in data.split(RECORD_END):
        kind, _, rest = record.lstrip(b"\n").partition(b" ")
        if kind == b"S":
            item = _item(rest, folder)
            items[item["name"]] = item
        elif kind == b"L":
            word, _, pair = rest.partition(b" ")
            name, _, target = pair.partition(b"//")
            text = target.removesuffix(b"\n").decode(errors="replace")
            links[_name(name)] = _Link(text, word == b"d")
    return list(items.values()), links


def _item(record: bytes, folder: str) -> dict[str, Any]:
    words = record.split(b" ", 5)
    try:
        raw_mode = int(words[0], 16)
        size, uid, gid, mtime = (int(word) for word in words[1:5])
        name = _name(words[5])
    except (IndexError, ValueError):
        raise Rejected("the container's answer is malformed", reason="BadAnswer") from None
    return {
        "name": name,
        "path": f"{folder.rstrip('/')}/{name}",
        **describe(raw_mode, size, uid, gid, mtime),
    }


def _name(raw: bytes) -> str:
    """The name as text; bytes that are no UTF-8 become U+FFFD."""
    return raw.removeprefix(b"./").decode(errors="replace")


def describe(raw_mode: int, size: int, uid: int, gid: int, mtime: int) -> dict[str, Any]:
    """{"type","size","mode","uid","gid","mtime"} of a file."""
    return {
        "type": FILE_TYPES.get(stat.S_IFMT(raw_mode), "other"),
        "size": size,
        "mode": mode_text(raw_mode),
        "uid": uid,
        "gid": gid,
        "mtime": time_text(mtime),
    }


def mode_text(raw_mode: int) -> str:
    """The permission bits as four octal digits: 0644."""
    return f"{stat.S_IMODE(raw_mode):04o}"


def time_text(seconds: int) -> str:
    """RFC 3339; the epoch for a time that no calendar holds."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        moment = datetime.fromtimestamp(0, UTC)
    return rfc3339(moment)
