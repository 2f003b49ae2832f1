"""Effects: a command is a generator of these and returns its exit code."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

STDOUT = 1
STDERR = 2
# As much as a pipe hands over at once.
PART = 64 * 1024


@dataclass(frozen=True)
class Write:
    """Bytes for stdout (1) or stderr (2)."""

    stream: int
    data: bytes


@dataclass(frozen=True)
class Sleep:
    """Wait for seconds."""

    seconds: float


@dataclass(frozen=True)
class Read:
    """Wait for input; answered with bytes, empty at the end."""


@dataclass
class Window:
    """A terminal: its size in characters, which the other side changes, and whether it echoes."""

    rows: int = 0
    columns: int = 0
    echo: bool = True


Effect = Write | Sleep | Read
Run = Generator[Effect, bytes | None, int]


def say(text: str) -> Write:
    """A line on stdout."""
    return Write(STDOUT, text.encode() + b"\n")


def complain(text: str) -> Write:
    """A line on stderr."""
    return Write(STDERR, text.encode() + b"\n")


def write_parts(data: bytes) -> Iterator[Write]:
    """Bytes on stdout, in parts as a pipe takes them."""
    for start in range(0, len(data), PART):
        yield Write(STDOUT, bytes(data[start : start + PART]))
