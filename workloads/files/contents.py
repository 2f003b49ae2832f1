"""The content of one file: shown and edited as a whole, or its beginning or end."""

import base64
import binascii
import hashlib
import stat
from collections.abc import Callable
from typing import Any

from core.errors import Conflict, DomainError, Invalid, NotFound, Rejected
from workloads.files import scripts
from workloads.files.containers import Container, Entry, parse_entry
from workloads.files.failures import is_a_directory, not_a_directory, not_regular
from workloads.files.listing import mode_text, time_text
from workloads.files.uploads import Receiver

MIB = 1024 * 1024
# The default and the largest part of a file that is shown.
DEFAULT_BYTES = MIB
MAX_BYTES = 8 * MIB
# Files above it are not read whole only to know their digest.
MAX_DIGEST_BYTES = 64 * MIB
UTF_8 = "utf-8"
BASE64 = "base64"


async def read_content(
    container: Container, path: str, *, max_bytes: int = DEFAULT_BYTES, tail: bool = False
) -> dict[str, Any]:
    """{"path","size","mode","mtime","sha256","encoding","content","truncated"} of a file.

    `sha256` is None above 64 MiB. With `tail` the last `max_bytes` are read, not the first.
    """
    entry, data, digest = await _read_part(container, path, max_bytes, tail=tail)
    if digest is None and entry.size <= MAX_DIGEST_BYTES:
        digest = await read_digest(container, path)
    encoding, text = _encode(data)
    return {
        "path": path,
        "size": entry.size,
        "mode": mode_text(entry.mode),
        "mtime": time_text(entry.mtime),
        "sha256": digest,
        "encoding": encoding,
        "content": text,
        "truncated": len(data) < entry.size,
    }


async def _read_part(
    container: Container, path: str, max_bytes: int, *, tail: bool
) -> tuple[Entry, bytes, str | None]:
    """(file, its first or last bytes, digest if these are all of it)."""
    script = scripts.TAIL if tail else scripts.READ
    option = str(max_bytes) if tail else "1"
    data = bytearray()
    is_whole = True
    async with container.walk(script, path, option=option) as (process, resolved, line):
        if not line:
            raise process.error()
        entry = parse_entry(resolved, line)
        async for part in process.parts():
            data += part
            if len(data) > max_bytes:
                # Enough is known: leaving the block ends the command.
                del data[max_bytes:]
                is_whole = False
                break
        if is_whole and process.code:
            raise process.error()
    is_whole = is_whole and len(data) >= entry.size
    return entry, bytes(data), hashlib.sha256(data).hexdigest() if is_whole else None


async def read_digest(
    container: Container,
    path: str,
    *,
    limit: int = MAX_DIGEST_BYTES,
    is_long: bool = False,
    progress: Callable[[int], None] | None = None,
) -> str | None:
    """The sha256 of a whole file: of `sha256sum` in the container, or of what it sends.

    None when it sends more than `limit` bytes. A file whose sum may take minutes `is_long`: the
    caller limits the time. `progress` gets how many bytes have come.
    """
    if "sha256sum" in container.way.tools:
        async with container.walk(scripts.DIGEST, path, is_silent=is_long) as (process, _, line):
            code = await process.end()
            word = line.split(b" ", 1)[0].lstrip(b"\\")
            if not code and len(word) == 64:
                return word.decode(errors="replace")
    digest = hashlib.sha256()
    size = 0
    async with container.walk(scripts.READ, path, option="1") as (process, _, line):
        if not line:
            raise process.error()
        async for part in process.parts():
            digest.update(part)
            size += len(part)
            if size > limit:
                return None
            if progress:
                progress(size)
        if process.code:
            raise process.error()
    return digest.hexdigest()


def _encode(data: bytes) -> tuple[str, str]:
    """(encoding, text): UTF-8 where the bytes are, else base64."""
    text = None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        # A character that the limit has cut in two does not make a text binary.
        if error.reason == "unexpected end of data" and error.start >= len(data) - 3:
            text = data[: error.start].decode()
    if text is None or "\0" in text:
        return BASE64, base64.b64encode(data).decode()
    return UTF_8, text


def decode_content(content: object, encoding: str) -> bytes:
    """The bytes of a body's content; Invalid when they cannot be decoded."""
    if not isinstance(content, str):
        raise Invalid("content must be text", field="content")
    if encoding == UTF_8:
        try:
            return content.encode()
        except UnicodeEncodeError:
            raise Invalid("content holds half a character", field="content") from None
    if encoding != BASE64:
        raise Invalid("encoding must be utf-8 or base64", field="encoding")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("content is not base64", field="content") from None


async def write_content(
    container: Container,
    path: str,
    data: bytes,
    *,
    sha256: str | None = None,
    mode: str = "",
) -> dict[str, Any]:
    """Replace or create a file; {"path","size","sha256"}.

    `sha256` is that of the content now, "" when the file must not exist, None for whatever is
    there; Conflict (reason Conflict) otherwise. A link is followed: its target is written.
    """
    entry = await _existing(container, path)
    target = entry.path
    if sha256 is not None:
        await _check_precondition(container, path, entry, sha256)
    if entry.mode and stat.S_ISDIR(entry.mode):
        raise is_a_directory(path)
    if entry.mode and not stat.S_ISREG(entry.mode):
        raise not_regular(path)
    async with Receiver.open(container, path) as receiver:
        await receiver.check_directories(target)
        if sha256 == "":
            await receiver.require_absent(target)
        await receiver.begin_file(target, mode, entry if entry.mode else None)
        await receiver.write(data)
        await receiver.end_file()
        await receiver.finish()
    return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


async def _existing(container: Container, path: str) -> Entry:
    """The file at the path; mode 0 with the path that a new file would get."""
    try:
        return await container.inspect(path)
    except NotFound:
        return await new_file(container, path)


async def new_file(container: Container, path: str) -> Entry:
    """An Entry of mode 0 for a file that does not exist yet; NotFound without its directory."""
    head, _, name = path.rpartition("/")
    folder = await container.inspect(head or "/")
    if not stat.S_ISDIR(folder.mode):
        raise not_a_directory(head)
    resolved = f"{folder.path.rstrip('/')}/{name}"
    try:
        # A link that leads nowhere: what is written there would appear in another place.
        await container.inspect(resolved, follow=False)
    except NotFound:
        return Entry(resolved, 0, 0, 0, 0, 0)
    raise Rejected(f"{path} is a link that leads nowhere", reason="NotFound", field="path")


async def _check_precondition(container: Container, path: str, entry: Entry, expected: str) -> None:
    if not expected:
        if entry.mode:
            raise _conflict(f"{path} exists already", None)
        return
    if not entry.mode:
        raise _conflict(f"{path} does not exist any more", None)
    current = await read_digest(container, path)
    if current != expected.lower():
        raise _conflict(f"{path} has changed since it was read", current)


def _conflict(sentence: str, current: str | None) -> DomainError:
    return Conflict(sentence, reason="Conflict", sha256=current, field="sha256")
