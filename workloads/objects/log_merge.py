"""The logs of several containers as one: by time, each line marked with its container.

Pure, no network. `static/console/js/log-order.js` has the same order for followed logs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

from workloads.objects.log_lines import EPOCH, LinePiece, LineSplitter, split_stamp


@dataclass(frozen=True, slots=True)
class LogSource:
    """A container's log with timestamps, as bytes in parts; `name` is `pod/container`."""

    name: str
    parts: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class MergedLine:
    """A line, or a piece of a long one, and its place: `time`, then `source`."""

    time: str
    source: str
    data: bytes


def merge_logs(sources: Iterable[LogSource], *, timestamps: bool) -> Iterator[bytes]:
    """The lines of all logs by time, each as `[pod/NAME/CONTAINER] line`, as kubectl marks them.

    Lines of one moment are in the order of their sources' names. Lines of one source keep their
    order: one without a stamp, or with an earlier stamp than the line before it, stays behind
    that line. `timestamps` writes each line's stamp, in UTC. No more than one line and one part
    of each source are in memory.
    """
    logs = [_merged_lines(source, timestamps=timestamps) for source in sources]
    # The source is in the key: pieces of a long line have the same time, and stay together.
    for line in merge(*logs, key=attrgetter("time", "source")):
        yield line.data


def _merged_lines(source: LogSource, *, timestamps: bool) -> Iterator[MergedLine]:
    mark = f"[pod/{source.name}] ".encode()
    latest = EPOCH
    for piece in _pieces(source.parts):
        text = piece.data
        head = b""
        if piece.begins:
            stamp, text = split_stamp(piece.data)
            latest = max(latest, stamp)
            head = mark + f"{stamp} ".encode() if timestamps and stamp else mark
        end = b"\n" if piece.ends else b""
        yield MergedLine(latest, source.name, head + text + end)


def _pieces(parts: Iterable[bytes]) -> Iterator[LinePiece]:
    splitter = LineSplitter()
    for part in parts:
        yield from splitter.feed(part)
    yield from splitter.end()
