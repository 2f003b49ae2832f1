"""States in the viewer's language; reasons, such as CrashLoopBackOff, are never translated."""

from functools import lru_cache

from django.utils.functional import Promise
from django.utils.translation import get_language
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


def translate_state(word: str) -> str:
    """The label of a state; the state itself when it has none."""
    return _labels_in(get_language() or "").get(word, word)


@lru_cache(maxsize=8)
def _labels_in(language: str) -> dict[str, str]:
    """All labels in one language, translated once: a table needs hundreds."""
    return {word: str(text) for word, text in LABELS.items()}
