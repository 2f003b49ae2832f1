"""Storage: objects as JSON bytes, one revision counter, a bounded history, listeners."""

import base64
import binascii
import sys
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from simcluster.errors import ApiError, expired
from simcluster.resources import Object

HISTORY = 5000
# Kinds whose spec the API server writes even when it is empty.
ALWAYS_WITH_SPEC = frozenset({"nodes", "persistentvolumeclaims", "persistentvolumes"})
FIRST_REVISION = 1000
# Types of changes, as watches name them.
ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
_NO_LABELS: dict[str, str] = {}
Listener = Callable[["Change"], None]


class Record:
    """One stored object: its bytes, and the few parts that selectors and controllers ask for."""

    __slots__ = (
        "_fields",
        "key",
        "labels",
        "name",
        "namespace",
        "owner",
        "owners",
        "prefix",
        "raw",
        "revision",
        "uid",
    )

    def __init__(self, obj: Object, revision: int) -> None:
        meta = obj["metadata"]
        self.name: str = meta["name"]
        self.namespace: str = sys.intern(meta.get("namespace", ""))
        self.key = f"{self.namespace}/{self.name}"
        self.uid: str = meta["uid"]
        self.revision = revision
        self.labels: dict[str, str] = meta.get("labels") or _NO_LABELS
        references = meta.get("ownerReferences") or ()
        self.owners: tuple[str, ...] = tuple(ref["uid"] for ref in references)
        self.owner: str = next((ref["uid"] for ref in references if ref.get("controller")), "")
        # A copy of the exact size: orjson's own bytes keep their buffer, 8 KB for a small object.
        self.raw = bytes(memoryview(orjson.dumps(obj)))
        self.prefix = len(orjson.dumps({"kind": obj["kind"], "apiVersion": obj["apiVersion"]}))
        self._fields: dict[str, str] | None = None

    @property
    def obj(self) -> Object:
        """A fresh copy of the object; changing it changes nothing stored."""
        loaded: Object = orjson.loads(self.raw)
        return loaded

    @property
    def item(self) -> bytes:
        """The bytes as an item of a list of a built-in kind: without kind and apiVersion."""
        return b"{" + self.raw[self.prefix :]

    def field(self, path: str) -> str:
        """The value at a dotted path as a field selector sees it; empty when absent."""
        if self._fields is None:
            self._fields = {}
        if path not in self._fields:
            self._fields[path] = _value_at(self.obj, path)
        return self._fields[path]


def _value_at(obj: Object, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


class Change:
    """One event of the history; the bytes that watchers need are made once and shared."""

    __slots__ = ("_frames", "previous", "record", "revision", "storage", "type")

    def __init__(
        self,
        kind_of_change: str,
        storage: str,
        record: Record,
        previous: Record | None,
    ) -> None:
        self.type = kind_of_change
        self.storage = storage
        self.record = record
        self.previous = previous
        self.revision = record.revision
        self._frames: dict[Any, bytes] = {}

    def frame(self, key: Any, make: Callable[[], bytes]) -> bytes:
        """The bytes of this change in one representation."""
        data = self._frames.get(key)
        if data is None:
            data = self._frames[key] = make()
        return data


class Collection:
    """All objects of one kind, in the order of their keys, and their recent changes."""

    def __init__(self, history: int, compacted: int = FIRST_REVISION) -> None:
        self.records: dict[str, Record] = {}
        self.keys: list[str] = []
        self.children: dict[str, dict[str, Record]] = {}
        self.changes: deque[Change] = deque(maxlen=history)
        self.compacted = compacted

    def insert(self, record: Record) -> None:
        """Put a record in, in place of an older one."""
        old = self.records.get(record.key)
        if old is None:
            insort(self.keys, record.key)
        else:
            self._disown(old)
        self.records[record.key] = record
        for uid in record.owners:
            self.children.setdefault(uid, {})[record.key] = record

    def extend(self, records: list[Record]) -> None:
        """Put many records in at the price of one sort."""
        for record in records:
            self.records[record.key] = record
            for uid in record.owners:
                self.children.setdefault(uid, {})[record.key] = record
        self.keys = sorted(self.records)

    def discard(self, key: str) -> None:
        """Take a record out."""
        self._disown(self.records.pop(key))
        del self.keys[bisect_left(self.keys, key)]

    def _disown(self, record: Record) -> None:
        for uid in record.owners:
            owned = self.children.get(uid, {})
            owned.pop(record.key, None)
            if not owned:
                self.children.pop(uid, None)

    def remember(self, change: Change) -> None:
        """Append to the history; the oldest change is forgotten when it is full."""
        # The oldest change falls out: older revisions are Expired from now on.
        if self.changes.maxlen and len(self.changes) == self.changes.maxlen:
            self.compacted = self.changes[0].revision
        self.changes.append(change)

    def span(self, namespace: str | None) -> tuple[int, int]:
        """The range of `keys` that a namespace takes; all for None."""
        if namespace is None:
            return 0, len(self.keys)
        return bisect_left(self.keys, f"{namespace}/"), bisect_left(self.keys, f"{namespace}0")


class Store:
    """Everything the cluster knows. Not thread-safe: it belongs to the server's event loop."""

    def __init__(self, *, history: int = HISTORY) -> None:
        self.revision = FIRST_REVISION
        self.listeners: list[Listener] = []
        self._history = history
        # Nothing is known of what happened up to here.
        self._begin = FIRST_REVISION
        self._collections: dict[str, Collection] = {}

    def collection(self, storage: str) -> Collection:
        """The collection of a kind (`pods`, `deployments.apps`)."""
        collection = self._collections.get(storage)
        if collection is None:
            collection = self._collections[storage] = Collection(self._history, self._begin)
        return collection

    def storages(self) -> list[str]:
        """The kinds that have ever held an object."""
        return list(self._collections)

    def get(self, storage: str, namespace: str, name: str) -> Record | None:
        """One record, or None."""
        return self.collection(storage).records.get(f"{namespace}/{name}")

    def list(self, storage: str, namespace: str | None = None) -> Iterator[Record]:
        """The records of a kind in key order, of one namespace or of all."""
        collection = self.collection(storage)
        start, end = collection.span(namespace)
        return iter([collection.records[key] for key in collection.keys[start:end]])

    def owned(self, storage: str, uid: str) -> "Iterable[Record]":
        """The records of a kind that name an owner by uid."""
        return tuple(self.collection(storage).children.get(uid, {}).values())

    def put(self, storage: str, obj: Object) -> Record:
        """Write an object under a new revision and tell everybody."""
        collection = self.collection(storage)
        if storage in ALWAYS_WITH_SPEC:
            obj.setdefault("spec", {})
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        record = Record(obj, self.revision)
        previous = collection.records.get(record.key)
        collection.insert(record)
        self._publish(
            collection,
            Change(MODIFIED if previous else ADDED, storage, record, previous),
        )
        return record

    def remove(self, storage: str, namespace: str, name: str) -> Record:
        """Delete an object; the answer is its last state under the revision of its deletion."""
        collection = self.collection(storage)
        # A deletion has a revision of its own, which the last state carries.
        previous = collection.records[f"{namespace}/{name}"]
        collection.discard(previous.key)
        self.revision += 1
        obj = previous.obj
        obj["metadata"]["resourceVersion"] = str(self.revision)
        record = Record(obj, self.revision)
        self._publish(collection, Change(DELETED, storage, record, previous))
        return record

    def load(self, storage: str, objects: "Iterable[Object]") -> int:
        """Write many new objects at once, each with its own revision; returns how many."""
        collection = self.collection(storage)
        records = []
        for obj in objects:
            self.revision += 1
            obj["metadata"]["resourceVersion"] = str(self.revision)
            records.append(Record(obj, self.revision))
        collection.extend(records)
        for record in records:
            self._publish(collection, Change(ADDED, storage, record, None))
        return len(records)

    def restore(self, revision: int, pairs: "Iterable[tuple[str, Record]]") -> None:
        """Fill an empty store with earlier records; history begins at the revision."""
        self.revision = self._begin = revision
        by_storage: dict[str, list[Record]] = {}
        for storage, record in pairs:
            by_storage.setdefault(storage, []).append(record)
        for storage, records in by_storage.items():
            self.collection(storage).extend(records)
        # Listeners see each record as added, as a controller does after its first list; the
        # history stays empty, so that no watch sees such an event.
        for storage, records in by_storage.items():
            for record in records:
                for listener in self.listeners:
                    listener(Change(ADDED, storage, record, None))

    def compact(self) -> None:
        """Forget all history: older resourceVersions are Expired from now on."""
        for collection in self._collections.values():
            collection.changes.clear()
            collection.compacted = self.revision

    def changes_after(self, storage: str, revision: int) -> "Sequence[Change]":
        """The changes of a kind after a revision; 410 when history does not reach back."""
        collection = self.collection(storage)
        if revision < collection.compacted:
            raise expired("watch")
        return [change for change in collection.changes if change.revision > revision]

    def as_of(self, storage: str, revision: int) -> dict[str, Record]:
        """The records of a kind at a revision; 410 when history does not reach back."""
        collection = self.collection(storage)
        if revision < collection.compacted:
            raise expired("list")
        if (
            revision >= self.revision
            or not collection.changes
            or collection.changes[-1].revision <= revision
        ):
            return collection.records
        records = dict(collection.records)
        for change in reversed(collection.changes):
            if change.revision <= revision:
                break
            # Undo the history from its end: an addition is taken out, a change or deletion put
            # back.
            if change.previous is None:
                records.pop(change.record.key, None)
            else:
                records[change.record.key] = change.previous
        return records

    def _publish(self, collection: Collection, change: Change) -> None:
        collection.remember(change)
        for listener in self.listeners:
            listener(change)


def continue_token(revision: int, start: str) -> str:
    """The `continue` token after the key `start`."""
    text = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start + "\0"})
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_continue(token: str) -> tuple[int, str]:
    """The revision and the last key of a `continue` token; 400 when it is not one of ours."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        document = orjson.loads(raw)
        return int(document["rv"]), str(document["start"]).rstrip("\0")
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise ApiError(
            400,
            "BadRequest",
            f"invalid continue token: continue key is not valid: {_why_not_json(token, error)}",
        ) from error


def _why_not_json(token: str, error: Exception) -> str:
    try:
        first = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:1].decode("latin-1")
    except (binascii.Error, ValueError):
        return "illegal base64 data at input byte 0"
    if not first:
        return str(error)
    letter = first if first.isprintable() else f"\\u{ord(first):04x}"
    return f"invalid character '{letter}' looking for beginning of value"
