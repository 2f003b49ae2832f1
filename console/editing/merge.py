"""Two changes of one document brought together: what one side changed is taken, what both changed differently is said. Pure."""

from collections.abc import Mapping
from typing import Any

MISSING = object()


def merge(base: Any, mine: Any, theirs: Any, path: str = "") -> tuple[Any, list[str]]:
    """(merged, paths at which both sides differ); there `mine` is kept. Lists are one value: places in them mean nothing."""
    if mine == theirs or theirs == base:
        return mine, []
    if mine == base:
        return theirs, []
    if not (isinstance(mine, Mapping) and isinstance(theirs, Mapping)):
        return mine, [path]
    before = base if isinstance(base, Mapping) else {}
    merged, clashes = {}, []
    for key in [*mine, *(key for key in theirs if key not in mine)]:
        below = f"{path}.{key}" if path else str(key)
        value, inner_clashes = merge(
            before.get(key, MISSING), mine.get(key, MISSING), theirs.get(key, MISSING), below
        )
        clashes += inner_clashes
        if value is not MISSING:
            merged[key] = value
    return merged, clashes
