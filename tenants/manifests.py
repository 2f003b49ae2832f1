"""The manifests of the objects that a tenant consists of: pure functions."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from access.policy import Role
from clusters.manifests import Object
from core.errors import Invalid
from tenants.quotas import Quota

MULTI_TENANT = "multi-tenant"
LIMIT_RANGE = "walm-default-limitrange"
DEFAULT_DENY = "kubegale-default-deny"
MANAGED = {"app.kubernetes.io/managed-by": "kubegale"}
POD_SECURITY = ("privileged", "baseline", "restricted")
PROTECTED = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
RESERVED_PREFIXES = ("kubernetes.io/", "k8s.io/")
RBAC = "rbac.authorization.k8s.io"
# Kubernetes' own aggregated roles, inside the namespace.
CLUSTER_ROLES: Mapping[Role, str] = {
    Role.VIEWER: "view",
    Role.OPERATOR: "edit",
    Role.ADMIN: "admin",
}
OPTIONS = ("network_policy", "role_bindings", "pod_security")


@dataclass(frozen=True, slots=True)
class Member:
    """A user with a role in a tenant."""

    username: str
    role: Role


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """The desired state of a tenant; labels and annotations that are None stay as they are."""

    name: str
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    quotas: tuple[Quota, ...] = ()
    members: tuple[Member, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def parse_text_map(value: object, name: str) -> dict[str, str] | None:
    """A map of text to text, or None; Invalid otherwise."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        raise Invalid(f"{name} must map text to text")
    return value


def check_options(body: Mapping[str, object]) -> dict[str, Any]:
    """The options of a request's body that are set; Invalid for impossible values."""
    # An option that is switched off is the same as one that is absent.
    options = {name: body[name] for name in OPTIONS if body.get(name) not in (None, False)}
    for name in ("network_policy", "role_bindings"):
        if options.get(name, True) is not True:
            raise Invalid(f"{name} must be true or false", field=name)
    if options.get("pod_security", POD_SECURITY[0]) not in POD_SECURITY:
        levels = ", ".join(POD_SECURITY)
        raise Invalid(f"pod_security must be one of {levels}", field="pod_security")
    return options


# --- manifests ------------------------------------------------------------------------------------
def namespace(spec: TenantSpec) -> Object:
    """The Namespace, labelled as a tenant's."""
    labels = dict(spec.labels or {})
    if level := spec.options.get("pod_security"):
        labels["pod-security.kubernetes.io/enforce"] = level
    labels[MULTI_TENANT] = tenant_label(spec.name)
    metadata = {
        "name": spec.name,
        "labels": labels,
        "annotations": dict(spec.annotations or {}),
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def tenant_label(name: str) -> str:
    """The value of the label `multi-tenant`, in which other tools recognise a tenant."""
    return f"tenant-tiller-{name}"


def merge_metadata(current: Mapping[str, str], update: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations after an update: the new ones, and Kubernetes' own as they were."""
    reserved = {
        key: value
        for key, value in current.items()
        if key == MULTI_TENANT or _key_prefix(key).endswith(RESERVED_PREFIXES)
    }
    return {**reserved, **update}


def _key_prefix(key: str) -> str:
    prefix, slash, _ = key.rpartition("/")
    return prefix + slash


def resource_quota(quota: Quota, space: str) -> Object:
    """A ResourceQuota."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": quota.name, "namespace": space},
        "spec": {"hard": dict(quota.hard)},
    }


def limit_range(space: str) -> Object:
    """A LimitRange: the limits of containers that set none."""
    default = {"type": "Container", "default": {"cpu": "0.1", "memory": "128Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": LIMIT_RANGE, "namespace": space},
        "spec": {"limits": [default]},
    }


def network_policy(space: str) -> Object:
    """A NetworkPolicy that isolates the namespace.

    No traffic comes in from other namespaces, and none goes to them but queries to the cluster's
    DNS.
    """
    inside: list[Object] = [{"podSelector": {}}]
    # The API server sets this label on every namespace.
    kube_system = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    dns = {
        "to": [{"namespaceSelector": kube_system}],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": DEFAULT_DENY, "namespace": space, "labels": MANAGED},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": inside}],
            "egress": [{"to": inside}, dns],
        },
    }


def binding_name(username: str) -> str:
    """A valid object name for any username, readable where possible.

    A hash of the username keeps the names of two users apart whose letters are the same.
    """
    letters = [
        letter if letter.isascii() and letter.isalnum() else "-" for letter in username.lower()
    ]
    # Cut, since the name of an object has at most 253 characters.
    readable = "".join(letters).strip("-")[:40] or "user"
    suffix = hashlib.sha256(username.encode()).hexdigest()[:8]
    return f"kubegale-{readable}-{suffix}"


def role_binding(member: Member, space: str) -> Object:
    """A RoleBinding to the aggregated ClusterRole that matches the member's role."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": binding_name(member.username),
            "namespace": space,
            "labels": MANAGED,
        },
        "roleRef": {
            "apiGroup": RBAC,
            "kind": "ClusterRole",
            "name": CLUSTER_ROLES[member.role],
        },
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": member.username}],
    }
