"""Protobuf of access reviews: the only bodies that the gateway decodes.

Kubernetes' envelope is the prefix `k8s\\0` and a message Unknown {1: TypeMeta {1: apiVersion,
2: kind}, 2: the object}.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import Invalid

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_PREFIX = b"k8s\x00"
_RESOURCE = {
    1: "namespace",
    2: "verb",
    3: "group",
    4: "version",
    5: "resource",
    6: "subresource",
    7: "name",
}
_PATH = {1: "path", 2: "verb"}
_BYTES = 2


def decode_review(data: bytes) -> dict[str, Any]:
    """{"apiVersion","kind","spec"} of a self-subject review; Invalid when it is none."""
    if not data.startswith(_PREFIX):
        raise Invalid("the body is not Kubernetes protobuf")
    try:
        envelope = dict(_fields(data[len(_PREFIX) :]))
        meta = dict(_fields(_bytes(envelope.get(1, b""))))
        review = dict(_fields(_bytes(envelope.get(2, b""))))
        spec = dict(_fields(_bytes(review.get(2, b""))))
        return {
            "apiVersion": _text(meta.get(1, b"")),
            "kind": _text(meta.get(2, b"")),
            "spec": _decode_spec(_text(meta.get(2, b"")), spec),
        }
    except (IndexError, UnicodeDecodeError, TypeError):
        raise Invalid("the body is not a review in protobuf") from None


def _decode_spec(kind: str, spec: Mapping[int, bytes | int]) -> dict[str, Any]:
    if kind == "SelfSubjectRulesReview":
        return {"namespace": _text(spec.get(1, b""))}
    decoded: dict[str, Any] = {}
    for number, name, members in (
        (1, "resourceAttributes", _RESOURCE),
        (2, "nonResourceAttributes", _PATH),
    ):
        if number in spec:
            fields = dict(_fields(_bytes(spec[number])))
            decoded[name] = {
                member: _text(fields[key]) for key, member in members.items() if key in fields
            }
    return decoded


def encode_access_review(review: Mapping[str, Any]) -> bytes:
    """A SelfSubjectAccessReview with its spec and status (allowed, reason)."""
    spec = b""
    for number, name, members in (
        (1, "resourceAttributes", _RESOURCE),
        (2, "nonResourceAttributes", _PATH),
    ):
        if attributes := review["spec"].get(name):
            fields = b"".join(
                _field(key, str(attributes[member]).encode())
                for key, member in members.items()
                if member in attributes
            )
            spec += _field(number, fields)
    status = review["status"]
    encoded_status = b"\x08" + (b"\x01" if status["allowed"] else b"\x00")
    encoded_status += _field(2, status.get("reason", "").encode())
    message = _field(1, b"") + _field(2, spec) + _field(3, encoded_status)
    meta = _field(1, review["apiVersion"].encode()) + _field(2, review["kind"].encode())
    return _PREFIX + _field(1, meta) + _field(2, message)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of each field of a message; IndexError when it is cut off."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        wire = tag & 7
        if wire == 0:
            value, position = _read_varint(data, position)
            yield tag >> 3, value
        elif wire == _BYTES:
            length, position = _read_varint(data, position)
            if position + length > len(data):
                raise IndexError
            yield tag >> 3, data[position : position + length]
            position += length
        else:
            # No message of a review has numbers of a fixed size.
            raise IndexError


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise IndexError


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise TypeError
    return value


def _text(value: bytes | int) -> str:
    return _bytes(value).decode()
