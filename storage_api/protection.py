"""Values of Secrets at rest: sealed before they reach a table, opened or masked on the way out.

A Secret is recognised by its type, however spelled, or by its content, wherever it stands in a
document. Of it only names, types, labels and the like stay readable; each value is replaced by a
token, a text that begins with SEALED. A token is the same each time the same value is written to
the same place, so that the log shows what changed. It differs between places, so that equal
values do not show.
"""

import re
from typing import Any, NamedTuple

import msgspec
import orjson

from clusters.manifests import LAST_APPLIED, MASK
from clusters.resource_types import is_secret_type
from core import crypto

SEALED = "kubegale-sealed:"
# In a list of Secrets the items may have no kind of their own.
_LIST_KIND = "secretlist"
_KIND = re.compile(rb'"kind"\s*:\s*"\s*(?i:secret)')
# A letter written as an escape could hide the word.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]", re.IGNORECASE)
_TOKEN = re.compile(b'"' + SEALED.encode() + rb'([A-Za-z0-9_-]+={0,2})"(?!\s*:)')
MAX_DEPTH = 300
_READABLE = frozenset({"apiVersion", "kind", "type", "immutable"})
_READABLE_METADATA = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "generateName",
        "selfLink",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "ownerReferences",
        "finalizers",
        "clusterName",
    }
)
# Members whose keys stay readable; `datas` is what Mesos calls them.
_BY_KEY = frozenset({"data", "stringData", "datas"})
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_MARK = SEALED.encode()


class DocumentPlace(NamedTuple):
    """Where a document stands in the store; parts that its table does not have are ""."""

    cluster: str
    resource_type: str
    namespace: str
    name: str


def seal_secrets(place: DocumentPlace, text: bytes) -> bytes:
    """The JSON text of a document with the values of each Secret in it sealed.

    The same bytes when there is no Secret. A text that looks like a token is sealed too: every
    token in a table is one of ours.
    """
    if is_secret_type(place.resource_type):
        return _Sealer(place).seal_document(text)
    if not _may_hold_secret(text):
        return text
    return _Sealer(place).seal_secrets_in(text, ())


def _may_hold_secret(text: bytes) -> bool:
    if _KIND.search(text) or _MARK in text:
        return True
    return b"\\u00" in text and _ESCAPED_LETTER.search(text) is not None


class _Sealer:
    """Seals one document; paths name places inside it."""

    def __init__(self, place: DocumentPlace) -> None:
        self._place = "\0".join(place)

    def seal(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        """A JSON value as a token; null stays null, as it says nothing."""
        if raw.strip() == b"null":
            return raw
        token = crypto.seal(raw.strip(), "\0".join((self._place, *path)))
        return b'"' + SEALED.encode() + token.encode() + b'"'

    def seal_document(self, text: bytes) -> bytes:
        """A document of a Secret's type, of any shape."""
        if text.lstrip()[:1] != b"{":
            return self.seal(text, ())
        return self.seal_secret(_MEMBERS.decode(text), ())

    def seal_secrets_in(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        """A value of any document, with the Secrets in it sealed."""
        if len(path) > MAX_DEPTH:
            # What is too deep to look into might be a Secret.
            return self.seal(raw, path)
        match raw.lstrip()[:1]:
            case b'"' if SEALED in orjson.loads(raw):
                # A user's text that only looks like a token.
                return self.seal(raw, path)
            case b"{":
                return self._seal_object(_MEMBERS.decode(raw), path)
            case b"[":
                return _join_array(
                    self.seal_secrets_in(bytes(item), (*path, str(number)))
                    for number, item in enumerate(_ITEMS.decode(raw))
                )
        return raw

    def _seal_object(self, members: dict[str, msgspec.Raw], path: tuple[str, ...]) -> bytes:
        kind = _lower_text(members.get("kind"))
        # An object that only names a Secret (a reference) has none of these members.
        has_content = not _BY_KEY.union(("metadata",)).isdisjoint(members)
        if kind in ("secret", "secrets") and has_content:
            return self.seal_secret(members, path, strict=not _is_custom(members))
        sealed = {}
        for key, raw in members.items():
            below = (*path, key)
            if kind == _LIST_KIND and key == "items" and bytes(raw).lstrip()[:1] == b"[":
                sealed[key] = self._seal_list(bytes(raw), below)
            else:
                sealed[key] = self.seal_secrets_in(bytes(raw), below)
        return _join_object(sealed)

    def _seal_list(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        parts = []
        for number, item in enumerate(_ITEMS.decode(raw)):
            below = (*path, str(number))
            if bytes(item).lstrip()[:1] == b"{":
                parts.append(self.seal_secret(_MEMBERS.decode(item), below))
            else:
                parts.append(self.seal(bytes(item), below))
        return _join_array(parts)

    def seal_secret(
        self,
        members: dict[str, msgspec.Raw],
        path: tuple[str, ...],
        *,
        strict: bool = True,
    ) -> bytes:
        """An object that is a Secret.

        `strict`: nothing stays readable but what is known to be harmless.
        """
        sealed = {}
        for key, raw in members.items():
            value = bytes(raw)
            below = (*path, key)
            is_object = value.lstrip()[:1] == b"{"
            if key in _BY_KEY and is_object:
                sealed[key] = self._seal_values(value, below)
            elif key == "metadata" and is_object:
                sealed[key] = self._seal_metadata(value, below)
            elif key in _BY_KEY or (strict and not _is_readable(key, value)):
                sealed[key] = self.seal(value, below)
            else:
                sealed[key] = self.seal_secrets_in(value, below)
        return _join_object(sealed)

    def _seal_values(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        sealed = {}
        for key, value in _MEMBERS.decode(raw).items():
            sealed[key] = self.seal(bytes(value), (*path, key))
        return _join_object(sealed)

    def _seal_metadata(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        sealed = {}
        for key, value in _MEMBERS.decode(raw).items():
            below = (*path, key)
            if key == "annotations" and bytes(value).lstrip()[:1] == b"{":
                sealed[key] = self._seal_annotations(bytes(value), below)
            elif key in _READABLE_METADATA:
                sealed[key] = self.seal_secrets_in(bytes(value), below)
            else:
                sealed[key] = self.seal(bytes(value), below)
        return _join_object(sealed)

    def _seal_annotations(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        """Annotations that may hold a copy of the whole object are sealed, others searched."""
        sealed = {}
        for key, value in _MEMBERS.decode(raw).items():
            text = bytes(value)
            is_copy = key == LAST_APPLIED or "last-applied" in key or _holds_json(text)
            below = (*path, key)
            sealed[key] = self.seal(text, below) if is_copy else self.seal_secrets_in(text, below)
        return _join_object(sealed)


def _holds_json(raw: bytes) -> bool:
    if raw.lstrip()[:1] != b'"':
        return True
    return str(orjson.loads(raw)).lstrip()[:1] in ("{", "[")


def _is_readable(key: str, value: bytes) -> bool:
    return key in _READABLE and value.lstrip()[:1] not in (
        b"{",
        b"[",
    )


def _is_custom(members: dict[str, msgspec.Raw]) -> bool:
    """Whether the apiVersion names a group, so that this is another API's kind of the name.

    Its status and the like stay readable.
    """
    return "/" in _lower_text(members.get("apiVersion"))


def _lower_text(raw: msgspec.Raw | None) -> str:
    """A text in lower case; "" for what is no text."""
    text = b"" if raw is None else bytes(raw).strip()
    if text[:1] != b'"':
        return ""
    return str(orjson.loads(text)).strip().casefold()


def _join_object(members: dict[str, Any]) -> bytes:
    parts = [orjson.dumps(key) + b":" + raw for key, raw in members.items()]
    return b"{" + b",".join(parts) + b"}"


def _join_array(parts: Any) -> bytes:
    return b"[" + b",".join(parts) + b"]"


# --- on the way out -----------------------------------------------------------------------------
def holds_sealed(text: bytes) -> bool:
    """Whether a JSON text holds sealed values."""
    return _MARK in text


def unseal_or_mask(text: bytes, *, reveals: bool) -> bytes:
    """The JSON text as it goes out: sealed values as they were written, or each as the mask."""
    if _MARK not in text:
        return text
    return _TOKEN.sub(_unseal_token if reveals else _mask_token, text)


def mask_sealed(text: bytes) -> bytes:
    """The JSON text with each sealed value as the mask."""
    return unseal_or_mask(text, reveals=False)


def mask_sealed_value(value: Any) -> Any:
    """As `mask_sealed`, for a value that was parsed."""
    text = orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS, default=str)
    return orjson.loads(mask_sealed(text)) if _MARK in text else value


def _unseal_token(match: "re.Match[bytes]") -> bytes:
    """The value behind a token; a text that only looks like a token stays as it is."""
    try:
        return crypto.unseal(match[1].decode())
    except ValueError:
        return match[0]


_MASK = orjson.dumps(MASK)


def _mask_token(match: "re.Match[bytes]") -> bytes:
    is_token = _unseal_token(match) is not match[0]
    return _MASK if is_token else match[0]


def unseal_all(text: bytes) -> bytes:
    """The JSON text as it was written; ValueError when no key opens one of its values."""
    return _TOKEN.sub(lambda match: crypto.unseal(match[1].decode()), text)
