"""Parts of a multipart body as they come, in constant memory."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import unquote

from core.errors import Invalid

MAX_HEADERS = 16 * 1024
MAX_PARTS = 1000
_BOUNDARY = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([A-Za-z*]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


@dataclass(frozen=True, slots=True)
class Part:
    """The head of a part: the field's name and that of the file, None without one."""

    name: str
    filename: str | None


def boundary_of(content_type: str) -> str:
    """The boundary of multipart/form-data; "" for other types, Invalid without a boundary."""
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return ""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise Invalid("the multipart body names no boundary")
    return match.group(1) or match.group(2)


class MultipartReader:
    """Parts one after the other; the content of each must be read (`content`) or is skipped."""

    def __init__(self, parts: AsyncIterator[bytes], boundary: str) -> None:
        self._parts = parts
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        # A delimiter begins with a line break, which the first one lacks.
        self._buffer = bytearray(b"\r\n")
        self._in_part = True

    async def _fill(self) -> None:
        try:
            self._buffer += await anext(self._parts)
        except StopAsyncIteration:
            raise Invalid("the multipart body is cut off") from None

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes of the current part."""
        reserve = len(self._delimiter) - 1
        while self._in_part:
            position = self._buffer.find(self._delimiter)
            if position >= 0:
                data = bytes(self._buffer[:position])
                del self._buffer[: position + len(self._delimiter)]
                self._in_part = False
            else:
                # The end of the buffer may be the beginning of a delimiter.
                size = max(len(self._buffer) - reserve, 0)
                data = bytes(self._buffer[:size])
                del self._buffer[:size]
            if data:
                yield data
            if self._in_part:
                await self._fill()

    async def parts(self) -> AsyncIterator[Part]:
        """The head of each part; Invalid for a malformed body."""
        for _ in range(MAX_PARTS):
            # The first time it is what stands before the first part.
            async for _ignored in self.content():
                pass
            while len(self._buffer) < 2:
                await self._fill()
            if self._buffer.startswith(b"--"):
                async for _ignored in self._parts:
                    pass
                return
            yield await self._head()
        raise Invalid(f"the multipart body has more than {MAX_PARTS} parts")

    async def _head(self) -> Part:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEADERS:
                raise Invalid("a header of the multipart body is too large")
            await self._fill()
        lines = bytes(self._buffer[:end]).decode("utf-8", "replace").split("\r\n")
        del self._buffer[: end + 4]
        self._in_part = True
        for line in lines:
            header, _, value = line.partition(":")
            if header.strip().lower() == "content-disposition":
                return _part(value)
        raise Invalid("a part of the multipart body has no Content-Disposition")


def _part(disposition: str) -> Part:
    values: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(disposition):
        values[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
    filename = values.get("filename")
    if extended := values.get("filename*"):
        # RFC 5987, as some clients send it against RFC 7578.
        filename = unquote(extended.rpartition("'")[2])
    elif filename is not None:
        # Browsers escape only these.
        for escape, letter in (("%22", '"'), ("%0D", "\r"), ("%0A", "\n")):
            filename = filename.replace(escape, letter)
    return Part(values.get("name", ""), filename)
