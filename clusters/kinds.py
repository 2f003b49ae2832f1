"""The table of kinds: what is needed of each to build its paths."""

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from clusters import dns_names
from core.errors import Invalid

VERSION = re.compile(r"v[a-z0-9]{1,62}\Z")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object as an API server serves it."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    # Singular and short names, as discovery reports them; two kinds are equal without them.
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
        """The path under the server's address, each segment quoted.

        Of one object with a `name`, else of the list. Invalid for a name that is no single segment
        of a path, and for a namespaced object without a namespace.
        """
        # The core group is served under /api, all others under /apis.
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if self.namespaced and namespace:
            parts += ["namespaces", quote_segment(namespace, "namespace")]
        parts.append(self.plural)
        if name is not None:
            if self.namespaced and not namespace:
                raise Invalid("namespace is required", field="namespace")
            parts.append(quote_segment(name, "name"))
        if subresource:
            parts += [quote_segment(part, "subresource") for part in subresource.split("/")]
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


def quote_segment(text: str, what: str) -> str:
    """One quoted segment of a path; Invalid, naming `what`, for an invalid one.

    Client libraries do not quote: `../secrets/x` as a name would reach another kind.
    """
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


def custom_kind(
    group: str,
    version: str,
    plural: str,
    *,
    name: str = "",
    namespaced: bool = True,
    aliases: tuple[str, ...] = (),
) -> Kind:
    """A kind that is not in the table, e.g. a CRD's; Invalid for malformed parts."""
    if (
        (group and not dns_names.SUBDOMAIN.match(group))
        or not VERSION.match(version)
        or not dns_names.LABEL.match(plural)
    ):
        raise Invalid(f"{group or 'core'}/{version}/{plural} is not a valid resource")
    return Kind(name, plural, group, version, namespaced, aliases)


def parse_reference(text: str) -> tuple[str, str]:
    """(name, rest after its first dot) in lower case, as kubectl splits a resource argument.

    For `widgets`, `Widget.example.com` or `w.v1.example.com`.
    """
    name, _, place = text.strip().lower().partition(".")
    return name, place.rstrip(".")


def is_place_of(kind: Kind, place: str) -> bool:
    """Whether the rest of a reference names the kind: it is empty, a group, or version.group."""
    return place in ("", kind.group, f"{kind.version}.{kind.group}".rstrip("."))


_APPS = "apps"
_BATCH = "batch"
_NETWORK = "networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"

# The short names that kubectl knows.
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


def lookup_kind(text: str) -> Kind | None:
    """The kind of the table by any of its names; None for a kind that is not in the table.

    `pods`, `Pod`, `po`, `deployments.apps` and `deploy.v1.apps` are such names.
    """
    name, place = parse_reference(text)
    for kind in KINDS.values():
        names = kind.names.union(SHORT_NAMES.get(kind.plural, ()))
        if name in names and is_place_of(kind, place):
            return kind
    return None
