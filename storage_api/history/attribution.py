"""Who made a change: out of our own audit trail where it went through us, else out of what the cluster says in managedFields.

Of managedFields only the entries with the newest time are kept beside a version, as a JSON list of [manager, operation, subresource, time].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

MOST_WRITERS = 4
# What the API server calls a writer that says no name of its own is taken from its User-Agent.
OURS = "kubegale"
# managedFields have whole seconds of the cluster's clock; a watch delivers a little after that.
SLACK = timedelta(seconds=10)
DELETION = timedelta(minutes=10)


def newest_writers(obj: dict[str, Any]) -> bytes | None:
    """What is kept of an object's managedFields; None when it has none."""
    metadata = obj.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    found = (
        [entry for entry in entries if isinstance(entry, dict) and entry.get("manager")]
        if isinstance(entries, list)
        else []
    )
    if not found:
        return None
    newest = max(str(entry.get("time") or "") for entry in found)
    writers = [
        [str(entry.get(name) or "") for name in ("manager", "operation", "subresource", "time")]
        for entry in found
        if str(entry.get("time") or "") == newest
    ]
    return orjson.dumps(writers[:MOST_WRITERS])


@dataclass(frozen=True, slots=True)
class Deed:
    """A line of our audit trail about an object; uid and resource_version are "" where they were not noted."""

    at: datetime
    user: str
    verb: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change whose author is asked for; the writers as they are kept, of it and of the version before."""

    at: datetime
    op: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    written_by: str | None
    written_before: str | None


def author(change: Change, deeds: Iterable[Deed]) -> dict[str, Any] | None:
    """{"source":"audit|managedFields","user","verb","manager","operation","subresource","at"}; None when nobody can be named."""
    claims = [] if change.op == "delete" else _claims(change)
    mine = [
        deed
        for deed in deeds
        if (deed.namespace, deed.name) == (change.namespace, change.name)
        and _same(deed.uid, change.uid)
    ]
    deed = _deletion(change, mine) if change.op == "delete" else _write(change, mine, claims)
    manager, operation, subresource, time = claims[0] if claims else (None, None, None, None)
    if deed is None and manager is None:
        return None
    return {
        "source": "audit" if deed else "managedFields",
        "user": deed.user if deed else None,
        "verb": deed.verb if deed else None,
        "manager": manager,
        "operation": operation,
        "subresource": subresource or None,
        "at": f"{deed.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if deed else time or None,
    }


def _same(noted: str, uid: str) -> bool:
    return not noted or not uid or noted == uid


def _claims(change: Change) -> Sequence[tuple[str, str, str, str]]:
    """The writers that this version names and the one before did not; those of a second in which both were made count too."""
    known = {tuple(entry) for entry in orjson.loads(change.written_before or "[]")}
    entries = [tuple(entry) for entry in orjson.loads(change.written_by or "[]")]
    fresh = [entry for entry in entries if entry not in known]
    return fresh or [entry for entry in entries if _is_near(entry[3], change.at)]


def _is_near(text: str, at: datetime) -> bool:
    try:
        return abs(datetime.fromisoformat(text) - at) <= SLACK
    except (ValueError, TypeError):
        return False


def _write(
    change: Change, deeds: Sequence[Deed], claims: Sequence[tuple[str, str, str, str]]
) -> Deed | None:
    """The deed that answered with this very version; else, where the cluster names us or nobody, the one nearest in time."""
    exact = [
        deed
        for deed in deeds
        if deed.resource_version and deed.resource_version == change.resource_version
    ]
    if exact:
        return exact[0]
    if claims and all(entry[0] != OURS for entry in claims):
        return None
    near = [
        deed
        for deed in deeds
        if not deed.resource_version and deed.verb != "delete" and abs(deed.at - change.at) <= SLACK
    ]
    return min(near, key=lambda deed: abs(deed.at - change.at), default=None)


def _deletion(change: Change, deeds: Sequence[Deed]) -> Deed | None:
    """The last deletion asked for before the object was gone: that can take a while."""
    asked = [
        deed
        for deed in deeds
        if deed.verb in ("delete", "evict", "restart") and change.at - deed.at >= -SLACK
    ]
    asked = [
        deed
        for deed in asked
        if change.at - deed.at <= DELETION or (deed.uid and deed.uid == change.uid)
    ]
    return max(asked, key=lambda deed: deed.at, default=None)
