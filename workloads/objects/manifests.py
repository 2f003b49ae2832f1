"""Checking and shaping manifests: pure rules, no cluster in sight."""

import re
from typing import Any

import orjson

from clusters.kinds import Kind
from clusters.manifests import LAST_APPLIED, MASK, Object, as_object, from_yaml
from core.errors import Invalid
from core.jsontext import loads

# What may be a number that is not written as an integer.
FLOAT = re.compile(rb"[0-9](?:\.[0-9]|[eE])")


def manifest(content: object) -> Object:
    """A manifest given as an object or as YAML text."""
    if isinstance(content, str):
        return from_yaml(content)
    return as_object(content)


def patch_body(body: bytes, patch: str) -> bytes:
    """A patch as it is sent to a cluster: what is applied is read like any manifest, whole floats become integers.

    Invalid for a manifest that cannot be read; what is wrong with other patches the API server says.
    """
    if patch == "apply":
        try:
            return orjson.dumps(from_yaml(body.decode()))
        except UnicodeDecodeError:
            raise Invalid("the body is not UTF-8 text") from None
    if not FLOAT.search(body):
        return body
    try:
        return orjson.dumps(as_object({"patch": loads(body)})["patch"])
    except Invalid:
        return body


def _metadata(body: Object) -> Object:
    metadata = body.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise Invalid("metadata must be a mapping", field="metadata")
    return metadata


def _agree(given: object, wanted: str, what: str) -> None:
    if given is not None and not isinstance(given, str):
        raise Invalid(f"{what} of the content must be a text", field=what)
    if given not in (None, "", wanted):
        raise Invalid(f"{what} {str(given)[:100]!r} of the content is not {wanted!r}", field=what)


def complete(
    body: Object, kind: Kind, *, namespace: str | None = None, name: str | None = None
) -> Object:
    """The manifest with kind, apiVersion, name and namespace filled in; Invalid where they contradict the request."""
    metadata = _metadata(body)
    if kind.name:
        _agree(body.get("kind"), kind.name, "kind")
        body["kind"] = kind.name
    _agree(body.get("apiVersion"), kind.api_version, "apiVersion")
    body["apiVersion"] = kind.api_version
    if name is not None:
        _agree(metadata.get("name"), name, "metadata.name")
        metadata["name"] = name
    if kind.namespaced and namespace:
        _agree(metadata.get("namespace"), namespace, "metadata.namespace")
        metadata["namespace"] = namespace
    return body


def content_namespace(content: object) -> str:
    """metadata.namespace of a manifest, or nothing; never an error, for it is read before rights are checked."""
    metadata = content.get("metadata") if isinstance(content, dict) else None
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    return namespace if isinstance(namespace, str) else ""


# What a step of a JSON patch may look at in a Secret without the right to its values.
_OPEN_PLACES = re.compile(
    r"/(kind|apiVersion|type|immutable|metadata/(name|namespace|uid|resourceVersion|labels(/[^/]*)?))"
)


def looks_at_values(steps: object) -> bool:
    """Whether a JSON patch of a Secret compares, copies or moves what may be one of its values.

    What is no list of steps does not: the API server refuses it.
    """
    if not isinstance(steps, list):
        return False
    return any(_looks(step) for step in steps if isinstance(step, dict))


def _looks(step: Object) -> bool:
    operation = step.get("op")
    if operation not in ("test", "copy", "move"):
        return False
    place = step.get("path" if operation == "test" else "from")
    return not (isinstance(place, str) and _OPEN_PLACES.fullmatch(place))


def is_secret(kind: Kind) -> bool:
    """Whether objects of the kind hold secret values."""
    return kind.plural == "secrets" and not kind.group


def masked_secret(raw: bytes) -> bytes:
    """A Secret with its values hidden and its keys kept; the copy of the values in last-applied-configuration goes too."""
    secret: dict[str, Any] = orjson.loads(raw)
    for field in ("data", "stringData"):
        if isinstance(secret.get(field), dict):
            secret[field] = dict.fromkeys(secret[field], MASK)
    annotations = (secret.get("metadata") or {}).get("annotations")
    if isinstance(annotations, dict) and LAST_APPLIED in annotations:
        annotations[LAST_APPLIED] = MASK
    return orjson.dumps(secret)
