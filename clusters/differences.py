"""How two documents differ, as a list of paths with both values."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeAlias

# Every write moves these; they say nothing about what was changed.
IGNORED = frozenset({("metadata", "resourceVersion"), ("metadata", "managedFields")})
MOST = 500
# Stands for a value that is not there: None is JSON's null.
ABSENT = object()
Path: TypeAlias = tuple[str | int, ...]


def differences(before: Any, after: Any) -> list[dict[str, Any]]:
    """[{"path": ["spec", "replicas"], "op": "add|remove|replace", "from": …, "to": …}].

    At most 500. Lists of equal length are compared element by element, others as a whole.
    """
    changes = []
    for path, old, new in islice(_walk((), before, after), MOST):
        op = "replace"
        if old is ABSENT:
            op = "add"
        elif new is ABSENT:
            op = "remove"
        changes.append(
            {
                "path": [str(step) for step in path],
                "op": op,
                "from": None if old is ABSENT else old,
                "to": None if new is ABSENT else new,
            }
        )
    return changes


def changes(before: Any, after: Any) -> list[dict[str, Any]]:
    """[{"path": "spec.containers[0].image", "before", "after"}] as `differences` finds them.

    null stands for what is not there.
    """
    return [
        {
            "path": path_text(path),
            "before": None if old is ABSENT else old,
            "after": None if new is ABSENT else new,
        }
        for path, old, new in islice(_walk((), before, after), MOST)
    ]


def path_text(path: Iterable[str | int]) -> str:
    """`spec.containers[0].image`; a key that holds a dot or bracket is quoted in brackets."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif any(sign in step for sign in ".[]"):
            text += f'["{step}"]'
        else:
            text += f".{step}"
    return text.removeprefix(".")


def _walk(
    path: Path,
    before: Any,
    after: Any,
) -> Iterator[tuple[Path, Any, Any]]:
    if path in IGNORED or before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _walk(
                (*path, key),
                before.get(key, ABSENT),
                after.get(key, ABSENT),
            )
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk((*path, index), old, new)
    else:
        yield path, before, after
