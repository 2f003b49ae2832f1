"""From an object on the wire to the document that is stored: pruned, and without the values of Secrets."""

import hashlib
import hmac
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import orjson
from django.conf import settings

from clusters.kinds import Kind
from clusters.manifests import LAST_APPLIED, Object, pruned
from clusters.resource_types import SECRETS
from core.errors import ClusterUnavailable
from storage_api.history.attribution import newest_writers


class ObjectHead(msgspec.Struct, rename="camel"):
    """What following a kind needs of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class ObjectWithHead(msgspec.Struct):
    """An object of which only the metadata was decoded."""

    metadata: ObjectHead = msgspec.field(default_factory=ObjectHead)


class ManagedFieldsEntry(msgspec.Struct):
    """An entry of managedFields without its fields."""

    manager: Any = None
    operation: Any = None
    subresource: Any = None
    time: Any = None


HEADS = msgspec.json.Decoder(ObjectWithHead)
ENTRIES = msgspec.json.Decoder(list[ManagedFieldsEntry])
PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
DECODE_ERRORS = (msgspec.DecodeError, RecursionError)


def decode_head(raw: bytes | msgspec.Raw) -> ObjectHead:
    """An object's identity; ClusterUnavailable when it is no object."""
    try:
        found = HEADS.decode(raw).metadata
    except DECODE_ERRORS:
        raise ClusterUnavailable(
            "the cluster sent something that is no object", reason="bad_answer"
        ) from None
    if not found.name:
        raise ClusterUnavailable("the cluster sent an object without a name", reason="bad_answer")
    return found


class StoredDocument(NamedTuple):
    """What is kept of an object: JSON text, whether it says exactly what the cluster said, and who wrote it last (see `authors`)."""

    text: bytes
    exact: bool
    written_by: bytes | None


def stored_document(raw: bytes | msgspec.Raw, kind: Kind, cluster: str) -> StoredDocument:
    """What is to be kept of an object of a cluster as it came.

    What is not left out is passed on unparsed: the database reads it once more anyway."""
    text = bytes(raw)
    if (kind.group, kind.plural) == SECRETS or b"\\u0000" in text:
        return _parsed(text, kind, cluster)
    try:
        parts: dict[str, Any] = PARTS.decode(text)
        metadata: dict[str, Any] = PARTS.decode(parts["metadata"])
        written_by = _writers(metadata.pop("managedFields", None))
        if "annotations" in metadata:
            annotations = PARTS.decode(metadata["annotations"])
            if annotations.pop(LAST_APPLIED, None) is not None:
                metadata |= {"annotations": annotations}
                if not annotations:
                    del metadata["annotations"]
    except (*DECODE_ERRORS, KeyError):
        return _parsed(text, kind, cluster)
    parts["metadata"] = metadata
    parts.setdefault("apiVersion", kind.api_version)
    parts.setdefault("kind", kind.name)
    return StoredDocument(msgspec.json.encode(parts), True, written_by)


def _writers(managed_fields: msgspec.Raw | None) -> bytes | None:
    """Who wrote last; which fields is skipped, as it is most of the text."""
    if managed_fields is None:
        return None
    entries = [msgspec.structs.asdict(entry) for entry in ENTRIES.decode(managed_fields)]
    return newest_writers({"metadata": {"managedFields": entries}})


def _parsed(text: bytes, kind: Kind, cluster: str) -> StoredDocument:
    """The same for what must be looked into, or is not shaped as objects are."""
    try:
        obj = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ClusterUnavailable(
            "the cluster sent something that is no JSON", reason="bad_answer"
        ) from None
    if not isinstance(obj, dict):
        raise ClusterUnavailable(
            "the cluster sent something that is no object", reason="bad_answer"
        )
    obj.setdefault("apiVersion", kind.api_version)
    obj.setdefault("kind", kind.name)
    written_by = newest_writers(obj)
    pruned(obj)
    if (kind.group, kind.plural) == SECRETS:
        _hide(obj, cluster)
    stored = orjson.dumps(obj)
    if b"\\u0000" not in stored:
        return StoredDocument(stored, True, written_by)
    # PostgreSQL holds no NUL in a text.
    clean, replaced = _without_nul(obj)
    return StoredDocument(orjson.dumps(clean), not replaced, written_by)


def _without_nul(value: Any) -> tuple[Any, bool]:
    if isinstance(value, str):
        return (
            (value.replace("\0", "\N{REPLACEMENT CHARACTER}"), True)
            if "\0" in value
            else (value, False)
        )
    if isinstance(value, list):
        parts = [_without_nul(item) for item in value]
        return [part for part, _ in parts], any(replaced for _, replaced in parts)
    if isinstance(value, dict):
        pairs = [(_without_nul(key), _without_nul(item)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in pairs}, any(
            key[1] or item[1] for key, item in pairs
        )
    return value, False


@lru_cache(maxsize=2)
def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"kubegale.store.secrets", "sha256")


def keyed_hash(value: object, *place: str) -> str:
    """What the collector keeps of a value of a Secret: the same for the same value at the same place, telling nothing without our key.

    `place`: cluster, namespace, name, member and key. Equal values at two places differ, or reading one's own would test another's.
    """
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    bound = orjson.dumps([*place, text])
    return "hmac-sha256:" + hmac.new(_key(settings.SECRET_KEY), bound, hashlib.sha256).hexdigest()


def _hide(secret: Object, cluster: str) -> None:
    metadata = secret.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    place = (cluster, str(names.get("namespace", "")), str(names.get("name", "")))
    for part in ("data", "stringData"):
        values = secret.get(part)
        if isinstance(values, dict):
            secret[part] = {
                key: keyed_hash(value, *place, part, key) for key, value in values.items()
            }
        elif values is not None:
            secret[part] = keyed_hash(values, *place, part, "")
