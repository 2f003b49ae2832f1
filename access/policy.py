"""Who may do what: rights by role, verb and kind, as tables, and the pure functions that read them.

A grant gives a role on everything, on one cluster, or on one namespace of a cluster. An act (a verb on a kind) needs some
rights (`Need.rights`) held widely enough (`Need.reach`). What stands in no table is an admin's alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from clusters.kinds import KINDS
from clusters.resource_types import is_access_type, words_of


class Role(StrEnum):
    """What a grant gives; each role may do all that the one before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Right(StrEnum):
    """One thing that a role, or the scope of an API token, may allow; the values are the token scopes' names."""

    READ = "read"
    READ_CLUSTER = "read:cluster"
    LOGS = "logs"
    STORE_READ = "storage:read"
    WRITE = "write"
    TERMINAL = "terminal"
    FILES = "files"
    SECRETS = "secrets"
    MANAGE = "admin"
    STORE_WRITE = "storage:write"


class ScopeLevel(IntEnum):
    """How wide a grant must be for an act."""

    ANY = 0
    NAMESPACE = 1
    CLUSTER = 2
    EVERYTHING = 3


# --- roles ----------------------------------------------------------------------------------------------------------
_VIEWER = frozenset({Right.READ, Right.READ_CLUSTER, Right.LOGS, Right.STORE_READ})
_OPERATOR = _VIEWER | {Right.WRITE, Right.TERMINAL, Right.FILES, Right.SECRETS}
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: frozenset(Right),
}


# --- verbs ----------------------------------------------------------------------------------------------------------
def _verbs(right: Right, words: str) -> dict[str, Right]:
    return dict.fromkeys(words.split(), right)


VERBS: Mapping[str, Right] = {
    **_verbs(
        Right.READ,
        "list get watch search read revisions history diff events metrics health capabilities topology usage preview",
    ),
    **_verbs(Right.LOGS, "logs"),
    **_verbs(
        Right.WRITE,
        "create update patch delete write apply scale rollback restart pause resume suspend trigger rerun",
    ),
    **_verbs(
        Right.WRITE,
        "evict bulk cancel retry schedule drain cordon uncordon label annotate check test confirm",
    ),
    **_verbs(Right.TERMINAL, "terminal exec attach debug portforward"),
    **_verbs(Right.SECRETS, "reveal"),
    **_verbs(Right.FILES, "files files.read files.write files.delete"),
}
COLLECTIONS = frozenset({"list", "watch", "search"})


# --- kinds ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AccessRule:
    """What reading and changing a kind needs: a right, and how widely it must be held."""

    read: Right = Right.READ
    read_reach: ScopeLevel = ScopeLevel.NAMESPACE
    write: Right = Right.WRITE
    write_reach: ScopeLevel = ScopeLevel.NAMESPACE


ORDINARY = AccessRule()
# Nodes, volumes, storage classes, custom resource definitions: seen with a grant on the whole cluster, changed by its admins. The
# right to see them stands apart: a token may have it alone.
CLUSTER_WIDE = AccessRule(
    read=Right.READ_CLUSTER,
    read_reach=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_reach=ScopeLevel.CLUSTER,
)
# Roles, bindings, service accounts: whoever may write one may give themselves anything, and reading shows how.
ACCESS_INSIDE = AccessRule(read=Right.MANAGE, write=Right.MANAGE)
ACCESS_WIDE = AccessRule(
    read=Right.MANAGE,
    read_reach=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_reach=ScopeLevel.CLUSTER,
)
# Access kinds of other API groups: what their bindings lend cannot be weighed, so that an admin of the cluster writes them.
ACCESS_FOREIGN = AccessRule(read=Right.MANAGE, write=Right.MANAGE, write_reach=ScopeLevel.CLUSTER)
# A namespace's limits would otherwise be its own to raise.
LIMITS = AccessRule(write=Right.MANAGE, write_reach=ScopeLevel.CLUSTER)
# Endpoints can send another namespace's traffic anywhere (CVE-2021-25740).
ROUTING = AccessRule(write_reach=ScopeLevel.CLUSTER)
# Registered clusters: seen by anyone with any right there. Changing one is for admins of everything: a cluster's name binds tokens
# and rows of the store, its kubeconfig and its impersonation decide what everybody may do in it.
REGISTRY = AccessRule(
    read_reach=ScopeLevel.ANY, write=Right.MANAGE, write_reach=ScopeLevel.EVERYTHING
)
GRANTS = AccessRule(read=Right.MANAGE, write=Right.MANAGE)
OVERSIGHT = AccessRule(
    read=Right.MANAGE,
    read_reach=ScopeLevel.CLUSTER,
    write=Right.MANAGE,
    write_reach=ScopeLevel.EVERYTHING,
)
PLATFORM = AccessRule(
    read=Right.MANAGE,
    read_reach=ScopeLevel.EVERYTHING,
    write=Right.MANAGE,
    write_reach=ScopeLevel.EVERYTHING,
)
STORE = AccessRule(read=Right.STORE_READ, write=Right.STORE_WRITE, write_reach=ScopeLevel.CLUSTER)

RBAC = "rbac.authorization.k8s.io"
# Kinds outside namespaces that Kubernetes itself serves and that hold nothing to hide. Others of its own groups (webhooks,
# API services, certificate requests …) are an admin's.
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
RULES: Mapping[tuple[str, str], AccessRule] = {
    **{
        (kind.group, kind.plural): ORDINARY if kind.namespaced else CLUSTER_WIDE
        for kind in KINDS.values()
    },
    **{
        (group, plural): CLUSTER_WIDE
        for group, text in _HARMLESS_CLUSTER_KINDS.items()
        for plural in text.split()
    },
    (RBAC, "roles"): ACCESS_INSIDE,
    (RBAC, "rolebindings"): ACCESS_INSIDE,
    ("", "serviceaccounts"): ACCESS_INSIDE,
    (RBAC, "clusterroles"): ACCESS_WIDE,
    (RBAC, "clusterrolebindings"): ACCESS_WIDE,
    ("", "namespaces"): LIMITS,
    ("", "resourcequotas"): LIMITS,
    ("", "limitranges"): LIMITS,
    ("", "endpoints"): ROUTING,
    ("discovery.k8s.io", "endpointslices"): ROUTING,
    # What is ours, not Kubernetes'.
    ("", "clusters"): REGISTRY,
    ("", "stats"): REGISTRY,
    ("", "operations"): ORDINARY,
    ("", "metrics"): ORDINARY,
    # Read by who is inside; made, changed and deleted by admins of the cluster: its quota would be its own to raise.
    ("", "tenants"): LIMITS,
    ("", "members"): GRANTS,
    ("", "grants"): GRANTS,
    ("", "audit"): OVERSIGHT,
    ("", "users"): PLATFORM,
    ("", "groups"): PLATFORM,
    ("", "orders"): PLATFORM,
    ("", "plans"): AccessRule(
        read_reach=ScopeLevel.CLUSTER, write=Right.MANAGE, write_reach=ScopeLevel.EVERYTHING
    ),
    ("", "storage"): STORE,
}
# Kinds whose acts need name no cluster: the answer is then narrowed to the clusters that the caller may see.
ACROSS_CLUSTERS = frozenset(
    {"clusters", "operations", "tenants", "audit", "grants", "members", "plans"}
)


# Parts of the names of API groups that are about who may do what.
_ACCESS_GROUPS = frozenset({"authorization", "authentication", "rbac", "iam", "oauth", "user"})
# What a kind does with roles that gives rights to somebody.
_BINDING_WORDS = ("binding", "assignment", "grant", "definition")
# Custom kinds outside namespaces whose names say that they hold what opens doors.
_CREDENTIAL_WORDS = ("token", "secret", "credential", "password", "oauth", "user", "identit")


def is_access(kind: str, group: str) -> bool:
    """Whether objects of the kind give rights, whoever's API group it is.

    Roles, what binds or assigns them, service accounts, all of authorization.*, iam.* …
    """
    name = kind.lower()
    return (
        name.endswith(("role", "roles", "roletemplates", "serviceaccount", "serviceaccounts"))
        or ("role" in name and any(word in name for word in _BINDING_WORDS))
        or "rbac" in name
        or not _ACCESS_GROUPS.isdisjoint(group.lower().split("."))
    )


def is_access_row(stored_type: str) -> bool:
    """Whether rows of a stored type give rights, as `is_access` says it of kinds, however the type is spelled: `v1.RoleBinding` …"""
    head, _, group = stored_type.partition(".")
    return (
        is_access_type(stored_type)
        or is_access("".join(words_of(head)), group)
        or is_access("".join(words_of(stored_type)), "")
    )


def access_rule(kind: str, group: str, *, cluster_scoped: bool = False) -> AccessRule:
    """The rule of a kind. Custom kinds are ordinary inside a namespace; unknown kinds of Kubernetes' own groups are an admin's."""
    if known := RULES.get((group, kind)):
        return known
    if group == RBAC or group.endswith("authorization.k8s.io") or not group:
        return ACCESS_WIDE
    if is_access(kind, group):
        return ACCESS_WIDE if cluster_scoped else ACCESS_FOREIGN
    if group.endswith(".k8s.io") and group != "metrics.k8s.io":
        return ACCESS_WIDE if cluster_scoped else ACCESS_INSIDE
    if not cluster_scoped:
        return ORDINARY
    return ACCESS_WIDE if any(word in kind.lower() for word in _CREDENTIAL_WORDS) else CLUSTER_WIDE


# --- decisions ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Requirement:
    """What an act needs: all of the rights, held as widely as `reach`."""

    rights: frozenset[Right]
    reach: ScopeLevel


@dataclass(frozen=True, slots=True)
class EffectiveGrant:
    """Rights that a caller holds: on everything, on a cluster, or on a namespace; `uid` is the namespace that was meant."""

    rights: frozenset[Right]
    cluster: int | None = None
    namespace: str | None = None
    uid: str = ""
    source: int = 0


@dataclass(frozen=True, slots=True)
class VisibleScope:
    """Where a need is met; None is everywhere. `clusters` gives the namespaces (None is all) by cluster."""

    namespaces: frozenset[str] | None = None
    clusters: Mapping[int, frozenset[str] | None] | None = field(default=None)


def requirement_for(
    verb: str, kind: str, group: str = "", *, cluster_scoped: bool = False
) -> Requirement:
    """What the act needs. A verb in no table needs an admin of the cluster; terminal and files count as writes."""
    of_kind = access_rule(kind, group, cluster_scoped=cluster_scoped)
    right = VERBS.get(verb)
    if right is None:
        return Requirement(frozenset({Right.MANAGE}), max(of_kind.write_reach, ScopeLevel.CLUSTER))
    if right is Right.READ:
        return Requirement(frozenset({of_kind.read}), of_kind.read_reach)
    if right in {Right.LOGS, Right.SECRETS}:
        return Requirement(frozenset({right, of_kind.read}), of_kind.read_reach)
    if right is Right.WRITE:
        return Requirement(frozenset({of_kind.write}), of_kind.write_reach)
    return Requirement(frozenset({right, of_kind.write}), of_kind.write_reach)


def is_audited(verb: str, kind: str, group: str = "") -> bool:
    """Whether an act leaves a line in the audit trail: every write, and every look into logs, terminals, files and secrets."""
    right = VERBS.get(verb)
    return right is not Right.READ or (kind == "secrets" and not group)


def is_write(verb: str) -> bool:
    """Whether an act changes the object that it names."""
    return VERBS.get(verb, Right.MANAGE) in {Right.WRITE, Right.MANAGE}


def narrow(
    holdings: Iterable[EffectiveGrant],
    *,
    rights: frozenset[Right] | None,
    clusters: frozenset[int] | None,
) -> list[EffectiveGrant]:
    """The holdings cut down to what a token allows; None leaves that side alone."""
    kept: list[EffectiveGrant] = []
    for holding in holdings:
        left = holding.rights if rights is None else holding.rights & rights
        if clusters is None or holding.cluster in clusters:
            kept.append(replace(holding, rights=left))
        elif holding.cluster is None:
            kept += [replace(holding, rights=left, cluster=cluster) for cluster in sorted(clusters)]
    return [holding for holding in kept if holding.rights]


def _sufficient(holdings: Iterable[EffectiveGrant], wanted: Requirement) -> list[EffectiveGrant]:
    return [
        holding
        for holding in holdings
        if wanted.rights <= holding.rights and _is_wide_enough(holding, wanted.reach)
    ]


def _is_wide_enough(holding: EffectiveGrant, reach: ScopeLevel) -> bool:
    if reach is ScopeLevel.EVERYTHING:
        return holding.cluster is None
    return reach < ScopeLevel.CLUSTER or holding.namespace is None


def visible_in_cluster(
    holdings: Iterable[EffectiveGrant],
    wanted: Requirement,
    *,
    cluster: int | None,
    namespace: str,
    collection: bool,
) -> VisibleScope | None:
    """Where in one cluster the need is met (None: nowhere). `cluster` is None for one that is not registered."""
    fitting = [
        held
        for held in _sufficient(holdings, wanted)
        if held.cluster is None or held.cluster == cluster
    ]
    if any(held.namespace is None for held in fitting) or (
        fitting and wanted.reach is ScopeLevel.ANY
    ):
        return VisibleScope()
    spaces = frozenset(held.namespace for held in fitting if held.namespace is not None)
    if namespace:
        return VisibleScope() if namespace in spaces else None
    return VisibleScope(namespaces=spaces) if spaces and collection else None


def visible_across_clusters(
    holdings: Iterable[EffectiveGrant], wanted: Requirement
) -> VisibleScope | None:
    """Where over all clusters the need is met (None: nowhere)."""
    fitting = _sufficient(holdings, wanted)
    if any(held.cluster is None and held.namespace is None for held in fitting):
        return VisibleScope()
    found: dict[int, frozenset[str] | None] = {}
    for held in fitting:
        if held.cluster is not None:
            before = found.get(held.cluster, frozenset())
            found[held.cluster] = (
                None if held.namespace is None or before is None else before | {held.namespace}
            )
    return VisibleScope(namespaces=frozenset(), clusters=found) if found else None


def may_hand_out(
    holdings: Iterable[EffectiveGrant], role: Role, *, cluster: int | None, namespace: str
) -> bool:
    """Whether a caller may hand out the role there: only an admin, and never a right or a reach beyond their own."""
    wanted = Requirement(
        RIGHTS[role] | {Right.MANAGE},
        ScopeLevel.EVERYTHING
        if cluster is None
        else ScopeLevel.NAMESPACE
        if namespace
        else ScopeLevel.CLUSTER,
    )
    return (
        visible_in_cluster(holdings, wanted, cluster=cluster, namespace=namespace, collection=False)
        is not None
    )
