"""The index's question: a jsonpath that holds for every document that Mongo's equality accepts, and that GIN can answer.

It may accept more (lax mode looks into arrays within arrays); `storage_matches` decides. Keys and values are quoted as JSON strings.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from storage_api.query.paths import Path

MAX_PREDICATES = 200
MAX_PLACES = 2


def reaches(roots: Sequence[str], path: Path, wanted: Sequence[Any]) -> str | None:
    """The predicate "under one of the roots, the path reaches one of the wanted values"; None when the index cannot help."""
    choices = [list(_leaves(path, value)) for value in wanted]
    count = len(roots) * sum(len(leaves) for leaves in choices)
    if (
        not choices
        or not all(choices)
        or count > MAX_PREDICATES
        or any(_places(step) > MAX_PLACES for leaves in choices for step, _ in leaves)
    ):
        return None
    return either(
        every(_predicate(root, step, literal) for step, literal in leaves)
        for root in roots
        for leaves in choices
    )


def every(predicates: Iterable[str]) -> str:
    """All of the predicates."""
    return " && ".join(f"({predicate})" for predicate in predicates)


def either(predicates: Iterable[str]) -> str:
    """Any of the predicates."""
    return " || ".join(f"({predicate})" for predicate in predicates)


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """The scalars that a wanted value demands, with their paths.

    Null may be missing, a minus hides a number from the index, and what an array demands cannot be said exactly: those ask nothing.
    """
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves((*path, key), member)
    elif isinstance(value, str | bool) or (isinstance(value, int | float) and value >= 0):
        yield path, json.dumps(value)


def _places(path: Path) -> int:
    return sum(step.isdigit() for step in path)


def _predicate(root: str, path: Path, literal: str) -> str:
    """A step of digits may be a key or a place in an array."""
    choices = ([_step(step), "[*]"] if step.isdigit() else [_step(step)] for step in path)
    return either(f"${_step(root)}{''.join(steps)} == {literal}" for steps in product(*choices))


def _step(key: str) -> str:
    return f".{json.dumps(key)}"
