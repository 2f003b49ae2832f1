"""Kubernetes' escalation check, done here: the kubeconfig's own power would pass whatever a namespace's admin writes.

A Role may hold only rules that the ClusterRole `admin` holds, and a RoleBinding may lend only `view`, `edit`, `admin` or a role
whose rules `admin` holds. Whoever administers the whole cluster is not asked, and a cluster that is told who calls decides itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import orjson

from clusters.client import CHUNK, ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from core.errors import Forbidden, Invalid, NotFound

RBAC = KINDS["roles"].group
CLUSTER_ROLES = KINDS["clusterroles"]
ACCESS_KINDS = frozenset({"roles", "rolebindings", "clusterroles", "clusterrolebindings"})
# What an admin of a namespace may lend to anybody in it.
LENDABLE = frozenset({"view", "edit", "admin"})
# More combinations of verb, group, resource and name than this are not weighed.
MOST_COMBINATIONS = 10_000
# Pages of a list of ClusterRoles.
MOST_PAGES = 40
# Roles that aggregate roles that aggregate roles: Kubernetes' own go three deep.
DEEPEST = 8

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
        """Whether it holds one combination; a subresource is held by its own name or by `*/name`."""
        subresource = resource.partition("/")[2]
        return (
            not self.verbs.isdisjoint({verb, "*"})
            and not self.groups.isdisjoint({group, "*"})
            and not self.resources.isdisjoint({resource, "*", f"*/{subresource}"})
            and (not self.names or name in self.names)
        )


BUILT_IN = tuple(
    _Rule(frozenset(verbs.split()), frozenset({group}), frozenset(resources.split()))
    for group, verbs, resources in _BUILT_IN
)


def concerns(kind: Kind) -> bool:
    """Whether objects of the kind give rights in Kubernetes' own RBAC, in whatever version."""
    return kind.group == RBAC and kind.plural in ACCESS_KINDS


def check(client: ClusterClient, kind: Kind, body: Object, namespace: str) -> None:
    """Forbidden when the Role or RoleBinding gives more than the ClusterRole `admin` holds; nothing for other kinds."""
    if not concerns(kind) or client.impersonation():
        return
    if not kind.namespaced:
        raise Forbidden(f"{kind.plural} are written by admins of the cluster")
    if kind.plural == "roles":
        _require_held(client, body.get("rules"), "the role")
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
    """The patched object's bytes. `send(body, dry_run)` patches; what a dry run makes is weighed before it is done for good."""
    if not concerns(kind) or client.impersonation():
        return send(body, False)
    if patch == "json":
        body = _bound(body, client.get(kind, name, namespace=namespace or None))
    check(client, kind, orjson.loads(send(body, True)), namespace)
    return send(body, False)


def _bound(body: bytes, current: bytes) -> bytes:
    """A JSON patch for the object as it is now: two patches of parts could add up to what neither says."""
    try:
        steps = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(steps, list):
        return body
    version = orjson.loads(current)["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return orjson.dumps([test, *steps])


# --- bindings -------------------------------------------------------------------------------------------------------
def _check_reference(client: ClusterClient, reference: object, namespace: str) -> None:
    if not isinstance(reference, dict):
        raise Invalid("roleRef must be a mapping", field="roleRef")
    kind, name = reference.get("kind"), reference.get("name")
    if reference.get("apiGroup", RBAC) not in (RBAC, "") or not isinstance(name, str) or not name:
        raise Invalid("roleRef must name a Role or a ClusterRole", field="roleRef")
    if kind == "Role":
        role = _read(client, KINDS["roles"], name, namespace)
        _require_held(client, role.get("rules"), f"Role {name}")
        return
    if kind != "ClusterRole":
        raise Invalid("roleRef.kind must be Role or ClusterRole", field="roleRef")
    if name in LENDABLE:
        return
    if name == "cluster-admin" or name.startswith("system:"):
        raise _refusal(f"ClusterRole {name[:60]}")
    try:
        role = _read(client, CLUSTER_ROLES, name, "")
    except NotFound:
        # Nobody knows what it holds once it is there; which ClusterRoles there are is the cluster's admins' to see.
        raise _refusal(f"ClusterRole {name[:60]}") from None
    _require_held(client, _all_rules(client, role), f"ClusterRole {name[:60]}")


def _read(client: ClusterClient, kind: Kind, name: str, namespace: str) -> Object:
    found: Object = orjson.loads(client.get(kind, name, namespace=namespace or None))
    return found


def _refusal(what: str) -> Forbidden:
    return Forbidden(
        f"{what} grants more than an admin of the namespace may give; "
        "an admin of the cluster may write this"
    )


# --- rules ----------------------------------------------------------------------------------------------------------
def _require_held(client: ClusterClient, rules: object, what: str) -> None:
    asked = list(_parse_rules(rules))
    if not asked:
        return
    held = _rules_of_admin(client)
    for rule in asked:
        for combination in product(rule.verbs, rule.groups, rule.resources, rule.names or {""}):
            if not any(own.allows(*combination) for own in held):
                raise _refusal(what)


def _parse_rules(rules: object) -> Iterator[_Rule]:
    """The rules that are to be weighed; Invalid for what is none, Forbidden for addresses that are no resources."""
    if rules is None:
        return
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise Invalid("rules must be a list of mappings", field="rules")
    left = MOST_COMBINATIONS
    for rule in rules:
        if rule.get("nonResourceURLs"):
            raise _refusal("a rule about addresses that are no resources")
        weighed = _rule(rule)
        sides = (weighed.verbs, weighed.groups, weighed.resources, weighed.names)
        left -= prod(max(len(side), 1) for side in sides)
        if left < 0:
            raise Invalid("the rules name too many combinations to be weighed", field="rules")
        yield weighed


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


def _rules_of_admin(client: ClusterClient) -> Sequence[_Rule]:
    """What the cluster's own `admin` holds; Kubernetes' own where it cannot be read or holds nothing."""
    try:
        role = _read(client, CLUSTER_ROLES, "admin", "")
        found = tuple(
            _rule(rule) for rule in _all_rules(client, role) if not rule.get("nonResourceURLs")
        )
    except (NotFound, Forbidden, Invalid):
        return BUILT_IN
    return found or BUILT_IN


def _all_rules(client: ClusterClient, role: Object) -> list[Any]:
    """The rules of a ClusterRole and of those that it gathers, whether or not the cluster has gathered them yet."""
    rules = list(role.get("rules") or [])
    if not role.get("aggregationRule"):
        return rules
    roles = _cluster_roles(client)
    seen = {role["metadata"]["name"]}
    gathering = [role]
    for _ in range(DEEPEST):
        selectors = [
            selector
            for one in gathering
            for selector in (one.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        ]
        gathering = [
            one
            for one in roles
            if one["metadata"]["name"] not in seen and _is_selected(one, selectors)
        ]
        if not gathering:
            return rules
        seen |= {one["metadata"]["name"] for one in gathering}
        rules += [rule for one in gathering for rule in one.get("rules") or []]
    raise _refusal(f"ClusterRole {role['metadata']['name']}")


def _cluster_roles(client: ClusterClient) -> list[Object]:
    found: list[Object] = []
    query: dict[str, object] = {}
    for _ in range(MOST_PAGES):
        chunk = client.chunk(CLUSTER_ROLES, limit=CHUNK, query=query)
        found += [orjson.loads(bytes(item)) for item in chunk.items or []]
        if not chunk.metadata.continue_:
            return found
        query = {"continue": chunk.metadata.continue_}
    raise Forbidden("the cluster has too many ClusterRoles to weigh what this would give")


def _is_selected(role: Object, selectors: Sequence[Mapping[str, Any]]) -> bool:
    labels = role["metadata"].get("labels") or {}
    return any(_matches(labels, selector) for selector in selectors)


def _matches(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    """Kubernetes' label selector; an empty one takes every role."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        value, values = labels.get(term.get("key")), term.get("values") or []
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(term.get("operator"), True):
            return False
    return True
