"""API versions that Kubernetes removed, and what to write instead."""

import re
from collections.abc import Mapping

from clusters.resource_types import BUILT_IN

# (apiVersion, kind or "" for every kind) -> (removed in Kubernetes, what replaces it).
REMOVED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("extensions/v1beta1", "Ingress"): ("1.22", "networking.k8s.io/v1"),
    ("extensions/v1beta1", "NetworkPolicy"): ("1.16", "networking.k8s.io/v1"),
    ("extensions/v1beta1", ""): ("1.16", "apps/v1"),
    ("apps/v1beta1", ""): ("1.16", "apps/v1"),
    ("apps/v1beta2", ""): ("1.16", "apps/v1"),
    ("admissionregistration.k8s.io/v1beta1", ""): ("1.22", "admissionregistration.k8s.io/v1"),
    ("apiextensions.k8s.io/v1beta1", ""): ("1.22", "apiextensions.k8s.io/v1"),
    ("apiregistration.k8s.io/v1beta1", ""): ("1.22", "apiregistration.k8s.io/v1"),
    ("certificates.k8s.io/v1beta1", ""): ("1.22", "certificates.k8s.io/v1"),
    ("coordination.k8s.io/v1beta1", ""): ("1.22", "coordination.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "Ingress"): ("1.22", "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass"): ("1.22", "networking.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1alpha1", ""): ("1.22", "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", ""): ("1.22", "rbac.authorization.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", ""): ("1.22", "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "StorageClass"): ("1.22", "storage.k8s.io/v1"),
    ("batch/v1beta1", ""): ("1.25", "batch/v1"),
    ("batch/v2alpha1", ""): ("1.21", "batch/v1"),
    ("discovery.k8s.io/v1beta1", ""): ("1.25", "discovery.k8s.io/v1"),
    ("events.k8s.io/v1beta1", ""): ("1.25", "events.k8s.io/v1"),
    ("autoscaling/v2beta1", ""): ("1.25", "autoscaling/v2"),
    ("autoscaling/v2beta2", ""): ("1.26", "autoscaling/v2"),
    ("policy/v1beta1", ""): ("1.25", "policy/v1"),
    ("node.k8s.io/v1beta1", ""): ("1.25", "node.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta1", ""): ("1.26", "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", ""): ("1.29", "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", ""): ("1.32", "flowcontrol.apiserver.k8s.io/v1"),
}
_UNSTABLE = re.compile(r"v[0-9]+(alpha|beta)[0-9]+\Z")


def replacement_of(api_version: str, kind: str) -> tuple[str, str] | None:
    """(the release of Kubernetes that removed the version, its successor); None when it stands."""
    return REMOVED.get((api_version, kind)) or REMOVED.get((api_version, ""))


def is_unstable(api_version: str) -> bool:
    """Whether it is an alpha or beta version of a group that Kubernetes itself serves."""
    group, _, version = api_version.rpartition("/")
    return group in BUILT_IN and _UNSTABLE.match(version) is not None
