"""Values of Secrets at rest: sealed before they reach a table, opened or masked in the JSON text that leaves it.

A Secret is known by its type, however spelled, or by its content, wherever it stands in a document. Of it only names, types, labels and
the like stay readable; each value is replaced by a token, a text that begins with SEALED. A token is the same each time the same value is
written to the same place, so that the log shows what changed, and differs between places, so that equal values do not show.
"""

import re
from typing import Any, NamedTuple

import msgspec
import orjson

from clusters.manifests import LAST_APPLIED, MASK
from clusters.resource_types import is_secret_type
from core import crypto

SEALED = "kubegale-sealed:"
# A list of Secrets may leave the kind of its items out.
_LIST_KIND = "secretlist"
_KIND = re.compile(rb'"kind"\s*:\s*"\s*(?i:secret)')
# A letter written as an escape could hide the word.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]", re.IGNORECASE)
_TOKEN = re.compile(b'"' + SEALED.encode() + rb'([A-Za-z0-9_-]+={0,2})"(?!\s*:)')
MAX_DEPTH = 300
_READABLE = frozenset({"apiVersion", "kind", "type", "immutable"})
_READABLE_METADATA = frozenset(
    {
        *("name", "namespace", "uid", "resourceVersion", "generation", "generateName", "selfLink"),
        *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels"),
        *("ownerReferences", "finalizers", "clusterName"),
    }
)
# Members whose keys stay readable; `datas` is what mesos calls them.
_BY_KEY = frozenset({"data", "stringData", "datas"})
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_MARK = SEALED.encode()


class DocumentPlace(NamedTuple):
    """Where a document stands, as far as its store tells places apart."""

    cluster: str
    resource_type: str
    namespace: str
    name: str


def seal_secrets(place: DocumentPlace, text: bytes) -> bytes:
    """The JSON text of a document with the values of each Secret in it sealed; the same bytes when there is none.

    A text that looks like a token is sealed too: what stands in a table is always one of ours.
    """
    if is_secret_type(place.resource_type):
        return _Sealing(place).whole(text)
    if not _may_hold_secret(text):
        return text
    return _Sealing(place).search(text, ())


def _may_hold_secret(text: bytes) -> bool:
    if _KIND.search(text) or _MARK in text:
        return True
    return b"\\u00" in text and _ESCAPED_LETTER.search(text) is not None


class _Sealing:
    """The sealing of one document; paths name places inside it."""

    def __init__(self, place: DocumentPlace) -> None:
        self._place = "\0".join(place)

    def seal(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        """A JSON value as a token; null stays, it tells nothing."""
        if raw.strip() == b"null":
            return raw
        token = crypto.seal(raw.strip(), "\0".join((self._place, *path)))
        return b'"' + SEALED.encode() + token.encode() + b'"'

    def whole(self, text: bytes) -> bytes:
        """A document of a Secret's type, whatever it is."""
        if text.lstrip()[:1] != b"{":
            return self.seal(text, ())
        return self.secret(_members.decode(text), ())

    def search(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        """A value of any document: the Secrets in it."""
        if len(path) > MAX_DEPTH:
            return self.seal(raw, path)
        match raw.lstrip()[:1]:
            case b'"' if SEALED in orjson.loads(raw):
                return self.seal(raw, path)
            case b"{":
                return self._object(_members.decode(raw), path)
            case b"[":
                return _array(
                    self.search(bytes(item), (*path, str(number)))
                    for number, item in enumerate(_items.decode(raw))
                )
        return raw

    def _object(self, members: dict[str, msgspec.Raw], path: tuple[str, ...]) -> bytes:
        kind = _word(members.get("kind"))
        if kind in ("secret", "secrets") and not _BY_KEY.union(("metadata",)).isdisjoint(members):
            return self.secret(members, path, strict=not _is_custom(members))
        sealed = {}
        for key, raw in members.items():
            below = (*path, key)
            if kind == _LIST_KIND and key == "items" and bytes(raw).lstrip()[:1] == b"[":
                sealed[key] = self._list(bytes(raw), below)
            else:
                sealed[key] = self.search(bytes(raw), below)
        return _object(sealed)

    def _list(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        parts = []
        for number, item in enumerate(_items.decode(raw)):
            below = (*path, str(number))
            if bytes(item).lstrip()[:1] == b"{":
                parts.append(self.secret(_members.decode(item), below))
            else:
                parts.append(self.seal(bytes(item), below))
        return _array(parts)

    def secret(
        self, members: dict[str, msgspec.Raw], path: tuple[str, ...], *, strict: bool = True
    ) -> bytes:
        """An object that is a Secret. `strict`: nothing but what is known to be harmless stays readable."""
        sealed = {}
        for key, raw in members.items():
            value, below = bytes(raw), (*path, key)
            is_object = value.lstrip()[:1] == b"{"
            if key in _BY_KEY and is_object:
                sealed[key] = self._values(value, below)
            elif key == "metadata" and is_object:
                sealed[key] = self._metadata(value, below)
            elif key in _BY_KEY or (strict and not _is_readable(key, value)):
                sealed[key] = self.seal(value, below)
            else:
                sealed[key] = self.search(value, below)
        return _object(sealed)

    def _values(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        members = _members.decode(raw)
        return _object(
            {key: self.seal(bytes(value), (*path, key)) for key, value in members.items()}
        )

    def _metadata(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        sealed = {}
        for key, value in _members.decode(raw).items():
            below = (*path, key)
            if key == "annotations" and bytes(value).lstrip()[:1] == b"{":
                sealed[key] = self._annotations(bytes(value), below)
            elif key in _READABLE_METADATA:
                sealed[key] = self.search(bytes(value), below)
            else:
                sealed[key] = self.seal(bytes(value), below)
        return _object(sealed)

    def _annotations(self, raw: bytes, path: tuple[str, ...]) -> bytes:
        """Annotations that may hold a copy of the whole object are sealed."""
        sealed = {}
        for key, value in _members.decode(raw).items():
            text = bytes(value)
            is_copy = key == LAST_APPLIED or "last-applied" in key or _holds_json(text)
            below = (*path, key)
            sealed[key] = self.seal(text, below) if is_copy else self.search(text, below)
        return _object(sealed)


def _holds_json(raw: bytes) -> bool:
    if raw.lstrip()[:1] != b'"':
        return True
    return str(orjson.loads(raw)).lstrip()[:1] in ("{", "[")


def _is_readable(key: str, value: bytes) -> bool:
    return key in _READABLE and value.lstrip()[:1] not in (b"{", b"[")


def _is_custom(members: dict[str, msgspec.Raw]) -> bool:
    """Whether the apiVersion names a group: another API's kind of the same name, whose status and the like stay readable."""
    return "/" in _word(members.get("apiVersion"))


def _word(raw: msgspec.Raw | None) -> str:
    text = b"" if raw is None else bytes(raw).strip()
    return str(orjson.loads(text)).strip().casefold() if text[:1] == b'"' else ""


def _object(members: dict[str, Any]) -> bytes:
    return b"{" + b",".join([orjson.dumps(key) + b":" + raw for key, raw in members.items()]) + b"}"


def _array(parts: Any) -> bytes:
    return b"[" + b",".join(parts) + b"]"


# --- on the way out -------------------------------------------------------------------------------------------------
def holds_sealed(text: bytes) -> bool:
    """Whether a JSON text holds sealed values."""
    return _MARK in text


def shown(text: bytes, *, reveals: bool) -> bytes:
    """The JSON text as it goes out: sealed values as they were written, or each as the mask."""
    return _TOKEN.sub(_opened if reveals else _masked, text) if _MARK in text else text


def masked(text: bytes) -> bytes:
    """The JSON text with each sealed value as the mask."""
    return shown(text, reveals=False)


def masked_value(value: Any) -> Any:
    """The same for a value that was parsed."""
    text = orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS, default=str)
    return orjson.loads(masked(text)) if _MARK in text else value


def _opened(found: "re.Match[bytes]") -> bytes:
    """A text that only looks like a token is somebody's own and stays."""
    try:
        return crypto.unseal(found[1].decode())
    except ValueError:
        return found[0]


_HIDDEN = orjson.dumps(MASK)


def _masked(found: "re.Match[bytes]") -> bytes:
    opened = _opened(found)
    return found[0] if opened is found[0] else _HIDDEN


def unseal_all(text: bytes) -> bytes:
    """The JSON text as it was written; ValueError when no key opens one of its values."""
    return _TOKEN.sub(lambda found: crypto.unseal(found[1].decode()), text)
