"""The kinds that the store has of some clusters, and the places where a caller may see them."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q

from clusters.kinds import SHORT_NAMES, Kind
from clusters.resource_types import BUILT_IN, EVENTS
from core.api.attributes import AccessAttributes, Scope
from gateway.messages import Caller
from gateway.request_info import RequestInfo
from gateway.store.views import StoreView, ask_scope
from storage_api.models import KindSync
from storage_api.services.multicluster import ClusterScope

# Kinds of the category `all`, which `kubectl get all` asks for.
IN_ALL = frozenset(
    {
        ("", "pods"),
        ("", "replicationcontrollers"),
        ("", "services"),
        ("apps", "daemonsets"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("batch", "cronjobs"),
        ("batch", "jobs"),
    }
)


@dataclass(frozen=True, slots=True)
class StoredKind:
    """A kind in one version, and the ids of the clusters in which it is collected."""

    kind: Kind
    clusters: frozenset[int]

    @property
    def short_names(self) -> list[str]:
        """As discovery reports them."""
        singular = self.kind.name.lower()
        names = [alias for alias in self.kind.aliases if alias != singular]
        return names or list(SHORT_NAMES.get(self.kind.plural, ()))

    @property
    def categories(self) -> list[str]:
        """As discovery reports them."""
        return ["all"] if (self.kind.group, self.kind.plural) in IN_ALL else []


def is_events(kind: Kind) -> bool:
    """Whether objects of the kind are Events, which the store keeps apart."""
    return (kind.group, kind.plural) == EVENTS


def view_verbs(stored: StoredKind, view: StoreView) -> list[str]:
    """What can be asked of the kind.

    A watch is there for the fleet as it is now; Events have no place in the log of changes.
    """
    can_watch = view.fleet and view.at is None and not is_events(stored.kind)
    return ["get", "list", "watch"] if can_watch else ["get", "list"]


def stored_kinds(view: StoreView) -> list[StoredKind]:
    """Every kind of the view's clusters: Kubernetes' own groups first, then by name."""
    kinds = _collected(view, Q())
    return sorted(
        kinds,
        key=lambda stored: (
            stored.kind.group not in BUILT_IN,
            stored.kind.group,
            stored.kind.version,
            stored.kind.plural,
        ),
    )


def find_kind(view: StoreView, info: RequestInfo) -> StoredKind | None:
    """The kind that a request names; None when no cluster of the view has it in that version."""
    matches = Q(
        group=info.group,
        version=info.version,
        plural=info.resource,
    )
    return next(iter(_collected(view, matches)), None)


def _collected(view: StoreView, condition: Q) -> list[StoredKind]:
    rows = KindSync.objects.filter(condition, cluster__in=view.ids)
    # A kind that was refused from the start was never read.
    rows = rows.exclude(
        phase=KindSync.Phase.REFUSED,
        listed_at=None,
    ).order_by("pk")
    by_kind: dict[Kind, set[int]] = {}
    for row in rows:
        kind = Kind(
            row.kind, row.plural, row.group, row.version, row.namespaced, tuple(row.aliases)
        )
        by_kind.setdefault(kind, set()).add(row.cluster_id)
    return [
        StoredKind(
            kind,
            frozenset(ids),
        )
        for kind, ids in by_kind.items()
    ]


def visible_places(
    view: StoreView, stored: StoredKind, info: RequestInfo, caller: Caller
) -> list[ClusterScope] | None:
    """Where the caller may see what a request asks for, by cluster's name; None when refused.

    Raises Unauthenticated when the credential is no longer valid.
    """
    scope = ask_scope(caller, read_act(view, stored.kind, info))
    return places_in_scope(view, stored, info, scope)


def read_act(view: StoreView, kind: Kind, info: RequestInfo) -> AccessAttributes:
    """The act that the policy is asked about before objects of the kind are read."""
    if not view.fleet:
        # A watch of one object of the past is refused before; what is left is get and list.
        return AccessAttributes(
            info.verb,
            kind.plural,
            kind.group,
            cluster=view.clusters[0].name,
            namespace=info.namespace if kind.namespaced else "",
            name=info.name,
            cluster_scoped=not kind.namespaced,
        )
    return AccessAttributes(
        "search",
        kind.plural,
        kind.group,
        cluster_scoped=not kind.namespaced,
    )


def places_in_scope(
    view: StoreView, stored: StoredKind, info: RequestInfo, scope: Scope | None
) -> list[ClusterScope] | None:
    """As `visible_places`, once the policy has answered."""
    if scope is None:
        return None
    clusters = [cluster for cluster in view.clusters if cluster.pk in stored.clusters]
    if not view.fleet:
        return [
            ClusterScope(
                cluster.pk,
                cluster.name,
                scope.namespaces,
            )
            for cluster in clusters
        ]
    places = []
    for cluster in clusters:
        if scope.clusters is None:
            places.append(ClusterScope(cluster.pk, cluster.name))
        elif cluster.pk in scope.clusters:
            places.append(
                ClusterScope(
                    cluster.pk,
                    cluster.name,
                    scope.clusters[cluster.pk],
                )
            )
    return _in_namespace(places, info.namespace if stored.kind.namespaced else "")


def _in_namespace(
    places: Iterable[ClusterScope],
    namespace: str,
) -> list[ClusterScope]:
    if not namespace:
        return list(places)
    return [place for place in places if place.namespaces is None or namespace in place.namespaces]
