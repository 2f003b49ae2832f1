"""From an object on the wire to the document that is stored: pruned, without values of Secrets."""

import hashlib
import hmac
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import orjson
from django.conf import settings

from clusters.kinds import Kind
from clusters.manifests import LAST_APPLIED, Object, prune
from clusters.resource_types import SECRETS
from core.errors import ClusterUnavailable
from storage_api.history.attribution import newest_writers


class ObjectMetadata(msgspec.Struct, rename="camel"):
    """The part of an object's metadata that following a kind needs."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class ObjectWithHead(msgspec.Struct):
    """An object of which only the metadata was decoded."""

    metadata: ObjectMetadata = msgspec.field(default_factory=ObjectMetadata)


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
# A NUL in a text of JSON. PostgreSQL cannot hold it.
NUL_ESCAPE = b"\\u0000"


def decode_head(raw: bytes | msgspec.Raw) -> ObjectMetadata:
    """An object's identity and version; ClusterUnavailable when it is no object."""
    try:
        head = HEADS.decode(raw).metadata
    except DECODE_ERRORS:
        raise ClusterUnavailable(
            "the cluster sent something that is not an object",
            reason="bad_answer",
        ) from None
    if not head.name:
        raise ClusterUnavailable(
            "the cluster sent an object without a name",
            reason="bad_answer",
        )
    return head


class StoredDocument(NamedTuple):
    """What the store keeps of an object.

    `text`: the document as JSON. `exact`: whether it equals the cluster's own.
    `written_by`: its last writers, as `history.attribution.newest_writers` gives them. `omitted`:
    what the document leaves out of the object, {"managedFields": …, "lastApplied": …} as JSON;
    None of a Secret, and where that may hold a copy of one.
    """

    text: bytes
    exact: bool
    written_by: bytes | None
    omitted: bytes | None = None


def stored_document(raw: bytes | msgspec.Raw, kind: Kind, cluster: str) -> StoredDocument:
    """What is stored of an object of a cluster, as the API server sent it.

    Unchanged parts are passed on unparsed: the database reads the text once more anyway.
    ClusterUnavailable when it is no JSON object.
    """
    text = bytes(raw)
    if (kind.group, kind.plural) == SECRETS or NUL_ESCAPE in text:
        return _parse_document(text, kind, cluster)
    try:
        parts: dict[str, Any] = PARTS.decode(text)
        metadata: dict[str, Any] = PARTS.decode(parts["metadata"])
        omitted: dict[str, msgspec.Raw] = {}
        if "managedFields" in metadata:
            omitted["managedFields"] = metadata.pop("managedFields")
        written_by = _last_writers(omitted.get("managedFields"))
        if "annotations" in metadata:
            annotations = PARTS.decode(metadata["annotations"])
            if LAST_APPLIED in annotations:
                omitted["lastApplied"] = annotations.pop(LAST_APPLIED)
                metadata |= {"annotations": annotations}
                if not annotations:
                    del metadata["annotations"]
    except (*DECODE_ERRORS, KeyError):
        return _parse_document(text, kind, cluster)
    parts["metadata"] = metadata
    # Items of a list bear neither: the API server says them once, for the list.
    parts.setdefault("apiVersion", kind.api_version)
    parts.setdefault("kind", kind.name)
    return StoredDocument(msgspec.json.encode(parts), True, written_by, _omitted_text(omitted))


def _omitted_text(omitted: dict[str, msgspec.Raw]) -> bytes | None:
    """What a document leaves out, as JSON; None when it names Secrets."""
    text = msgspec.json.encode(omitted)
    # What kubectl applied is a text within the JSON: its quotes are escaped.
    last_applied = bytes(omitted.get("lastApplied", b"")).lower()
    return None if b"secret" in last_applied else text


def _last_writers(
    managed_fields: msgspec.Raw | None,
) -> bytes | None:
    """Who wrote last. The fields that they wrote are skipped, as they are most of the text."""
    if managed_fields is None:
        return None
    entries = [msgspec.structs.asdict(entry) for entry in ENTRIES.decode(managed_fields)]
    return newest_writers({"metadata": {"managedFields": entries}})


def _parse_document(text: bytes, kind: Kind, cluster: str) -> StoredDocument:
    """As `stored_document`, for Secrets, strings with NUL, and what is not shaped as an object."""
    try:
        obj = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ClusterUnavailable(
            "the cluster sent something that is not JSON",
            reason="bad_answer",
        ) from None
    if not isinstance(obj, dict):
        raise ClusterUnavailable(
            "the cluster sent something that is not an object",
            reason="bad_answer",
        )
    obj.setdefault("apiVersion", kind.api_version)
    obj.setdefault("kind", kind.name)
    written_by = newest_writers(obj)
    prune(obj)
    if (kind.group, kind.plural) == SECRETS:
        _hash_secret_values(obj, cluster)
    document = orjson.dumps(obj)
    if NUL_ESCAPE not in document:
        return StoredDocument(document, True, written_by)
    clean, was_replaced = _replace_nul(obj)
    return StoredDocument(orjson.dumps(clean), not was_replaced, written_by)


def _replace_nul(value: Any) -> tuple[Any, bool]:
    """(the value with U+FFFD for each NUL in a text or key, whether there was any)."""
    if isinstance(value, str):
        if "\0" not in value:
            return value, False
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}"), True
    if isinstance(value, list):
        parts = [_replace_nul(part) for part in value]
        return [part for part, _ in parts], any(was_replaced for _, was_replaced in parts)
    if isinstance(value, dict):
        clean: dict[Any, Any] = {}
        any_replaced = False
        for key, member in value.items():
            clean_key, key_replaced = _replace_nul(key)
            clean_member, member_replaced = _replace_nul(member)
            clean[clean_key] = clean_member
            any_replaced = any_replaced or key_replaced or member_replaced
        return clean, any_replaced
    return value, False


@lru_cache(maxsize=2)
def _hash_key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"kubegale.store.secrets", "sha256")


def keyed_hash(value: object, *place: str) -> str:
    """What the collector stores instead of a value of a Secret, as `hmac-sha256:…`.

    It is the same for the same value at the same place, and says nothing without our key.
    `place`: cluster, namespace, name, member and key. Equal values at two places differ:
    otherwise a writer could test a value of another Secret by writing it into their own.
    """
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    message = orjson.dumps([*place, text])
    digest = hmac.new(_hash_key(settings.SECRET_KEY), message, hashlib.sha256)
    return "hmac-sha256:" + digest.hexdigest()


def _hash_secret_values(secret: Object, cluster: str) -> None:
    """Replace each value of a Secret, in place; its keys stay."""
    metadata = secret.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    place = (
        cluster,
        str(names.get("namespace", "")),
        str(names.get("name", "")),
    )
    for member in ("data", "stringData"):
        values = secret.get(member)
        if isinstance(values, dict):
            secret[member] = {
                key: keyed_hash(value, *place, member, key) for key, value in values.items()
            }
        elif values is not None:
            # No Secret has this shape, but what it holds may be secret all the same.
            secret[member] = keyed_hash(values, *place, member, "")
