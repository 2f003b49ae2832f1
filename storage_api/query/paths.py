"""Dotted paths of `field` and `extra`, and the projection of documents to them."""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec
import orjson

from core.errors import Invalid

Path: TypeAlias = tuple[str, ...]
# What to keep of an object, by key; None keeps the whole value.
Tree: TypeAlias = "dict[str, Tree | None]"

DOT_IN_KEY = "．"
MAX_STEPS = 64

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])


def parse(text: str) -> Path:
    """The steps of a dotted path; U+FF0E inside a step stands for a dot of the key.

    Invalid beyond 64 steps or with a NUL.
    """
    if "\0" in text:
        raise Invalid("a path contains a NUL character")
    steps = tuple(step.replace(DOT_IN_KEY, ".") for step in text.split("."))
    if len(steps) > MAX_STEPS:
        raise Invalid(f"a path has more than {MAX_STEPS} steps")
    return steps


def tree(paths: Iterable[Path]) -> Tree:
    """Paths merged into one tree; the broader of two wins."""
    root: Tree = {}
    for path in paths:
        _graft(root, path)
    return root


def _graft(node: Tree, path: Path) -> None:
    for step in path[:-1]:
        below = node.setdefault(step, {})
        if below is None:
            # A broader path has the whole value already.
            return
        node = below
    node[path[-1]] = None


def fields(text: str) -> Tree:
    """The projection that a `field` parameter asks for; {} is the whole document."""
    return tree(parse(part) for part in text.split(",") if part)


def project(value: bytes, projection: Tree) -> bytes | None:
    """The JSON text reduced to the projection, leaves untouched; None for a scalar.

    An array is reduced element by element, its scalars are dropped. An object remains even when
    it has none of the paths.
    """
    match value.lstrip()[:1]:
        case b"{":
            return _project_object(value, projection)
        case b"[":
            elements = [bytes(element) for element in _array.decode(value)]
            objects = [
                _project_object(element, projection)
                for element in elements
                if element.lstrip()[:1] == b"{"
            ]
            return b"[" + b",".join(objects) + b"]"
    return None


def _project_object(value: bytes, projection: Tree) -> bytes:
    members = _object.decode(value)
    projected = []
    for key, below in projection.items():
        if key not in members:
            continue
        raw = bytes(members[key])
        part = raw if below is None else project(raw, below)
        if part is not None:
            projected.append(orjson.dumps(key) + b":" + part)
    return b"{" + b",".join(projected) + b"}"
