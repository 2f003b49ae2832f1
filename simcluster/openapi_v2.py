"""`/openapi/v2` in protobuf, which kubectl up to 1.28 asks for: gnostic's `openapi.v2.Document`."""

import gzip
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import orjson

from simcluster import schema
from simcluster.errors import ApiError
from simcluster.resources import Object

JSON = "application/json"
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# Names with an `@` are no media types; clients send it all the same.
_OLD_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_ANSWERS = {
    JSON: JSON,
    "*/*": JSON,
    "application/*": JSON,
    PROTOBUF: PROTOBUF,
    _OLD_PROTOBUF: PROTOBUF,
}
_VARINT = 0
_BYTES = 2


def answer(accept: str) -> tuple[bytes, str]:
    """(document, media type); ApiError 406 when the client takes neither JSON nor protobuf."""
    for part in (accept or "*/*").split(","):
        media = _ANSWERS.get(part.partition(";")[0].strip().lower())
        if media == PROTOBUF:
            return gzip.decompress(_packed()), PROTOBUF
        if media:
            return schema.document_v2(), JSON
    raise ApiError(406, "NotAcceptable", "only JSON and protobuf are served")


@cache
def _packed() -> bytes:
    # Two megabytes that are asked for once in a while.
    return gzip.compress(encode(orjson.loads(schema.document_v2())), 1)


def encode(document: Object) -> bytes:
    """An OpenAPI v2 document as a message; the members that Kubernetes' documents have."""
    return _message(_DOCUMENT, document)


# --- wire format ----------------------------------------------------------------------------------
def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


# --- values: each function encodes one field of a message -----------------------------------------
Encoder = Callable[[int, Any], bytes]
Members = Mapping[str, tuple[int, Encoder]]


def _text(number: int, value: Any) -> bytes:
    return _field(number, str(value).encode())


def _texts(number: int, value: Any) -> bytes:
    return b"".join(_text(number, text) for text in value)


def _number(number: int, value: Any) -> bytes:
    """A boolean or a whole number that is not negative."""
    return _varint(number << 3 | _VARINT) + _varint(int(value))


def _any(number: int, value: Any) -> bytes:
    # Its member 2 is YAML, and JSON is YAML.
    return _field(number, _field(2, orjson.dumps(value)))


def _each_any(number: int, value: Any) -> bytes:
    return b"".join(_any(number, item) for item in value)


def _as(members: Members) -> Encoder:
    return lambda number, value: _field(number, _message(members, value))


def _inside(number: int, encoder: Encoder) -> Encoder:
    """A message whose one field is the value."""
    return lambda outer, value: _field(outer, encoder(number, value))


def _each(encoder: Encoder) -> Encoder:
    return lambda number, value: b"".join(encoder(number, item) for item in value)


def _named(encoder: Encoder, number: int = 1) -> Encoder:
    """A mapping: a message of pairs, the key and the value."""

    def encode_map(outer: int, value: Any) -> bytes:
        pairs = (_field(number, _text(1, key) + encoder(2, item)) for key, item in value.items())
        return _field(outer, b"".join(pairs))

    return encode_map


def _message(members: Members, document: Object) -> bytes:
    return b"".join(_parts(members, document))


def _parts(members: Members, document: Object) -> Iterator[bytes]:
    for key, value in document.items():
        if key.startswith("x-") and "x-" in members:
            yield _field(members["x-"][0], _text(1, key) + _any(2, value))
        elif key in members:
            number, encoder = members[key]
            yield encoder(number, value)


# --- messages -------------------------------------------------------------------------------------
def _schema(number: int, value: Any) -> bytes:
    return _field(number, _message(_SCHEMA, value))


def _additional_properties(number: int, value: Any) -> bytes:
    one = _number(2, value) if isinstance(value, bool) else _schema(1, value)
    return _field(number, one)


def _types(number: int, value: Any) -> bytes:
    return _field(number, _texts(1, [value] if isinstance(value, str) else value))


def _parameter(number: int, value: Any) -> bytes:
    """Of a body, or of the query or path."""
    if value["in"] == "body":
        return _field(number, _field(1, _message(_BODY_PARAMETER, value)))
    kind, members = (3, _QUERY_PARAMETER) if value["in"] == "query" else (4, _PATH_PARAMETER)
    return _field(number, _field(2, _field(kind, _message(members, value))))


def _parameter_item(number: int, value: Any) -> bytes:
    if "$ref" in value:
        return _field(number, _field(2, _message(_REFERENCE, value)))
    return _field(number, _parameter(1, value))


_REFERENCE: Members = {"$ref": (1, _text), "description": (2, _text)}
_SCHEMA: Members = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "maxLength": (11, _number),
    "minLength": (12, _number),
    "pattern": (13, _text),
    "maxItems": (14, _number),
    "minItems": (15, _number),
    "uniqueItems": (16, _number),
    "maxProperties": (17, _number),
    "minProperties": (18, _number),
    "required": (19, _texts),
    "enum": (20, _each_any),
    "additionalProperties": (21, _additional_properties),
    "type": (22, _types),
    "items": (23, _inside(1, _schema)),
    "allOf": (24, _each(_schema)),
    "properties": (25, _named(_schema)),
    "x-": (31, _any),
}
_BODY_PARAMETER: Members = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _number),
    "schema": (5, _schema),
}
_QUERY_PARAMETER: Members = {
    "required": (1, _number),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (6, _text),
    "uniqueItems": (20, _number),
}
_PATH_PARAMETER: Members = {
    "required": (1, _number),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
    "uniqueItems": (19, _number),
}
_RESPONSE: Members = {"description": (1, _text), "schema": (2, _inside(1, _schema))}
_OPERATION: Members = {
    "tags": (1, _texts),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _each(_parameter_item)),
    "responses": (9, _named(_inside(1, _as(_RESPONSE)))),
    "schemes": (10, _texts),
    "x-": (13, _any),
}
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_PATH_ITEM: Members = {
    **{method: (number, _as(_OPERATION)) for number, method in enumerate(_METHODS, 2)},
    "parameters": (9, _each(_parameter_item)),
}
_INFO: Members = {"title": (1, _text), "version": (2, _text)}
_API_KEY: Members = {
    "type": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "description": (4, _text),
}
_DOCUMENT: Members = {
    "swagger": (1, _text),
    "info": (2, _as(_INFO)),
    "paths": (8, _named(_as(_PATH_ITEM), 2)),
    "definitions": (9, _named(_schema)),
    "parameters": (10, _named(_parameter)),
    "security": (12, _each(_named(_inside(1, _texts)))),
    "securityDefinitions": (13, _named(_inside(2, _as(_API_KEY)))),
}
