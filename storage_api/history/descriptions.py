"""Versions of objects in words: who made each, and how it differs from the one before."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from access import audit
from clusters.differences import differences
from clusters.kinds import Kind
from clusters.manifests import MASK
from clusters.models import Cluster
from clusters.resource_types import SECRETS
from core.times import rfc3339
from operations import reading
from storage_api import protection
from storage_api.history import attribution
from storage_api.history.as_of import Version
from storage_api.history.attribution import AttributedChange, AuditedWrite


def audited_writes(cluster: Cluster, kind: Kind, versions: Sequence[Version]) -> list[AuditedWrite]:
    """What the audit trail and operations say about these objects around these times."""
    if not versions:
        return []
    # An object disappears up to its grace period after the call that deleted it.
    since = min(version.at for version in versions) - attribution.DELETION
    until = max(version.at for version in versions) + attribution.SLACK
    names = {(version.namespace, version.name) for version in versions}
    lines: Iterable[Mapping[str, Any]] = audit.list_writes(
        cluster.pk, (kind.group, kind.plural), names, since=since, until=until
    )
    uids = {version.uid for version in versions if version.uid}
    operation_lines = reading.audit_lines(
        cluster.pk,
        uids,
        since=since,
        until=until,
    )
    return [AuditedWrite(**line) for line in (*lines, *operation_lines)]


def describe_version(
    version: Version,
    kind: Kind,
    writes: Iterable[AuditedWrite],
) -> dict[str, Any]:
    """The version as JSON data: when, what, who, and how it differs from the one before."""
    change = AttributedChange(
        at=version.at,
        op=version.op,
        namespace=version.namespace,
        name=version.name,
        uid=version.uid,
        resource_version=version.resource_version,
        written_by=version.written_by,
        written_before=version.written_before,
    )
    return {
        "seq": version.seq,
        "at": rfc3339(version.at, digits=3),
        "op": version.op,
        "kind": kind.name,
        "namespace": version.namespace,
        "name": version.name,
        "uid": version.uid,
        "resource_version": version.resource_version,
        "who": attribution.author(change, writes),
        "changes": _changes(version, kind),
    }


def _changes(version: Version, kind: Kind) -> list[dict[str, Any]] | None:
    """How the version differs from the one before; None when that is not there."""
    if version.data is None:
        return None
    # What was added or deleted differs in everything, which is no list of changes.
    if version.op != "change":
        return []
    if version.before is None:
        return None
    changes = differences(orjson.loads(version.before), orjson.loads(version.data))
    return mask_changes(changes, kind)


def mask_changes(changes: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """The changes without a Secret's values: only that they changed may be seen."""
    changes = protection.mask_sealed_value(changes)
    if (kind.group, kind.plural) != SECRETS:
        return changes
    masks = (
        # That a value changed may be seen; even its sealed form would allow comparisons.
        {"from": MASK, "to": MASK} if change["path"][0] in ("data", "stringData") else {}
        for change in changes
    )
    return [{**change, **mask} for change, mask in zip(changes, masks, strict=True)]
