"""Kinds as rows: six facts each, from which every address is built."""

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from core.errors import Invalid

GROUP = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
VERSION = re.compile(r"v[a-z0-9]{1,62}\Z")
PLURAL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object as an API server serves it."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    # Singular and short names, as discovery tells them; no part of what the kind is.
    aliases: tuple[str, ...] = field(default=(), compare=False)

    @property
    def names(self) -> frozenset[str]:
        """Every name that people have for it, in lower case."""
        return frozenset({self.plural, self.name.lower(), *self.aliases})

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self,
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """The address under the server, each part quoted; Invalid for `.`, `..`, empty or over-long parts."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if self.namespaced and namespace:
            parts += ["namespaces", segment(namespace, "namespace")]
        parts.append(self.plural)
        if name is not None:
            if self.namespaced and not namespace:
                raise Invalid("namespace is required", field="namespace")
            parts.append(segment(name, "name"))
        if subresource:
            parts += [segment(part, "subresource") for part in subresource.split("/")]
        return "/" + "/".join(parts)


# Plurals of the kinds whose problems storage_api.query.problems knows how to recognise.
KINDS_WITH_PROBLEMS = (
    "nodes",
    "pods",
    "deployments",
    "statefulsets",
    "replicasets",
    "daemonsets",
    "jobs",
    "persistentvolumeclaims",
    "persistentvolumes",
    "namespaces",
)


def segment(text: str, what: str) -> str:
    """One quoted path segment; the client libraries do not quote, and `../secrets/x` would reach another kind."""
    if (
        not text
        or text in {".", ".."}
        or len(text) > 253
        or "/" in text
        or "%" in text
        or not text.isprintable()
    ):
        raise Invalid(f"{what} {text[:60]!r} is not a valid name", field=what)
    return quote(text, safe=":-._~")


def custom(
    group: str,
    version: str,
    plural: str,
    *,
    name: str = "",
    namespaced: bool = True,
    aliases: tuple[str, ...] = (),
) -> Kind:
    """A kind that is not in the table; Invalid when a part is not a DNS-like word."""
    if (group and not GROUP.match(group)) or not VERSION.match(version) or not PLURAL.match(plural):
        raise Invalid(f"{group or 'core'}/{version}/{plural} is not a valid resource")
    return Kind(name, plural, group, version, namespaced, aliases)


def parse_reference(text: str) -> tuple[str, str]:
    """(name, what follows its first dot) of `widgets`, `Widget.example.com` or `w.v1.example.com`, in lower case."""
    name, _, place = text.strip().lower().partition(".")
    return name, place.rstrip(".")


def is_place_of(kind: Kind, place: str) -> bool:
    """Whether a reference's second part leads to the kind: nothing, its group, or version and group."""
    return place in ("", kind.group, f"{kind.version}.{kind.group}".rstrip("."))


_APPS, _BATCH, _NETWORK, _RBAC = "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"

# As kubectl has them.
SHORT_NAMES = {
    "configmaps": ("cm",),
    "cronjobs": ("cj",),
    "customresourcedefinitions": ("crd", "crds"),
    "daemonsets": ("ds",),
    "deployments": ("deploy",),
    "endpoints": ("ep",),
    "events": ("ev",),
    "horizontalpodautoscalers": ("hpa",),
    "ingresses": ("ing",),
    "limitranges": ("limits",),
    "namespaces": ("ns",),
    "networkpolicies": ("netpol",),
    "nodes": ("no",),
    "persistentvolumeclaims": ("pvc",),
    "persistentvolumes": ("pv",),
    "poddisruptionbudgets": ("pdb",),
    "pods": ("po",),
    "replicasets": ("rs",),
    "resourcequotas": ("quota",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
    "statefulsets": ("sts",),
    "storageclasses": ("sc",),
}

KINDS: dict[str, Kind] = {
    kind.plural: kind
    for kind in (
        Kind("Pod", "pods"),
        Kind("Deployment", "deployments", _APPS),
        Kind("StatefulSet", "statefulsets", _APPS),
        Kind("DaemonSet", "daemonsets", _APPS),
        Kind("ReplicaSet", "replicasets", _APPS),
        Kind("ControllerRevision", "controllerrevisions", _APPS),
        Kind("Job", "jobs", _BATCH),
        Kind("CronJob", "cronjobs", _BATCH),
        Kind("Service", "services"),
        Kind("Ingress", "ingresses", _NETWORK),
        Kind("NetworkPolicy", "networkpolicies", _NETWORK),
        Kind("Endpoints", "endpoints"),
        Kind("EndpointSlice", "endpointslices", "discovery.k8s.io"),
        Kind("PersistentVolume", "persistentvolumes", namespaced=False),
        Kind("PersistentVolumeClaim", "persistentvolumeclaims"),
        Kind("StorageClass", "storageclasses", "storage.k8s.io", namespaced=False),
        Kind("ConfigMap", "configmaps"),
        Kind("Secret", "secrets"),
        Kind("Role", "roles", _RBAC),
        Kind("ClusterRole", "clusterroles", _RBAC, namespaced=False),
        Kind("RoleBinding", "rolebindings", _RBAC),
        Kind("ClusterRoleBinding", "clusterrolebindings", _RBAC, namespaced=False),
        Kind("ServiceAccount", "serviceaccounts"),
        Kind("Node", "nodes", namespaced=False),
        Kind("Namespace", "namespaces", namespaced=False),
        Kind("ResourceQuota", "resourcequotas"),
        Kind("LimitRange", "limitranges"),
        Kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2"),
        Kind("PodDisruptionBudget", "poddisruptionbudgets", "policy"),
        Kind("Event", "events"),
        Kind("Lease", "leases", "coordination.k8s.io"),
        Kind(
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "apiextensions.k8s.io",
            namespaced=False,
        ),
    )
}


def known_kind(text: str) -> Kind | None:
    """The kind of the table under any of its names: `pods`, `Pod`, `po`, `deployments.apps`, `deploy.v1.apps`; None for others."""
    name, place = parse_reference(text)
    for kind in KINDS.values():
        if (name in kind.names or name in SHORT_NAMES.get(kind.plural, ())) and is_place_of(
            kind, place
        ):
            return kind
    return None
