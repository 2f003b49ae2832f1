"""Who made a change: the audit trail says it of writes through KubeGale, managedFields of others.

Of managedFields only the entries with the newest time are stored with a version, as a JSON list
of [manager, operation, subresource, time].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import orjson

MOST_WRITERS = 4
# A writer that gives no fieldManager gets one from the API server, out of its User-Agent: ours.
OWN_MANAGER = "kubegale"
# managedFields have whole seconds of the cluster's clock, and a watch delivers a little later.
SLACK = timedelta(seconds=10)
# How long before the end of an object its deletion may have been requested (grace periods).
DELETION = timedelta(minutes=10)

# (manager, operation, subresource, time), each "" where managedFields do not say it.
Writer: TypeAlias = tuple[str, str, str, str]


def newest_writers(manifest: dict[str, Any]) -> bytes | None:
    """The newest entries of an object's managedFields as JSON; None when it has none."""
    metadata = manifest.get("metadata")
    managed_fields = metadata.get("managedFields") if isinstance(metadata, dict) else None
    if not isinstance(managed_fields, list):
        return None
    entries = [
        entry for entry in managed_fields if isinstance(entry, dict) and entry.get("manager")
    ]
    if not entries:
        return None
    newest = max(str(entry.get("time") or "") for entry in entries)
    writers = [
        [str(entry.get(name) or "") for name in ("manager", "operation", "subresource", "time")]
        for entry in entries
        if str(entry.get("time") or "") == newest
    ]
    return orjson.dumps(writers[:MOST_WRITERS])


@dataclass(frozen=True, slots=True)
class AuditedWrite:
    """A line of the audit trail about an object.

    `uid` and `resource_version` are "" where the trail does not have them.
    """

    at: datetime
    user: str
    verb: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributedChange:
    """One change whose author is looked for.

    `written_by` and `written_before` are what `newest_writers` gave for this version and for the
    version before.
    """

    at: datetime
    op: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    written_by: str | None
    written_before: str | None


def author(change: AttributedChange, writes: Iterable[AuditedWrite]) -> dict[str, Any] | None:
    """Who made the change, or None when nothing says it.

    {"source": "audit" or "managedFields", "user", "verb", "manager", "operation", "subresource",
    "at"}; user and verb are None for managedFields, manager and operation where these say nothing.
    """
    same_object = [
        write
        for write in writes
        if (write.namespace, write.name) == (change.namespace, change.name)
        and _may_be_same(write.uid, change.uid)
    ]
    if change.op == "delete":
        # managedFields of a deleted object name its last writer, not who deleted it.
        writers: Sequence[Writer] = []
        write = _find_deletion(change, same_object)
    else:
        writers = _new_writers(change)
        write = _find_write(change, same_object, writers)
    if write is None and not writers:
        return None
    manager, operation, subresource, time = writers[0] if writers else (None, None, None, None)
    return {
        "source": "audit" if write else "managedFields",
        "user": write.user if write else None,
        "verb": write.verb if write else None,
        "manager": manager,
        "operation": operation,
        "subresource": subresource or None,
        "at": f"{write.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if write else time or None,
    }


def _may_be_same(audited_uid: str, uid: str) -> bool:
    return not audited_uid or not uid or audited_uid == uid


def _new_writers(change: AttributedChange) -> list[Writer]:
    """The writers of this version that the version before did not have.

    Two writes of one manager within a second leave the same entry: then those near in time count.
    """
    before = {tuple(entry) for entry in orjson.loads(change.written_before or "[]")}
    entries: list[Writer] = [tuple(entry) for entry in orjson.loads(change.written_by or "[]")]
    new_entries = [entry for entry in entries if entry not in before]
    return new_entries or [entry for entry in entries if _is_near(entry[3], change.at)]


def _is_near(text: str, at: datetime) -> bool:
    try:
        return abs(datetime.fromisoformat(text) - at) <= SLACK
    except (ValueError, TypeError):
        # managedFields may be without a time, or with one that has no offset.
        return False


def _find_write(
    change: AttributedChange, writes: Sequence[AuditedWrite], writers: Sequence[Writer]
) -> AuditedWrite | None:
    """The write that was answered with this very version, else the nearest in time.

    The nearest counts only when the cluster names us, or no manager, as the writer.
    """
    for write in writes:
        if write.resource_version and write.resource_version == change.resource_version:
            return write
    if writers and all(manager != OWN_MANAGER for manager, *_ in writers):
        return None
    near = [
        write
        for write in writes
        if not write.resource_version
        and write.verb != "delete"
        and abs(write.at - change.at) <= SLACK
    ]
    return min(
        near,
        key=lambda write: abs(write.at - change.at),
        default=None,
    )


def _find_deletion(change: AttributedChange, writes: Sequence[AuditedWrite]) -> AuditedWrite | None:
    """The last deletion that was requested before the object disappeared: that can take a while."""
    deletions = [
        write
        for write in writes
        if write.verb in ("delete", "evict", "restart") and change.at - write.at >= -SLACK
    ]
    # A finalizer can hold an object for days: then only its uid shows that it is the same.
    matching = [
        write
        for write in deletions
        if change.at - write.at <= DELETION or (write.uid and write.uid == change.uid)
    ]
    return max(matching, key=lambda write: write.at, default=None)
