"""Three-way merge of a document: what one side changed is taken; clashes are listed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clusters.schema_check import REFERENCE, resolve_schema

# Tells an absent key from one whose value is null.
MISSING = object()
Schema = Mapping[str, Any]
Key = tuple[Any, ...]


def merge(
    base: Any,
    mine: Any,
    theirs: Any,
    schema: Schema | None = None,
) -> tuple[Any, list[str]]:
    """Merge two changes of `base` and return (merged document, clashing paths).

    Where both sides differ, `mine` stays and its path is listed. `schema` is {"root",
    "definitions"} of the kind: lists whose elements it gives a key are merged element by element,
    as the API server does. Any other list is one value: an index means nothing once elements have
    been added or removed.
    """
    definitions = (schema or {}).get("definitions") or {}
    root = {"$ref": REFERENCE + str((schema or {}).get("root", ""))}
    return _Merger(definitions).merge(base, mine, theirs, root, "")


class _Merger:
    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions

    def merge(
        self,
        base: Any,
        mine: Any,
        theirs: Any,
        schema: Schema,
        path: str,
    ) -> tuple[Any, list[str]]:
        # The same change on both sides is no clash.
        if mine == theirs or theirs == base:
            return mine, []
        if mine == base:
            return theirs, []
        described = resolve_schema(schema, self._definitions)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            return self._merge_mappings(base, mine, theirs, described, path)
        if isinstance(mine, list) and isinstance(theirs, list):
            merged = self._merge_lists(base, mine, theirs, described, path)
            if merged:
                return merged
        return mine, [path]

    def _merge_mappings(
        self,
        base: Any,
        mine: Mapping[Any, Any],
        theirs: Mapping[Any, Any],
        schema: Schema,
        path: str,
    ) -> tuple[Any, list[str]]:
        # Both sides may have added the same mapping where the base has none.
        before = base if isinstance(base, Mapping) else {}
        properties = schema.get("properties") or {}
        merged: dict[Any, Any] = {}
        clashes: list[str] = []
        # My order of keys stays, so that the text in the editor does not jump.
        for key in _joined(mine, theirs):
            value, inner_clashes = self.merge(
                before.get(key, MISSING),
                mine.get(key, MISSING),
                theirs.get(key, MISSING),
                properties.get(key) or {},
                f"{path}.{key}" if path else str(key),
            )
            clashes += inner_clashes
            # MISSING won: the key was removed.
            if value is not MISSING:
                merged[key] = value
        return merged, clashes

    def _merge_lists(
        self,
        base: Any,
        mine: list[Any],
        theirs: list[Any],
        schema: Schema,
        path: str,
    ) -> tuple[Any, list[str]] | None:
        """Two lists whose elements have keys; None where the schema or an element gives none."""
        names = _key_names(schema)
        before = _by_key(base if isinstance(base, list) else [], names)
        my_elements = _by_key(mine, names)
        their_elements = _by_key(theirs, names)
        if before is None or my_elements is None or their_elements is None:
            return None
        element_schema = schema.get("items") or {}
        merged = []
        clashes: list[str] = []
        for key in _joined(my_elements, their_elements):
            value, inner_clashes = self.merge(
                before.get(key, MISSING),
                my_elements.get(key, MISSING),
                their_elements.get(key, MISSING),
                element_schema,
                f"{path}[{','.join(str(part) for part in key)}]",
            )
            clashes += inner_clashes
            if value is not MISSING:
                merged.append(value)
        return merged, clashes


def _joined(mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> Iterator[Any]:
    """The keys of both, mine first in their order."""
    yield from mine
    for key in theirs:
        if key not in mine:
            yield key


def _key_names(schema: Schema) -> Sequence[str] | None:
    """What tells the elements of a list apart: names of fields, () for sets of plain values.

    None for a list that is one value.
    """
    match schema.get("x-kubernetes-list-type"):
        case "map":
            return [str(name) for name in schema.get("x-kubernetes-list-map-keys") or ()] or None
        case "set":
            return ()
    merge_key = schema.get("x-kubernetes-patch-merge-key")
    # Older fields have only the key of strategic merge patches.
    if merge_key and "merge" in str(schema.get("x-kubernetes-patch-strategy", "")):
        return [str(merge_key)]
    return None


def _by_key(elements: list[Any], names: Sequence[str] | None) -> dict[Key, Any] | None:
    """The elements by their keys; None when they cannot be told apart."""
    if names is None:
        return None
    by_key: dict[Key, Any] = {}
    for element in elements:
        if names and not isinstance(element, Mapping):
            return None
        key = tuple(element.get(name) for name in names) if names else (element,)
        # A key of a list or a mapping is none, and a doubled one means nothing.
        if not all(isinstance(part, str | int | None) for part in key) or key in by_key:
            return None
        by_key[key] = element
    return by_key
