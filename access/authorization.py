"""Whether a caller may do an act, and how much of it: grants and tokens against the tables of `access.policy`."""

from functools import partial

from django.conf import settings

from access import grants, policy
from access.models import ApiToken
from access.policy import Extent, Holding, Need, Right, Role
from clusters import registry
from clusters.models import Cluster
from core.api.auth import Act, Scope
from core.errors import ClusterNotFound, DomainError, Forbidden

# Verbs that are the names of what is read.
_READING = {
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
ADMINISTERED = Need(frozenset({Right.MANAGE}), policy.Reach.CLUSTER)


def held_by(user: grants.Person, token: ApiToken | None) -> list[Holding]:
    """What the caller holds, cut down by the token they came with."""
    return _narrowed(grants.holdings(user), token)


def require_cover(
    user: grants.Person, token: ApiToken | None, role: Role, *, cluster: str, namespace: str
) -> None:
    """Forbidden unless the caller may hand out the role there: nobody gives more than they hold."""
    found = _cluster(cluster)
    held = held_by(user, token)
    if namespace and found:
        held = _current(
            held, Need(frozenset({Right.MANAGE}), policy.Reach.NAMESPACE), found, namespace
        )
    known = found is not None or not cluster
    if not known or not policy.covers(
        held, role, cluster=found.pk if found else None, namespace=namespace
    ):
        raise Forbidden(f"you may not make anyone {role} here")


def decide(held: list[Holding], token: ApiToken | None, act: Act) -> Scope:
    """The scope that these holdings, cut down by the token they came with, give for the act; Forbidden when they give none."""
    wanted = policy.need(act.verb, act.kind, act.group, cluster_scoped=act.cluster_scoped)
    if act.kind == "storage":
        return _store_scope(held, token, act, wanted)
    held = _narrowed(held, token)
    cluster = _cluster(act.cluster)
    if not act.cluster:
        return _scope(act, held, _across(held, act, wanted))
    namespace = (
        act.name
        if (act.group, act.kind) == ("", "namespaces") and not act.namespace
        else act.namespace
    )
    if namespace or act.verb in policy.COLLECTIONS:
        held = _current(held, wanted, cluster, namespace)
    collection = act.verb in policy.COLLECTIONS
    extent = policy.within(
        held,
        wanted,
        cluster=cluster.pk if cluster else None,
        namespace=namespace,
        collection=collection,
    )
    return _scope(act, held, extent, cluster=cluster, namespace=namespace)


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


def _narrowed(held: list[Holding], token: ApiToken | None) -> list[Holding]:
    if token is None:
        return held
    known = (_cluster(str(name)) for name in token.clusters)
    clusters = frozenset(cluster.pk for cluster in known if cluster) if token.clusters else None
    return policy.narrowed(held, rights=token_rights(token), clusters=clusters)


def token_rights(token: ApiToken) -> frozenset[Right] | None:
    """The rights that a token's scopes leave; None leaves all of its user's."""
    if not token.scopes:
        return None
    rights = frozenset(Right(scope) for scope in token.scopes if scope in list(Right))
    # A scope only narrows: "read" leaves all the reading that the token's user may do.
    return rights | {Right.READ_CLUSTER} if Right.READ in rights else rights


def _current(
    held: list[Holding], wanted: Need, cluster: Cluster | None, namespace: str
) -> list[Holding]:
    """The holdings after a look at the cluster, where only a grant on a namespace can give the right."""
    if cluster is None or wanted.reach > policy.Reach.NAMESPACE:
        return held
    whole = [holding for holding in held if not holding.namespace]
    if (
        policy.within(whole, wanted, cluster=cluster.pk, namespace=namespace, collection=False)
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
    return grants.current(held, [cluster], only=namespace)


def _across(held: list[Holding], act: Act, wanted: Need) -> Extent | None:
    """Acts that name no cluster: those of the platform, and lists over all clusters. The verb `search` is of any kind in many clusters."""
    if act.verb == "search":
        return policy.across(_current_everywhere(held), wanted)
    extent = policy.across(held, wanted)
    if extent is None or extent.clusters is None:
        return extent
    if wanted.reach is policy.Reach.ANY:
        return extent
    if act.kind not in policy.ACROSS_CLUSTERS or act.verb not in policy.COLLECTIONS:
        return None
    return policy.across(_current_everywhere(held), wanted)


def _current_everywhere(held: list[Holding]) -> list[Holding]:
    """The holdings after a look at each cluster in which one is on a namespace; where none is to be had, those give nothing."""
    for pk in sorted(
        {holding.cluster for holding in held if holding.namespace and holding.cluster is not None}
    ):
        cluster = _cluster(str(pk))
        try:
            held = grants.current(held, [cluster]) if cluster else held
        except DomainError:
            held = [
                holding for holding in held if not (holding.cluster == pk and holding.namespace)
            ]
    return held


def _scope(
    act: Act,
    held: list[Holding],
    extent: Extent | None,
    *,
    cluster: Cluster | None = None,
    namespace: str = "",
) -> Scope:
    if extent is None:
        raise Forbidden(f"you may not {_READING.get(act.verb, act.verb)} {act.kind or 'this'} here")
    reveals = (act.group, act.kind) != ("", "secrets") or _reveals(held, cluster, namespace)
    pk = cluster.pk if cluster else None
    whole = policy.within(held, ADMINISTERED, cluster=pk, namespace="", collection=False)
    return Scope(
        namespaces=extent.namespaces,
        clusters=extent.clusters,
        reveals=reveals,
        unbounded=bool(act.cluster) and whole is not None,
    )


def _reveals(held: list[Holding], cluster: Cluster | None, namespace: str) -> bool:
    """Whether the values of Secrets may be shown there."""
    wanted = Need(frozenset({Right.SECRETS}), policy.Reach.NAMESPACE)
    held = _current(held, wanted, cluster, namespace) if namespace else held
    return (
        policy.within(
            held,
            wanted,
            cluster=cluster.pk if cluster else None,
            namespace=namespace,
            collection=False,
        )
        is not None
    )


def _store_scope(held: list[Holding], token: ApiToken | None, act: Act, wanted: Need) -> Scope:
    """The store names clusters freely: a token's list is compared as it stands, whatever else the body says."""
    held = policy.narrowed(held, rights=token_rights(token), clusters=None) if token else held
    if token and token.clusters and act.cluster not in token.clusters:
        raise Forbidden(f"you may not {act.verb} this cluster's rows")
    named = (
        registry.clusters().filter(name=act.cluster).first()
        if act.cluster and "\x00" not in act.cluster
        else None
    )
    namespace = act.namespace
    held = _current(held, wanted, named, namespace) if namespace else held
    extent = policy.within(
        held, wanted, cluster=named.pk if named else None, namespace=namespace, collection=False
    )
    if extent is None:
        raise Forbidden(f"you may not {act.verb} this cluster's rows")
    may = partial(_may_in_store, held, named, namespace)
    if policy.is_access_row(act.stored_type) and not (may(Right.MANAGE) or may(Right.STORE_WRITE)):
        raise Forbidden(f"you may not {act.verb} rows that say who may do what")
    return Scope(reveals=may(Right.SECRETS))


def _may_in_store(
    held: list[Holding], cluster: Cluster | None, namespace: str, right: Right
) -> bool:
    """Whether the caller has one more right at these rows."""
    wanted = Need(frozenset({right}), policy.Reach.NAMESPACE)
    held = _current(held, wanted, cluster, namespace) if namespace else held
    pk = cluster.pk if cluster else None
    extent = policy.within(held, wanted, cluster=pk, namespace=namespace, collection=False)
    return extent is not None
