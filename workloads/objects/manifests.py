"""Checks and completes manifests, and masks Secrets. Pure: no cluster is asked."""

import re
from collections.abc import Mapping
from types import MappingProxyType

import orjson

from clusters.kinds import Kind
from clusters.manifests import (
    LAST_APPLIED,
    MASK,
    Object,
    as_object,
    from_yaml,
)
from core.errors import Invalid
from core.jsontext import loads

# Where a Secret has its values: base64, and plain text.
SECRET_FIELDS = ("data", "stringData")
# A number that may not be written as an integer: 1.0 or 1e3.
FLOAT = re.compile(rb"[0-9](?:\.[0-9]|[eE])")


def manifest(content: object) -> Object:
    """A manifest from an object or from YAML text; Invalid when it is neither."""
    if isinstance(content, str):
        return from_yaml(content)
    return as_object(content)


def patch_body(body: bytes, patch: str) -> bytes:
    """The body of a patch as it is sent to a cluster.

    An apply patch is read like any manifest; in the others whole floats become integers, as the
    API server would refuse replicas of 3.0. Invalid for an apply patch that cannot be read; the
    API server judges the others.
    """
    if patch == "apply":
        try:
            return orjson.dumps(from_yaml(body.decode()))
        except UnicodeDecodeError:
            raise Invalid("the body is not UTF-8 text") from None
    # The usual patch has no float and is sent as it came.
    if not FLOAT.search(body):
        return body
    try:
        # Wrapped, as a JSON patch is a list and no object.
        return orjson.dumps(as_object({"patch": loads(body)})["patch"])
    except Invalid:
        return body


def _metadata(body: Object) -> Object:
    metadata = body.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise Invalid("metadata must be a mapping", field="metadata")
    return metadata


def _check_agreement(value: object, expected: str, field: str) -> None:
    """Invalid when the manifest names another value than the request does."""
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{field} of the content must be a string", field=field)
    if value not in (None, "", expected):
        raise Invalid(
            f"{field} {str(value)[:100]!r} of the content is not {expected!r}",
            field=field,
        )


def complete(
    body: Object,
    kind: Kind,
    *,
    namespace: str | None = None,
    name: str | None = None,
) -> Object:
    """The manifest with kind, apiVersion, name and namespace filled in.

    Invalid where they contradict the request.
    """
    metadata = _metadata(body)
    if kind.name:
        _check_agreement(body.get("kind"), kind.name, "kind")
        body["kind"] = kind.name
    _check_agreement(body.get("apiVersion"), kind.api_version, "apiVersion")
    body["apiVersion"] = kind.api_version
    if name is not None:
        _check_agreement(metadata.get("name"), name, "metadata.name")
        metadata["name"] = name
    if kind.namespaced and namespace:
        _check_agreement(metadata.get("namespace"), namespace, "metadata.namespace")
        metadata["namespace"] = namespace
    return body


def content_namespace(content: object) -> str:
    """metadata.namespace of a manifest, or "".

    Never an error: it is read before the caller's rights are checked.
    """
    metadata = content.get("metadata") if isinstance(content, dict) else None
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    return namespace if isinstance(namespace, str) else ""


# Paths in a Secret that a JSON patch may read without the right to the Secret's values.
_READABLE_PATHS = re.compile(
    r"/(kind|apiVersion|type|immutable"
    r"|metadata/(name|namespace|uid|resourceVersion|labels(/[^/]*)?))"
)


def looks_at_values(steps: object) -> bool:
    """Whether a JSON patch of a Secret compares, copies or moves what may be one of its values.

    False for what is no list of steps: the API server refuses it.
    """
    if not isinstance(steps, list):
        return False
    return any(_reads_value(step) for step in steps if isinstance(step, dict))


def _reads_value(step: Object) -> bool:
    operation = step.get("op")
    if operation not in ("test", "copy", "move"):
        return False
    # test would tell whether a guess is right, copy and move would put the value into a label.
    path = step.get("path" if operation == "test" else "from")
    return not (isinstance(path, str) and _READABLE_PATHS.fullmatch(path))


def is_secret(kind: Kind) -> bool:
    """Whether objects of the kind hold secret values."""
    return kind.plural == "secrets" and not kind.group


def masked_secret(raw: bytes) -> bytes:
    """A Secret's JSON with its keys, but masked values."""
    return orjson.dumps(mask_secret(orjson.loads(raw)))


def mask_secret(secret: Object, marks: Mapping[str, str] = MappingProxyType({})) -> Object:
    """A copy of a Secret with its keys, but masked values; `marks` are other masks by key.

    kubectl's last-applied-configuration has a copy of the values and is masked too.
    """
    masked = dict(secret)
    for field in SECRET_FIELDS:
        if isinstance(masked.get(field), dict):
            masked[field] = {key: marks.get(key, MASK) for key in masked[field]}
    metadata = masked.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(annotations, dict) and LAST_APPLIED in annotations:
        masked["metadata"] = {**metadata, "annotations": {**annotations, LAST_APPLIED: MASK}}
    return masked
