"""Differences of texts: as the standard library's, but bounded."""

import difflib
import random

from core import text_diff


def standard(old: str, new: str) -> str:
    """What the standard library makes of it."""
    sides = [text.splitlines(keepends=True) for text in (old, new)]
    return "".join(difflib.unified_diff(*sides, "a", "b"))


def test_a_diff_is_that_of_the_standard_library() -> None:
    generator = random.Random(7)
    for size in (0, 1, 2, 30, 400):
        old = [f"line {generator.randrange(size or 1)}" for _ in range(size)]
        new = [line for line in old if generator.random() > 0.2]
        new.insert(generator.randrange(len(new) + 1), "more")
        texts = ["".join(f"{line}\n" for line in lines) for lines in (old, new)]
        assert text_diff.unified_diff(*texts, names=("a", "b")) == standard(*texts)
        assert text_diff.unified_diff(texts[0], texts[0], names=("a", "b")) == ""


def test_texts_that_cannot_be_aligned_cheaply_end_in_bounded_work() -> None:
    generator = random.Random(7)
    # Few different lines, none of them frequent enough to be left out of the search.
    old = [str(generator.randrange(150)) for _ in range(4000)]
    new = [str(generator.randrange(150)) for _ in range(4000)]
    matcher = text_diff.BoundedMatcher(old, new, work=200_000)
    blocks = matcher.get_matching_blocks()
    assert matcher.work < 0
    for block in blocks:
        assert old[block.a : block.a + block.size] == new[block.b : block.b + block.size]
    # Whoever applies it has the new text.
    result: list[str] = []
    for tag, first, last, new_first, new_last in matcher.get_opcodes():
        result += old[first:last] if tag == "equal" else new[new_first:new_last]
    assert result == new


def test_a_long_diff_says_what_it_leaves_out() -> None:
    old = "".join(f"old {number}\n" for number in range(50))
    new = "".join(f"new {number}\n" for number in range(50))
    lines = text_diff.unified_diff(old, new, names=("a", "b"), most_lines=20).splitlines()
    assert len(lines) == 21
    # Two lines of the head, one of the hunk, and a hundred of the texts.
    assert lines[-1] == "\\ 83 more lines are left out"
