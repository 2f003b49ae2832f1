"""The frames of a terminal: those of the document, and aliases of other consoles. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from core.sockets.protocol import now

RING_BYTES = 256 * 1024
STYLES = ("data", "write", "stdout")
SUBPROTOCOLS = {f"kubegale.{style}": style for style in STYLES}


def output_frame(style: str, seq: int, text: str) -> dict[str, Any]:
    """A frame with output of the container, in the client's style."""
    match style:
        case "write":
            return {
                "type": "write",
                "seq": seq,
                "data": text,
                "timestamp": now(),
            }
        case "stdout":
            return {"Op": "stdout", "Data": text, "seq": seq}
    return {
        "type": "data",
        "seq": seq,
        "data": {"output": text},
        "timestamp": now(),
    }


@dataclass(frozen=True, slots=True)
class ClientInput:
    """A client's frame: stdin (`data`), resize (`cols`, `rows`), ping, pong, close or attach."""

    kind: str
    data: bytes = b""
    cols: int = 0
    rows: int = 0


ALIASES = {
    "read": "stdin",
    "stdin": "stdin",
    "data": "stdin",
    "input": "stdin",
    "bind": "attach",
    "auth": "attach",
    "ack": "pong",
}
PLAIN = {"resize", "ping", "pong", "close", "attach"}


def parse_binary(message: bytes) -> ClientInput:
    """A binary frame: typed bytes, undecoded, as a character may be split over two frames."""
    return ClientInput("stdin", message)


def parse_frame(frame: Mapping[str, Any]) -> ClientInput:
    """A client's frame, under any of its names; Invalid when it has none of them."""
    # Other consoles write "Op", "Data", "Cols" and "Rows".
    fields = {key.lower(): value for key, value in frame.items()}
    word = str(fields.get("type") or fields.get("op") or "")
    kind = ALIASES.get(word, word if word in PLAIN else "")
    data = fields.get("data")
    inner = {key.lower(): value for key, value in data.items()} if isinstance(data, dict) else {}
    if kind == "stdin":
        text = data if isinstance(data, str) else inner.get("input", fields.get("input"))
        if not isinstance(text, str):
            raise Invalid("input must be text")
        return ClientInput(kind, text.encode())
    if kind == "resize":
        cols = _size(inner, fields, "cols")
        rows = _size(inner, fields, "rows")
        return ClientInput(kind, cols=cols, rows=rows)
    if not kind:
        raise Invalid("the frame's type must be data (or read, stdin), resize, ping, pong or close")
    return ClientInput(kind)


def _size(inner: Mapping[str, Any], outer: Mapping[str, Any], name: str) -> int:
    value = inner.get(name, outer.get(name))
    # True is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10_000:
        raise Invalid(f"{name} must be a number from 1 to 9999")
    return value


class OutputRing:
    """The last 256 KiB of a terminal's output, in pieces that are numbered from 1."""

    def __init__(self, limit: int = RING_BYTES) -> None:
        self._limit = limit
        self._size = 0
        # (number, text, bytes) of each piece.
        self._pieces: deque[tuple[int, str, int]] = deque()
        self.last = 0

    def append(self, text: str) -> None:
        """Add a piece; the oldest are dropped beyond the limit."""
        self.last += 1
        size = len(text.encode())
        self._pieces.append((self.last, text, size))
        self._size += size
        # A single piece stays, however large it is.
        while self._size > self._limit and len(self._pieces) > 1:
            self._size -= self._pieces.popleft()[2]

    def pieces_after(self, seq: int) -> Iterator[tuple[int, str]]:
        """(number, text) of the pieces after a number."""
        # A copy, as the ring may grow while a piece is being sent.
        for number, text, _ in list(self._pieces):
            if number > seq:
                yield number, text

    def bytes_after(self, seq: int) -> int:
        """How many bytes the pieces after a number have."""
        total = 0
        for number, _, size in reversed(self._pieces):
            if number <= seq:
                break
            total += size
        return total

    def dropped_after(self, seq: int) -> int:
        """How many pieces after a number were dropped."""
        first = self._pieces[0][0] if self._pieces else self.last + 1
        return max(first - seq - 1, 0)
