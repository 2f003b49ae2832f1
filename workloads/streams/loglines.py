"""Log lines and the place of each: a time and how many lines of that time came before. Pure, no network."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import SchemaError, SchemaValidator, core_schema

from kubegale.errors import Invalid

MAX_LINE = 64 * 1024
MAX_PATTERN = 500
STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)(?: |$)")
CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z)~(\d{1,9})\Z")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last line that was delivered: its time, and its number among the lines of that time, from 1."""

    time: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.time}~{self.ordinal}"

    @property
    def since(self) -> str:
        """The time as `sinceTime` takes it: whole seconds."""
        return f"{self.time[:19]}Z"


def parse_cursor(text: str) -> Cursor:
    """A cursor out of a frame; Invalid for anything else."""
    if match := CURSOR.match(text):
        return Cursor(match[1], int(match[2]))
    raise Invalid("cursor must be one that a log frame carried", field="cursor")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a container's log."""

    cursor: Cursor
    text: str


def split_stamp(raw: bytes) -> tuple[str, bytes]:
    """(time as UTC with nine digits, the rest); ("", everything) when the line begins with no time."""
    match = STAMP.match(raw)
    if match is None:
        return "", raw
    seconds, fraction, zone = match[1].decode(), (match[2] or b"").decode(), match[3].decode()
    if zone != "Z":
        seconds = f"{datetime.fromisoformat(seconds + zone).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    return f"{seconds}.{fraction:0<9}Z", raw[match.end() :]


class Splitter:
    """Bytes in, whole lines out; a line longer than 64 KiB comes in pieces, always the same ones."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from _pieces(line)
        while len(self._rest) > MAX_LINE:
            yield self._rest[:MAX_LINE]
            self._rest = self._rest[MAX_LINE:]

    def end(self) -> Iterator[bytes]:
        """What is left when the log ends without a line break."""
        if self._rest:
            yield self._rest
        self._rest = b""


def _pieces(line: bytes) -> Iterator[bytes]:
    yield line[:MAX_LINE]
    for start in range(MAX_LINE, len(line), MAX_LINE):
        yield line[start : start + MAX_LINE]


class Reader:
    """Numbers the lines of one log, and leaves out those up to a cursor when the log is read again."""

    def __init__(self, cursor: Cursor | None = None) -> None:
        self.cursor = cursor
        self._splitter = Splitter()
        self._time, self._count = "", 0
        self._skip_to = cursor

    def again(self) -> None:
        """The log will be read again, from the cursor's second on."""
        self._splitter, self._skip_to = Splitter(), self.cursor
        self._time, self._count = "", 0

    def feed(self, data: bytes) -> Iterator[Line]:
        """The new lines in these bytes."""
        for raw in self._splitter.feed(data):
            yield from self._line(raw)

    def end(self) -> Iterator[Line]:
        """The last line, when it had no line break; only for a log that ended in order."""
        for raw in self._splitter.end():
            yield from self._line(raw)

    def _line(self, raw: bytes) -> Iterator[Line]:
        time, text = split_stamp(raw)
        time = (
            time
            or self._time
            or (self.cursor.time if self.cursor else "1970-01-01T00:00:00.000000000Z")
        )
        self._count = self._count + 1 if time == self._time else 1
        self._time = time
        place = Cursor(time, self._count)
        if self._skip_to:
            if (place.time, place.ordinal) <= (self._skip_to.time, self._skip_to.ordinal):
                return
            self._skip_to = None
        self.cursor = place
        yield Line(place, text.removesuffix(b"\r").decode(errors="replace"))


class Pattern:
    """A regular expression in the syntax of Rust's engine, which takes linear time whatever a caller writes."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise Invalid(f"a pattern may have {MAX_PATTERN} characters")
        try:
            self._schema = SchemaValidator(
                core_schema.str_schema(pattern=text, regex_engine="rust-regex")
            )
        except SchemaError as error:
            raise Invalid(
                f"not a usable pattern: {str(error).splitlines()[-1].strip()[:200]}"
            ) from None

    def __call__(self, line: str) -> bool:
        """Whether the pattern is found anywhere in the line."""
        return self._schema.isinstance_python(line)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines pass: those that hold `include` (when given) and not `exclude`."""

    include: Pattern | None = None
    exclude: Pattern | None = None

    def passes(self, text: str) -> bool:
        """Whether the line is wanted."""
        return (self.include is None or self.include(text)) and not (
            self.exclude is not None and self.exclude(text)
        )


def line_filter(include: str, exclude: str) -> Filter:
    """A filter out of two texts, either of which may be empty; Invalid for a pattern that cannot be used."""
    return Filter(Pattern(include) if include else None, Pattern(exclude) if exclude else None)
