"""What a request to the gateway needs, asked of the same policy as REST and the sockets.

A request becomes acts (`AccessAttributes`): a subresource such as `pods/exec` the verb of the
policy that it amounts to. What no table of the policy names needs an admin of the cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from access import policy
from clusters import registry
from core.api.attributes import AccessAttributes, Scope
from core.api.long_lived import stream_policy
from core.errors import Forbidden, NotFound
from gateway.request_info import RequestInfo
from workloads.objects.discovery import discover
from workloads.streams.exec import is_node_terminal

# Addresses that say what the cluster serves, and nothing about what is in it.
DISCOVERY = ("api", "apis", "openapi", "version", "healthz", "livez", "readyz", ".well-known")
READS = frozenset({"get", "list", "watch"})
# (subresource, verbs of RequestInfo) -> verb of the policy. An upgrade is a GET over WebSocket and
# a POST over SPDY: both do the same.
_SUBRESOURCE_VERBS: Mapping[str, Mapping[str, str]] = {
    "log": dict.fromkeys(READS, "logs"),
    "exec": dict.fromkeys(("get", "create"), "exec"),
    "attach": dict.fromkeys(("get", "create"), "attach"),
    "portforward": dict.fromkeys(("get", "create"), "portforward"),
    "ephemeralcontainers": {"get": "get", **dict.fromkeys(("update", "patch"), "debug")},
    "eviction": {"create": "evict"},
    "scale": {"get": "get", **dict.fromkeys(("update", "patch"), "scale")},
    "resize": {"get": "get", "update": "update", "patch": "patch"},
    "status": {"get": "get"},
    "approval": {"get": "get"},
}
# These subresources are pods' alone; others of their name may do anything.
_OF_PODS = frozenset(
    {"log", "exec", "attach", "portforward", "ephemeralcontainers", "eviction", "resize"}
)
_SHELL_VERBS = frozenset({"exec", "attach", "debug", "portforward"})
UPGRADES = frozenset({"exec", "attach", "portforward"})
# A verb in no table of the policy: an admin of the cluster.
ADMINISTER = "proxy"


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs: every act of `acts`; `audited` is how the audit trail names it.

    `version` is the API version, with which a custom kind's scope is found.
    """

    acts: tuple[AccessAttributes, ...]
    audited: AccessAttributes
    version: str = ""
    is_list: bool = False


class Refused(Exception):
    """The policy refuses; `reason` says more than that a right lacks, or is ""."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def need_of(info: RequestInfo, cluster: str, *, upgrades: bool = False) -> Need:
    """What a request to a live cluster (by name) needs."""
    if not info.is_resource:
        return _need_of_path(info, cluster)
    verb = _policy_verb(info, upgrades=upgrades)
    # A Namespace is judged by its name, as REST does it.
    is_namespace = (info.group, info.resource) == ("", "namespaces")
    act = AccessAttributes(
        verb,
        info.resource,
        info.group,
        cluster,
        "" if is_namespace else info.namespace,
        info.name,
        # Objects of namespaced kinds are addressed in their namespace; only lists need not be.
        cluster_scoped=not info.namespace and verb not in {"list", "watch"},
    )
    acts: tuple[AccessAttributes, ...] = (act,)
    if (info.group, info.resource) == ("", "secrets"):
        # Answers to writes have the values, too.
        acts = (act, replace(act, verb="reveal"))
    if verb in _SHELL_VERBS and is_node_terminal(info.namespace, info.name):
        # As over REST: in the debug pod of a node's terminal a shell is one on the node.
        acts = (act, AccessAttributes("exec", "nodes", cluster=cluster))
    return Need(acts, act, info.version, is_list=verb in policy.COLLECTIONS)


def _need_of_path(info: RequestInfo, cluster: str) -> Need:
    """Discovery is for everyone who may see the cluster; every other path for its admins."""
    first = info.path.strip("/").partition("/")[0]
    if info.verb in {"get", "head"} and (not first or first in DISCOVERY):
        act = AccessAttributes("get", "clusters", cluster=cluster)
    else:
        act = AccessAttributes(ADMINISTER, cluster=cluster, name=info.path)
    return Need((act,), act)


def _policy_verb(info: RequestInfo, *, upgrades: bool) -> str:
    """The policy's verb for a resource request."""
    subresource = info.subresource
    if not info.verb or info.verb == "proxy":
        return ADMINISTER
    if not subresource:
        # Only a watch may be read over a WebSocket.
        return ADMINISTER if upgrades and info.verb != "watch" else info.verb
    if subresource in _OF_PODS and (info.group, info.resource) != ("", "pods"):
        return ADMINISTER
    if upgrades and subresource not in UPGRADES:
        return ADMINISTER
    if (info.resource, subresource) == ("namespaces", "finalize"):
        return info.verb
    return _SUBRESOURCE_VERBS.get(subresource, {}).get(info.verb, ADMINISTER)


def check(credential: Mapping[str, Any], need: Need) -> bool:
    """Whether the caller may give any right in the cluster, when they may do all that is needed.

    Refused when they may not, Unauthenticated when the credential is no longer valid. Runs outside
    of the event loop, when a request begins, and again while its answer lasts.
    """
    is_unbounded = False
    for act in need.acts:
        acts = _readings(act, need)
        scopes = stream_policy().scopes(credential, acts)
        verdicts = [_is_whole(scope) for scope in scopes]
        is_allowed = all(verdicts)
        if not is_allowed and any(verdicts):
            is_allowed = _is_allowed_as_it_is(acts, verdicts, need)
        if not is_allowed:
            raise Refused(_narrowing(scopes))
        _require_cluster(act)
        is_unbounded = any(scope is not None and scope.unbounded for scope in scopes)
    return is_unbounded


def _readings(act: AccessAttributes, need: Need) -> list[AccessAttributes]:
    """The act, and for a list without a namespace its other reading.

    A custom kind may live in the cluster or in namespaces.
    """
    known = (act.group, act.kind) in policy.RULES
    if known or act.namespace or not need.is_list:
        return [act]
    return [act, replace(act, cluster_scoped=True)]


def _is_allowed_as_it_is(
    acts: Sequence[AccessAttributes], verdicts: Sequence[bool], need: Need
) -> bool:
    """Of the two readings of a list, whether that one is allowed which the cluster serves."""
    act = acts[0]
    try:
        cluster = registry.find(act.cluster)
        kind = discover(cluster, act.group, need.version, act.kind)
    except NotFound:
        return False
    return verdicts[0] if kind.namespaced else verdicts[-1]


def _is_whole(scope: Scope | None) -> bool:
    """Whether the act is allowed for all that it names.

    REST narrows a list to the namespaces of the caller's grants; bytes that pass unparsed cannot be
    narrowed, so that the caller has to name a namespace, as with Kubernetes' RBAC.
    """
    return scope is not None and scope.namespaces is None


def _narrowing(scopes: Sequence[Scope | None]) -> str:
    scope = scopes[0]
    if scope is None or not scope.namespaces:
        return ""
    names = ", ".join(sorted(scope.namespaces)[:10])
    return f"your grants are on namespaces ({names}): name one of them"


def _require_cluster(act: AccessAttributes) -> None:
    try:
        stream_policy().require_cluster(act)
    except Forbidden as error:
        raise Refused(error.message) from None


def are_allowed(credential: Mapping[str, Any], needs: Sequence[Need]) -> list[bool]:
    """For each of many needs, whether it is met: the credential and the grants are read once.

    For kinds that the policy's tables know.
    """
    acts = list({act for need in needs for act in need.acts})
    scopes = stream_policy().scopes(credential, acts)
    allowed = {act for act, scope in zip(acts, scopes, strict=True) if _is_whole(scope)}
    return [allowed.issuperset(need.acts) for need in needs]
