"""How two documents differ, as a list of paths with both values."""

from collections.abc import Iterator
from typing import Any

# Every write moves these; they say nothing about what was changed.
IGNORED = frozenset({("metadata", "resourceVersion"), ("metadata", "managedFields")})
MOST = 500
ABSENT = object()
Path = tuple[str, ...]


def differences(before: Any, after: Any) -> list[dict[str, Any]]:
    """[{"path":["spec","replicas"],"op":"add|remove|replace","from":…,"to":…}], at most 500. Lists of equal length: by place."""
    found = []
    for path, old, new in _walk((), before, after):
        op = "add" if old is ABSENT else "remove" if new is ABSENT else "replace"
        found.append(
            {
                "path": list(path),
                "op": op,
                "from": None if old is ABSENT else old,
                "to": None if new is ABSENT else new,
            }
        )
        if len(found) == MOST:
            break
    return found


def _walk(path: Path, before: Any, after: Any) -> Iterator[tuple[Path, Any, Any]]:
    if path in IGNORED or before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _walk((*path, key), before.get(key, ABSENT), after.get(key, ABSENT))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk((*path, str(place)), old, new)
    else:
        yield path, before, after
