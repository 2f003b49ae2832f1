"""Who may do what: rights by role, verb and kind, as tables, and the pure functions that read them.

A grant gives a role on everything, on one cluster, or on one namespace of a cluster. An act (a
verb on a kind) has a `Requirement`: some rights, held at least as widely as its level. A kind or a
verb that stands in no table is for admins only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any

from clusters.kinds import KINDS
from clusters.resource_types import is_access_type, words_of


class Role(StrEnum):
    """What a grant gives; each role may do everything that the role before it may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Right(StrEnum):
    """What a role, or the scope of an API token, may allow; the values are the scopes' names."""

    READ = "read"
    READ_CLUSTER = "read:cluster"
    LOGS = "logs"
    STORE_READ = "storage:read"
    WRITE = "write"
    TERMINAL = "terminal"
    FILES = "files"
    SECRETS = "secrets"
    NODES = "nodes"
    MANAGE = "admin"
    STORE_WRITE = "storage:write"


class ScopeLevel(IntEnum):
    """How widely a right must be held for an act; the order matters, since levels are compared."""

    # A grant on any namespace of the cluster is enough.
    ANY = 0
    # A grant that covers the namespace of the act.
    NAMESPACE = 1
    # A grant on the whole cluster.
    CLUSTER = 2
    # A grant on all clusters.
    EVERYTHING = 3


# --- roles ----------------------------------------------------------------------------------------
_VIEWER = frozenset({Right.READ, Right.READ_CLUSTER, Right.LOGS, Right.STORE_READ})
# Terminals and files are as powerful as writes: both can read what is mounted in a pod.
_OPERATOR = _VIEWER | {Right.WRITE, Right.TERMINAL, Right.FILES, Right.SECRETS}
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: frozenset(Right),
}

# Names that stand for several scopes when a token is made.
SCOPE_PRESETS: Mapping[str, tuple[Right, ...]] = {
    "agent-read": (Right.READ, Right.LOGS),
    "agent-act": (Right.READ, Right.LOGS, Right.WRITE, Right.NODES),
}
# What remains of any role by the way of agents: a model gets no values of Secrets, no shell and no
# files, whoever its person is.
AGENT_RIGHTS = frozenset(Right) - {Right.SECRETS, Right.TERMINAL, Right.FILES}


# --- verbs ----------------------------------------------------------------------------------------
def _verbs(right: Right, words: str) -> dict[str, Right]:
    return dict.fromkeys(words.split(), right)


VERBS: Mapping[str, Right] = {
    # Kubernetes' own verbs for reading, then our routes that only read.
    **_verbs(Right.READ, "list get watch search read"),
    **_verbs(Right.READ, "revisions history diff events metrics health"),
    **_verbs(Right.READ, "capabilities topology usage preview"),
    # Logs are a right of their own: they often contain data that manifests do not.
    **_verbs(Right.LOGS, "logs"),
    # One object is changed …
    **_verbs(Right.WRITE, "create update patch delete deletecollection write apply"),
    **_verbs(Right.WRITE, "scale rollback restart pause resume suspend trigger rerun"),
    **_verbs(Right.WRITE, "evict drain cordon uncordon label annotate"),
    # … or work is started, repeated or confirmed that changes objects.
    **_verbs(Right.WRITE, "bulk cancel retry schedule check test confirm run approve reject"),
    # Templates: what they make in clusters. Each object is asked for besides.
    **_verbs(Right.WRITE, "deploy upgrade undeploy"),
    # An ephemeral container (debug) and a forwarded port reach as far as a shell does.
    **_verbs(Right.TERMINAL, "terminal exec attach debug portforward"),
    # Shows the values of a Secret, which other reads mask.
    **_verbs(Right.SECRETS, "reveal"),
    **_verbs(Right.FILES, "files files.read files.write files.delete"),
}
# What an admin of the cluster does with nodes without changing them otherwise: a right of its own,
# so that a token may have it without anything else of an admin's.
NODE_VERBS = frozenset({"schedule", "cordon", "uncordon", "drain"})
# Verbs on many objects: with grants on some namespaces only, the answer is narrowed to those.
COLLECTIONS = frozenset({"list", "watch", "search"})


# --- kinds ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AccessRule:
    """What reading and changing a kind requires: a right, and how widely it must be held."""

    read: Right = Right.READ
    read_level: ScopeLevel = ScopeLevel.NAMESPACE
    write: Right = Right.WRITE
    write_level: ScopeLevel = ScopeLevel.NAMESPACE


ORDINARY = AccessRule()
# Nodes, volumes, storage classes, custom resource definitions: read with a grant on the whole
# cluster, changed by its admins. Reading them is a right of its own, so that a token may have it
# without anything else.
CLUSTER_WIDE = AccessRule(
    read=Right.READ_CLUSTER,
    read_level=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_level=ScopeLevel.CLUSTER,
)
# Roles, bindings, service accounts: who may write one may give themselves any right in the
# namespace, and reading them shows how to.
ACCESS_INSIDE = AccessRule(read=Right.MANAGE, write=Right.MANAGE)
ACCESS_WIDE = AccessRule(
    read=Right.MANAGE,
    read_level=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_level=ScopeLevel.CLUSTER,
)
# Access kinds of other API groups: we cannot tell which rights their bindings give, so only an
# admin of the cluster writes them.
ACCESS_FOREIGN = AccessRule(
    read=Right.MANAGE,
    write=Right.MANAGE,
    write_level=ScopeLevel.CLUSTER,
)
# An admin of a namespace could otherwise raise the namespace's own limits.
LIMITS = AccessRule(write=Right.MANAGE, write_level=ScopeLevel.CLUSTER)
# Endpoints can send another namespace's traffic anywhere (CVE-2021-25740).
ROUTING = AccessRule(write_level=ScopeLevel.CLUSTER)
# Registered clusters: seen with any right in them. Changing one is for admins of everything: its
# name binds tokens and rows of the store, its kubeconfig and impersonation decide what everyone
# may do in it.
REGISTRY = AccessRule(
    read_level=ScopeLevel.ANY,
    write=Right.MANAGE,
    write_level=ScopeLevel.EVERYTHING,
)
# Grants and members: an admin manages them inside what they administer (`may_hand_out` checks
# each role besides).
GRANTS = AccessRule(read=Right.MANAGE, write=Right.MANAGE)
# The audit trail: an admin of a cluster reads what concerns it.
OVERSIGHT = AccessRule(
    read=Right.MANAGE,
    read_level=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_level=ScopeLevel.EVERYTHING,
)
# Users, groups, orders: they belong to no cluster.
PLATFORM = AccessRule(
    read=Right.MANAGE,
    read_level=ScopeLevel.EVERYTHING,
    write=Right.MANAGE,
    write_level=ScopeLevel.EVERYTHING,
)
# Quota plans: read by who may use them, changed where they are shared.
PLANS = AccessRule(
    read_level=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_level=ScopeLevel.EVERYTHING,
)
# Templates for all: used by everybody who has any right, made by admins of everything.
TEMPLATES = AccessRule(
    read_level=ScopeLevel.ANY,
    write=Right.MANAGE,
    write_level=ScopeLevel.EVERYTHING,
)
# Texts of many manifests: open to whoever may write anything in the cluster, since the objects in
# them are asked for one by one.
MANIFESTS = AccessRule(read_level=ScopeLevel.ANY, write_level=ScopeLevel.ANY)
# Rules, silences and channels of alerts: open to whoever may write anything, since a rule sees no
# more than its owner may read and a silence reaches no further; the places that one names are asked
# for as `alerts`.
ALERTING = AccessRule(read_level=ScopeLevel.ANY, write_level=ScopeLevel.ANY)
# Tasks: open to whoever may write anything, since a task acts with its owner's rights; the places
# that one names are asked for each of its acts.
AUTOMATION = AccessRule(read_level=ScopeLevel.ANY, write_level=ScopeLevel.ANY)
# Rows of the store have rights of their own, for the programs that fill it.
STORE = AccessRule(
    read=Right.STORE_READ,
    write=Right.STORE_WRITE,
    write_level=ScopeLevel.CLUSTER,
)

RBAC = "rbac.authorization.k8s.io"
# Cluster-scoped kinds that Kubernetes itself serves and that hold nothing confidential. Others of
# its own groups (webhooks, API services, certificate requests …) are for admins.
_HARMLESS_CLUSTER_KINDS = {
    "storage.k8s.io": "csidrivers csinodes volumeattachments volumeattributesclasses",
    "scheduling.k8s.io": "priorityclasses",
    "networking.k8s.io": "ingressclasses ipaddresses servicecidrs",
    "node.k8s.io": "runtimeclasses",
    "resource.k8s.io": "deviceclasses resourceslices",
    "snapshot.storage.k8s.io": "volumesnapshotclasses volumesnapshotcontents",
    "gateway.networking.k8s.io": "gatewayclasses",
    "": "componentstatuses",
}
# (group, plural) -> rule. Later rows replace earlier ones.
RULES: Mapping[tuple[str, str], AccessRule] = {
    **{
        (kind.group, kind.plural): ORDINARY if kind.namespaced else CLUSTER_WIDE
        for kind in KINDS.values()
    },
    **{
        (group, plural): CLUSTER_WIDE
        for group, plurals in _HARMLESS_CLUSTER_KINDS.items()
        for plural in plurals.split()
    },
    # Kinds that give rights.
    (RBAC, "roles"): ACCESS_INSIDE,
    (RBAC, "rolebindings"): ACCESS_INSIDE,
    ("", "serviceaccounts"): ACCESS_INSIDE,
    (RBAC, "clusterroles"): ACCESS_WIDE,
    (RBAC, "clusterrolebindings"): ACCESS_WIDE,
    # Kinds that limit a namespace. A Namespace carries the labels that Pod Security reads.
    ("", "namespaces"): LIMITS,
    ("", "resourcequotas"): LIMITS,
    ("", "limitranges"): LIMITS,
    # Kinds that lead traffic.
    ("", "endpoints"): ROUTING,
    ("discovery.k8s.io", "endpointslices"): ROUTING,
    # KubeGale's own resources, which are not Kubernetes'.
    ("", "clusters"): REGISTRY,
    ("", "stats"): REGISTRY,
    ("", "operations"): ORDINARY,
    ("", "metrics"): ORDINARY,
    # Read by its members; created, changed and deleted by admins of the cluster, since an admin of
    # the tenant could otherwise raise its quota.
    ("", "tenants"): LIMITS,
    ("", "members"): GRANTS,
    ("", "grants"): GRANTS,
    ("", "audit"): OVERSIGHT,
    ("", "users"): PLATFORM,
    ("", "groups"): PLATFORM,
    ("", "orders"): PLATFORM,
    ("", "plans"): PLANS,
    ("", "manifests"): MANIFESTS,
    ("", "templates"): TEMPLATES,
    # Those of a tenant, by rights in its namespace.
    ("", "tenanttemplates"): ORDINARY,
    # The tenants whose templates and channels a caller may write: what forms offer.
    ("", "writabletenants"): AccessRule(read=Right.WRITE),
    ("", "releases"): ORDINARY,
    ("", "templatedeployments"): ORDINARY,
    ("", "alerts"): ORDINARY,
    ("", "alertrules"): ALERTING,
    ("", "alertsilences"): ALERTING,
    ("", "alertchannels"): ALERTING,
    ("", "tasks"): AUTOMATION,
    # What others automate in a place is seen by who may write there, and changed by its admins.
    ("", "taskruns"): AccessRule(read=Right.WRITE),
    ("", "foreigntasks"): GRANTS,
    ("", "storage"): STORE,
}
# Kinds that may be listed without naming a cluster: the answer is then narrowed to the clusters
# that the caller may see.
ACROSS_CLUSTERS = frozenset(
    {
        "clusters",
        "operations",
        "tenants",
        "tenanttemplates",
        "writabletenants",
        "audit",
        "grants",
        "members",
        "plans",
        "templatedeployments",
        "alerts",
        "taskruns",
        "foreigntasks",
    }
)


# Parts of the names of API groups that are about who may do what.
_ACCESS_GROUPS = frozenset({"authorization", "authentication", "rbac", "iam", "oauth", "user"})
# A kind with "role" and one of these words in its name gives a role to a subject.
_BINDING_WORDS = ("binding", "assignment", "grant", "definition")
# Cluster-scoped custom kinds with one of these words in their name hold credentials.
_CREDENTIAL_WORDS = ("token", "secret", "credential", "password", "oauth", "user", "identit")


def is_access(kind: str, group: str) -> bool:
    """Whether objects of the kind give rights, in whichever API group it is.

    True for roles, for what binds or assigns them, for service accounts, and for every kind of
    groups such as authorization.*, iam.* …
    """
    name = kind.lower()
    if name.endswith(("role", "roles", "roletemplates", "serviceaccount", "serviceaccounts")):
        return True
    if "role" in name and any(word in name for word in _BINDING_WORDS):
        return True
    return "rbac" in name or not _ACCESS_GROUPS.isdisjoint(group.lower().split("."))


def is_access_row(stored_type: str) -> bool:
    """Whether rows of a stored type give rights: `is_access` for the store's type names.

    The store takes types in any spelling (`v1.RoleBinding`, `RoleBinding.authorization.x.io`), so
    the name is read in both ways, with the rest as its group and without.
    """
    head, _, group = stored_type.partition(".")
    return (
        is_access_type(stored_type)
        or is_access("".join(words_of(head)), group)
        or is_access("".join(words_of(stored_type)), "")
    )


def access_rule(kind: str, group: str, *, cluster_scoped: bool = False) -> AccessRule:
    """The rule of a kind.

    Custom kinds are ordinary inside a namespace. Kinds of Kubernetes' own groups that no table
    knows are for admins: a new version of Kubernetes may add any kind.
    """
    if rule := RULES.get((group, kind)):
        return rule
    if group == RBAC or group.endswith("authorization.k8s.io") or not group:
        return ACCESS_WIDE
    if is_access(kind, group):
        return ACCESS_WIDE if cluster_scoped else ACCESS_FOREIGN
    # metrics.k8s.io serves usage and nothing else.
    if group.endswith(".k8s.io") and group != "metrics.k8s.io":
        return ACCESS_WIDE if cluster_scoped else ACCESS_INSIDE
    if not cluster_scoped:
        return ORDINARY
    if any(word in kind.lower() for word in _CREDENTIAL_WORDS):
        return ACCESS_WIDE
    return CLUSTER_WIDE


# --- decisions ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Requirement:
    """What an act requires: all of the rights, held at least as widely as `level`."""

    rights: frozenset[Right]
    level: ScopeLevel


@dataclass(frozen=True, slots=True)
class EffectiveGrant:
    """Rights that a caller has: on everything, on a cluster, or on a namespace of it.

    `cluster` is a cluster's id, None for all of them. `uid` is that of the namespace when the grant
    was made, "" when it did not exist yet. `source` is the id of the `Grant` row.
    """

    rights: frozenset[Right]
    cluster: int | None = None
    namespace: str | None = None
    uid: str = ""
    source: int = 0


@dataclass(frozen=True, slots=True)
class VisibleScope:
    """Where a requirement is met; None is everywhere.

    `namespaces` are those of the cluster that was asked about; `clusters` maps the id of each
    cluster to its namespaces, None being all of them.
    """

    namespaces: frozenset[str] | None = None
    clusters: Mapping[int, frozenset[str] | None] | None = field(default=None)


# A request asks for the same few acts as those before it. Of a pure function of short texts; a
# caller who makes up kinds fills no more than this.
@lru_cache(maxsize=1024)
def requirement_for(
    verb: str, kind: str, group: str = "", *, cluster_scoped: bool = False
) -> Requirement:
    """What the act requires. Terminals and files count as writes of the kind.

    A verb that is in no table requires an admin of the cluster.
    """
    rule = access_rule(kind, group, cluster_scoped=cluster_scoped)
    right = VERBS.get(verb)
    if right is None:
        level = max(rule.write_level, ScopeLevel.CLUSTER)
        return Requirement(frozenset({Right.MANAGE}), level)
    if right is Right.READ:
        return Requirement(frozenset({rule.read}), rule.read_level)
    if right in {Right.LOGS, Right.SECRETS}:
        return Requirement(frozenset({right, rule.read}), rule.read_level)
    if right is Right.WRITE:
        is_for_nodes = rule is CLUSTER_WIDE and kind == "nodes" and verb in NODE_VERBS
        required = Right.NODES if is_for_nodes else rule.write
        return Requirement(frozenset({required}), rule.write_level)
    return Requirement(frozenset({right, rule.write}), rule.write_level)


def is_audited(verb: str, kind: str, group: str = "") -> bool:
    """Whether an act leaves an entry in the audit trail.

    Every write does, and every read of logs, terminals, files and Secrets.
    """
    right = VERBS.get(verb)
    return right is not Right.READ or (kind == "secrets" and not group)


def is_write(verb: str) -> bool:
    """Whether an act changes the object that it names."""
    return VERBS.get(verb, Right.MANAGE) in {Right.WRITE, Right.MANAGE}


def narrow(
    grants: Iterable[EffectiveGrant],
    *,
    rights: frozenset[Right] | None,
    clusters: frozenset[int] | None,
) -> list[EffectiveGrant]:
    """The grants cut down to what a token allows; None leaves rights or clusters as they are."""
    narrowed: list[EffectiveGrant] = []
    for grant in grants:
        remaining = grant.rights if rights is None else grant.rights & rights
        if clusters is None or grant.cluster in clusters:
            narrowed.append(replace(grant, rights=remaining))
        elif grant.cluster is None:
            # A grant on everything becomes one grant on each of the token's clusters.
            narrowed += [
                replace(
                    grant,
                    rights=remaining,
                    cluster=cluster,
                )
                for cluster in sorted(clusters)
            ]
    return [grant for grant in narrowed if grant.rights]


def narrow_by_limits(
    grants: list[EffectiveGrant], limits: Mapping[str, Any]
) -> list[EffectiveGrant]:
    """The grants cut down to limits in the shape of `access.authorization.limits_of`."""
    if not limits:
        return grants
    rights = None
    if "rights" in limits:
        rights = frozenset(Right(name) for name in limits["rights"] if name in list(Right))
    clusters = frozenset(limits["clusters"]) if "clusters" in limits else None
    return narrow(grants, rights=rights, clusters=clusters)


def _sufficient(grants: Iterable[EffectiveGrant], requirement: Requirement) -> list[EffectiveGrant]:
    return [
        grant
        for grant in grants
        if requirement.rights <= grant.rights and _is_wide_enough(grant, requirement.level)
    ]


def _is_wide_enough(grant: EffectiveGrant, level: ScopeLevel) -> bool:
    if level is ScopeLevel.EVERYTHING:
        return grant.cluster is None
    return level < ScopeLevel.CLUSTER or grant.namespace is None


def visible_in_cluster(
    grants: Iterable[EffectiveGrant],
    requirement: Requirement,
    *,
    cluster: int | None,
    namespace: str,
    collection: bool,
) -> VisibleScope | None:
    """Where in one cluster the requirement is met; None for nowhere.

    `cluster` is None for a cluster that is not registered, "" as `namespace` is the whole cluster.
    A `collection` may be narrowed to the namespaces of the grants.
    """
    sufficient = [
        grant
        for grant in _sufficient(grants, requirement)
        if grant.cluster is None or grant.cluster == cluster
    ]
    if any(grant.namespace is None for grant in sufficient):
        return VisibleScope()
    if sufficient and requirement.level is ScopeLevel.ANY:
        return VisibleScope()
    namespaces = frozenset(grant.namespace for grant in sufficient if grant.namespace is not None)
    if namespace:
        return VisibleScope() if namespace in namespaces else None
    return VisibleScope(namespaces=namespaces) if namespaces and collection else None


def visible_across_clusters(
    grants: Iterable[EffectiveGrant], requirement: Requirement
) -> VisibleScope | None:
    """Where over all clusters the requirement is met; None for nowhere."""
    sufficient = _sufficient(grants, requirement)
    if any(grant.cluster is None and grant.namespace is None for grant in sufficient):
        return VisibleScope()
    clusters: dict[int, frozenset[str] | None] = {}
    for grant in sufficient:
        if grant.cluster is None:
            continue
        namespaces = clusters.get(grant.cluster, frozenset())
        if grant.namespace is None or namespaces is None:
            # One grant on the whole cluster outweighs those on its namespaces.
            clusters[grant.cluster] = None
        else:
            clusters[grant.cluster] = namespaces | {grant.namespace}
    if not clusters:
        return None
    return VisibleScope(namespaces=frozenset(), clusters=clusters)


def may_hand_out(
    grants: Iterable[EffectiveGrant],
    role: Role,
    *,
    cluster: int | None,
    namespace: str,
) -> bool:
    """Whether a caller may grant the role there.

    Only an admin may, and never a right that they do not have themselves, nor more widely than
    they have it.
    """
    if cluster is None:
        level = ScopeLevel.EVERYTHING
    elif namespace:
        level = ScopeLevel.NAMESPACE
    else:
        level = ScopeLevel.CLUSTER
    requirement = Requirement(RIGHTS[role] | {Right.MANAGE}, level)
    scope = visible_in_cluster(
        grants,
        requirement,
        cluster=cluster,
        namespace=namespace,
        collection=False,
    )
    return scope is not None
