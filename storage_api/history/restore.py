"""Bringing an object back to an old version: what that would change, what the API server says to it, and doing it."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from clusters import escalation, registry
from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.resource_types import SECRETS
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    TooManyRequests,
)
from storage_api.history import restore_plan
from storage_api.history.differences import differences
from storage_api.history.restore_plan import Plan
from storage_api.protection import holds_sealed


@dataclass(frozen=True, slots=True)
class Subject:
    """The object: `namespace` is "" for cluster-wide kinds."""

    cluster: Cluster
    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the API server says to a dry run: `made` is the object as it would be, None when it refuses."""

    made: Object | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Restoration:
    """An old version about to be written: over `live` (as bytes), or anew where that is None."""

    subject: Subject
    plan: Plan
    live: bytes | None
    verdict: Verdict

    @property
    def action(self) -> str:
        """create, replace, or unchanged when there is nothing to do."""
        if self.live is None:
            return "create"
        return "unchanged" if self.verdict.made is not None and not self.changes() else "replace"

    def changes(self) -> list[dict[str, Any]]:
        """How the object would differ from the live one, defaults filled in where the API server was willing to."""
        live = None if self.live is None else orjson.loads(self.live)
        after = self.plan.body if self.verdict.made is None else self.verdict.made
        return differences(restore_plan.comparable(live), restore_plan.comparable(after))

    def identity(self) -> str:
        """A digest of what would be written over what; the live object's resourceVersion is in it."""
        live = (orjson.loads(self.live)["metadata"] if self.live else {}).get("uid", "")
        return hashlib.sha256(
            orjson.dumps([live, self.plan.body], option=orjson.OPT_SORT_KEYS)
        ).hexdigest()


def check_kind(kind: Kind) -> None:
    """Invalid for Secrets."""
    if (kind.group, kind.plural) == SECRETS:
        raise Invalid(
            "a Secret cannot be restored: the store keeps keyed hashes of its values, not the values",
            field="kind",
            reason="hashed_values",
        )


def check_version(old: bytes) -> None:
    """Invalid for a version that holds a Secret's values: the store keeps them sealed, and gives them back to nobody's cluster."""
    if holds_sealed(old):
        raise Invalid(
            "this version holds the values of a Secret, which the store keeps sealed: it cannot be restored",
            field="seq",
            reason="sealed_values",
        )


def live(subject: Subject) -> bytes | None:
    """The object as it is now, None when it is gone; Conflict while it is being deleted."""
    try:
        found = registry.client(subject.cluster).get(
            subject.kind, subject.name, namespace=subject.namespace or None
        )
    except NotFound:
        return None
    if orjson.loads(found)["metadata"].get("deletionTimestamp"):
        raise Conflict(
            f'{subject.kind.plural} "{subject.name}" is being deleted; it can be restored once it is gone',
            reason="Conflict",
        )
    return found


def prepare(
    subject: Subject, old: bytes, now: bytes | None, *, unbounded: bool = False
) -> Restoration:
    """An old version made ready, and tried as a dry run; Forbidden when it gives more than an admin of the namespace may."""
    plan = restore_plan.plan(
        orjson.loads(old), None if now is None else orjson.loads(now), subject.kind
    )
    if not unbounded:
        escalation.check(
            registry.client(subject.cluster), subject.kind, plan.body, subject.namespace
        )
    try:
        verdict = Verdict(
            orjson.loads(_send(subject, plan.body, over=now is not None, dry_run=True))
        )
    except (ClusterUnavailable, TooManyRequests):
        raise
    except DomainError as error:
        verdict = Verdict(None, str(error.details.get("reason") or error.code), error.message)
    return Restoration(subject, plan, now, verdict)


def apply(restoration: Restoration) -> bytes:
    """Write it; the object's bytes. Conflict when the live object has changed since."""
    return _send(
        restoration.subject, restoration.plan.body, over=restoration.live is not None, dry_run=False
    )


def _send(subject: Subject, body: Object, *, over: bool, dry_run: bool) -> bytes:
    client, query = registry.client(subject.cluster), {"dryRun": "All"} if dry_run else {}
    if over:
        return client.replace(
            subject.kind, subject.name, body, namespace=subject.namespace or None, **query
        )
    return client.create(subject.kind, body, namespace=subject.namespace or None, **query)
