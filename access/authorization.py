"""Whether a caller may do an act, and how much of it: grants and tokens against the tables of `access.policy`."""

from functools import partial

from django.conf import settings

from access import grants, policy
from access.models import ApiToken
from access.policy import EffectiveGrant, Requirement, Right, Role, VisibleScope
from clusters import registry
from clusters.models import Cluster
from core.api.auth import Act, Scope
from core.errors import ClusterNotFound, DomainError, Forbidden

# Verbs that are the names of what is read.
_READING_PHRASES = {
    "metrics": "read",
    **{
        noun: f"read the {noun} of"
        for noun in (
            "logs",
            "events",
            "history",
            "revisions",
            "usage",
            "health",
            "topology",
            "capabilities",
        )
    },
}

# Whoever holds this may write what gives rights in the whole cluster.
CLUSTER_ADMIN = Requirement(frozenset({Right.MANAGE}), policy.ScopeLevel.CLUSTER)


def effective_grants_of(user: grants.Person, token: ApiToken | None) -> list[EffectiveGrant]:
    """What the caller holds, cut down by the token they came with."""
    return _narrow_by_token(grants.effective_grants(user), token)


def require_cover(
    user: grants.Person, token: ApiToken | None, role: Role, *, cluster: str, namespace: str
) -> None:
    """Forbidden unless the caller may hand out the role there: nobody gives more than they hold."""
    found = _cluster(cluster)
    held = effective_grants_of(user, token)
    if namespace and found:
        held = _without_stale(
            held,
            Requirement(frozenset({Right.MANAGE}), policy.ScopeLevel.NAMESPACE),
            found,
            namespace,
        )
    known = found is not None or not cluster
    if not known or not policy.may_hand_out(
        held, role, cluster=found.pk if found else None, namespace=namespace
    ):
        raise Forbidden(f"you may not make anyone {role} here")


def decide(held: list[EffectiveGrant], token: ApiToken | None, act: Act) -> Scope:
    """The scope that these holdings, cut down by the token they came with, give for the act; Forbidden when they give none."""
    wanted = policy.requirement_for(
        act.verb, act.kind, act.group, cluster_scoped=act.cluster_scoped
    )
    if act.kind == "storage":
        return _store_scope(held, token, act, wanted)
    held = _narrow_by_token(held, token)
    cluster = _cluster(act.cluster)
    if not act.cluster:
        return _build_scope(act, held, _visible_across_clusters(held, act, wanted))
    namespace = (
        act.name
        if (act.group, act.kind) == ("", "namespaces") and not act.namespace
        else act.namespace
    )
    if namespace or act.verb in policy.COLLECTIONS:
        held = _without_stale(held, wanted, cluster, namespace)
    collection = act.verb in policy.COLLECTIONS
    extent = policy.visible_in_cluster(
        held,
        wanted,
        cluster=cluster.pk if cluster else None,
        namespace=namespace,
        collection=collection,
    )
    return _build_scope(act, held, extent, cluster=cluster, namespace=namespace)


def require_opened(act: Act) -> None:
    """Forbidden when the act is on a registered cluster that OPEN_DIALECTS_CLUSTERS does not name, or might be on any.

    The store's clusterIds are free texts: those that are no registered cluster's name are nobody's and stay open.
    """
    closed = registry.clusters().exclude(name__in=settings.OPEN_DIALECTS_CLUSTERS)
    if act.kind == "storage" and act.cluster:
        named = "\x00" not in act.cluster and closed.filter(name__iexact=act.cluster).exists()
    elif act.cluster:
        found = _cluster(act.cluster)
        named = found is not None and found.name not in settings.OPEN_DIALECTS_CLUSTERS
    else:
        named = closed.exists()
    if named:
        names = ", ".join(sorted(settings.OPEN_DIALECTS_CLUSTERS))
        raise Forbidden(
            f"without signing in this API acts on these clusters only: {names}; "
            "sign in, or name one of them"
        )


def _cluster(reference: str) -> Cluster | None:
    """The cluster meant, or nothing: whether it exists is not said before the right is known."""
    try:
        return registry.find(reference) if reference else None
    except ClusterNotFound:
        return None


def _narrow_by_token(held: list[EffectiveGrant], token: ApiToken | None) -> list[EffectiveGrant]:
    if token is None:
        return held
    known = (_cluster(str(name)) for name in token.clusters)
    clusters = frozenset(cluster.pk for cluster in known if cluster) if token.clusters else None
    return policy.narrow(held, rights=token_rights(token), clusters=clusters)


def token_rights(token: ApiToken) -> frozenset[Right] | None:
    """The rights that a token's scopes leave; None leaves all of its user's."""
    if not token.scopes:
        return None
    rights = frozenset(Right(scope) for scope in token.scopes if scope in list(Right))
    # A scope only narrows: "read" leaves all the reading that the token's user may do.
    return rights | {Right.READ_CLUSTER} if Right.READ in rights else rights


def _without_stale(
    held: list[EffectiveGrant], wanted: Requirement, cluster: Cluster | None, namespace: str
) -> list[EffectiveGrant]:
    """The holdings after a look at the cluster, where only a grant on a namespace can give the right."""
    if cluster is None or wanted.reach > policy.ScopeLevel.NAMESPACE:
        return held
    whole = [holding for holding in held if not holding.namespace]
    if (
        policy.visible_in_cluster(
            whole, wanted, cluster=cluster.pk, namespace=namespace, collection=False
        )
        is not None
    ):
        return held
    fitting = [
        holding
        for holding in held
        if wanted.rights <= holding.rights and holding.cluster == cluster.pk
    ]
    if not any(holding.namespace == namespace or not namespace for holding in fitting):
        return held
    return grants.without_stale(held, [cluster], only=namespace)


def _visible_across_clusters(
    held: list[EffectiveGrant], act: Act, wanted: Requirement
) -> VisibleScope | None:
    """Acts that name no cluster: those of the platform, and lists over all clusters. The verb `search` is of any kind in many clusters."""
    if act.verb == "search":
        return policy.visible_across_clusters(_without_stale_anywhere(held), wanted)
    extent = policy.visible_across_clusters(held, wanted)
    if extent is None or extent.clusters is None:
        return extent
    if wanted.reach is policy.ScopeLevel.ANY:
        return extent
    if act.kind not in policy.ACROSS_CLUSTERS or act.verb not in policy.COLLECTIONS:
        return None
    return policy.visible_across_clusters(_without_stale_anywhere(held), wanted)


def _without_stale_anywhere(held: list[EffectiveGrant]) -> list[EffectiveGrant]:
    """The holdings after a look at each cluster in which one is on a namespace; where none is to be had, those give nothing."""
    for pk in sorted(
        {holding.cluster for holding in held if holding.namespace and holding.cluster is not None}
    ):
        cluster = _cluster(str(pk))
        try:
            held = grants.without_stale(held, [cluster]) if cluster else held
        except DomainError:
            held = [
                holding for holding in held if not (holding.cluster == pk and holding.namespace)
            ]
    return held


def _build_scope(
    act: Act,
    held: list[EffectiveGrant],
    extent: VisibleScope | None,
    *,
    cluster: Cluster | None = None,
    namespace: str = "",
) -> Scope:
    if extent is None:
        raise Forbidden(
            f"you may not {_READING_PHRASES.get(act.verb, act.verb)} {act.kind or 'this'} here"
        )
    reveals = (act.group, act.kind) != ("", "secrets") or _reveals_secrets(held, cluster, namespace)
    pk = cluster.pk if cluster else None
    whole = policy.visible_in_cluster(
        held, CLUSTER_ADMIN, cluster=pk, namespace="", collection=False
    )
    return Scope(
        namespaces=extent.namespaces,
        clusters=extent.clusters,
        reveals=reveals,
        unbounded=bool(act.cluster) and whole is not None,
    )


def _reveals_secrets(held: list[EffectiveGrant], cluster: Cluster | None, namespace: str) -> bool:
    """Whether the values of Secrets may be shown there."""
    wanted = Requirement(frozenset({Right.SECRETS}), policy.ScopeLevel.NAMESPACE)
    held = _without_stale(held, wanted, cluster, namespace) if namespace else held
    return (
        policy.visible_in_cluster(
            held,
            wanted,
            cluster=cluster.pk if cluster else None,
            namespace=namespace,
            collection=False,
        )
        is not None
    )


def _store_scope(
    held: list[EffectiveGrant], token: ApiToken | None, act: Act, wanted: Requirement
) -> Scope:
    """The store names clusters freely: a token's list is compared as it stands, whatever else the body says."""
    held = policy.narrow(held, rights=token_rights(token), clusters=None) if token else held
    if token and token.clusters and act.cluster not in token.clusters:
        raise Forbidden(f"you may not {act.verb} this cluster's rows")
    named = (
        registry.clusters().filter(name=act.cluster).first()
        if act.cluster and "\x00" not in act.cluster
        else None
    )
    namespace = act.namespace
    held = _without_stale(held, wanted, named, namespace) if namespace else held
    extent = policy.visible_in_cluster(
        held, wanted, cluster=named.pk if named else None, namespace=namespace, collection=False
    )
    if extent is None:
        raise Forbidden(f"you may not {act.verb} this cluster's rows")
    may = partial(_may_in_store, held, named, namespace)
    if policy.is_access_row(act.stored_type) and not (may(Right.MANAGE) or may(Right.STORE_WRITE)):
        raise Forbidden(f"you may not {act.verb} rows that say who may do what")
    return Scope(reveals=may(Right.SECRETS))


def _may_in_store(
    held: list[EffectiveGrant], cluster: Cluster | None, namespace: str, right: Right
) -> bool:
    """Whether the caller has one more right at these rows."""
    wanted = Requirement(frozenset({right}), policy.ScopeLevel.NAMESPACE)
    held = _without_stale(held, wanted, cluster, namespace) if namespace else held
    pk = cluster.pk if cluster else None
    extent = policy.visible_in_cluster(
        held, wanted, cluster=pk, namespace=namespace, collection=False
    )
    return extent is not None
