"""Bytes that wait: the first in memory, the rest in a temporary file, bounded all together."""

import tempfile
from typing import IO

PART = 64 * 1024


class Budget:
    """How many bytes all spools together may still take."""

    def __init__(self, total: int) -> None:
        self.left = total

    def take(self, size: int) -> bool:
        """Count so many more bytes; False, and nothing counted, when they do not fit."""
        if size > self.left:
            return False
        self.left -= size
        return True


class Spool:
    """First in, first out. `size` counts what was put in, `waiting` what has not been taken out."""

    def __init__(self, budget: Budget, memory: int, most: int) -> None:
        self.size = 0
        self._most = most
        self.waiting = 0
        self._budget = budget
        self._memory = memory
        self._head = bytearray()
        self._file: IO[bytes] | None = None
        self._read_at = 0
        self._counted = 0

    def put(self, data: bytes) -> bool:
        """Store the bytes; False, and nothing stored, when this spool or the budget is full."""
        if self._counted + len(data) > self._most or not self._budget.take(len(data)):
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
        self._file.seek(0, 2)
        self._file.write(data)
        return True

    def take(self, most: int = PART) -> bytes:
        """The next bytes; nothing when none wait."""
        data = b""
        if self._head:
            data = bytes(self._head[:most])
            del self._head[:most]
        elif self._file is not None:
            self._file.seek(self._read_at)
            data = self._file.read(most)
            self._read_at += len(data)
        self.waiting -= len(data)
        if not self.waiting:
            self.close()
        return data

    def _release(self) -> None:
        self._budget.left += self._counted
        self._counted = 0

    def close(self) -> None:
        """Drop everything."""
        self._head.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        self.waiting = 0
        self._release()
