"""Logs of several containers, merged into one by their stamps."""

from collections.abc import Iterator

from workloads.objects.log_lines import MAX_LINE
from workloads.objects.log_merge import LogSource, merge_logs

STAMP = "2026-01-01T00:00:0{}Z"


def merge_texts(logs: dict[str, str], *, timestamps: bool = False) -> list[str]:
    """The merged lines; each log comes in parts of seven bytes."""
    sources = []
    for name, text in logs.items():
        data = text.encode()
        parts = [data[index : index + 7] for index in range(0, len(data), 7)]
        sources.append(LogSource(name, parts))
    return b"".join(merge_logs(sources, timestamps=timestamps)).decode().splitlines()


def stamped(*lines: tuple[str, str]) -> str:
    """A log: (second, text) each, "" for a line without a stamp."""
    return "".join(
        f"{STAMP.format(second)} {text}\n" if second else f"{text}\n" for second, text in lines
    )


def test_lines_of_several_logs_are_merged_by_time() -> None:
    logs = {
        "b/app": stamped(("1", "b one"), ("3", "b two"), ("", "  its rest"), ("5", "b three")),
        "a/app": stamped(("2", "a one"), ("3", "a two"), ("4", "a three")),
    }
    assert merge_texts(logs) == [
        "[pod/b/app] b one",
        "[pod/a/app] a one",
        # Of one moment: by the names of the sources.
        "[pod/a/app] a two",
        "[pod/b/app] b two",
        "[pod/b/app]   its rest",
        "[pod/a/app] a three",
        "[pod/b/app] b three",
    ]


def test_a_stamp_is_written_in_utc_where_it_is_asked_for() -> None:
    logs = {
        "a/app": "2026-01-01T08:00:01.5+08:00 in Shanghai\nwithout\n",
        "b/app": stamped(("1", "in London")),
    }
    assert merge_texts(logs, timestamps=True) == [
        "[pod/b/app] 2026-01-01T00:00:01.000000000Z in London",
        "[pod/a/app] 2026-01-01T00:00:01.500000000Z in Shanghai",
        "[pod/a/app] without",
    ]


def test_lines_of_one_log_keep_their_order_whatever_their_stamps_say() -> None:
    logs = {
        "a/app": stamped(("5", "later"), ("1", "the clock was set back"), ("6", "on")),
        "b/app": stamped(("2", "b")),
    }
    texts = [line.partition("] ")[2] for line in merge_texts(logs)]
    assert texts == ["b", "later", "the clock was set back", "on"]


def test_a_line_that_is_longer_than_a_piece_stays_whole() -> None:
    long_line = "x" * (2 * MAX_LINE + 10)
    logs = {
        "a/app": stamped(("1", long_line)),
        "b/app": stamped(("1", "b")),
    }
    assert merge_texts(logs) == [f"[pod/a/app] {long_line}", "[pod/b/app] b"]


def test_merging_reads_no_further_than_it_has_to() -> None:
    reads = 0

    def endless(second: str) -> Iterator[bytes]:
        nonlocal reads
        while True:
            reads += 1
            yield stamped((second, "line")).encode()

    lines = merge_logs(
        [LogSource("a/app", endless("1")), LogSource("b/app", endless("2"))], timestamps=False
    )
    for _ in range(1000):
        next(lines)
    assert reads < 1010
