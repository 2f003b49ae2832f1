"""Secret values out of comparisons and out of what an API server says about a manifest."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from clusters.manifests import LAST_APPLIED, MASK, Object

FIELDS = ("data", "stringData")
# Shorter values would tear holes into any sentence that has the same letters.
MIN_LENGTH = 4


def is_secret_object(obj: Object) -> bool:
    """Whether the object is a Secret of the core group."""
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def mask_values(before: Object | None, after: Object | None) -> tuple[Object | None, Object | None]:
    """Two versions of a Secret with their keys alone.

    A value that differs is masked differently on each side, so that a comparison still shows that
    it changes, as `kubectl diff` does it.
    """
    old = _values(before)
    new = _values(after)
    changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    return (
        before and _masked(before, changed, "(before)"),
        after and _masked(after, changed, "(after)"),
    )


def hide_values(secret: Object) -> Object:
    """A Secret with its keys alone, masked alike whatever the values are.

    For comparisons between clusters: a writer in one of them could otherwise guess at a value that
    only the other one's readers may see.
    """
    return _masked(secret, set(), "")


def _values(secret: Object | None) -> dict[str, Any]:
    """The values by key, base64 as it is in `data`."""
    values: dict[str, Any] = {}
    for field in FIELDS:
        part = (secret or {}).get(field)
        if isinstance(part, dict):
            values.update(part)
    return values


def _masked(secret: Object, changed: set[str], side: str) -> Object:
    masked = dict(secret)
    for field in FIELDS:
        part = masked.get(field)
        if isinstance(part, dict):
            masked[field] = {key: f"{MASK} {side}" if key in changed else MASK for key in part}
    metadata = masked.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(annotations, dict) and LAST_APPLIED in annotations:
        # kubectl keeps a copy of all values there.
        masked["metadata"] = {**metadata, "annotations": {**annotations, LAST_APPLIED: MASK}}
    return masked


def without_values(message: str, obj: Object) -> str:
    """A message about a manifest without the values of the Secret that the manifest is."""
    if not is_secret_object(obj):
        return message
    # The longest first: one value may be part of another.
    for value in sorted(set(_spellings(obj)), key=len, reverse=True):
        message = message.replace(value, MASK)
    return message


def _spellings(secret: Object) -> Iterator[str]:
    """Each value as it stands in the manifest, and in the other of plain text and base64."""
    for value in _values(secret).values():
        text = str(value)
        spellings = [text, base64.b64encode(text.encode()).decode()]
        try:
            spellings.append(base64.b64decode(text, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            # Plain text under stringData, or bytes that no message can hold.
            pass
        yield from (spelling for spelling in spellings if len(spelling) >= MIN_LENGTH)
