"""What operations, tasks, inspections and refusals of the API say, in the viewer's language.

The API answers in English, as operations are kept for all languages. A message that is not here, as
those of an API server, stays as it is.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from console.domain_messages import DOMAIN_MESSAGES
from console.insight_messages import INSIGHT_MESSAGES
from console.shipped_messages import SHIPPED_MESSAGES
from console.task_messages import TASK_MESSAGES

# Names in braces stand for the values inside a message.
MESSAGES: tuple[Promise, ...] = (
    # Drains: the reasons of the preview, then the steps.
    _("it has been terminating for more than {limit} s"),
    _("its DaemonSet {name} does not exist any more"),
    _("its DaemonSet {name} does not exist any more (force deletes it)"),
    _("it belongs to a DaemonSet"),
    _("it is a static pod of the node"),
    _("its emptyDir data will be lost"),
    _("no controller will recreate it"),
    _("no controller would recreate it (force deletes it)"),
    _("PodDisruptionBudget {name} is new: its pods are still being counted"),
    _("waits: PodDisruptionBudget {name} allows {allowed} disruptions now"),
    _("waits: PodDisruptionBudget {name} allows 1 disruption now"),
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
    _("started, waiting for its pods"),
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
    _("the store's copy is not fresh"),
    _("the store has no such kind of this cluster"),
)
# The API names its options; on the pages they are boxes with labels.
OPTION_MESSAGES: Mapping[str, Promise] = {
    "it belongs to a DaemonSet (ignore_daemonsets leaves it alone)": _(
        "it belongs to a DaemonSet (“Ignore DaemonSet pods” leaves it alone)"
    ),
    "it has local storage in an emptyDir (delete_emptydir_data gives it up)": _(
        "it has local storage in an emptyDir (“Delete emptyDir data” gives it up)"
    ),
}
_PLACE = re.compile(r"\\\{(\w+)\\\}")
# What a place can be, so that a message is not taken for another one; anything else is any text.
_NUMBERS = (
    "code count critical days done failed info keep operation pause percent run seconds size total "
    "tries warning"
)
_SHAPES = {
    **dict.fromkeys(_NUMBERS.split(), r"[\d.]+"),
    **dict.fromkeys(("address", "kind", "method", "time"), r"\S+"),
}
# Values that are messages themselves.
_INNER = frozenset({"part", "parts", "reason"})
_SHAPES |= dict.fromkeys(_INNER, r".+?")
# A semicolon begins the next message.
_TEXT = r"(?:(?!; ).)+?"


class _Pattern(NamedTuple):
    """An English message that has places, and its translation."""

    # What stands before the first place and after the last: most texts fail there at once.
    start: str
    end: str
    expression: re.Pattern[str]
    message: Promise


def _source(message: Promise) -> str:
    """The untranslated text."""
    return str(message._args[0])  # type: ignore[attr-defined]


def _all_messages() -> tuple[Promise, ...]:
    return (
        *MESSAGES,
        *TASK_MESSAGES,
        *DOMAIN_MESSAGES,
        *INSIGHT_MESSAGES,
        *SHIPPED_MESSAGES,
    )


@lru_cache(maxsize=1)
def _whole_messages() -> dict[str, Promise]:
    """The messages without places by their English."""
    messages = {_source(message): message for message in _all_messages()}
    messages |= OPTION_MESSAGES
    return {
        text: message for text, message in messages.items() if not _PLACE.search(re.escape(text))
    }


@lru_cache(maxsize=1)
def _patterns() -> list[_Pattern]:
    """The messages with places, the most literal first."""
    patterns = []
    for message in _all_messages():
        source = _source(message)
        if not _PLACE.search(re.escape(source)):
            continue
        expression = _PLACE.sub(
            lambda place: f"(?P<{place[1]}>{_SHAPES.get(place[1], _TEXT)})", re.escape(source)
        )
        literal = _PLACE.sub("", re.escape(source))
        start = source.partition("{")[0]
        end = source.rpartition("}")[2]
        patterns.append((len(literal), _Pattern(start, end, re.compile(expression), message)))
    # "{x} pods are ready" would match what "all {x} pods are ready" is meant for.
    patterns.sort(key=lambda row: -row[0])
    return [pattern for _length, pattern in patterns]


def translate_message(text: str) -> str:
    """A message in the viewer's language; parts joined by semicolons one by one."""
    whole = _translate_single(text)
    if whole != text:
        return whole
    if "; " in text:
        return "; ".join(translate_message(part) for part in text.split("; "))
    parts = text.split(", ")
    translated = [_translate_single(part) for part in parts]
    # A list of counts; other texts have commas, too, which separate no messages.
    if all(new != old for new, old in zip(translated, parts, strict=True)):
        return ", ".join(translated)
    return text


def _translate_single(text: str) -> str:
    if message := _whole_messages().get(text):
        return str(message)
    for pattern in _patterns():
        if not (text.startswith(pattern.start) and text.endswith(pattern.end)):
            continue
        if match := pattern.expression.fullmatch(text):
            values = {
                name: translate_message(value) if name in _INNER else value
                for name, value in match.groupdict().items()
            }
            return str(pattern.message).format(**values)
    return text


def translate_refusal(text: str) -> str:
    """A refusal of the API in the viewer's language.

    In Chinese the API sets the sentence of the code before the English message; it goes where the
    message itself is translated.
    """
    if not (get_language() or "").startswith("zh"):
        return text
    sentence, colon, message = text.partition(": ")
    if not colon or sentence.isascii():
        return translate_message(text)
    if not message.isascii():
        # Django's own messages about users and passwords are in the viewer's language.
        return translate_message(message)
    chinese = translate_message(message)
    return text if chinese == message else chinese
