"""What a request to the store is about: the clusters that its caller may see, and the time."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clusters import registry
from clusters.models import Cluster
from core.api.attributes import AccessAttributes, Scope
from core.api.long_lived import stream_policy
from core.errors import ClusterNotFound, Invalid, NotFound
from gateway.messages import Caller, Target
from storage_api.history import as_of

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII
)
_UNIX_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?\Z", re.ASCII)
QUOTED_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class StoreView:
    """The clusters that are looked at, by name, and the moment; None is now.

    Outside the `fleet` there is one cluster.
    """

    fleet: bool
    at: datetime | None
    clusters: tuple[Cluster, ...]

    @property
    def ids(self) -> list[int]:
        """The ids of the clusters."""
        return [cluster.pk for cluster in self.clusters]


def parse_time(text: str) -> datetime:
    """The moment that the address of the past names; Invalid for none, or one to come."""
    try:
        if _UNIX_SECONDS.match(text):
            moment = datetime.fromtimestamp(float(text), UTC)
        elif _RFC3339.match(text):
            moment = datetime.fromisoformat(text.upper())
        else:
            raise ValueError(text)
    except (ValueError, OverflowError, OSError):
        raise Invalid(
            f"{text[:QUOTED_CHARACTERS]!r} is not a time: write it as RFC 3339, "
            "2026-11-28T09:30:00Z, or as unix seconds"
        ) from None
    as_of.check_moment(moment)
    return moment


def refusal_of_writes(target: Target) -> str:
    """Why nothing can be changed at an address."""
    if target.time is not None:
        return "the past cannot be changed: an address with a time is read-only"
    return "the fleet is read-only: change an object at the address of its cluster"


def open_view(target: Target, caller: Caller) -> StoreView:
    """The view of a request's target.

    Raises Invalid for what is no time of the past; NotFound for a cluster that does not exist, or
    whose existence the caller may not know; Unauthenticated.
    """
    at = None if target.time is None else parse_time(target.time)
    if target.is_fleet:
        # Clusters with impersonation decide for each caller themselves, which the store cannot.
        rows = registry.clusters().filter(impersonate=False).defer("kubeconfig").order_by("name")
        visible = _visible_ids(caller)
        chosen = [row for row in rows if visible is None or row.pk in visible]
        return StoreView(True, at, tuple(chosen))
    cluster = _find_visible(target.cluster, caller)
    as_of.refuse_impersonated(cluster)
    return StoreView(False, at, (cluster,))


def ask_scope(caller: Caller, act: AccessAttributes) -> Scope | None:
    """The caller's scope for an act by the policy of all APIs; None when it is refused."""
    return ask_scopes(caller, [act])[0]


def ask_scopes(caller: Caller, acts: Sequence[AccessAttributes]) -> list[Scope | None]:
    """The caller's scope for each of many acts: the grants are read once."""
    return list(stream_policy().scopes(caller.credential, acts))


def _visible_ids(caller: Caller) -> Collection[int] | None:
    """The ids of the clusters that the caller may see; None is every cluster."""
    scope = ask_scope(caller, AccessAttributes("list", "clusters"))
    if scope is None:
        return ()
    return scope.clusters


def _find_visible(name: str, caller: Caller) -> Cluster:
    try:
        cluster = registry.find(name)
    except ClusterNotFound:
        cluster = None
    scope = None
    if cluster is not None:
        scope = ask_scope(
            caller,
            AccessAttributes("get", "clusters", cluster=cluster.name),
        )
    if cluster is None or scope is None:
        # In the same words: whether there is such a cluster is not for everybody.
        raise NotFound(f"cluster {name[:QUOTED_CHARACTERS]!r} does not exist")
    return cluster
