"""Kubernetes' privilege escalation check, done here for users who administer a namespace.

The kubeconfig's own rights would let every Role and RoleBinding pass. A Role may hold only rules
that the ClusterRole `admin` holds, and a RoleBinding may grant only `view`, `edit`, `admin` or a
role whose rules `admin` holds. Admins of the whole cluster are not checked, and a cluster with
impersonation checks its users itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import orjson

from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.wire import CHUNK_SIZE
from core.errors import Forbidden, Invalid, NotFound

RBAC = KINDS["roles"].group
CLUSTER_ROLES = KINDS["clusterroles"]
ACCESS_KINDS = frozenset({"roles", "rolebindings", "clusterroles", "clusterrolebindings"})
# What an admin of a namespace may grant to anybody in it.
GRANTABLE = frozenset({"view", "edit", "admin"})
# Combinations of verb, group, resource and name that are checked for one object.
MAX_COMBINATIONS = 10_000
# Chunks of the list of ClusterRoles that are read.
MAX_CHUNKS = 40
# Roles that aggregate roles that aggregate roles: Kubernetes' own go three deep.
MAX_AGGREGATION_DEPTH = 8

_READ = "get list watch"
_CHANGE = "create delete deletecollection patch update"
# The ClusterRole `admin` of Kubernetes 1.36, for clusters whose own cannot be read.
_BUILT_IN = (
    (
        "",
        _READ,
        "bindings configmaps endpoints events limitranges namespaces namespaces/status "
        "persistentvolumeclaims persistentvolumeclaims/status pods pods/attach pods/exec pods/log "
        "pods/portforward pods/proxy pods/status replicationcontrollers "
        "replicationcontrollers/scale replicationcontrollers/status resourcequotas "
        "resourcequotas/status secrets serviceaccounts services services/proxy services/status",
    ),
    (
        "",
        _CHANGE,
        "configmaps events persistentvolumeclaims pods pods/attach pods/exec pods/portforward "
        "pods/proxy replicationcontrollers replicationcontrollers/scale secrets serviceaccounts "
        "services services/proxy",
    ),
    ("", "create", "pods/eviction serviceaccounts/token"),
    ("", "impersonate", "serviceaccounts"),
    (
        "apps",
        _READ,
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "
        "deployments/status replicasets replicasets/scale replicasets/status statefulsets "
        "statefulsets/scale statefulsets/status",
    ),
    (
        "apps",
        _CHANGE,
        "daemonsets deployments deployments/rollback deployments/scale replicasets "
        "replicasets/scale statefulsets statefulsets/scale",
    ),
    ("autoscaling", _READ, "horizontalpodautoscalers horizontalpodautoscalers/status"),
    ("autoscaling", _CHANGE, "horizontalpodautoscalers"),
    ("batch", _READ, "cronjobs cronjobs/status jobs jobs/status"),
    ("batch", _CHANGE, "cronjobs jobs"),
    ("policy", _READ, "poddisruptionbudgets poddisruptionbudgets/status"),
    ("policy", _CHANGE, "poddisruptionbudgets"),
    ("networking.k8s.io", _READ, "ingresses ingresses/status networkpolicies"),
    ("networking.k8s.io", _CHANGE, "ingresses networkpolicies"),
    ("discovery.k8s.io", _READ, "endpointslices"),
    ("coordination.k8s.io", f"{_READ} {_CHANGE}", "leases"),
    ("authorization.k8s.io", "create", "localsubjectaccessreviews"),
    (RBAC, f"{_READ} {_CHANGE}", "rolebindings roles"),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A PolicyRule about resources."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str] = frozenset()

    def allows(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether it allows one combination; a subresource by its own name or as `*/name`."""
        subresource = resource.partition("/")[2]
        return (
            not self.verbs.isdisjoint({verb, "*"})
            and not self.groups.isdisjoint({group, "*"})
            and not self.resources.isdisjoint({resource, "*", f"*/{subresource}"})
            and (not self.names or name in self.names)
        )


BUILT_IN = tuple(
    _Rule(
        frozenset(verbs.split()),
        frozenset({group}),
        frozenset(resources.split()),
    )
    for group, verbs, resources in _BUILT_IN
)


def gives_rights(kind: Kind) -> bool:
    """Whether objects of the kind grant rights in Kubernetes' RBAC, in any version."""
    return kind.group == RBAC and kind.plural in ACCESS_KINDS


def check(client: ClusterClient, kind: Kind, body: Object, namespace: str) -> None:
    """Raise Forbidden when a Role or RoleBinding grants more than the ClusterRole `admin`.

    Invalid when it is malformed. Objects of other kinds always pass.
    """
    if not gives_rights(kind) or client.impersonation():
        return
    if not kind.namespaced:
        raise Forbidden(f"{kind.plural} are written by admins of the cluster")
    if kind.plural == "roles":
        _require_in_admin(client, body.get("rules"), "the role")
    else:
        _check_reference(client, body.get("roleRef"), namespace)


def checked_patch(
    client: ClusterClient,
    kind: Kind,
    name: str,
    namespace: str,
    body: bytes,
    *,
    patch: str,
    send: Callable[[bytes, bool], bytes],
) -> bytes:
    """The patched object's bytes, after `check` of the object that a dry run returns.

    `send(body, dry_run)` sends the patch. Raises as `check` does.
    """
    if not gives_rights(kind) or client.impersonation():
        return send(body, False)
    if patch == "json":
        current = client.get(kind, name, namespace=namespace or None)
        body = _with_version_test(body, current)
    check(client, kind, orjson.loads(send(body, True)), namespace)
    return send(body, False)


def _with_version_test(body: bytes, current: bytes) -> bytes:
    """A JSON patch that applies only to the object as it is now.

    Two patches that run at the same time could add up to an object that neither check saw.
    """
    try:
        steps = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(steps, list):
        return body
    version = orjson.loads(current)["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return orjson.dumps([test, *steps])


# --- bindings ------------------------------------------------------------------------------------
def _check_reference(
    client: ClusterClient,
    reference: object,
    namespace: str,
) -> None:
    if not isinstance(reference, dict):
        raise Invalid("roleRef must be a mapping", field="roleRef")
    kind = reference.get("kind")
    name = reference.get("name")
    if reference.get("apiGroup", RBAC) not in (RBAC, "") or not isinstance(name, str) or not name:
        raise Invalid("roleRef must name a Role or a ClusterRole", field="roleRef")
    if kind == "Role":
        role = _read(client, KINDS["roles"], name, namespace)
        _require_in_admin(client, role.get("rules"), f"Role {name}")
        return
    if kind != "ClusterRole":
        raise Invalid("roleRef.kind must be Role or ClusterRole", field="roleRef")
    if name in GRANTABLE:
        return
    # Kubernetes' own roles for its components, and the one for everything.
    if name == "cluster-admin" or name.startswith("system:"):
        raise _refusal(f"ClusterRole {name[:60]}")
    try:
        role = _read(client, CLUSTER_ROLES, name, "")
    except NotFound:
        # It could be created later with any rules. The refusal does not say that it is missing,
        # since only admins of the cluster may see which ClusterRoles exist.
        raise _refusal(f"ClusterRole {name[:60]}") from None
    _require_in_admin(client, _all_rules(client, role), f"ClusterRole {name[:60]}")


def _read(client: ClusterClient, kind: Kind, name: str, namespace: str) -> Object:
    role: Object = orjson.loads(client.get(kind, name, namespace=namespace or None))
    return role


def _refusal(what: str) -> Forbidden:
    return Forbidden(
        f"{what} grants more than an admin of the namespace may give; "
        "an admin of the cluster may write this"
    )


# --- rules ---------------------------------------------------------------------------------------
def _require_in_admin(client: ClusterClient, rules: object, what: str) -> None:
    """Raise Forbidden, naming `what`, unless the ClusterRole `admin` allows all of the rules."""
    parsed = list(_parse_rules(rules))
    if not parsed:
        return
    admin_rules = _admin_rules(client)
    for rule in parsed:
        for combination in product(rule.verbs, rule.groups, rule.resources, rule.names or {""}):
            if not any(admin_rule.allows(*combination) for admin_rule in admin_rules):
                raise _refusal(what)


def _parse_rules(rules: object) -> Iterator[_Rule]:
    """The rules of a role; Invalid for malformed ones, Forbidden for rules about URLs."""
    if rules is None:
        return
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise Invalid("rules must be a list of mappings", field="rules")
    combinations = 0
    for rule in rules:
        if rule.get("nonResourceURLs"):
            raise _refusal("a rule about nonResourceURLs")
        parsed = _rule(rule)
        sides = (parsed.verbs, parsed.groups, parsed.resources, parsed.names)
        combinations += prod(max(len(side), 1) for side in sides)
        if combinations > MAX_COMBINATIONS:
            raise Invalid("the rules name too many combinations to check", field="rules")
        yield parsed


def _rule(rule: Mapping[str, Any]) -> _Rule:
    return _Rule(
        _texts(rule, "verbs"),
        _texts(rule, "apiGroups"),
        _texts(rule, "resources"),
        _texts(rule, "resourceNames"),
    )


def _texts(rule: Mapping[str, Any], name: str) -> frozenset[str]:
    value = rule.get(name) or []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Invalid(f"{name} of a rule must be a list of texts", field="rules")
    return frozenset(value)


def _admin_rules(client: ClusterClient) -> Sequence[_Rule]:
    """The rules of the cluster's own `admin`; Kubernetes' own when it is unreadable or empty."""
    try:
        role = _read(client, CLUSTER_ROLES, "admin", "")
        rules = [
            _rule(rule) for rule in _all_rules(client, role) if not rule.get("nonResourceURLs")
        ]
    except (NotFound, Forbidden, Invalid):
        return BUILT_IN
    return rules or BUILT_IN


def _all_rules(client: ClusterClient, role: Object) -> list[Any]:
    """The rules of a ClusterRole, and of the ClusterRoles that it aggregates.

    A controller copies these into the role, but it may not have done so yet.
    """
    rules = list(role.get("rules") or [])
    if not role.get("aggregationRule"):
        return rules
    roles = _cluster_roles(client)
    names = {role["metadata"]["name"]}
    level = [role]
    for _ in range(MAX_AGGREGATION_DEPTH):
        selectors = _aggregation_selectors(level)
        level = [
            candidate
            for candidate in roles
            if candidate["metadata"]["name"] not in names and _is_selected(candidate, selectors)
        ]
        if not level:
            return rules
        for aggregated in level:
            names.add(aggregated["metadata"]["name"])
            rules += aggregated.get("rules") or []
    raise _refusal(f"ClusterRole {role['metadata']['name']}")


def _aggregation_selectors(roles: Sequence[Object]) -> list[Mapping[str, Any]]:
    selectors: list[Mapping[str, Any]] = []
    for role in roles:
        aggregation = role.get("aggregationRule") or {}
        selectors += aggregation.get("clusterRoleSelectors") or []
    return selectors


def _cluster_roles(client: ClusterClient) -> list[Object]:
    roles: list[Object] = []
    query: dict[str, object] = {}
    for _ in range(MAX_CHUNKS):
        chunk = client.chunk(CLUSTER_ROLES, limit=CHUNK_SIZE, query=query)
        roles += [orjson.loads(bytes(item)) for item in chunk.items or []]
        if not chunk.metadata.continue_:
            return roles
        query = {"continue": chunk.metadata.continue_}
    raise Forbidden("the cluster has too many ClusterRoles to check what this would grant")


def _is_selected(role: Object, selectors: Sequence[Mapping[str, Any]]) -> bool:
    labels = role["metadata"].get("labels") or {}
    return any(selector_matches(labels, selector) for selector in selectors)


def selector_matches(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    """Whether labels match a label selector; an empty selector matches all."""
    for key, expected in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != expected:
            return False
    for term in selector.get("matchExpressions") or []:
        value = labels.get(term.get("key"))
        values = term.get("values") or []
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        # An unknown operator excludes nothing.
        if not holds.get(term.get("operator"), True):
            return False
    return True
