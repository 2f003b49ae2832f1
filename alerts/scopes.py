"""Where a rule looks: its own scope, inside what its owner may read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.contrib.auth.models import AbstractUser
from django.db import connection
from django.db.models import Q
from psycopg2 import sql

from access import grants, policy
from access.policy import EffectiveGrant, Right
from alerts.models import Rule
from clusters import registry
from clusters.kinds import Kind
from core.errors import Invalid
from storage_api.models import ClusterSync
from storage_api.query import selectors
from storage_api.query.conditions import MATCH_NONE, Clause

Namespaces = frozenset[str] | None
# Cluster's id -> the namespaces that are seen there (None: all); None is everything.
Reach = Mapping[int, Namespaces] | None
NO_LIMITS: Mapping[str, Any] = {}
_NAMESPACE_UIDS = """
SELECT cluster_id, resource_name, uid FROM storage_resource
WHERE resource_type = 'Namespace' AND cluster_id = ANY (%s) AND resource_name = ANY (%s)
"""


@dataclass(slots=True)
class Fleet:
    """The registered clusters as one turn of the evaluation sees them.

    `names`: cluster's id -> the name of its rows in the store; `ids` is the other way round.
    """

    names: Mapping[int, str]
    ids: Mapping[str, int]
    stale: frozenset[int] = frozenset()
    # Those that decide for each caller by their own rules: the store may know more than a user may.
    impersonated: frozenset[int] = frozenset()
    _grants: dict[tuple[int, str], list[EffectiveGrant]] = field(default_factory=dict)

    @classmethod
    def read(cls, stale: frozenset[int] = frozenset()) -> "Fleet":
        """The clusters that are registered now."""
        stored = dict(ClusterSync.objects.values_list("cluster_id", "stored_as"))
        rows = list(registry.clusters().values_list("id", "name", "impersonate"))
        names = {pk: stored.get(pk) or name for pk, name, _ in rows}
        impersonated = frozenset(pk for pk, _, impersonates in rows if impersonates)
        return cls(
            names,
            {name: pk for pk, name in names.items()},
            stale,
            impersonated,
        )

    def is_admin(self, owner: AbstractUser, limits: Mapping[str, Any] = NO_LIMITS) -> bool:
        """Whether the user may do everything everywhere."""
        return any(
            grant.cluster is None and grant.namespace is None and Right.MANAGE in grant.rights
            for grant in self.grants_of(owner, limits)
        )

    def grants_of(
        self, owner: AbstractUser, limits: Mapping[str, Any] = NO_LIMITS
    ) -> list[EffectiveGrant]:
        """What a user may do, without grants on namespaces that were made again since.

        `limits` are of the API token by which they act, as `access.authorization.limits_of` gives.
        """
        key = (owner.pk, orjson.dumps(limits).decode())
        if key not in self._grants:
            effective = policy.narrow_by_limits(grants.effective_grants(owner), limits)
            self._grants[key] = _without_stale(effective, self.names)
        return self._grants[key]


def _without_stale(
    effective: list[EffectiveGrant], names: Mapping[int, str]
) -> list[EffectiveGrant]:
    """The grants whose namespace, as the store has it, is the one that they were made for."""
    bound = [grant for grant in effective if grant.namespace and grant.uid]
    if not bound:
        return effective
    clusters = sorted({names.get(grant.cluster or 0, "") for grant in bound})
    namespaces = sorted({grant.namespace or "" for grant in bound})
    with connection.cursor() as cursor:
        cursor.execute(_NAMESPACE_UIDS, [clusters, namespaces])
        uids = {(cluster, name): uid for cluster, name, uid in cursor.fetchall()}

    def is_current(grant: EffectiveGrant) -> bool:
        place = (names.get(grant.cluster or 0, ""), grant.namespace or "")
        return (
            not (grant.namespace and grant.uid)
            or uids.get(
                place,
                grant.uid,
            )
            == grant.uid
        )

    return [grant for grant in effective if is_current(grant)]


def reach(
    rule: Rule,
    fleet: Fleet,
    kind: Kind | None,
) -> dict[int, Namespaces] | None:
    """Cluster's id -> the namespaces that the rule sees there (None: all); None is everything.

    `kind` None asks for what belongs to a whole cluster, as its connection.
    """
    if kind is None:
        requirement = policy.requirement_for("get", "clusters")
    else:
        requirement = policy.requirement_for(
            "list", kind.plural, kind.group, cluster_scoped=not kind.namespaced
        )
    visible = policy.visible_across_clusters(
        fleet.grants_of(rule.owner, rule.limits),
        requirement,
    )
    if visible is None:
        return {}
    clusters, namespaces = scope_of(rule)
    if kind is None or not kind.namespaced:
        namespaces = None
    hidden: frozenset[int] = frozenset()
    if kind is not None and fleet.impersonated and not fleet.is_admin(rule.owner, rule.limits):
        hidden = fleet.impersonated
    if visible.clusters is None and clusters is None and namespaces is None and not hidden:
        return None
    reached: dict[int, Namespaces] = {}
    for pk in fleet.names:
        if pk in hidden or (clusters is not None and pk not in clusters):
            continue
        if visible.clusters is None:
            reached[pk] = namespaces
        elif pk in visible.clusters:
            seen = visible.clusters[pk]
            both = seen if namespaces is None else namespaces
            reached[pk] = both if seen is None or both is None else both & seen
    return reached


def reach_hash(reached: Reach) -> str:
    """A short text that is another one for another reach."""
    if reached is None:
        return "everything"
    places = [[pk, sorted(names) if names else names] for pk, names in sorted(reached.items())]
    return hashlib.sha256(repr(places).encode()).hexdigest()[:40]


def is_reached(reached: Reach, cluster: int | None, namespace: str) -> bool:
    """Whether a place is inside a reach; without a namespace, whether any of the cluster is."""
    if reached is None or cluster is None:
        return True
    namespaces = reached.get(cluster, frozenset())
    if namespaces is None:
        return True
    return namespace in namespaces if namespace else bool(namespaces)


def scope_of(rule: Rule) -> tuple[frozenset[int] | None, Namespaces]:
    """The clusters and namespaces that a rule names; None is all. A tenant is its namespace."""
    if rule.tenant_id is not None and rule.tenant is not None:
        return frozenset({rule.tenant.cluster_id}), frozenset({rule.tenant.namespace})
    clusters = rule.scope.get("clusters")
    namespaces = rule.scope.get("namespaces")
    return (
        frozenset(clusters) if clusters else None,
        frozenset(namespaces) if namespaces else None,
    )


def row_clause(
    reached: Mapping[int, Namespaces] | None,
    fleet: Fleet,
    *,
    cluster: str = "r.cluster_id",
    namespace: str = "r.namespace",
) -> Clause:
    """The reach as a condition on rows of the store; the columns are SQL of ours."""
    if reached is None:
        return Clause(sql.SQL("true"))
    whole = sorted(fleet.names[pk] for pk, namespaces in reached.items() if namespaces is None)
    parts: list[sql.Composable] = []
    params: list[Any] = []
    if whole:
        parts.append(sql.SQL(f"{cluster} = ANY (%s)"))
        params.append(whole)
    by_namespaces: dict[frozenset[str], list[str]] = {}
    for pk, namespaces in reached.items():
        if namespaces:
            by_namespaces.setdefault(namespaces, []).append(fleet.names[pk])
    for namespaces, names in by_namespaces.items():
        parts.append(sql.SQL(f"({cluster} = ANY (%s) AND {namespace} = ANY (%s))"))
        params += [sorted(names), sorted(namespaces)]
    if not parts:
        return MATCH_NONE
    return Clause(sql.SQL("({})").format(sql.SQL(" OR ").join(parts)), tuple(params))


def label_clauses(rule: Rule) -> tuple[Clause, ...]:
    """The rule's label selector as conditions on the row called r; Invalid for a broken one."""
    selector = rule.scope.get("labelSelector") or ""
    selection = selectors.labels(selector) if selector else selectors.LabelSelection()
    if selection is None:
        raise Invalid(
            "scope.labelSelector is not a label selector such as app=web,tier!=db",
            field="scope.labelSelector",
        )
    return selection.clauses


def visible_alerts(clusters: Mapping[int, Namespaces] | None) -> Q:
    """The alerts in those places; None is every alert."""
    if clusters is None:
        return Q()
    # An empty Q() would match every row, pk=None matches none.
    visible = Q(pk=None)
    for pk, namespaces in clusters.items():
        inside = Q() if namespaces is None else Q(namespace__in=namespaces)
        visible |= Q(cluster=pk) & inside
    return visible


def alerts_of_user(owner: AbstractUser, fleet: Fleet) -> Q:
    """The alerts that a user may see by their own grants."""
    requirement = policy.requirement_for("list", "alerts")
    visible = policy.visible_across_clusters(fleet.grants_of(owner), requirement)
    return Q(pk=None) if visible is None else visible_alerts(visible.clusters)
