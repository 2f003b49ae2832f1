"""The log files of `make run`: a child's output in a file of bounded size."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

# A file that has grown to this many bytes becomes `NAME.log.1`, in place of the one before.
LARGEST_LOG = 16 * 1024 * 1024


@dataclass(slots=True)
class LogFile:
    """The file that takes one child's lines; it goes on where an earlier run ended."""

    path: Path
    largest: int = LARGEST_LOG
    _stream: IO[bytes] | None = field(default=None, init=False)

    def write(self, text: str) -> None:
        """Append a line; a full disk is no reason to stop what is being logged."""
        with suppress(OSError):
            stream = self._open()
            stream.write(text.encode(errors="replace") + b"\n")
            # Whoever follows the file sees each line at once.
            stream.flush()
            if stream.tell() >= self.largest:
                self.close()
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._stream is not None:
            stream = self._stream
            self._stream = None
            with suppress(OSError):
                stream.close()

    def _open(self) -> IO[bytes]:
        if self._stream is None:
            self._stream = self.path.open("ab")
        return self._stream
