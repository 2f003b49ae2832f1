"""What checks know of a cluster besides the object that they look at."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clusters.escalation import selector_matches
from clusters.manifests import Object

_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is a finding; they are parameters of the task."""

    certificate_days: int = 30
    quota_percent: int = 90
    restarts: int = 10


@dataclass(slots=True)
class Facts:
    """A cluster's version and what its objects say of each other.

    The first three are filled while LimitRanges, budgets and autoscalers are read, which come
    before the workloads.
    """

    now: datetime
    version: str = ""
    thresholds: Thresholds = field(default_factory=Thresholds)
    # Namespace -> {"requests": resources with a default, "limits": …} of its LimitRanges.
    defaults: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    # Namespace -> the selectors of its PodDisruptionBudgets.
    budgets: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    # (namespace, kind, name) -> the least replicas that an autoscaler leaves the workload.
    autoscaled: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def note(self, obj: Object) -> None:
        """Remember of an object what checks of others need."""
        namespace = str(obj["metadata"].get("namespace") or "")
        spec = mapping(obj, "spec")
        match obj["kind"]:
            case "LimitRange":
                self._note_limits(namespace, elements(spec, "limits"))
            case "PodDisruptionBudget":
                # Without a selector a budget selects nothing, with an empty one every pod.
                if isinstance(spec.get("selector"), dict):
                    self.budgets.setdefault(namespace, []).append(spec["selector"])
            case "HorizontalPodAutoscaler":
                target = mapping(spec, "scaleTargetRef")
                key = (namespace, str(target.get("kind")), str(target.get("name")))
                self.autoscaled[key] = whole(spec.get("minReplicas"), 1)

    def _note_limits(
        self,
        namespace: str,
        limits: Sequence[Mapping[str, Any]],
    ) -> None:
        defaults = self.defaults.setdefault(
            namespace,
            {"requests": set(), "limits": set()},
        )
        for limit in limits:
            if limit.get("type") != "Container":
                continue
            # A limit without a request is the request too.
            defaults["limits"] |= mapping(limit, "default").keys()
            defaults["requests"] |= mapping(limit, "default").keys()
            defaults["requests"] |= mapping(limit, "defaultRequest").keys()

    def has_default(
        self,
        namespace: str,
        member: str,
        resource: str,
    ) -> bool:
        """Whether a LimitRange gives containers of the namespace the request or limit."""
        return resource in self.defaults.get(namespace, {}).get(member, ())

    def has_budget(
        self,
        namespace: str,
        labels: Mapping[str, str],
    ) -> bool:
        """Whether a PodDisruptionBudget selects pods with the labels."""
        selectors = self.budgets.get(namespace, ())
        return any(selector_matches(labels, selector) for selector in selectors)


def minor_version(text: object) -> tuple[int, int] | None:
    """(major, minor) of a version such as v1.36.0; None for anything else."""
    match = _VERSION.match(str(text))
    return (int(match[1]), int(match[2])) if match else None


# --- reading objects that may have any shape ------------------------------------------------------
def mapping(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object, {} for anything else."""
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def elements(parent: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The elements of a list that are objects, [] for anything else."""
    value = parent.get(name)
    if not isinstance(value, list):
        return []
    return [element for element in value if isinstance(element, dict)]


def whole(value: object, default: int = 0) -> int:
    """A whole number, `default` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def has_condition(
    obj: Mapping[str, Any],
    name: str,
    status: str,
) -> bool:
    """Whether status.conditions has the condition with that status."""
    return condition(obj, name).get("status") == status


def condition(obj: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A condition of the status by its type, {} without it."""
    for entry in elements(mapping(obj, "status"), "conditions"):
        if entry.get("type") == name:
            return entry
    return {}


def join_names(names: Sequence[str], most: int = 5) -> str:
    """`a, b and 3 more`."""
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text
