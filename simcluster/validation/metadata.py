"""Rules of names, labels and annotations."""

import re
from collections.abc import Iterator
from typing import Any

from simcluster.resources import Object, Resource
from simcluster.validation.causes import Cause, bad_value, forbidden, required

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_OLD_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_KEY_NAME = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")

LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric "
    "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
    "or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
OLD_LABEL_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "
    "an alphabetic character, and end with an "
    "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
    "or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

# Kinds whose names are labels, by collection; others are subdomains, RBAC's path segments.
_LABEL_NAMES = {"namespaces", "replicationcontrollers"}
_OLD_LABEL_NAMES = {"services"}
_STANDARD_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
_MAX_ANNOTATIONS = 256 * 1024


def label_causes(field: str, value: str) -> Iterator[Cause]:
    """Rules of an RFC 1123 label."""
    if len(value) > 63:
        yield bad_value(field, value, "must be no more than 63 characters")
    elif not _LABEL.match(value):
        yield bad_value(field, value, LABEL_RULE)


def subdomain_causes(field: str, value: str) -> Iterator[Cause]:
    """Rules of an RFC 1123 subdomain."""
    if len(value) > 253:
        yield bad_value(field, value, "must be no more than 253 characters")
    elif not _SUBDOMAIN.match(value):
        yield bad_value(field, value, SUBDOMAIN_RULE)


def _name_causes(resource: Resource, name: str) -> Iterator[Cause]:
    field = "metadata.name"
    if resource.group == "rbac.authorization.k8s.io":
        if name in (".", "..") or "/" in name or "%" in name:
            yield bad_value(
                field,
                name,
                "may not contain '/' or '%'" if name not in (".", "..") else f"may not be '{name}'",
            )
    elif resource.storage in _LABEL_NAMES:
        yield from label_causes(field, name)
    elif resource.storage in _OLD_LABEL_NAMES:
        if len(name) > 63:
            yield bad_value(field, name, "must be no more than 63 characters")
        elif not _OLD_LABEL.match(name):
            yield bad_value(field, name, OLD_LABEL_RULE)
    elif resource.storage != "events":
        yield from subdomain_causes(field, name)
    # The names of its Jobs get eleven characters more and must fit 63.
    if resource.storage == "cronjobs.batch" and len(name) > 52:
        yield bad_value(field, name, "must be no more than 52 characters")


def label_map_causes(field: str, labels: Any) -> Iterator[Cause]:
    """Rules of a map of labels."""
    for key, value in (labels or {}).items():
        yield from key_causes(field, key)
        if len(value) > 63:
            yield bad_value(field, value, "must be no more than 63 characters")
        elif not _VALUE.match(value):
            yield bad_value(field, value, _VALUE_RULE)


def key_causes(field: str, key: str) -> Iterator[Cause]:
    """Rules of a qualified name, as keys of labels and annotations are."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.match(prefix):
        yield bad_value(
            field,
            key,
            f"prefix part {SUBDOMAIN_RULE}" if prefix else "prefix part must be non-empty",
        )
    if len(name) > 63:
        yield bad_value(field, key, "name part must be no more than 63 characters")
    elif not name:
        yield bad_value(field, key, "name part must be non-empty")
    elif not _KEY_NAME.match(name):
        yield bad_value(field, key, _KEY_RULE)


def metadata_causes(resource: Resource, obj: Object) -> Iterator[Cause]:
    """Rules of an object's metadata."""
    meta = obj["metadata"]
    name = meta.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from _name_causes(resource, name)
    yield from label_map_causes("metadata.labels", meta.get("labels"))
    annotations = meta.get("annotations") or {}
    for key in annotations:
        # As in Kubernetes the case of an annotation's key does not matter.
        yield from key_causes("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        yield Cause(
            "FieldValueTooLong",
            f"Too long: may not be more than {_MAX_ANNOTATIONS} bytes",
            "metadata.annotations",
        )
    for at, reference in enumerate(meta.get("ownerReferences") or ()):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(key):
                yield bad_value(
                    f"metadata.ownerReferences[{at}].{key}",
                    "",
                    "must not be empty" if key != "apiVersion" else "version must not be empty",
                )
    # Custom kinds and their definitions come from operators with names of their own.
    standard = not resource.custom and resource.group != "apiextensions.k8s.io"
    yield from finalizer_causes(
        "metadata.finalizers", meta.get("finalizers") or [], standard=standard
    )


def finalizer_causes(
    field: str, finalizers: list[str], *, standard: bool = True
) -> Iterator[Cause]:
    """Rules of finalizers; `standard` refuses unknown names without a prefix."""
    for index, finalizer in enumerate(finalizers):
        yield from key_causes(f"{field}[{index}]", finalizer)
        if standard and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield bad_value(f"{field}[{index}]", finalizer, why)


def same_metadata_causes(obj: Object, old: Object) -> Iterator[Cause]:
    """What an update may not change in the metadata."""
    meta = obj["metadata"]
    before = old["metadata"]
    if before.get("deletionTimestamp"):
        added = [
            finalizer
            for finalizer in meta.get("finalizers") or ()
            if finalizer not in (before.get("finalizers") or ())
        ]
        if added:
            names = ", ".join(f'"{finalizer}"' for finalizer in added)
            why = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{names}}}"
            )
            yield forbidden("metadata.finalizers", why)
