"""Which objects are in trouble now: the same rule for each kind twice, as a jsonpath for the store and for objects at hand.

A test holds both against the same objects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind
from core.errors import Invalid

STARTING = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True, slots=True)
class Trouble:
    """How to know: `path` is a jsonpath that troubled objects have, `holds` says the same of an object."""

    path: str
    holds: Callable[[Mapping[str, Any]], bool]


def _states(item: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = (item.get("status") or {}).get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _is(item: Mapping[str, Any], kind: str, status: str) -> bool:
    return any(
        one.get("type") == kind and one.get("status") == status
        for one in _states(item, "conditions")
    )


def _pod(item: Mapping[str, Any]) -> bool:
    if "deletionTimestamp" in item["metadata"]:
        return False
    phase, containers = (item.get("status") or {}).get("phase"), _states(item, "containerStatuses")
    waiting = [
        one.get("state", {}).get("waiting")
        for one in [*containers, *_states(item, "initContainerStatuses")]
    ]
    return (
        phase in ("Failed", "Unknown")
        or any(one and "reason" in one and one["reason"] not in STARTING for one in waiting)
        or (phase == "Running" and any(one.get("ready") is False for one in containers))
        or _is(item, "PodScheduled", "False")
    )


_WAITING = "state.waiting.reason ? ({})".format(
    " && ".join(f'@ != "{reason}"' for reason in STARTING)
)
POD = (
    "$ ? (!exists(@.metadata.deletionTimestamp) && ("
    '@.status.phase == "Failed" || @.status.phase == "Unknown"'
    f" || exists(@.status.containerStatuses[*].{_WAITING}) || exists(@.status.initContainerStatuses[*].{_WAITING})"
    ' || (@.status.phase == "Running" && exists(@.status.containerStatuses[*] ? (@.ready == false)))'
    ' || exists(@.status.conditions[*] ? (@.type == "PodScheduled" && @.status == "False"))))'
)


def _short(item: Mapping[str, Any]) -> bool:
    wanted, ready = (
        (item.get("spec") or {}).get("replicas"),
        (item.get("status") or {}).get("readyReplicas", 0),
    )
    return isinstance(wanted, int) and ready < wanted


SHORT = Trouble(
    "$ ? (@.status.readyReplicas < @.spec.replicas || (!exists(@.status.readyReplicas) && @.spec.replicas > 0))",
    _short,
)


def _phase(*wrong: str) -> Trouble:
    path = " || ".join(f'@.status.phase == "{phase}"' for phase in wrong)
    return Trouble(f"$ ? ({path})", lambda item: (item.get("status") or {}).get("phase") in wrong)


def _daemons(item: Mapping[str, Any]) -> bool:
    status = item.get("status") or {}
    return "numberReady" in status and status["numberReady"] < status.get(
        "desiredNumberScheduled", 0
    )


TROUBLES: Mapping[str, Trouble] = {
    "nodes": Trouble(
        '$ ? (!exists(@.status.conditions[*] ? (@.type == "Ready" && @.status == "True")))',
        lambda item: not _is(item, "Ready", "True"),
    ),
    "pods": Trouble(POD, _pod),
    "deployments": SHORT,
    "statefulsets": SHORT,
    "replicasets": SHORT,
    "daemonsets": Trouble("$ ? (@.status.numberReady < @.status.desiredNumberScheduled)", _daemons),
    "jobs": Trouble(
        '$ ? (exists(@.status.conditions[*] ? (@.type == "Failed" && @.status == "True")))',
        lambda item: _is(item, "Failed", "True"),
    ),
    "persistentvolumeclaims": _phase("Pending", "Lost"),
    "persistentvolumes": _phase("Failed"),
    "namespaces": _phase("Terminating"),
}


def of(kind: Kind) -> Trouble:
    """The rule of a kind; Invalid for kinds that have none."""
    found = TROUBLES.get(kind.plural)
    if found is None or KINDS.get(kind.plural) != kind:
        raise Invalid(
            f"troubled is known of {', '.join(TROUBLES)}, not of {kind.plural}", field="troubled"
        )
    return found
