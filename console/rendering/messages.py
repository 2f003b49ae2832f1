"""What operations and drains say of their steps, in the viewer's language.

The API answers in English, as operations are kept for all languages. A message that is not here, as
those of an API server, stays as it is.
"""

import re
from functools import lru_cache

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# Names in braces stand for the values inside a message.
MESSAGES: tuple[Promise, ...] = (
    # Drains: the reasons of the preview, then the steps.
    _("it has been terminating for more than {limit} s"),
    _("its DaemonSet {name} does not exist any more"),
    _("its DaemonSet {name} does not exist any more (force deletes it)"),
    _("it belongs to a DaemonSet"),
    _("it belongs to a DaemonSet (ignore_daemonsets leaves it alone)"),
    _("it is a static pod of the node"),
    _("its emptyDir data will be lost"),
    _("it has local storage in an emptyDir (delete_emptydir_data gives it up)"),
    _("no controller will recreate it"),
    _("no controller would recreate it (force deletes it)"),
    _("PodDisruptionBudget {name} is new: its pods are still being counted"),
    _("waits: PodDisruptionBudget {name} allows {allowed} disruptions now"),
    _("cannot be evicted: several PodDisruptionBudgets cover it ({names})"),
    _("PodDisruptionBudgets are not respected: pods are deleted, not evicted"),
    _("PodDisruptionBudgets could not be read: {reason}"),
    _("not evicted: another pod forbids the drain"),
    _("it has left the node"),
    _("evicted, but terminating for more than {limit} s"),
    _("evicted, waiting for it to terminate"),
    _("it does not exist any more"),
    _("it does not exist any more; a new pod of its name was left alone"),
    _("deleted without regard to PodDisruptionBudgets, waiting for it to terminate"),
    _("waiting for the cluster: {reason}"),
    _("not evicted in time"),
    # Bulk actions.
    _("deleted already"),
    _("deleted already; a new object of its name was left alone"),
    _("restarted already"),
    _("deleted, its controller creates another"),
    _("done already"),
    _("done"),
    _("deleted"),
    _("nothing to change"),
    _("begun, waiting for its pods"),
    # Rollouts.
    _("the update strategy is OnDelete: pods change when they are deleted"),
    _("the update strategy is OnDelete: pods change only when they are deleted"),
    _("waiting for the change to be seen by the cluster's controller"),
    _("{ready} of {desired} pods are ready, {existing} exist"),
    _("{updated} of {desired} new pods have been updated"),
    _("{count} old pods are pending termination"),
    _("{available} of {updated} updated pods are available"),
    _("all {desired} pods are updated and available"),
    _("the rollout exceeded its progress deadline"),
    _("{ready} of {desired} pods are ready"),
    _("{updated} of {due} pods above partition {partition} are updated"),
    _("{updated} pods are at the new revision"),
    _("all {desired} pods are updated and ready"),
    _("no progress for {seconds} s: {reason}"),
    # Pods that are created again.
    _("delete the old pod"),
    _("create the new pod"),
    _("waiting for the pod to terminate"),
    # Why what is shown of a cluster is not what is there now.
    _("the store's copy is {count} seconds old"),
    _("the store's copy is {count} minutes old"),
    _("the store's copy is {count} hours old"),
    _("the store's copy is {count} days old"),
    _("the cluster did not answer lately ({cause})"),
    _("waiting before the next try"),
    _("the store's last counts are shown"),
)
_PLACE = re.compile(r"\\\{(\w+)\\\}")


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], Promise]]:
    """(pattern of the English message, the message to translate), the most literal first."""
    patterns = []
    for message in MESSAGES:
        source = str(message._args[0])  # type: ignore[attr-defined]  # the untranslated text
        pattern = _PLACE.sub(r"(?P<\1>.+?)", re.escape(source))
        patterns.append((len(_PLACE.findall(re.escape(source))), re.compile(pattern), message))
    # "{x} pods are ready" would match what "all {x} pods are ready" is meant for.
    patterns.sort(key=lambda row: (row[0], -len(row[1].pattern)))
    return [(pattern, message) for _places, pattern, message in patterns]


def translate_message(text: str) -> str:
    """A message in the viewer's language; parts joined by semicolons one by one."""
    whole = _translate_single(text)
    if whole != text or "; " not in text:
        return whole
    return "; ".join(_translate_single(part) for part in text.split("; "))


def _translate_single(text: str) -> str:
    for pattern, message in _patterns():
        if match := pattern.fullmatch(text):
            return str(message).format(**match.groupdict())
    return text
