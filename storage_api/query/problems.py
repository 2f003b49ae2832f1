"""Which objects have a problem now: a rule for each kind, twice.

As a jsonpath for the store, and as a function for objects in memory. A test checks that both say
the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind
from clusters.tables import values
from core.errors import Invalid

# Containers wait for these reasons in any start.
STARTING = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True, slots=True)
class ProblemRule:
    """`path` is a jsonpath that objects with a problem have; `holds` says the same of an object."""

    path: str
    holds: Callable[[Mapping[str, Any]], bool]


def _has_condition(
    manifest: Mapping[str, Any],
    condition_type: str,
    status: str,
) -> bool:
    return any(
        condition.get("type") == condition_type and condition.get("status") == status
        for condition in values.sound_mappings_at(manifest, "status.conditions")
    )


def _has_pod_problem(manifest: Mapping[str, Any]) -> bool:
    # A pod that is being deleted stops on purpose.
    if values.get(manifest, "metadata.deletionTimestamp") is not None:
        return False
    phase = values.get(manifest, "status.phase")
    if phase in ("Failed", "Unknown"):
        return True
    containers = values.sound_mappings_at(manifest, "status.containerStatuses")
    init_containers = values.sound_mappings_at(manifest, "status.initContainerStatuses")
    for container in [*containers, *init_containers]:
        reason = values.get(container, "state.waiting.reason")
        if reason is not None and reason not in STARTING:
            return True
    if phase == "Running" and any(container.get("ready") is False for container in containers):
        return True
    return _has_condition(manifest, "PodScheduled", "False")


_WAITING = "state.waiting.reason ? ({})".format(
    " && ".join(f'@ != "{reason}"' for reason in STARTING)
)
POD = (
    "$ ? (!exists(@.metadata.deletionTimestamp) && ("
    '@.status.phase == "Failed" || @.status.phase == "Unknown"'
    f" || exists(@.status.containerStatuses[*].{_WAITING})"
    f" || exists(@.status.initContainerStatuses[*].{_WAITING})"
    ' || (@.status.phase == "Running"'
    " && exists(@.status.containerStatuses[*] ? (@.ready == false)))"
    " || exists(@.status.conditions[*]"
    ' ? (@.type == "PodScheduled" && @.status == "False"))))'
)


def _has_missing_replicas(manifest: Mapping[str, Any]) -> bool:
    replicas = values.get(manifest, "spec.replicas")
    ready = values.get(manifest, "status.readyReplicas")
    if ready is None:
        # The API server leaves a zero out.
        ready = 0
    return _is_less(ready, replicas)


def _is_less(count: Any, limit: Any) -> bool:
    return isinstance(count, int) and isinstance(limit, int) and count < limit


MISSING_REPLICAS = ProblemRule(
    "$ ? (@.status.readyReplicas < @.spec.replicas"
    " || (!exists(@.status.readyReplicas) && @.spec.replicas > 0))",
    _has_missing_replicas,
)


def _phase_rule(*phases: str) -> ProblemRule:
    path = " || ".join(f'@.status.phase == "{phase}"' for phase in phases)
    return ProblemRule(
        f"$ ? ({path})",
        lambda manifest: values.get(manifest, "status.phase") in phases,
    )


def _has_missing_daemons(manifest: Mapping[str, Any]) -> bool:
    ready = values.get(manifest, "status.numberReady")
    return _is_less(ready, values.get(manifest, "status.desiredNumberScheduled"))


PROBLEM_RULES: Mapping[str, ProblemRule] = {
    "nodes": ProblemRule(
        '$ ? (!exists(@.status.conditions[*] ? (@.type == "Ready" && @.status == "True")))',
        lambda manifest: not _has_condition(manifest, "Ready", "True"),
    ),
    "pods": ProblemRule(POD, _has_pod_problem),
    "deployments": MISSING_REPLICAS,
    "statefulsets": MISSING_REPLICAS,
    "replicasets": MISSING_REPLICAS,
    "daemonsets": ProblemRule(
        "$ ? (@.status.numberReady < @.status.desiredNumberScheduled)",
        _has_missing_daemons,
    ),
    "jobs": ProblemRule(
        '$ ? (exists(@.status.conditions[*] ? (@.type == "Failed" && @.status == "True")))',
        lambda manifest: _has_condition(manifest, "Failed", "True"),
    ),
    "persistentvolumeclaims": _phase_rule("Pending", "Lost"),
    "persistentvolumes": _phase_rule("Failed"),
    "namespaces": _phase_rule("Terminating"),
}


def problem_rule(kind: Kind) -> ProblemRule:
    """The rule of a kind; Invalid for kinds that have none."""
    rule = PROBLEM_RULES.get(kind.plural)
    # A custom kind may have the plural of a built-in one.
    if rule is None or KINDS.get(kind.plural) != kind:
        raise Invalid(
            f"troubled is only supported for {', '.join(PROBLEM_RULES)}, not for {kind.plural}",
            field="troubled",
        )
    return rule
