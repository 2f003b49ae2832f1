"""States in the viewer's language; reasons, such as CrashLoopBackOff, are never translated."""

from functools import lru_cache

from django.utils.functional import Promise
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

LABELS: dict[str, Promise] = {
    "Running": _("Running"),
    "Pending": _("Pending"),
    "Succeeded": _("Succeeded"),
    "Failed": _("Failed"),
    "Unknown": _("Unknown"),
    "Completed": _("Completed"),
    "Complete": _("Complete"),
    "Terminating": _("Terminating"),
    "Ready": _("Ready"),
    "NotReady": _("NotReady"),
    "Ready, SchedulingDisabled": _("Ready, SchedulingDisabled"),
    "NotReady, SchedulingDisabled": _("NotReady, SchedulingDisabled"),
    "Updating": _("Updating"),
    "Degraded": _("Degraded"),
    "Unavailable": _("Unavailable"),
    "Paused": _("Paused"),
    "Scaled to zero": _("Scaled to zero"),
    "Suspended": _("Suspended"),
    "Scheduled": _("Scheduled"),
    "Active": _("Active"),
    "Bound": _("Bound"),
    "Available": _("Available"),
    "Released": _("Released"),
    "Lost": _("Lost"),
    "Normal": _("Normal"),
    "Warning": _("Warning"),
    "running": _("running"),
    "pending": _("pending"),
    "succeeded": _("succeeded"),
    "failed": _("failed"),
    "cancelled": _("cancelled"),
    "waiting_approval": _("waits for approval"),
    "interrupted": _("interrupted"),
    "skipped": _("skipped"),
    "unknown": _("unknown"),
    "active": _("active"),
    "unreachable": _("unreachable"),
    "error": _("error"),
    "listing": _("listing"),
    "watching": _("watching"),
    "reconnecting": _("reconnecting"),
    "refused": _("refused"),
    "over_limit": _("over the limit"),
    # Roles.
    "viewer": _("viewer"),
    "operator": _("operator"),
    "admin": _("admin"),
}

# Types of conditions as Kubernetes names them: in English they stay its words.
CONDITIONS: dict[str, Promise] = {
    # Workloads.
    "Available": pgettext_lazy("condition", "Available"),
    "Progressing": pgettext_lazy("condition", "Progressing"),
    "ReplicaFailure": pgettext_lazy("condition", "ReplicaFailure"),
    "Complete": pgettext_lazy("condition", "Complete"),
    "SuccessCriteriaMet": pgettext_lazy("condition", "SuccessCriteriaMet"),
    "Failed": pgettext_lazy("condition", "Failed"),
    "FailureTarget": pgettext_lazy("condition", "FailureTarget"),
    "Suspended": pgettext_lazy("condition", "Suspended"),
    # Pods.
    "PodScheduled": pgettext_lazy("condition", "PodScheduled"),
    "PodReadyToStartContainers": pgettext_lazy("condition", "PodReadyToStartContainers"),
    "Initialized": pgettext_lazy("condition", "Initialized"),
    "ContainersReady": pgettext_lazy("condition", "ContainersReady"),
    "Ready": pgettext_lazy("condition", "Ready"),
    "DisruptionTarget": pgettext_lazy("condition", "DisruptionTarget"),
    "PodResizePending": pgettext_lazy("condition", "PodResizePending"),
    "PodResizeInProgress": pgettext_lazy("condition", "PodResizeInProgress"),
    # Nodes.
    "MemoryPressure": pgettext_lazy("condition", "MemoryPressure"),
    "DiskPressure": pgettext_lazy("condition", "DiskPressure"),
    "PIDPressure": pgettext_lazy("condition", "PIDPressure"),
    "NetworkUnavailable": pgettext_lazy("condition", "NetworkUnavailable"),
    # Autoscalers, disruption budgets, volume claims, custom resources, namespaces.
    "AbleToScale": pgettext_lazy("condition", "AbleToScale"),
    "ScalingActive": pgettext_lazy("condition", "ScalingActive"),
    "ScalingLimited": pgettext_lazy("condition", "ScalingLimited"),
    "DisruptionAllowed": pgettext_lazy("condition", "DisruptionAllowed"),
    "Resizing": pgettext_lazy("condition", "Resizing"),
    "FileSystemResizePending": pgettext_lazy("condition", "FileSystemResizePending"),
    "NamesAccepted": pgettext_lazy("condition", "NamesAccepted"),
    "Established": pgettext_lazy("condition", "Established"),
    "NonStructuralSchema": pgettext_lazy("condition", "NonStructuralSchema"),
    "NamespaceDeletionDiscoveryFailure": pgettext_lazy(
        "condition", "NamespaceDeletionDiscoveryFailure"
    ),
    "NamespaceDeletionContentFailure": pgettext_lazy(
        "condition", "NamespaceDeletionContentFailure"
    ),
    "NamespaceContentRemaining": pgettext_lazy("condition", "NamespaceContentRemaining"),
    "NamespaceFinalizersRemaining": pgettext_lazy("condition", "NamespaceFinalizersRemaining"),
}


def translate_condition(kind: str) -> str:
    """The label of a condition's type; the type itself when it has none."""
    return str(CONDITIONS.get(kind, kind))


def translate_state(word: str) -> str:
    """The label of a state; the state itself when it has none."""
    return _labels_in(get_language() or "").get(word, word)


@lru_cache(maxsize=8)
def _labels_in(language: str) -> dict[str, str]:
    """All labels in one language, translated once: a table needs hundreds."""
    return {word: str(text) for word, text in LABELS.items()}
