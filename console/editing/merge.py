"""Three-way merge of a document: what one side changed is taken; clashes are listed."""

from collections.abc import Mapping
from typing import Any

# Tells an absent key from one whose value is null.
MISSING = object()


def merge(
    base: Any,
    mine: Any,
    theirs: Any,
    path: str = "",
) -> tuple[Any, list[str]]:
    """Merge two changes of `base` and return (merged document, clashing paths).

    Where both sides differ, `mine` stays and its path is listed. A list is one value: an index
    means nothing once elements have been added or removed.
    """
    # The same change on both sides is no clash.
    if mine == theirs or theirs == base:
        return mine, []
    if mine == base:
        return theirs, []
    if not (isinstance(mine, Mapping) and isinstance(theirs, Mapping)):
        return mine, [path]
    # Both sides may have added the same mapping where the base has none.
    before = base if isinstance(base, Mapping) else {}
    merged: dict[Any, Any] = {}
    clashes: list[str] = []
    # My order of keys stays, so that the text in the editor does not jump.
    their_keys = [key for key in theirs if key not in mine]
    for key in [*mine, *their_keys]:
        value, inner_clashes = merge(
            before.get(key, MISSING),
            mine.get(key, MISSING),
            theirs.get(key, MISSING),
            f"{path}.{key}" if path else str(key),
        )
        clashes += inner_clashes
        # MISSING won: the key was removed.
        if value is not MISSING:
            merged[key] = value
    return merged, clashes
