"""What an inspection checks: of each check its weight, its title, and how to mend what it finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


SEVERITY_ORDER: Mapping[str, int] = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Check:
    """One question that an inspection asks of objects; `fix` says what to do about a finding."""

    id: str
    category: str
    severity: Severity
    title: str
    fix: str


def _checks(category: str, *rows: tuple[str, Severity, str, str]) -> list[Check]:
    return [
        Check(
            name,
            category,
            severity,
            title,
            fix,
        )
        for name, severity, title, fix in rows
    ]


_CRITICAL = Severity.CRITICAL
_WARNING = Severity.WARNING
_INFO = Severity.INFO

CHECKS: Mapping[str, Check] = {
    check.id: check
    for check in [
        *_checks(
            "nodes",
            (
                "node-not-ready",
                _CRITICAL,
                "Nodes that are not ready",
                "Look at the kubelet and the network of the node; drain and replace it when it"
                " stays away.",
            ),
            (
                "node-pressure",
                _WARNING,
                "Nodes under pressure",
                "Free memory, disk or process ids on the node, or move pods to other nodes.",
            ),
            (
                "node-cordoned",
                _INFO,
                "Nodes that take no new pods",
                "Uncordon the node when its maintenance is over.",
            ),
            (
                "node-version-skew",
                _CRITICAL,
                "Kubelets whose version the API server does not support",
                "Upgrade the kubelet to a version that is not newer than the API server and at"
                " most three minor versions older.",
            ),
            (
                "node-version-behind",
                _INFO,
                "Kubelets older than the API server",
                "Upgrade the nodes after the control plane.",
            ),
        ),
        *_checks(
            "workloads",
            (
                "workload-unavailable",
                _CRITICAL,
                "Workloads short of replicas",
                "Look at the events and logs of the pods that are missing or not ready.",
            ),
            (
                "rollout-stuck",
                _CRITICAL,
                "Rollouts that make no progress",
                "Roll back, or mend what keeps the new pods from becoming ready.",
            ),
            (
                "pod-failing",
                _CRITICAL,
                "Pods that fail",
                "Look at the pod's events and at the log of its last container.",
            ),
            (
                "pod-pending",
                _WARNING,
                "Pods that cannot be scheduled",
                "Compare the pod's requests, node selector, affinity and tolerations with the"
                " nodes.",
            ),
            (
                "pod-restarts",
                _WARNING,
                "Pods that restart often",
                "Look at the log of the container before its restart, and at its limits and"
                " probes.",
            ),
            (
                "pod-out-of-memory",
                _WARNING,
                "Containers that ran out of memory",
                "Raise the memory limit, or find the leak.",
            ),
            (
                "pod-evicted",
                _INFO,
                "Evicted pods that were left behind",
                "Delete them with a cleanup task.",
            ),
            (
                "job-failed",
                _WARNING,
                "Jobs that failed",
                "Look at the log of the job's pods; delete the job when it is no longer needed.",
            ),
            (
                "no-requests",
                _WARNING,
                "Containers without requests",
                "Set resources.requests for cpu and memory, so that the scheduler knows what the"
                " container needs.",
            ),
            (
                "no-limits",
                _WARNING,
                "Containers without limits",
                "Set resources.limits for cpu and memory, or a LimitRange in the namespace.",
            ),
            (
                "no-readiness-probe",
                _WARNING,
                "Containers without a readiness probe",
                "Add a readinessProbe, so that no request reaches a container that cannot answer.",
            ),
            (
                "no-liveness-probe",
                _INFO,
                "Containers without a liveness probe",
                "Add a livenessProbe where a restart helps a container that hangs.",
            ),
            (
                "single-replica",
                _WARNING,
                "Workloads with a single replica",
                "Run at least two replicas, spread over nodes.",
            ),
            (
                "no-disruption-budget",
                _INFO,
                "Workloads without a PodDisruptionBudget",
                "Add a PodDisruptionBudget, so that a drain leaves enough replicas.",
            ),
            (
                "disruption-budget-blocks",
                _WARNING,
                "PodDisruptionBudgets that allow no disruption",
                "Lower minAvailable or add replicas; else no node with such a pod can be drained.",
            ),
            (
                "autoscaler-at-maximum",
                _WARNING,
                "Autoscalers at their maximum",
                "Raise maxReplicas, or find out why the load is that high.",
            ),
            (
                "image-latest",
                _WARNING,
                "Images without a fixed tag",
                "Name a version or a digest, so that every pod runs the same image.",
            ),
        ),
        *_checks(
            "security",
            (
                "privileged",
                _CRITICAL,
                "Privileged containers",
                "Remove privileged: true; add the few capabilities that are needed instead.",
            ),
            (
                "runs-as-root",
                _WARNING,
                "Containers that may run as root",
                "Set runAsNonRoot: true and a runAsUser other than 0.",
            ),
            (
                "host-path",
                _WARNING,
                "Pods that mount paths of the node",
                "Use a volume of another type than hostPath.",
            ),
            (
                "host-namespaces",
                _WARNING,
                "Pods in the network, process or IPC namespace of the node",
                "Remove hostNetwork, hostPID and hostIPC.",
            ),
            (
                "added-capabilities",
                _WARNING,
                "Containers with strong capabilities",
                "Drop ALL capabilities and add only those that are needed.",
            ),
            (
                "rbac-wildcard",
                _WARNING,
                "Roles with wildcards",
                "Name the verbs and resources that are needed.",
            ),
            (
                "cluster-admin",
                _CRITICAL,
                "Bindings to cluster-admin",
                "Bind a role with the rights that are needed, in the namespaces where they are.",
            ),
            (
                "anonymous-access",
                _CRITICAL,
                "Rights of callers who have not signed in",
                "Remove the subjects system:anonymous and system:unauthenticated.",
            ),
        ),
        *_checks(
            "certificates",
            (
                "credentials-expire",
                _WARNING,
                "Credentials of the cluster's connection that end soon",
                "Register a kubeconfig with new credentials.",
            ),
            (
                "certificate-expires",
                _WARNING,
                "TLS certificates that end soon",
                "Renew the certificate, or look at what should have renewed it.",
            ),
        ),
        *_checks(
            "storage",
            (
                "claim-pending",
                _WARNING,
                "PersistentVolumeClaims without a volume",
                "Look at the claim's events, and at its StorageClass.",
            ),
            (
                "claim-lost",
                _CRITICAL,
                "PersistentVolumeClaims whose volume is lost",
                "Restore the data from a backup; the claim cannot be used any more.",
            ),
            (
                "volume-failed",
                _WARNING,
                "PersistentVolumes that failed or are left over",
                "Reclaim or delete the volume.",
            ),
        ),
        *_checks(
            "capacity",
            (
                "quota-near-limit",
                _WARNING,
                "Quotas that are nearly used up",
                "Raise the quota, or free what is no longer needed.",
            ),
        ),
        *_checks(
            "versions",
            (
                "removed-api",
                _WARNING,
                "Objects written through removed API versions",
                "Change the manifests, charts and controllers that write the object to the"
                " version that replaces it.",
            ),
            (
                "unstable-api",
                _INFO,
                "Objects written through alpha or beta API versions",
                "Move to the stable version before an upgrade of the cluster removes this one.",
            ),
        ),
    ]
}
