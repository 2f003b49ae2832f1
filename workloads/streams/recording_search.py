"""Searches what terminals printed, in their recordings: bounded by bytes, newest first."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import orjson
from django.conf import settings

from core.errors import Invalid
from workloads.models import Recording, RecordingChunk

MAX_TEXT = 200
# Matches of one recording in an answer.
MATCHES = 3
# Characters around a match.
CONTEXT = 60
# CSI and OSC sequences, other strings, and escapes of two characters.
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
# An escape that goes on in the next piece of output; a longer one is no escape.
UNFINISHED = re.compile(r"\x1b[^\x1b]{0,255}\Z")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class OutputMatch:
    """Where a text was printed: seconds after the recording's start, and the text around it."""

    time: float
    text: str


@dataclass(slots=True)
class SearchResult:
    """Recordings with matches, newest first, and how much was read for them.

    `complete` is False when a limit was reached before all recordings were read.
    """

    rows: list[tuple[Recording, list[OutputMatch]]] = field(default_factory=list)
    recordings: int = 0
    scanned_bytes: int = 0
    complete: bool = True


def search_output(rows: Iterable[Recording], text: str) -> SearchResult:
    """The recordings in which the text was printed, in either case of letters.

    Escape sequences between its characters do not matter. At most
    TERMINAL_RECORDING_SEARCH_BYTES of TERMINAL_RECORDING_SEARCH_ROWS recordings are read. Invalid
    for a text that is too long.
    """
    if len(text) > MAX_TEXT:
        raise Invalid(f"text may have at most {MAX_TEXT} characters", field="text")
    pattern = re.compile(re.escape(text), re.IGNORECASE)
    result = SearchResult()
    for row in rows:
        # Each is asked of the database, however short it is.
        is_full = result.recordings >= settings.TERMINAL_RECORDING_SEARCH_ROWS
        size = row.size + result.scanned_bytes
        if is_full or size > settings.TERMINAL_RECORDING_SEARCH_BYTES:
            result.complete = False
            break
        result.recordings += 1
        result.scanned_bytes += row.size
        if matches := find_in_recording(row, pattern):
            result.rows.append((row, matches))
    return result


def find_in_recording(row: Recording, pattern: re.Pattern[str]) -> list[OutputMatch]:
    """The first MATCHES places of a recording where the pattern was printed."""
    chunks = RecordingChunk.objects.filter(recording=row).order_by("number")
    events = chunks.values_list("events", flat=True).iterator(chunk_size=20)
    return find_in_output(_outputs(events), pattern)


def _outputs(chunks: Iterable[str]) -> Iterator[list[tuple[float, str]]]:
    """(seconds, output) of each chunk's events."""
    for chunk in chunks:
        events = [orjson.loads(line) for line in chunk.splitlines() if line]
        yield [(float(time), str(text)) for time, kind, text in events if kind == "o"]


def find_in_output(
    chunks: Iterable[list[tuple[float, str]]], pattern: re.Pattern[str]
) -> list[OutputMatch]:
    """As `find_in_recording`, in (seconds, output) of events, chunk by chunk."""
    window = _OutputWindow()
    matches: list[OutputMatch] = []
    for chunk in chunks:
        for time, output in chunk:
            window.add(time, output)
        matches += window.find(pattern)
        if len(matches) >= MATCHES:
            break
        window.forget()
    return matches[:MATCHES]


class _OutputWindow:
    """Output without escapes, and when each part of it was printed."""

    def __init__(self) -> None:
        self._text = ""
        self._parts: list[str] = []
        # Where each event's output begins in the text, and its time.
        self._starts: list[int] = []
        self._times: list[float] = []
        self._length = 0
        self._unfinished = ""
        # Up to here every match was returned.
        self._searched = 0

    def add(self, time: float, output: str) -> None:
        text = ESCAPES.sub("", self._unfinished + output)
        rest = UNFINISHED.search(text)
        self._unfinished = rest[0] if rest else ""
        text = text.removesuffix(self._unfinished)
        self._starts.append(self._length)
        self._times.append(time)
        self._parts.append(CONTROLS.sub("", text))
        self._length += len(self._parts[-1])

    def find(self, pattern: re.Pattern[str]) -> Iterator[OutputMatch]:
        self._text = "".join(self._parts)
        for match in pattern.finditer(self._text, self._searched):
            self._searched = match.end()
            index = bisect_right(self._starts, match.start()) - 1
            yield OutputMatch(self._times[index], self._line_around(match))

    def _line_around(self, match: re.Match[str]) -> str:
        """The match and what surrounds it in its line."""
        before = self._text[max(0, match.start() - CONTEXT) : match.start()]
        after = self._text[match.end() : match.end() + CONTEXT]
        return before.rpartition("\n")[2] + match[0] + after.partition("\n")[0]

    def forget(self) -> None:
        """Drop what no later match can begin in; its end may be the beginning of one."""
        cut = max(0, self._length - MAX_TEXT - CONTEXT)
        first = max(0, bisect_right(self._starts, cut) - 1)
        self._starts = [max(0, start - cut) for start in self._starts[first:]]
        self._times = self._times[first:]
        self._parts = [self._text[cut:]]
        self._length = len(self._parts[0])
        self._searched = max(0, self._searched - cut)
