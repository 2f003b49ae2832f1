"""From stored JSON to what a client gets: objects, their metadata alone, and rows of tables.

Parts of an object that are not looked at pass through unparsed.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson

from clusters import tables
from clusters.kinds import Kind
from clusters.manifests import MASK, to_yaml
from clusters.resource_types import BUILT_IN, SECRETS
from clusters.tables import Column
from gateway.store.negotiation import Form, MediaType

CLUSTER_LABEL = "kubegale.io/cluster"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Values of a Secret are base64: clients with types refuse others.
_MASKED_VALUE = base64.b64encode(MASK.encode()).decode()
CLUSTER_COLUMN = Column(
    "Cluster",
    lambda obj, now: (obj["metadata"].get("annotations") or {}).get(
        CLUSTER_LABEL,
        "",
    ),
    description="The cluster in which the object is.",
)


@dataclass(frozen=True, slots=True)
class Formatter:
    """How objects of one kind are written for one client.

    `columns` are those of a table; `include` is its includeObject: None, Metadata or Object.
    `fleet`: objects bear the name of their cluster. `now` is what ages count from.
    """

    kind: Kind
    media: MediaType
    fleet: bool
    now: datetime
    columns: tuple[Column, ...] = ()
    include: str = "Metadata"

    def object(
        self, data: bytes, cluster: str, version: str = "", *, in_list: bool = False
    ) -> bytes:
        """An object as JSON; `version` is its resourceVersion, "" leaves the cluster's.

        In lists Kubernetes' own kinds are without `kind` and `apiVersion`.
        """
        parts = self._edited(data, cluster, version)
        if self.media.form is Form.METADATA:
            return msgspec.json.encode(
                _partial(
                    parts["metadata"],
                    self.media.version,
                )
            )
        if in_list and self.kind.group in BUILT_IN:
            parts.pop("kind", None)
            parts.pop("apiVersion", None)
        return msgspec.json.encode(parts)

    def row(
        self,
        data: bytes,
        cluster: str,
        version: str = "",
    ) -> bytes:
        """The row of a table."""
        raw = msgspec.json.encode(self._edited(data, cluster, version))
        obj = orjson.loads(raw)
        table_row: dict[str, Any] = {
            "cells": tables.cells(
                obj,
                self.columns,
                self.now,
            )
        }
        if conditions := tables.conditions_of_row(self.kind, obj):
            table_row["conditions"] = conditions
        if self.include == "Object":
            table_row["object"] = orjson.Fragment(raw)
        elif self.include != "None":
            table_row["object"] = _partial(
                obj["metadata"],
                self.media.version,
            )
        return orjson.dumps(table_row)

    def table(
        self,
        rows: Sequence[bytes],
        metadata: dict[str, str],
    ) -> bytes:
        """A whole table, e.g. of one object."""
        return b"".join((self.table_head, b",".join(rows), self.table_end(metadata)))

    @property
    def table_head(self) -> bytes:
        """What stands before the rows of a table."""
        head = {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self.media.version}",
            "columnDefinitions": [column.definition for column in self.columns],
        }
        return orjson.dumps(head)[:-1] + b',"rows":['

    def table_end(self, metadata: dict[str, str]) -> bytes:
        """What stands behind the rows: the metadata tells whether more follows."""
        return b'],"metadata":' + orjson.dumps(metadata) + b"}\n"

    @property
    def list_start(self) -> bytes:
        """What stands before the entries of a list."""
        if self.media.form is Form.TABLE:
            return self.table_head
        head = {"kind": f"{self.kind.name}List", "apiVersion": self.kind.api_version}
        if self.media.form is Form.METADATA:
            head = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{self.media.version}",
            }
        if self.media.is_yaml:
            return to_yaml(head).encode() + b"items:\n"
        return orjson.dumps(head)[:-1] + b',"items":['

    def list_entries(
        self,
        objects: Iterable[tuple[str, bytes]],
        version: str,
    ) -> bytes:
        """Some entries of a list, in one piece; `objects` are (cluster, JSON)."""
        if self.media.form is Form.TABLE:
            return b",".join(
                [
                    self.row(
                        data,
                        cluster,
                        version,
                    )
                    for cluster, data in objects
                ]
            )
        entries = [
            self.object(
                data,
                cluster,
                version,
                in_list=True,
            )
            for cluster, data in objects
        ]
        if self.media.is_yaml:
            return to_yaml([orjson.loads(entry) for entry in entries]).encode()
        return b",".join(entries)

    @property
    def separator(self) -> bytes:
        """What stands between two pieces of a list."""
        return b"" if self.media.is_yaml else b","

    def list_end(
        self,
        metadata: dict[str, str],
        *,
        is_empty: bool = False,
    ) -> bytes:
        """What stands behind the entries: the metadata tells whether more follows."""
        if self.media.is_yaml:
            empty = b"  []\n" if is_empty else b""
            return empty + to_yaml({"metadata": metadata}).encode()
        return self.table_end(metadata)

    def watch_event(
        self,
        event_type: str,
        data: bytes,
        cluster: str,
        version: str,
    ) -> bytes:
        """One event of a watch, with its line end."""
        if self.media.form is Form.TABLE:
            body = self.table(
                [self.row(data, cluster, version)],
                {"resourceVersion": version},
            )
        else:
            body = self.object(data, cluster, version)
        return _event(event_type, body)

    def bookmark(
        self,
        version: str,
        *,
        is_initial_end: bool = False,
    ) -> bytes:
        """A BOOKMARK event; `is_initial_end` says that all initial events were sent."""
        metadata: dict[str, Any] = {"resourceVersion": version}
        if is_initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        if self.media.form is Form.TABLE:
            # A bookmark's metadata is that of its only row's object.
            row = {
                "cells": [None] * len(self.columns),
                "object": _partial(
                    metadata,
                    "v1",
                ),
            }
            body = self.table(
                [orjson.dumps(row)],
                {"resourceVersion": version},
            )
        elif self.media.form is Form.METADATA:
            body = orjson.dumps(_partial(metadata, self.media.version))
        else:
            head = {"kind": self.kind.name, "apiVersion": self.kind.api_version}
            body = orjson.dumps({**head, "metadata": metadata})
        return _event("BOOKMARK", body)

    def _edited(
        self,
        data: bytes,
        cluster: str,
        version: str,
    ) -> dict[str, Any]:
        """The object's members: values of Secrets masked, the cluster and the version noted."""
        parts = _members(data)
        metadata = _regular_metadata(parts.get("metadata", b""))
        if self.fleet:
            annotations = _members(metadata.get("annotations", b""))
            metadata["annotations"] = {**annotations, CLUSTER_LABEL: cluster}
        if version:
            metadata["resourceVersion"] = version
        parts["metadata"] = metadata
        if self.kind.group in BUILT_IN:
            # Agents may have stored anything, and kubectl takes what has items for a list.
            parts.pop("items", None)
        for name, text in (("apiVersion", self.kind.api_version), ("kind", self.kind.name)):
            if not bytes(parts.get(name, b"")).lstrip().startswith(b'"'):
                parts[name] = text
        if (self.kind.group, self.kind.plural) == SECRETS:
            for member in ("data", "stringData"):
                if member in parts:
                    parts[member] = _masked(parts[member])
        return parts


def _members(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """The members of an object; {} for other values, as agents may have stored them."""
    text = bytes(raw).lstrip()
    return _PARTS.decode(text) if text.startswith(b"{") else {}


# How the JSON of what clients read of metadata begins in Kubernetes.
_METADATA_STARTS = {
    **dict.fromkeys(("name", "namespace", "uid", "resourceVersion"), b'"'),
    **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), b'"'),
    **dict.fromkeys(("labels", "annotations"), b"{"),
    **dict.fromkeys(("ownerReferences", "finalizers", "managedFields"), b"["),
}


def _regular_metadata(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    """The members of metadata, without those that agents have stored in another shape."""
    members = _members(raw)
    odd = [
        name
        for name, start in _METADATA_STARTS.items()
        if name in members and bytes(members[name]).lstrip()[:1] not in (start, b"n")
    ]
    for name in odd:
        del members[name]
    return members


def _masked(raw: msgspec.Raw) -> Any:
    """The keys of a Secret's values; what the store has instead of values is nobody's business."""
    values = orjson.loads(bytes(raw))
    return (
        dict.fromkeys(values, _MASKED_VALUE)
        if isinstance(
            values,
            dict,
        )
        else None
    )


def _partial(metadata: Any, version: str) -> dict[str, Any]:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
    }


def _event(event_type: str, body: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (event_type.encode(), body.rstrip(b"\n"))


def error_event(status: dict[str, Any]) -> bytes:
    """An ERROR event: why a watch ends."""
    return _event("ERROR", orjson.dumps(status))
