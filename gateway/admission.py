"""Whether a request is let in: who calls, and whether the policy lets them.

What the policy reads of users, tokens, grants and clusters comes out of `core.row_cache`, as for
every other door.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clusters import registry
from core.api.long_lived import stream_policy
from core.errors import ClusterNotFound
from gateway import rights
from gateway.rights import Need, Refused


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


def admit(proof: str | Mapping[str, Any], need: Need, *, is_review: bool) -> Admission:
    """The admission of a request; Unauthenticated for a token that is not valid.

    A review of one's own rights needs no more than to see the cluster. `proof` is a bearer token,
    or the credential of a link's maker. Runs outside of the event loop.
    """
    if is_review:
        need = _visibility(need)
    credential = stream_policy().sign_in(proof) if isinstance(proof, str) else proof
    try:
        cluster = registry.find(need.audited.cluster).pk
    except ClusterNotFound:
        # Refused by the policy, in the words for a cluster that the caller may not see.
        cluster = 0
    try:
        is_unbounded = rights.check(credential, need)
    except Refused as refused:
        return Admission(credential, refused)
    return Admission(credential, None, cluster, is_unbounded)


def _visibility(need: Need) -> Need:
    act = replace(need.audited, verb="get", kind="clusters", group="", namespace="", name="")
    return replace(need, acts=(act,), is_list=False)
