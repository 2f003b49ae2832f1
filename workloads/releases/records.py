"""One record of a Helm release: what Helm 3 stores in a Secret or ConfigMap for each revision.

Helm's pkg/storage/driver: `data.release` is base64 of gzip of JSON (of plain JSON before Helm 3);
in a Secret it is base64 once more.
"""

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from clusters.manifests import MASK, Object
from core.errors import Invalid
from core.jsontext import check_shape
from workloads.manifests.documents import as_text
from workloads.topology.references import mapping

# Unpacked bytes of one record; a Secret holds 1 MiB at most, so only a bomb reaches this.
MAX_BYTES = 8 * 1024 * 1024
MAX_NODES = 1_000_000
GZIP_MAGIC = b"\x1f\x8b\x08"
# What zlib adds for a gzip header.
GZIP_WINDOW = zlib.MAX_WBITS | 16
BROKEN = "broken"
TOO_LARGE = "too large"


class RecordError(Exception):
    """A record that cannot be read; `reason` is BROKEN or TOO_LARGE."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RecordHead:
    """What the labels of a record say: enough to list releases without reading their content."""

    kind: str
    object_name: str
    namespace: str
    name: str
    revision: int
    status: str
    created: str

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name) of the release."""
        return self.namespace, self.name


def head_of(kind: str, obj: Mapping[str, Any]) -> RecordHead | None:
    """The head of a record out of its metadata; None for an object that is no record."""
    metadata = obj.get("metadata") or {}
    labels = metadata.get("labels") or {}
    version = str(labels.get("version") or "")
    name = str(labels.get("name") or "")
    # Longer digits are no revision, and Python would take its time to read them.
    if not name or not version.isascii() or not version.isdigit() or len(version) > 9:
        return None
    return RecordHead(
        kind,
        str(metadata.get("name") or ""),
        str(metadata.get("namespace") or ""),
        name,
        int(version),
        str(labels.get("status") or "unknown"),
        str(metadata.get("creationTimestamp") or ""),
    )


def decode(obj: Mapping[str, Any]) -> Object:
    """The release in a record's object; RecordError for one that is broken or too large."""
    data = obj.get("data")
    text = data.get("release") if isinstance(data, dict) else None
    if not isinstance(text, str):
        raise RecordError(BROKEN)
    try:
        packed = base64.b64decode(text, validate=True)
        if obj.get("kind") == "Secret":
            packed = base64.b64decode(packed, validate=True)
        content = _unpack(packed)
        # Refuses what is nested so deep that reading it would end the thread.
        check_shape(content, nodes=MAX_NODES)
        release = orjson.loads(content)
    except (binascii.Error, ValueError, zlib.error, Invalid):
        raise RecordError(BROKEN) from None
    if not isinstance(release, dict) or not isinstance(release.get("chart") or {}, dict):
        raise RecordError(BROKEN)
    return release


def _unpack(packed: bytes) -> bytes:
    if not packed.startswith(GZIP_MAGIC):
        if len(packed) > MAX_BYTES:
            raise RecordError(TOO_LARGE)
        return packed
    unpacking = zlib.decompressobj(GZIP_WINDOW)
    content = unpacking.decompress(packed, MAX_BYTES + 1)
    if len(content) > MAX_BYTES or unpacking.unconsumed_tail:
        raise RecordError(TOO_LARGE)
    if not unpacking.eof:
        raise RecordError(BROKEN)
    return content


def summary(head: RecordHead, release: Object | None, error: str = "") -> dict[str, Any]:
    """{"name","namespace","revision","status","chart","version","app_version","updated",
    "description"}, and "error" for a record that cannot be read.
    """
    info = mapping(release, "info")
    chart = mapping(release, "chart", "metadata")
    row: dict[str, Any] = {
        "name": head.name,
        "namespace": head.namespace,
        "revision": head.revision,
        "status": as_text(info.get("status")) or head.status,
        "chart": as_text(chart.get("name")),
        "version": as_text(chart.get("version")),
        "app_version": as_text(chart.get("appVersion")),
        "updated": as_text(info.get("last_deployed")) or head.created,
        "description": as_text(info.get("description")),
    }
    if error:
        row["error"] = error
    return row


def values_of(release: Object) -> dict[str, Any]:
    """The values that the user gave."""
    return dict(mapping(release, "config"))


def computed_values_of(release: Object) -> dict[str, Any]:
    """The chart's values with the user's over them, as `helm get values --all` prints them."""
    return _coalesce(mapping(release, "chart", "values"), mapping(release, "config"))


def _coalesce(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Helm's rule: mappings are merged, all else is replaced, null removes a default."""
    merged = dict(defaults)
    for name, value in values.items():
        default = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(default, dict):
            merged[name] = _coalesce(default, value)
        else:
            merged[name] = value
    return merged


def masked(value: Any) -> Any:
    """The same mappings and lists with every other value masked."""
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value if value is None else MASK


def check_revision(value: str, field: str) -> int:
    """A revision out of a query; Invalid unless it is a positive number."""
    if not (value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value)):
        raise Invalid(f"{field} must be the number of a revision", field=field)
    return int(value)


def newest(heads: Iterator[RecordHead]) -> dict[tuple[str, str], RecordHead]:
    """The head of the last revision of each release."""
    latest: dict[tuple[str, str], RecordHead] = {}
    for head in heads:
        known = latest.get(head.key)
        if known is None or head.revision > known.revision:
            latest[head.key] = head
    return latest
