"""Log lines and the position of each: a time, and a number among the lines of that time.

Pure, no network.
"""

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


# The time of lines before the first stamp of a log.
EPOCH = "1970-01-01T00:00:00.000000000Z"


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The position of a line: its time, and its number among the lines of that time, from 1."""

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
    """(time in UTC with nine digits, the rest of the line).

    ("", the line) when it does not begin with a valid time.
    """
    match = STAMP.match(raw)
    if match is None:
        return "", raw
    seconds = match[1].decode()
    fraction = (match[2] or b"").decode()
    zone = match[3].decode()
    # Kubelets stamp in their node's zone.
    if zone != "Z":
        try:
            utc = datetime.fromisoformat(seconds + zone).astimezone(UTC)
        except (ValueError, OverflowError):
            return "", raw
        seconds = f"{utc:%Y-%m-%dT%H:%M:%S}"
    # Nine digits always, so that times compare as text.
    return f"{seconds}.{fraction:0<9}Z", raw[match.end() :]


@dataclass(frozen=True, slots=True)
class LinePiece:
    """A line, or a part of one that is too long.

    `begins` and `ends` tell whether it is the line's first and last part; only the first part may
    begin with a stamp.
    """

    data: bytes
    begins: bool = True
    ends: bool = True


class LineSplitter:
    """Splits bytes into lines.

    A line of more than `limit` bytes comes in pieces of whole characters. The cuts depend on the
    line alone, so that a log that is read again has the same pieces.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = b""
        self._begins = True

    def feed(self, data: bytes) -> Iterator[LinePiece]:
        """The lines that are complete now, and pieces of one that exceeds the limit already."""
        # Only \n ends a line: progress bars use \r, and U+2028 is an ordinary character.
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            last_piece = yield from self._cut(line)
            yield LinePiece(last_piece, self._begins)
            self._begins = True
        self._rest = yield from self._cut(rest)

    def end(self) -> Iterator[LinePiece]:
        """The last line of a log that ends without a line break."""
        if self._rest:
            yield LinePiece(self._rest, self._begins)
        self._rest = b""
        self._begins = True

    def _cut(self, line: bytes) -> Generator[LinePiece, None, bytes]:
        """Yields pieces until no more than the limit is left, and returns the rest."""
        while len(line) > self._limit:
            end = _character_start(line, self._limit)
            yield LinePiece(line[:end], self._begins, ends=False)
            self._begins = False
            line = line[end:]
        return line


def _character_start(line: bytes, position: int) -> int:
    """The start of the UTF-8 character at a position; the position itself in other bytes."""
    # A character has four bytes at most, and all but the first begin with the bits 10.
    for start in range(position, position - 4, -1):
        if line[start] & 0xC0 != 0x80:
            return start
    return position


class LineReader:
    """Numbers the lines of a log, and skips those up to a cursor when the log is read again."""

    def __init__(self, cursor: LogCursor | None = None) -> None:
        self.cursor = cursor
        self._splitter = LineSplitter()
        self._time = ""
        self._count = 0
        self._skip_to = cursor

    def restart(self) -> None:
        """Prepare for reading the log again, from the cursor's second on."""
        self._splitter = LineSplitter()
        self._time = ""
        self._count = 0
        self._skip_to = self.cursor

    def feed(self, data: bytes) -> Iterator[LogLine]:
        """The new lines in these bytes."""
        for piece in self._splitter.feed(data):
            yield from self._lines(piece)

    def end(self) -> Iterator[LogLine]:
        """The last line, when it has no line break; only for a log that ended in order."""
        for piece in self._splitter.end():
            yield from self._lines(piece)

    def _lines(self, piece: LinePiece) -> Iterator[LogLine]:
        """The piece as a line; nothing when it was delivered before."""
        time = ""
        text = piece.data
        if piece.begins:
            time, text = split_stamp(piece.data)
        if not time:
            # The rest of a long line, or a line without a stamp: the time of the line before.
            time = self._time or (self.cursor.time if self.cursor else EPOCH)
        self._count = self._count + 1 if time == self._time else 1
        self._time = time
        cursor = LogCursor(time, self._count)
        if self._skip_to:
            if (time, self._count) <= (
                self._skip_to.time,
                self._skip_to.ordinal,
            ):
                return
            self._skip_to = None
        self.cursor = cursor
        if piece.ends:
            text = text.removesuffix(b"\r")
        yield LogLine(cursor, text.decode(errors="replace"))


class LinePattern:
    """A regular expression in the syntax of Rust's engine, whose time is linear in the input."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise Invalid(f"a pattern may have at most {MAX_PATTERN} characters")
        # Python's own engine may take exponential time. pydantic ships Rust's.
        schema = core_schema.str_schema(pattern=text, regex_engine="rust-regex")
        try:
            self._schema = SchemaValidator(schema)
        except SchemaError as error:
            reason = str(error).splitlines()[-1].strip()[:200]
            raise Invalid(f"not a usable pattern: {reason}") from None

    def __call__(self, line: str) -> bool:
        """Whether the pattern matches anywhere in the line."""
        return self._schema.isinstance_python(line)


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Passes lines that match `include` and do not match `exclude`; None matches all or none."""

    include: LinePattern | None = None
    exclude: LinePattern | None = None

    def passes(self, text: str) -> bool:
        """Whether the line passes."""
        if self.include is not None and not self.include(text):
            return False
        return self.exclude is None or not self.exclude(text)


def line_filter(include: str, exclude: str) -> LineFilter:
    """A filter out of two patterns, either of which may be ""; Invalid for an unusable one."""
    return LineFilter(
        LinePattern(include) if include else None,
        LinePattern(exclude) if exclude else None,
    )
