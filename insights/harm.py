"""How much harm a change is likely to have done: a number from 0 to 100, with its reasons.

The numbers order a list and mean nothing by themselves. What takes something away stands before
what changes it, and what changes how pods start stands before what pods do not notice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.kinds import Kind

Change = Mapping[str, Any]
Path = tuple[str, ...]
WORKLOADS = frozenset({"deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"})
# Of objects that something else reads or stands on.
DELETION_SCORES = {
    "namespaces": 95,
    "persistentvolumes": 92,
    "persistentvolumeclaims": 92,
    "nodes": 90,
    "customresourcedefinitions": 90,
    "statefulsets": 90,
    "deployments": 88,
    "daemonsets": 88,
    "secrets": 82,
    "configmaps": 80,
    "services": 80,
    "ingresses": 75,
}
OTHER_DELETION = 55
CREATION = 20
# Objects whose mere existence stops something that worked.
CREATION_SCORES = {"networkpolicies": 60, "resourcequotas": 55, "limitranges": 45}
# Added when the object is in trouble now.
TROUBLE = 20
HIGHEST = 100
# Of a change that no rule names.
ORDINARY = 30
METADATA = 5
# A second reason of the same change makes it a little worse.
FURTHER_REASON = 3


@dataclass(frozen=True, slots=True)
class Harm:
    """`score` is 0 to 100; `reasons` are short phrases, the worst first."""

    score: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HarmRule:
    """What a changed path means: the score, the phrase, and which paths are meant."""

    score: int
    reason: str
    matches: Callable[[Path], bool]


def _ends_with(*names: str) -> Callable[[Path], bool]:
    # A document that is changed as a whole has an empty path.
    return lambda path: bool(path) and path[-1] in names


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda path: not set(names).isdisjoint(path)


def _begins_with(*steps: str) -> Callable[[Path], bool]:
    return lambda path: path[: len(steps)] == steps


_POD_RULES = (
    HarmRule(80, "the image changed", _ends_with("image")),
    HarmRule(72, "the command or its arguments changed", _holds("command", "args")),
    HarmRule(
        70,
        "a probe changed",
        _holds("livenessProbe", "readinessProbe", "startupProbe"),
    ),
    HarmRule(68, "the environment changed", _holds("env", "envFrom")),
    HarmRule(68, "volumes changed", _holds("volumes", "volumeMounts")),
    HarmRule(66, "resource requests or limits changed", _holds("resources")),
    HarmRule(
        64,
        "where pods may run changed",
        _holds("nodeSelector", "affinity", "tolerations"),
    ),
    HarmRule(
        62,
        "the identity of pods changed",
        _holds("serviceAccountName", "securityContext"),
    ),
    HarmRule(60, "ports changed", _holds("ports")),
)
# By plural; the first of a path that matches counts.
_RULES: Mapping[str, Sequence[HarmRule]] = {
    **dict.fromkeys(
        WORKLOADS,
        (
            *_POD_RULES,
            HarmRule(58, "the selector changed", _begins_with("spec", "selector")),
            HarmRule(
                50,
                "the rollout strategy changed",
                _holds("strategy", "updateStrategy"),
            ),
            HarmRule(
                56,
                "it was suspended or paused, or resumed",
                _ends_with("suspend", "paused"),
            ),
            HarmRule(
                45,
                "the pod template changed",
                _begins_with("spec", "template"),
            ),
        ),
    ),
    "services": (
        HarmRule(
            74,
            "which pods it selects changed",
            _begins_with("spec", "selector"),
        ),
        HarmRule(70, "its ports changed", _holds("ports")),
        HarmRule(55, "how it is reached changed", _begins_with("spec")),
    ),
    "ingresses": (HarmRule(66, "where it routes changed", _begins_with("spec")),),
    "configmaps": (HarmRule(64, "its data changed", _holds("data", "binaryData")),),
    "secrets": (HarmRule(66, "its data changed", _holds("data", "stringData")),),
    "networkpolicies": (
        HarmRule(
            65,
            "which traffic is allowed changed",
            _begins_with("spec"),
        ),
    ),
    "nodes": (
        HarmRule(
            70,
            "whether pods are scheduled on it changed",
            _ends_with("unschedulable"),
        ),
        HarmRule(66, "its taints changed", _holds("taints")),
        HarmRule(30, "its labels changed", _begins_with("metadata", "labels")),
    ),
    "resourcequotas": (HarmRule(55, "its limits changed", _begins_with("spec")),),
    "limitranges": (HarmRule(50, "its limits changed", _begins_with("spec")),),
    "horizontalpodautoscalers": (
        HarmRule(
            48,
            "how it scales changed",
            _begins_with("spec"),
        ),
    ),
    "persistentvolumeclaims": (
        HarmRule(
            45,
            "its claim changed",
            _begins_with("spec"),
        ),
    ),
    "rolebindings": (
        HarmRule(
            55,
            "who has which rights changed",
            _holds("subjects", "roleRef"),
        ),
    ),
    "roles": (HarmRule(55, "which rights it gives changed", _holds("rules")),),
}
_DELETION_REQUEST = HarmRule(
    75,
    "its deletion was requested",
    _ends_with("deletionTimestamp"),
)


def rate(
    kind: Kind,
    op: str,
    changes: Sequence[Change],
    *,
    is_troubled: bool,
) -> Harm:
    """The harm of one change; `op` is add, change or delete, `changes` as `differences` has them.

    `is_troubled` says that the object has a problem now.
    """
    if op == "delete":
        score = DELETION_SCORES.get(kind.plural, OTHER_DELETION)
        return Harm(score, ("it was deleted",))
    if op == "add":
        score = CREATION_SCORES.get(kind.plural, CREATION)
        harm = Harm(score, ("it was created",))
    else:
        harm = _rate_changes(kind, changes)
    if not is_troubled:
        return harm
    return Harm(
        min(harm.score + TROUBLE, HIGHEST),
        (*harm.reasons, "it is in trouble now"),
    )


def _rate_changes(kind: Kind, changes: Sequence[Change]) -> Harm:
    scores: dict[str, int] = {}
    for change in changes:
        score, reason = _rate_path(kind, change)
        scores[reason] = max(score, scores.get(reason, 0))
    if not scores:
        return Harm(METADATA, ())
    ranked = sorted(scores.items(), key=lambda entry: -entry[1])
    worst = ranked[0][1]
    score = worst + FURTHER_REASON * (len(ranked) - 1)
    return Harm(min(score, HIGHEST), tuple(reason for reason, _ in ranked[:3]))


def _rate_path(kind: Kind, change: Change) -> tuple[int, str]:
    path: Path = tuple(change["path"])
    if path == ("spec", "replicas"):
        return _rate_replicas(change["from"], change["to"])
    for rule in (_DELETION_REQUEST, *_RULES.get(kind.plural, ())):
        if rule.matches(path):
            return rule.score, rule.reason
    if path[:1] == ("metadata",):
        return METADATA, "only metadata changed"
    return ORDINARY, f"{'.'.join(path[:2])} changed"


def _rate_replicas(before: object, after: object) -> tuple[int, str]:
    old = before if isinstance(before, int) else 1
    new = after if isinstance(after, int) else 1
    if new == 0:
        return 84, f"it was scaled from {old} to 0"
    reason = f"it was scaled from {old} to {new}"
    # Fewer than half of the replicas may not carry the load.
    if new * 2 <= old:
        return 60, reason
    return (40, reason) if new < old else (25, reason)
