"""Values that are `writeOnly` in a template's schema: found, carried over, kept out of messages."""

import copy
from collections.abc import Iterator
from typing import Any

from clusters.manifests import MASK
from manifest_templates.values import Object, Path, without_secrets

ABSENT = object()
# Shorter lines of a longer secret, such as braces, are no secret by themselves.
MIN_LINE = 8


def secret_paths(schema: Object, values: Object) -> Iterator[tuple[Path, Any]]:
    """(path, value) of each value that is there and `writeOnly`."""
    yield from _differing((), values, without_secrets(schema, values))


def _differing(path: Path, value: Any, masked: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and isinstance(masked, dict):
        for name, member in value.items():
            yield from _differing((*path, name), member, masked[name])
    elif isinstance(value, list) and isinstance(masked, list):
        for place, element in enumerate(value):
            yield from _differing((*path, place), element, masked[place])
    elif value != masked:
        yield path, value


def secret_texts(schema: Object, values: Object) -> list[str]:
    """The texts that no message may show: each secret, and each line of a longer one."""
    texts: list[str] = []
    for _path, value in secret_paths(schema, values):
        for text in _texts_in(value):
            texts.append(text)
            lines = text.splitlines()
            if len(lines) > 1:
                texts += [line for line in lines if len(line.strip()) >= MIN_LINE]
    return texts


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _texts_in(member)
    elif isinstance(value, list):
        for element in value:
            yield from _texts_in(element)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def keep_secrets(schema: Object, values: Object, previous: Object) -> Object:
    """The values with the previous secrets where they are absent, or given as the mask."""
    complete = copy.deepcopy(values)
    for path, secret in secret_paths(schema, previous):
        _keep(complete, path, secret)
    return complete


def _keep(values: Any, path: Path, secret: Any) -> None:
    place = values
    for step in path[:-1]:
        if isinstance(place, dict) and isinstance(step, str):
            place = place.setdefault(step, {})
        else:
            place = _element(place, step)
    last = path[-1]
    current = _element(place, last)
    if current == MASK or (current is ABSENT and isinstance(place, dict)):
        place[last] = secret


def _element(place: Any, step: str | int) -> Any:
    """The member or element at a step; ABSENT when there is none."""
    if isinstance(place, dict):
        return place.get(step, ABSENT)
    if isinstance(place, list) and isinstance(step, int) and step < len(place):
        return place[step]
    return ABSENT
