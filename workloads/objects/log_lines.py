"""Log lines and the place of each: a time and how many lines of that time came before. Pure, no network."""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import SchemaError, SchemaValidator, core_schema

from core.errors import Invalid

MAX_LINE = 64 * 1024
MAX_PATTERN = 500
STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)(?: |$)")
CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z)~(\d{1,9})\Z")


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The last line that was delivered: its time, and its number among the lines of that time, from 1."""

    time: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.time}~{self.ordinal}"

    @property
    def since(self) -> str:
        """The time as `sinceTime` takes it: whole seconds."""
        return f"{self.time[:19]}Z"


def parse_cursor(text: str) -> LogCursor:
    """A cursor out of a frame; Invalid for anything else."""
    if match := CURSOR.match(text):
        return LogCursor(match[1], int(match[2]))
    raise Invalid("cursor must be one that a log frame carried", field="cursor")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container's log."""

    cursor: LogCursor
    text: str


def split_stamp(raw: bytes) -> tuple[str, bytes]:
    """(time as UTC with nine digits, the rest); ("", everything) when the line begins with no time that there is."""
    match = STAMP.match(raw)
    if match is None:
        return "", raw
    seconds, fraction, zone = match[1].decode(), (match[2] or b"").decode(), match[3].decode()
    if zone != "Z":
        try:
            local = datetime.fromisoformat(seconds + zone).astimezone(UTC)
        except (ValueError, OverflowError):
            return "", raw
        seconds = f"{local:%Y-%m-%dT%H:%M:%S}"
    return f"{seconds}.{fraction:0<9}Z", raw[match.end() :]


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or a part of one that is too long: whether the line begins here (there alone a stamp may stand), and ends here."""

    data: bytes
    begins: bool = True
    ends: bool = True


class LineSplitter:
    """Bytes in, whole lines out; a line longer than `limit` bytes comes in pieces of whole characters, always the same ones."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = b""
        self._begins = True

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The lines that are complete now, and pieces of one that is longer than the limit already."""
        # Only \n ends a line: progress bars live by \r, and U+2028 is a character like any other.
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            line = yield from self._cut(line)
            yield Piece(line, self._begins)
            self._begins = True
        self._rest = yield from self._cut(rest)

    def end(self) -> Iterator[Piece]:
        """What is left when the log ends without a line break."""
        if self._rest:
            yield Piece(self._rest, self._begins)
        self._rest = b""
        self._begins = True

    def _cut(self, line: bytes) -> Generator[Piece, None, bytes]:
        """Gives out pieces until no more than the limit is left, and returns that."""
        while len(line) > self._limit:
            end = _character_start(line, self._limit)
            yield Piece(line[:end], self._begins, ends=False)
            self._begins = False
            line = line[end:]
        return line


def _character_start(line: bytes, place: int) -> int:
    """The place, or where the UTF-8 character begins that it lies in; bytes that are no UTF-8 are cut anywhere."""
    for start in range(place, place - 4, -1):
        if line[start] & 0xC0 != 0x80:
            return start
    return place


class LineReader:
    """Numbers the lines of one log, and leaves out those up to a cursor when the log is read again."""

    def __init__(self, cursor: LogCursor | None = None) -> None:
        self.cursor = cursor
        self._splitter = LineSplitter()
        self._time, self._count = "", 0
        self._skip_to = cursor

    def again(self) -> None:
        """The log will be read again, from the cursor's second on."""
        self._splitter, self._skip_to = LineSplitter(), self.cursor
        self._time, self._count = "", 0

    def feed(self, data: bytes) -> Iterator[LogLine]:
        """The new lines in these bytes."""
        for piece in self._splitter.feed(data):
            yield from self._line(piece)

    def end(self) -> Iterator[LogLine]:
        """The last line, when it had no line break; only for a log that ended in order."""
        for piece in self._splitter.end():
            yield from self._line(piece)

    def _line(self, piece: Piece) -> Iterator[LogLine]:
        time, text = split_stamp(piece.data) if piece.begins else ("", piece.data)
        time = (
            time
            or self._time
            or (self.cursor.time if self.cursor else "1970-01-01T00:00:00.000000000Z")
        )
        self._count = self._count + 1 if time == self._time else 1
        self._time = time
        place = LogCursor(time, self._count)
        if self._skip_to:
            if (place.time, place.ordinal) <= (self._skip_to.time, self._skip_to.ordinal):
                return
            self._skip_to = None
        self.cursor = place
        if piece.ends:
            text = text.removesuffix(b"\r")
        yield LogLine(place, text.decode(errors="replace"))


class LinePattern:
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
class LineFilter:
    """Which lines pass: those that hold `include` (when given) and not `exclude`."""

    include: LinePattern | None = None
    exclude: LinePattern | None = None

    def passes(self, text: str) -> bool:
        """Whether the line is wanted."""
        return (self.include is None or self.include(text)) and not (
            self.exclude is not None and self.exclude(text)
        )


def line_filter(include: str, exclude: str) -> LineFilter:
    """A filter out of two texts, either of which may be empty; Invalid for a pattern that cannot be used."""
    return LineFilter(
        LinePattern(include) if include else None, LinePattern(exclude) if exclude else None
    )
