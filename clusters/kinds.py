"""Kinds as rows: six facts each, from which every address is built."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from kubegale.errors import Invalid

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
    group: str, version: str, plural: str, *, name: str = "", namespaced: bool = True
) -> Kind:
    """A kind that is not in the table; Invalid when a part is not a DNS-like word."""
    if (group and not GROUP.match(group)) or not VERSION.match(version) or not PLURAL.match(plural):
        raise Invalid(f"{group or 'core'}/{version}/{plural} is not a valid resource")
    return Kind(name, plural, group, version, namespaced)


_APPS, _BATCH, _NETWORK, _RBAC = "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"

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
