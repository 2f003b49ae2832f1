"""The frames of a terminal: those of the document, and the aliases that other consoles speak. Pure."""

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
    """What the container printed."""
    match style:
        case "write":
            return {"type": "write", "seq": seq, "data": text, "timestamp": now()}
        case "stdout":
            return {"Op": "stdout", "Data": text, "seq": seq}
    return {"type": "data", "seq": seq, "data": {"output": text}, "timestamp": now()}


@dataclass(frozen=True, slots=True)
class ClientInput:
    """What a client sent: stdin (`data`), resize (`cols`, `rows`), ping, pong, close or attach."""

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
    """What was typed, out of a binary frame: bytes as they are, so that a character may come in two frames."""
    return ClientInput("stdin", message)


def parse_frame(frame: Mapping[str, Any]) -> ClientInput:
    """A client's frame under any of its names; Invalid when it is none."""
    named = {key.lower(): value for key, value in frame.items()}
    word = str(named.get("type") or named.get("op") or "")
    kind = ALIASES.get(word, word if word in PLAIN else "")
    data = named.get("data")
    inner = {key.lower(): value for key, value in data.items()} if isinstance(data, dict) else {}
    if kind == "stdin":
        text = data if isinstance(data, str) else inner.get("input", named.get("input"))
        if not isinstance(text, str):
            raise Invalid("input must be text")
        return ClientInput(kind, text.encode())
    if kind == "resize":
        return ClientInput(kind, cols=_size(inner, named, "cols"), rows=_size(inner, named, "rows"))
    if not kind:
        raise Invalid("the frame's type must be data (or read, stdin), resize, ping, pong or close")
    return ClientInput(kind)


def _size(inner: Mapping[str, Any], outer: Mapping[str, Any], name: str) -> int:
    value = inner.get(name, outer.get(name))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10_000:
        raise Invalid(f"{name} must be a number from 1 to 9999")
    return value


class OutputRing:
    """The last 256 KiB of a terminal's output, in numbered pieces."""

    def __init__(self, limit: int = RING_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._pieces: deque[tuple[int, str, int]] = deque()
        self.last = 0

    def append(self, text: str) -> None:
        """Keep a piece; the oldest go when there are too many."""
        self.last += 1
        size = len(text.encode())
        self._pieces.append((self.last, text, size))
        self._size += size
        while self._size > self._limit and len(self._pieces) > 1:
            self._size -= self._pieces.popleft()[2]

    def after(self, seq: int) -> Iterator[tuple[int, str]]:
        """The pieces that came after a number."""
        for number, text, _ in list(self._pieces):
            if number > seq:
                yield number, text

    def ahead(self, seq: int) -> int:
        """How many bytes came after a number."""
        total = 0
        for number, _, size in reversed(self._pieces):
            if number <= seq:
                break
            total += size
        return total

    def lost_after(self, seq: int) -> int:
        """How many pieces that came after a number are gone."""
        first = self._pieces[0][0] if self._pieces else self.last + 1
        return max(first - seq - 1, 0)
