"""Secret values out of comparisons and out of what an API server says about a manifest."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clusters.manifests import MASK, Object
from workloads.objects.manifests import SECRET_FIELDS, mask_secret

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


def _values(secret: Object | None) -> dict[str, Any]:
    """The values by key, base64 as it is in `data`."""
    values: dict[str, Any] = {}
    for field in SECRET_FIELDS:
        part = (secret or {}).get(field)
        if isinstance(part, dict):
            values.update(part)
    return values


def _masked(secret: Object, changed: set[str], side: str) -> Object:
    return mask_secret(secret, dict.fromkeys(changed, f"{MASK} {side}"))


def mask_texts(value: Any, hidden: Iterable[str]) -> Any:
    """A JSON value without the `hidden` texts, and their base64, inside its texts."""
    spellings = sorted(set(_spellings(hidden)), key=len, reverse=True)
    return _mask_in(value, spellings) if spellings else value


def _mask_in(value: Any, spellings: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _replace_all(value, spellings)
    if isinstance(value, list):
        return [_mask_in(item, spellings) for item in value]
    if isinstance(value, dict):
        return {
            _replace_all(key, spellings): _mask_in(item, spellings) for key, item in value.items()
        }
    return value


def _replace_all(text: str, spellings: Sequence[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, MASK)
    return text


def without_values(message: str, obj: Object, hidden: Iterable[str] = ()) -> str:
    """A message about a manifest without the values of the Secret that the manifest is.

    `hidden` texts are masked whatever the manifest is.
    """
    values = [*hidden]
    if is_secret_object(obj):
        values += [str(value) for value in _values(obj).values()]
    # The longest first: one value may be part of another.
    return _replace_all(message, sorted(set(_spellings(values)), key=len, reverse=True))


def _spellings(values: Iterable[str]) -> Iterator[str]:
    """Each value as it is, and in the other of plain text and base64."""
    for text in values:
        spellings = [text, base64.b64encode(text.encode()).decode()]
        try:
            spellings.append(base64.b64decode(text, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            # Plain text under stringData, or bytes that no message can hold.
            pass
        yield from (spelling for spelling in spellings if len(spelling) >= MIN_LENGTH)
