"""Facts of kinds that have no code of their own."""

from collections.abc import Iterator, Mapping
from typing import Any

from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get
from console.views.facts.rows import Row

# How deep the facts of unknown kinds go, and how many there are at most.
MAX_OTHER_DEPTH = 3
MAX_OTHER_ROWS = 80


def plain_facts(item: Object, location: Location) -> Iterator[Row]:
    """What objects of other kinds say of themselves: their plain values, with paths to deep ones.

    Spec and status have no prefix, as in `kubectl get -o wide` columns.
    """
    hidden = ("apiVersion", "kind", "metadata", "spec", "status")
    top = {name: value for name, value in item.items() if name not in hidden}
    found: dict[str, str] = {}
    for part in (top, get(item, "spec"), get(item, "status")):
        for name, words in _plain_values(part, "", MAX_OTHER_DEPTH):
            # A status often repeats what the spec says.
            found.setdefault(name, words)
    for name, words in list(found.items())[:MAX_OTHER_ROWS]:
        yield name, html.text(words)


def _plain_values(
    value: Any,
    path: str,
    depth: int,
) -> Iterator[tuple[str, str]]:
    """(path, text) of the scalars in a mapping, and of lists of scalars."""
    if not isinstance(value, Mapping) or not depth:
        return
    for name, inner in value.items():
        inner_path = f"{path}.{name}" if path else str(name)
        # Conditions have a card of their own.
        if inner_path == "conditions":
            continue
        if isinstance(inner, Mapping):
            yield from _plain_values(inner, inner_path, depth - 1)
        elif isinstance(inner, list):
            words = ", ".join(str(element) for element in inner if not isinstance(element, dict))
            count = sum(isinstance(element, dict) for element in inner)
            yield inner_path, (words or f"× {count}")[:200]
        elif inner is not None:
            yield inner_path, str(inner)[:200]
