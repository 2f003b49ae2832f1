"""Differences of texts as `diff -u` writes them, in bounded time and of bounded length."""

from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate, islice

# Comparisons of two lines, about a second of them.
MOST_WORK = 3_000_000
# Lines of an answer.
MOST_LINES = 20_000


class BoundedMatcher(SequenceMatcher[str]):
    """Aligns two texts until its work is used up; what is left then counts as replaced.

    Looking for the best alignment takes cubic time in the worst case. The outcome is always true:
    only the parts that both have may be fewer than there are.
    """

    # Of the base: where each line stands in the new text.
    b2j: dict[str, list[int]]

    def __init__(self, old: Sequence[str], new: Sequence[str], *, work: int = MOST_WORK) -> None:
        super().__init__(None, old, new)
        self.work = work
        # What looking at the first lines of the old text costs: each is compared with all of the
        # new one that are the same.
        costs = (1 + len(self.b2j.get(line, ())) for line in old)
        self._costs = [0, *accumulate(costs)]
        self._length = len(old)

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """The longest part that both have in the given ranges; none once the work is used up."""
        end = self._length if ahi is None else ahi
        self.work -= self._costs[end] - self._costs[alo]
        if self.work < 0:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def unified_diff(
    old: str,
    new: str,
    *,
    names: tuple[str, str],
    context: int = 3,
    most_lines: int = MOST_LINES,
) -> str:
    """The difference of two texts in `diff -u` form, "" when they are equal.

    `names` stand in its head. Of more than `most_lines` lines the rest is left out, and the last
    line says how many: it begins with a backslash, which no tool takes for a part of the text.
    """
    lines = _lines(old.splitlines(), new.splitlines(), names, context)
    diff = list(islice(lines, most_lines))
    rest = sum(1 for _ in lines)
    if rest:
        diff.append(f"\\ {rest} more lines are left out")
    return "".join(f"{line}\n" for line in diff)


def _lines(
    old: Sequence[str], new: Sequence[str], names: tuple[str, str], context: int
) -> Iterator[str]:
    """The lines of a unified diff, without their ends."""
    is_first = True
    for group in BoundedMatcher(old, new).get_grouped_opcodes(context):
        if is_first:
            yield f"--- {names[0]}"
            yield f"+++ {names[1]}"
            is_first = False
        _, old_start, _, new_start, _ = group[0]
        _, _, old_end, _, new_end = group[-1]
        yield f"@@ -{_range(old_start, old_end)} +{_range(new_start, new_end)} @@"
        for tag, first, last, new_first, new_last in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[first:last])
                continue
            yield from (f"-{line}" for line in old[first:last])
            yield from (f"+{line}" for line in new[new_first:new_last])


def _range(start: int, end: int) -> str:
    """Lines as the head of a hunk names them; an empty range stands behind the line before it."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"
