"""Bodies in Kubernetes' protobuf, read as the JSON that the same client would have sent.

`data/protobuf.json.gz` holds, for each message of the API, its fields by number: the JSON name
(empty for a message whose fields belong to the one around it), the type, and 1 where a zero is
written to JSON all the same. Types are `string`, `bytes`, `bool`, `int`, `items` (a message around
texts) or a message, after `[]` for lists and `{}` for maps by text.
"""

import base64
import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from simcluster.errors import ApiError, bad_request
from simcluster.resources import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEPTH_LIMIT = 100
# Wire types of the protobuf encoding; groups (3 and 4) are not used by Kubernetes.
_VARINT = 0
_FIXED64 = 1
_BYTES = 2
_FIXED32 = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What the first part of an API group is called, where the package has another name.
_PACKAGES = {"": "core", "meta.k8s.io": "meta"}

Fields = dict[str, list[Any]]


class _BrokenError(Exception):
    """Bytes that are no message; the text is Go's."""


@cache
def _messages() -> dict[str, Fields]:
    raw = files("simcluster").joinpath("data", "protobuf.json.gz").read_bytes()
    messages: dict[str, Fields] = orjson.loads(gzip.decompress(raw))
    return messages


def decode(body: bytes) -> Object:
    """The object in a body; 400 when broken, 415 for an unknown kind."""
    try:
        return _decode(body)
    except _BrokenError as error:
        raise bad_request(str(error)) from error


def _decode(body: bytes) -> Object:
    if not body.startswith(_MAGIC):
        raise _BrokenError(
            "provided data does not appear to be a protobuf message, expected prefix"
        )
    envelope = dict(_fields(body[len(_MAGIC) :]))
    names = dict(_fields(_data(envelope.get(1, b""))))
    api_version = _text(names.get(1, b""))
    kind = _text(names.get(2, b""))
    message = _message_of(api_version, kind)
    if message is None:
        raise ApiError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml",
            details={},
        )
    obj = _message(_data(envelope.get(2, b"")), message, 0)
    return {"kind": kind, "apiVersion": api_version, **obj}


def _message_of(api_version: str, kind: str) -> str | None:
    group, _, version = api_version.rpartition("/")
    package = _PACKAGES.get(group, group.partition(".")[0])
    for name in (f"{package}/{version}.{kind}", f"meta.{kind}"):
        if name in _messages():
            return name
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in the order of their bytes, by number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number = key >> 3
        wire = key & 7
        if not number:
            raise _BrokenError(f"proto: illegal tag {number} (wire type {wire})")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise _BrokenError(f"proto: illegal wireType {wire}")
        if at + size > len(data):
            raise _BrokenError("unexpected EOF")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _BrokenError("unexpected EOF")
        number |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
    raise _BrokenError("proto: integer overflow")


def _message(data: bytes, name: str, depth: int) -> Object:
    if depth > _DEPTH_LIMIT:
        raise _BrokenError("proto: message is nested too deeply")
    fields = _messages()[name]
    obj: Object = {}
    for number, raw in _fields(data):
        field = fields.get(str(number))
        # Fields of a newer version are dropped, as Go drops them.
        if field is None:
            continue
        key, kind, *zero = field
        if kind.startswith("[]"):
            obj.setdefault(key, []).append(_value(raw, kind[2:], depth))
        elif kind.startswith("{}"):
            entry = dict(_fields(_data(raw)))
            value = _value(entry.get(2, _zero(kind[2:])), kind[2:], depth)
            obj.setdefault(key, {})[_text(entry.get(1, b""))] = value
        else:
            value = _value(raw, kind, depth)
            if not key:
                obj |= value
            elif zero or (value not in ("", 0) and value is not None):
                obj[key] = value
    return obj


def _zero(kind: str) -> int | bytes:
    return 0 if kind in ("int", "bool") else b""


def _value(raw: int | bytes, kind: str, depth: int) -> Any:
    read = _READERS.get(kind)
    return read(raw) if read else _message(_data(raw), kind, depth + 1)


def _data(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise _BrokenError("proto: wrong wireType = 0 for a field of bytes")
    return raw


def _number(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise _BrokenError("proto: wrong wireType = 2 for a number")
    return raw - (1 << 64) if raw >> 63 else raw


def _text(raw: int | bytes) -> str:
    try:
        return _data(raw).decode()
    except UnicodeDecodeError as error:
        raise _BrokenError("proto: a text is no UTF-8") from error


def _json(raw: int | bytes) -> Any:
    """The value of a field whose message holds JSON as bytes."""
    text = _data(dict(_fields(_data(raw))).get(1, b""))
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError as error:
        raise _BrokenError(f"json parse error: {error}") from error


def _moment(raw: int | bytes, places: str = "seconds") -> str | None:
    """A Time or MicroTime; None for the zero one."""
    parts = dict(_fields(_data(raw)))
    if not parts:
        return None
    try:
        moment = _EPOCH + timedelta(
            seconds=_number(parts.get(1, 0)),
            microseconds=_number(parts.get(2, 0)) // 1000,
        )
    except OverflowError as error:
        raise _BrokenError("proto: a time is out of range") from error
    return moment.isoformat(timespec=places).replace("+00:00", "Z")


def _int_or_string(raw: int | bytes) -> int | str:
    parts = dict(_fields(_data(raw)))
    return _text(parts.get(3, b"")) if _number(parts.get(1, 0)) else _number(parts.get(2, 0))


def _texts(raw: int | bytes) -> list[str]:
    return [_text(value) for number, value in _fields(_data(raw)) if number == 1]


_READERS: dict[str, Callable[[int | bytes], Any]] = {
    "string": _text,
    "bytes": lambda raw: base64.b64encode(_data(raw)).decode(),
    "bool": lambda raw: bool(_number(raw)),
    "int": _number,
    "items": _texts,
    "intstr.IntOrString": _int_or_string,
    "meta.FieldsV1": _json,
    "meta.MicroTime": lambda raw: _moment(raw, "microseconds"),
    "meta.Time": _moment,
    "resource.Quantity": lambda raw: _text(dict(_fields(_data(raw))).get(1, b"")),
    "runtime.RawExtension": _json,
}
