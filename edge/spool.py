"""Bytes that wait: the first in memory, the rest in a temporary file, bounded all together."""

import os
import tempfile
from typing import IO

PART = 64 * 1024


class Budget:
    """How many bytes all spools together may still take."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.left = total


class Share:
    """What one address may take of the budget: `most` bytes, of which `used` are taken."""

    def __init__(self, budget: Budget, most: int) -> None:
        self.used = 0
        self._budget = budget
        self._most = min(most, budget.total)

    def take(self, size: int) -> bool:
        """Count so many more bytes; False, and nothing counted, when they do not fit."""
        if self.used + size > self._most or size > self._budget.left:
            return False
        self.used += size
        self._budget.left -= size
        return True

    def release(self, size: int) -> None:
        """Take so many bytes off the count."""
        self.used -= size
        self._budget.left += size

    def is_short_of(self, size: int) -> bool:
        """Whether it is the address, and not everybody together, that takes too much."""
        return size <= self._budget.left and self.used + size > self._most


class Spool:
    """First in, first out. `size` counts what was put in, `waiting` what has not been taken out."""

    def __init__(self, share: Share, memory: int, most: int) -> None:
        self.size = 0
        self._most = most
        self.waiting = 0
        self._share = share
        self._memory = memory
        self._head = bytearray()
        self._file: IO[bytes] | None = None
        self._read_at = 0
        self._write_at = 0
        self._counted = 0

    def put(self, data: bytes) -> bool:
        """Store the bytes; False, and nothing stored, when this spool or the share is full."""
        if self._counted + len(data) > self._most or not self._share.take(len(data)):
            return False
        self._counted += len(data)
        self.size += len(data)
        self.waiting += len(data)
        if self._file is None and len(self._head) + len(data) <= self._memory:
            self._head += data
            return True
        if self._file is None:
            # It has no name: the system removes it with the process, even after SIGKILL.
            self._file = tempfile.TemporaryFile(  # noqa: SIM115  close() closes it
                prefix="kubegale-front-", buffering=0
            )
            self._read_at = 0
            self._write_at = 0
        left = memoryview(data)
        while left:
            size = os.pwrite(self._file.fileno(), left, self._write_at)
            self._write_at += size
            left = left[size:]
        return True

    def take(self, most: int = PART) -> bytes:
        """The next bytes; nothing when none wait."""
        data = b""
        if self._head:
            data = bytes(self._head[:most])
            del self._head[:most]
        elif self._file is not None:
            data = os.pread(self._file.fileno(), most, self._read_at)
            self._read_at += len(data)
        self.waiting -= len(data)
        if not self.waiting:
            self.close()
        return data

    def close(self) -> None:
        """Drop everything."""
        self._head.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        self.waiting = 0
        self._share.release(self._counted)
        self._counted = 0
