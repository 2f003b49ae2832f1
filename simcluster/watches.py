"""Watches: every change after a resourceVersion, exactly once, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

import orjson

from simcluster import conversion, tables
from simcluster.errors import ApiError, bad_request
from simcluster.lists import check_not_too_new
from simcluster.registry import Registry
from simcluster.requests import Accepted, Target, integer, is_true
from simcluster.resources import Object, Resource
from simcluster.selectors import RecordTest, combined
from simcluster.store import ADDED, DELETED, MODIFIED, Change, Record
from simcluster.tables.cells import Column

BOOKMARK_EVERY = 60.0
BACKLOG = 200_000


class Hub:
    """Hands every change to the watchers of its kind."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}

    def publish(self, change: Change) -> None:
        """Pass a change on; called once per change."""
        for watcher in self._watchers.get(change.storage, ()):
            watcher.push(change)

    def join(self, storage: str, watcher: "Watcher") -> None:
        """Start handing changes of a kind to a watcher."""
        self._watchers.setdefault(storage, set()).add(watcher)

    def leave(self, storage: str, watcher: "Watcher") -> None:
        """Stop."""
        self._watchers.get(storage, set()).discard(watcher)

    @property
    def count(self) -> int:
        """How many watches are open."""
        return sum(len(watchers) for watchers in self._watchers.values())

    def cut(self) -> None:
        """End every open watch, as a restarting API server does."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.close()


class Watcher:
    """One watch's queue of changes."""

    def __init__(self) -> None:
        self._queue: deque[Change] = deque()
        self._wake = asyncio.Event()
        self.closed = False

    def push(self, change: Change) -> None:
        """Append a change; a watcher that has fallen hopelessly behind is cut off."""
        self._queue.append(change)
        # A reader that never catches up would hold all changes in memory.
        if len(self._queue) > BACKLOG:
            self.closed = True
        self._wake.set()

    @property
    def pending(self) -> bool:
        """Whether changes wait to be taken: no bookmark may overtake them."""
        return bool(self._queue)

    def close(self) -> None:
        """End the watch."""
        self.closed = True
        self._wake.set()

    async def take(self, timeout: float) -> list[Change]:
        """What has come in, at the latest after the timeout (seconds)."""
        if not self._queue and not self.closed:
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                return []
        self._wake.clear()
        changes = list(self._queue)
        self._queue.clear()
        return changes


class Frames:
    """Makes the lines of one watch; what many watches share is made once."""

    def __init__(
        self,
        target: Target,
        accept: Accepted,
        *,
        include: str,
        columns: tuple[Column, ...],
        test: RecordTest | None,
    ) -> None:
        self.resource = target.resource
        self.namespace = target.scope
        self.name = target.name
        self.accept = accept
        self.include = include
        self.columns = columns
        self.test = test

    def sees(self, record: Record | None) -> bool:
        """Whether the watch's selectors and scope hold a record."""
        if record is None or (self.namespace is not None and record.namespace != self.namespace):
            return False
        # `metadata.name` as a field selector is how kubectl watches a single object.
        if self.name and record.name != self.name:
            return False
        return self.test is None or self.test(record)

    def of_change(self, change: Change) -> bytes | None:
        """The line of a change; None when the watch does not see it."""
        before = self.sees(change.previous)
        now = self.sees(change.record)
        if change.type == DELETED:
            kind = DELETED
            visible = before or (change.previous is None and now)
        elif now:
            kind = MODIFIED if before else ADDED
            visible = True
        else:
            # An object that no longer matches the selector is deleted for this watch.
            kind = DELETED
            visible = before
        if not visible:
            return None
        # Watches of the same form share the bytes: 500 of them cost one encoding.
        key = (kind, self.resource.group_version, self.accept.form, self.include)
        return change.frame(key, lambda: self.line(kind, change.record))

    def line(self, kind: str, record: Record) -> bytes:
        """One line for a record."""
        return b'{"type":"' + kind.encode() + b'","object":' + self._body(record) + b"}\n"

    def _body(self, record: Record) -> bytes:
        if self.accept.form == "Table":
            rows = [
                tables.row(
                    conversion.from_storage(self.resource, record.obj),
                    self.columns,
                    self.include,
                )
            ]
            return orjson.dumps(
                tables.table(rows, self.columns, {"resourceVersion": str(record.revision)})
            )
        if self.accept.partial:
            return orjson.dumps(tables.partial(record.obj))
        if conversion.item_bytes(self.resource, record) is not None:
            return record.raw
        return orjson.dumps(conversion.from_storage(self.resource, record.obj))

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """A BOOKMARK line."""
        metadata: Object = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj = {
            "kind": self.resource.kind,
            "apiVersion": self.resource.group_version,
            "metadata": metadata,
        }
        if self.accept.form == "Table":
            rows = [
                {
                    "cells": [None] * len(self.columns),
                    "object": {
                        "kind": "PartialObjectMetadata",
                        "apiVersion": "meta.k8s.io/v1",
                        "metadata": metadata,
                    },
                }
            ]
            obj = tables.table(rows, self.columns, {"resourceVersion": str(revision)})
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"


def error_line(error: ApiError) -> bytes:
    """An ERROR line."""
    return orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n"


def begin(
    registry: Registry,
    target: Target,
    query: Mapping[str, str],
    frames: Frames,
    hub: Hub,
) -> tuple[Watcher, bytes]:
    """The watcher of a request, joined to the hub, and its first lines; ApiError 400, 410 or 504.

    Both happen in one step of the event loop, so that no change is lost between them.
    """
    store = registry.store
    resource = target.resource
    revision = integer(query, "resourceVersion") or 0
    initial = is_true(query.get("sendInitialEvents"))
    if initial and query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request(
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    check_not_too_new(query, store.revision)
    lines = []
    if initial or not revision:
        if query.get("sendInitialEvents") not in ("false", "0"):
            lines = [
                frames.line(ADDED, record)
                for record in store.list(resource.storage, target.scope)
                if frames.sees(record)
            ]
        # The bookmark that ends the initial events is how client-go knows that its list is
        # complete.
        if initial and is_true(query.get("allowWatchBookmarks")):
            lines.append(frames.bookmark(store.revision, initial_end=True))
    else:
        lines = [
            line
            for change in store.changes_after(resource.storage, revision)
            if (line := frames.of_change(change))
        ]
    # From this line to the next no change can happen: nothing here awaits.
    watcher = Watcher()
    hub.join(resource.storage, watcher)
    return watcher, b"".join(lines)


async def stream(
    watcher: Watcher,
    frames: Frames,
    *,
    seconds: float,
    bookmarks: bool,
    revision: Callable[[], int],
    bookmark_every: float = BOOKMARK_EVERY,
) -> AsyncIterator[bytes]:
    """The lines as they come, until the time-out (seconds) or the end of the watch."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    next_bookmark = loop.time() + bookmark_every
    while not watcher.closed:
        until = min(deadline, next_bookmark) if bookmarks else deadline
        changes = await watcher.take(max(until - loop.time(), 0.0))
        body = b"".join([line for change in changes if (line := frames.of_change(change))])
        if body:
            yield body
        if loop.time() >= deadline:
            return
        # A bookmark promises that everything up to it was sent.
        if bookmarks and loop.time() >= next_bookmark and not watcher.pending:
            next_bookmark = loop.time() + bookmark_every
            yield frames.bookmark(revision())


def frames_for(
    target: Target,
    query: Mapping[str, str],
    accept: Accepted,
    columns: tuple[Column, ...],
) -> Frames:
    """The line maker of a watch request."""
    resource: Resource = target.resource
    return Frames(
        target,
        accept,
        include=query.get("includeObject", "Metadata"),
        columns=columns,
        test=combined(resource, query),
    )
