"""Restoring an old version: what it would change, the API server's answer to a dry run, the write.

A Secret's values cannot be restored: the store does not have them.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from clusters import escalation, registry
from clusters.differences import differences
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
from storage_api.history.restore_plan import RestorePlan
from storage_api.protection import holds_sealed


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """The object to restore; `namespace` is "" for cluster-scoped kinds."""

    cluster: Cluster
    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The API server's answer to a dry run.

    `made` is the object as it would be, None when the server refuses; then `reason` and `message`
    say why.
    """

    made: Object | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PreparedRestore:
    """An old version about to be written.

    It replaces `live` (the object as JSON), or is created where that is None.
    """

    subject: RestoreTarget
    plan: RestorePlan
    live: bytes | None
    verdict: DryRunResult

    @property
    def action(self) -> str:
        """create, replace, or unchanged when there is nothing to do."""
        if self.live is None:
            return "create"
        is_accepted = self.verdict.made is not None
        return "unchanged" if is_accepted and not self.changes() else "replace"

    def changes(self) -> list[dict[str, Any]]:
        """How the object would differ from the live one, as `differences` says it.

        With the server's defaults filled in, unless it refused the dry run.
        """
        live = None if self.live is None else orjson.loads(self.live)
        after = self.plan.body if self.verdict.made is None else self.verdict.made
        return differences(restore_plan.comparable(live), restore_plan.comparable(after))

    def identity(self) -> str:
        """A digest of what is written and over what, for the confirmation token.

        The body has the live object's resourceVersion, so any write in between changes it.
        """
        live_metadata = orjson.loads(self.live)["metadata"] if self.live else {}
        content = orjson.dumps(
            [live_metadata.get("uid", ""), self.plan.body], option=orjson.OPT_SORT_KEYS
        )
        return hashlib.sha256(content).hexdigest()


def check_kind(kind: Kind) -> None:
    """Invalid for Secrets."""
    if (kind.group, kind.plural) == SECRETS:
        raise Invalid(
            "a Secret cannot be restored: the store has keyed hashes of its values only",
            field="kind",
            reason="hashed_values",
        )


def check_version(old: bytes) -> None:
    """Invalid for a version with a Secret's values in it.

    The store has them sealed, and never sends them back to a cluster.
    """
    if holds_sealed(old):
        raise Invalid(
            "this version contains values of a Secret, which are stored sealed: "
            "it cannot be restored",
            field="seq",
            reason="sealed_values",
        )


def read_live(subject: RestoreTarget) -> bytes | None:
    """The object in the cluster now, as JSON; None when it does not exist.

    Raises Conflict while it is being deleted: a write would be lost with it.
    """
    try:
        manifest = registry.client(subject.cluster).get(
            subject.kind, subject.name, namespace=subject.namespace or None
        )
    except NotFound:
        return None
    if orjson.loads(manifest)["metadata"].get("deletionTimestamp"):
        raise Conflict(
            f'{subject.kind.plural} "{subject.name}" is being deleted; '
            "restore it after the deletion has finished",
            reason="Conflict",
        )
    return manifest


def prepare(
    subject: RestoreTarget, old: bytes, now: bytes | None, *, unbounded: bool = False
) -> PreparedRestore:
    """An old version adapted to the live object `now`, and tried as a dry run.

    Raises Forbidden when it would grant more than a namespace's admin may (unless `unbounded`),
    ClusterUnavailable and TooManyRequests. Other refusals of the API server are in the verdict.
    """
    live_manifest = None if now is None else orjson.loads(now)
    plan = restore_plan.build_plan(
        orjson.loads(old),
        live_manifest,
        subject.kind,
    )
    if not unbounded:
        client = registry.client(subject.cluster)
        escalation.check(
            client,
            subject.kind,
            plan.body,
            subject.namespace,
        )
    try:
        manifest = _send(
            subject,
            plan.body,
            over=now is not None,
            dry_run=True,
        )
        verdict = DryRunResult(orjson.loads(manifest))
    except (ClusterUnavailable, TooManyRequests):
        # No answer about this object: the caller has to try again.
        raise
    except DomainError as error:
        reason = str(error.details.get("reason") or error.code)
        verdict = DryRunResult(None, reason, error.message)
    return PreparedRestore(subject, plan, now, verdict)


def apply(restoration: PreparedRestore) -> bytes:
    """Write it; the object as JSON. Conflict when the live object has changed since."""
    return _send(
        restoration.subject,
        restoration.plan.body,
        over=restoration.live is not None,
        dry_run=False,
    )


def _send(
    subject: RestoreTarget,
    body: Object,
    *,
    over: bool,
    dry_run: bool,
) -> bytes:
    client = registry.client(subject.cluster)
    query = {"dryRun": "All"} if dry_run else {}
    namespace = subject.namespace or None
    if over:
        return client.replace(
            subject.kind,
            subject.name,
            body,
            namespace=namespace,
            **query,
        )
    return client.create(subject.kind, body, namespace=namespace, **query)
