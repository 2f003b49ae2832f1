"""Whether a request is let in: who calls, and whether the policy lets them.

A decision is used again for the same token and need, as long as one query finds that nothing has
changed of what it was made of; the ORM would ask seven.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from django.conf import settings

from access.credential_versions import read_versions
from clusters import registry
from core.api.long_lived import stream_policy
from core.errors import ClusterNotFound
from gateway import rights
from gateway.rights import Need, Refused

MAX_DECISIONS = 4096


@dataclass(frozen=True, slots=True)
class Admission:
    """A caller's credential, and whether they may: `refused` says why not.

    `cluster` is the cluster's id, 0 after a refusal; `is_unbounded` says that the caller
    administers all of it.
    """

    credential: Mapping[str, Any]
    refused: Refused | None = None
    cluster: int = 0
    is_unbounded: bool = False


@dataclass(frozen=True, slots=True)
class _Decision:
    admission: Admission
    versions: str
    made_at: float


class Admissions:
    """Decides, and keeps what was allowed for GATEWAY_DECISION_SECONDS; threads may share it."""

    def __init__(self) -> None:
        self._decisions: OrderedDict[tuple[bytes, Need], _Decision] = OrderedDict()
        self._lock = Lock()

    def admit(self, bearer: str, need: Need, *, is_review: bool) -> Admission:
        """The admission of a request; Unauthenticated for a token that is not valid.

        Runs outside of the event loop. A review of one's own rights needs no more than to see the
        cluster.
        """
        if is_review:
            need = _visibility(need)
        key = (hashlib.sha256(bearer.encode()).digest(), need)
        if (admission := self._still_valid(key)) is not None:
            return admission
        credential = stream_policy().sign_in(bearer)
        try:
            cluster = registry.find(need.audited.cluster).pk
        except ClusterNotFound:
            cluster = 0
        # Read before the decision: what changes meanwhile makes it invalid.
        versions = read_versions(credential, cluster)
        try:
            is_unbounded = rights.check(credential, need)
        except Refused as refused:
            return Admission(credential, refused)
        admission = Admission(credential, None, cluster, is_unbounded)
        with self._lock:
            self._decisions[key] = _Decision(admission, versions, time.monotonic())
            while len(self._decisions) > MAX_DECISIONS:
                self._decisions.popitem(last=False)
        return admission

    def _still_valid(self, key: tuple[bytes, Need]) -> Admission | None:
        with self._lock:
            decision = self._decisions.get(key)
        if decision is None:
            return None
        admission = decision.admission
        # A namespace may be another one under its old name: that only the cluster knows.
        is_old = time.monotonic() - decision.made_at > settings.GATEWAY_DECISION_SECONDS
        has_expired = time.time() > admission.credential.get("expires", float("inf"))
        if is_old or has_expired:
            with self._lock:
                self._decisions.pop(key, None)
            return None
        versions = read_versions(admission.credential, admission.cluster)
        return admission if versions == decision.versions else None


def _visibility(need: Need) -> Need:
    act = replace(need.audited, verb="get", kind="clusters", group="", namespace="", name="")
    return replace(need, acts=(act,), is_list=False)
