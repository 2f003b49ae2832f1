"""Whether a caller may do an act, and how much of it they see.

Grants and tokens are compared with the tables of `access.policy`; a look at the cluster tells
whether a namespace is still the one that a grant was made for.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings

from access import grants, policy
from access.models import ApiToken
from access.policy import EffectiveGrant, Requirement, Right, Role, ScopeLevel, VisibleScope
from clusters import registry
from clusters.models import Cluster
from core.api.auth import AccessAttributes, Scope
from core.errors import ClusterNotFound, DomainError, Forbidden

# How a refusal phrases verbs that are the name of what is read.
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

# With it one may write what gives rights in the whole cluster.
CLUSTER_ADMIN = Requirement(frozenset({Right.MANAGE}), ScopeLevel.CLUSTER)


def effective_grants_of(user: grants.Person, token: ApiToken | None) -> list[EffectiveGrant]:
    """What the caller may do and where, cut down by the token of the request."""
    return _narrow_by_token(grants.effective_grants(user), token)


def require_may_grant(
    user: grants.Person,
    token: ApiToken | None,
    role: Role,
    *,
    cluster: str,
    namespace: str,
) -> None:
    """Forbidden unless the caller may grant the role there: they need all its rights themselves.

    `cluster` is a name or id, "" for everything; `namespace` is "" for the whole cluster.
    """
    target = _find_cluster(cluster)
    effective = effective_grants_of(user, token)
    if namespace and target:
        manage = Requirement(frozenset({Right.MANAGE}), ScopeLevel.NAMESPACE)
        effective = _without_stale(effective, manage, target, namespace)
    # An unknown cluster is refused in the same words, so that its absence is not disclosed.
    is_unknown = bool(cluster) and target is None
    pk = target.pk if target else None
    if is_unknown or not policy.may_hand_out(
        effective,
        role,
        cluster=pk,
        namespace=namespace,
    ):
        raise Forbidden(f"you may not make anyone {role} here")


def decide(effective: list[EffectiveGrant], token: ApiToken | None, act: AccessAttributes) -> Scope:
    """The scope that these grants, cut down by the token of the request, give for the act.

    Forbidden when they give none, in the same words whether the object exists or not.
    """
    return _Decisions(effective, token).decide(act)


def decide_each(
    effective: list[EffectiveGrant],
    token: ApiToken | None,
    acts: Iterable[AccessAttributes],
) -> list[Scope | None]:
    """What `decide` gives for each of many acts at once; None for a refused one.

    The grants are cut down once, and a cluster is asked once whether a namespace is still the one
    that a grant was made for.
    """
    decisions = _Decisions(effective, token)
    return [decisions.find_scope(act) for act in acts]


class _Question(NamedTuple):
    """All that the answer to an act depends on: acts with the same question share one answer.

    `lists_anywhere`: a list of a kind that may be listed without naming a cluster.
    """

    requirement: Requirement
    cluster: str
    namespace: str
    is_collection: bool
    is_search: bool
    lists_anywhere: bool
    is_secrets: bool


def _requirement_of(act: AccessAttributes) -> Requirement:
    return policy.requirement_for(act.verb, act.kind, act.group, cluster_scoped=act.cluster_scoped)


def _question_of(act: AccessAttributes) -> _Question:
    namespace = act.namespace
    if (act.group, act.kind) == ("", "namespaces") and not namespace:
        # A grant on a namespace covers the Namespace object itself.
        namespace = act.name
    is_collection = act.verb in policy.COLLECTIONS
    return _Question(
        _requirement_of(act),
        act.cluster,
        namespace,
        is_collection,
        act.verb == "search",
        is_collection and act.kind in policy.ACROSS_CLUSTERS,
        (act.group, act.kind) == ("", "secrets"),
    )


class _Decisions:
    """What some grants, cut down by the token of a request, give for acts of one moment."""

    def __init__(self, effective: list[EffectiveGrant], token: ApiToken | None) -> None:
        self._effective = effective
        self._token = token
        self._narrowed: list[EffectiveGrant] | None = None
        self._current: list[EffectiveGrant] | None = None
        self._answers: dict[_Question, Scope | None] = {}

    def decide(self, act: AccessAttributes) -> Scope:
        """The scope of the act; Forbidden without one."""
        if act.kind == "storage":
            return _store_scope(self._effective, self._token, act)
        question = _question_of(act)
        if question not in self._answers:
            self._answers[question] = self._answer(question)
        scope = self._answers[question]
        if scope is None:
            phrase = _READING_PHRASES.get(act.verb, act.verb)
            raise Forbidden(f"you may not {phrase} {act.kind or 'this'} here")
        return scope

    def find_scope(self, act: AccessAttributes) -> Scope | None:
        """The scope of the act, None for a refused one."""
        try:
            return self.decide(act)
        except Forbidden:
            return None

    def _answer(self, question: _Question) -> Scope | None:
        effective = self._narrow()
        if not question.cluster:
            visible = self._visible_across_clusters(question)
            return _build_scope(question, effective, visible)
        cluster = _find_cluster(question.cluster)
        requirement = question.requirement
        namespace = question.namespace
        if namespace or question.is_collection:
            effective = _without_stale(effective, requirement, cluster, namespace)
        collection = question.is_collection
        visible = _visible(effective, requirement, cluster, namespace, collection=collection)
        return _build_scope(question, effective, visible, cluster=cluster)

    def _visible_across_clusters(self, question: _Question) -> VisibleScope | None:
        """The scope without a cluster: an act of the platform, or a list over all clusters.

        The verb `search` reads any kind in many clusters.
        """
        requirement = question.requirement
        if question.is_search:
            return policy.visible_across_clusters(self._without_stale(), requirement)
        visible = policy.visible_across_clusters(self._narrow(), requirement)
        if visible is None or visible.clusters is None:
            return visible
        if requirement.level is ScopeLevel.ANY:
            return visible
        if not question.lists_anywhere:
            return None
        # Only now are clusters asked: the answers above needed no look at them.
        return policy.visible_across_clusters(self._without_stale(), requirement)

    def _narrow(self) -> list[EffectiveGrant]:
        if self._narrowed is None:
            self._narrowed = _narrow_by_token(self._effective, self._token)
        return self._narrowed

    def _without_stale(self) -> list[EffectiveGrant]:
        if self._current is None:
            self._current = _without_stale_anywhere(self._narrow())
        return self._current


def require_opened(act: AccessAttributes) -> None:
    """Forbidden when the act concerns a registered cluster outside OPEN_DIALECTS_CLUSTERS.

    An act that names no cluster is refused when there is any such cluster. The store's clusterIds
    are free text: those that are no registered cluster's name belong to none and stay open.
    """
    closed = registry.ids_by_name().keys() - settings.OPEN_DIALECTS_CLUSTERS
    if act.kind == "storage" and act.cluster:
        is_closed = act.cluster.upper() in {name.upper() for name in closed}
    elif act.cluster:
        cluster = _find_cluster(act.cluster)
        is_closed = cluster is not None and cluster.name not in settings.OPEN_DIALECTS_CLUSTERS
    else:
        is_closed = bool(closed)
    if is_closed:
        names = ", ".join(sorted(settings.OPEN_DIALECTS_CLUSTERS))
        raise Forbidden(
            f"without signing in this API acts on these clusters only: {names}; "
            "sign in, or name one of them"
        )


def _find_cluster(reference: str) -> Cluster | None:
    """The cluster by name or id, or None: no error, since its existence must not be disclosed."""
    try:
        return registry.find(reference) if reference else None
    except ClusterNotFound:
        return None


def _narrow_by_token(
    effective: list[EffectiveGrant], token: ApiToken | None
) -> list[EffectiveGrant]:
    return policy.narrow_by_limits(effective, limits_of(token))


def limits_of(token: ApiToken | None) -> dict[str, Any]:
    """What a token leaves of its user's rights: {"rights": [names], "clusters": [ids]}.

    A member that is absent limits nothing. What is kept beyond the request keeps these with it.
    """
    limits: dict[str, Any] = {}
    if token is None:
        return limits
    rights = token_rights(token)
    if rights is not None:
        limits["rights"] = sorted(rights)
    if token.clusters:
        clusters = [_find_cluster(str(name)) for name in token.clusters]
        limits["clusters"] = sorted(cluster.pk for cluster in clusters if cluster)
    return limits


def token_rights(token: ApiToken) -> frozenset[Right] | None:
    """The rights that a token's scopes leave; None leaves all of its user's."""
    if not token.scopes:
        return None
    rights = frozenset(Right(scope) for scope in token.scopes if scope in list(Right))
    # A scope only narrows: "read" leaves all the reading that the token's user may do, and
    # "admin" what its user may do with nodes.
    if Right.READ in rights:
        rights |= {Right.READ_CLUSTER}
    return rights | {Right.NODES} if Right.MANAGE in rights else rights


def _without_stale(
    effective: list[EffectiveGrant],
    requirement: Requirement,
    cluster: Cluster | None,
    namespace: str,
) -> list[EffectiveGrant]:
    """The grants without those on a namespace that was deleted and created again.

    The cluster is asked only where the answer can matter: where the requirement is met by grants on
    a namespace alone.
    """
    if cluster is None or requirement.level > ScopeLevel.NAMESPACE:
        return effective
    on_whole_cluster = [grant for grant in effective if not grant.namespace]
    if _visible(on_whole_cluster, requirement, cluster, namespace) is not None:
        return effective
    sufficient = [
        grant
        for grant in effective
        if requirement.rights <= grant.rights and grant.cluster == cluster.pk
    ]
    if not any(grant.namespace == namespace or not namespace for grant in sufficient):
        return effective
    return grants.without_stale(effective, [cluster], only=namespace)


def _without_stale_anywhere(effective: list[EffectiveGrant]) -> list[EffectiveGrant]:
    """The grants after a look at each cluster in which one is on a namespace.

    Where a cluster does not answer, grants on its namespaces give nothing.
    """
    cluster_ids = {
        grant.cluster for grant in effective if grant.namespace and grant.cluster is not None
    }
    for pk in sorted(cluster_ids):
        cluster = _find_cluster(str(pk))
        try:
            effective = grants.without_stale(effective, [cluster]) if cluster else effective
        except DomainError:
            effective = [
                grant for grant in effective if not (grant.cluster == pk and grant.namespace)
            ]
    return effective


def _visible(
    effective: list[EffectiveGrant],
    requirement: Requirement,
    cluster: Cluster | None,
    namespace: str,
    *,
    collection: bool = False,
) -> VisibleScope | None:
    """What the grants show of the cluster, in the namespace or in all for ""; None for nothing."""
    return policy.visible_in_cluster(
        effective,
        requirement,
        cluster=cluster.pk if cluster else None,
        namespace=namespace,
        collection=collection,
    )


def _build_scope(
    question: _Question,
    effective: list[EffectiveGrant],
    visible: VisibleScope | None,
    *,
    cluster: Cluster | None = None,
) -> Scope | None:
    if visible is None:
        return None
    namespace = question.namespace if question.cluster else ""
    reveals = not question.is_secrets or _reveals_secrets(effective, cluster, namespace)
    administered = _visible(effective, CLUSTER_ADMIN, cluster, "")
    return Scope(
        namespaces=visible.namespaces,
        clusters=visible.clusters,
        reveals=reveals,
        unbounded=bool(question.cluster) and administered is not None,
    )


def _reveals_secrets(
    effective: list[EffectiveGrant], cluster: Cluster | None, namespace: str
) -> bool:
    """Whether the caller may see the values of Secrets there."""
    return _has_right(effective, cluster, namespace, Right.SECRETS)


def _has_right(
    effective: list[EffectiveGrant],
    cluster: Cluster | None,
    namespace: str,
    right: Right,
) -> bool:
    """Whether the caller has one more right in the namespace, or in the cluster for ""."""
    requirement = Requirement(frozenset({right}), ScopeLevel.NAMESPACE)
    if namespace:
        effective = _without_stale(effective, requirement, cluster, namespace)
    return _visible(effective, requirement, cluster, namespace) is not None


def _store_scope(
    effective: list[EffectiveGrant],
    token: ApiToken | None,
    act: AccessAttributes,
) -> Scope:
    """The scope of an act on rows of the store.

    The store names clusters freely, so a token's list is compared with the clusterId as text.
    """
    requirement = _requirement_of(act)
    if token:
        effective = policy.narrow(
            effective,
            rights=token_rights(token),
            clusters=None,
        )
    if token and token.clusters and act.cluster not in token.clusters:
        raise Forbidden(f"you may not {act.verb} this cluster's rows")
    cluster = registry.find_by_exact_name(act.cluster)
    namespace = act.namespace
    if namespace:
        effective = _without_stale(effective, requirement, cluster, namespace)
    if _visible(effective, requirement, cluster, namespace) is None:
        raise Forbidden(f"you may not {act.verb} this cluster's rows")
    may = partial(_has_right, effective, cluster, namespace)
    # A row that gives rights is for who administers them, or for the programs that fill the store.
    if policy.is_access_row(act.stored_type) and not (may(Right.MANAGE) or may(Right.STORE_WRITE)):
        raise Forbidden(f"you may not {act.verb} rows that say who may do what")
    return Scope(reveals=may(Right.SECRETS))
