"""Jsonpaths for the GIN index on documents.

Each is true for every document that Mongo's equality accepts. It may accept more (lax mode looks
into arrays within arrays): `storage_matches` decides. Keys and values are quoted as JSON strings.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from storage_api.query.paths import Path

MAX_PREDICATES = 200
MAX_PLACES = 2


def value_predicate(
    roots: Sequence[str],
    path: Path,
    values: Sequence[Any],
) -> str | None:
    """The predicate "under one of the roots, the path leads to one of the values".

    None when the index cannot help.
    """
    # For each value the (path, scalar) pairs that a document must have.
    choices = [list(_leaves(path, value)) for value in values]
    if not choices or not all(choices):
        return None
    if len(roots) * sum(len(leaves) for leaves in choices) > MAX_PREDICATES:
        return None
    leaf_paths = [leaf_path for leaves in choices for leaf_path, _ in leaves]
    if any(_count_indices(leaf_path) > MAX_PLACES for leaf_path in leaf_paths):
        return None
    alternatives = []
    for root in roots:
        for leaves in choices:
            predicates = [_predicate(root, leaf_path, scalar) for leaf_path, scalar in leaves]
            alternatives.append(conjunction(predicates))
    return disjunction(alternatives)


def conjunction(predicates: Iterable[str]) -> str:
    """All of the predicates."""
    return " && ".join(f"({predicate})" for predicate in predicates)


def disjunction(predicates: Iterable[str]) -> str:
    """Any of the predicates."""
    return " || ".join(f"({predicate})" for predicate in predicates)


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """The scalars, as JSON, that equality with a value demands, with their paths.

    Null may be missing, the index does not see a number behind a minus, and what an array demands
    cannot be expressed exactly: those are left out.
    """
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves((*path, key), member)
    elif isinstance(value, str | bool) or (isinstance(value, int | float) and value >= 0):
        yield path, json.dumps(value)


def _count_indices(path: Path) -> int:
    """How many steps may be places in an array."""
    return sum(step.isdigit() for step in path)


def _predicate(root: str, path: Path, literal: str) -> str:
    """A step of digits may be a key or a place in an array."""
    choices = ([_step(step), "[*]"] if step.isdigit() else [_step(step)] for step in path)
    start = f"${_step(root)}"
    return disjunction(f"{start}{''.join(steps)} == {literal}" for steps in product(*choices))


def _step(key: str) -> str:
    return f".{json.dumps(key)}"
