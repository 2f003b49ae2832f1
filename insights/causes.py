"""What a status says in words: causes with advice, out of conditions, containers and events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind
from clusters.manifests import Object

LONGEST_MESSAGE = 500
# What to look at next, by reason of a container or condition.
ADVICE: Mapping[str, str] = {
    "CrashLoopBackOff": "Read the log of the previous run: the container starts and ends again.",
    "ImagePullBackOff": "Check the image's name and tag, and the pull secret.",
    "ErrImagePull": "Check the image's name and tag, and the pull secret.",
    "InvalidImageName": "Correct the image's name.",
    "ErrImageNeverPull": "The image is not on the node, and its pull policy is Never.",
    "CreateContainerConfigError": "A ConfigMap, Secret or key that the container names is missing.",
    "CreateContainerError": "See the message: the container runtime refused the container.",
    "RunContainerError": "Check the command: the container runtime could not start it.",
    "OOMKilled": "Raise the memory limit, or lower what the program uses.",
    "Unschedulable": "No node fits: compare requests, taints, selectors and volumes with nodes.",
    "Evicted": "The node ran short of a resource; see the message.",
    "ProgressDeadlineExceeded": "Look at the newest pods: they do not become ready in time.",
    "ReplicaFailure": "Pods cannot be created: see quotas, limits and admission in the message.",
    "FailedCreate": "Pods cannot be created: see quotas, limits and admission in the message.",
    "BackoffLimitExceeded": "Every try of the Job failed: read the log of its last pod.",
    "DeadlineExceeded": "It took longer than its activeDeadlineSeconds.",
    "FailedMount": "A volume cannot be mounted: check that what it names exists.",
    "FailedScheduling": "No node fits: compare requests, taints, selectors and volumes with nodes.",
    "NotReady": "The containers run and their readiness probe fails, or has not succeeded yet.",
    "Unhealthy": "A probe fails: compare its port, path and time-outs with the program.",
}
STARTING = frozenset({"ContainerCreating", "PodInitializing"})
# Conditions that are good when they are False; others are when they are True.
BAD_WHEN_TRUE = frozenset(
    {
        "Failed",
        "ReplicaFailure",
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "NetworkUnavailable",
        "FailureTarget",
        "DisruptionTarget",
        "Suspended",
    }
)
# What is neither good nor bad.
NEUTRAL = frozenset(
    {"Complete", "SuccessCriteriaMet", "ScalingLimited", "PodReadyToStartContainers"}
)
OK_EXIT = 0


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that stands in the way; the heaviest is named first."""

    weight: int
    reason: str
    message: str
    object: str

    def represent(self) -> dict[str, str]:
        """{"reason","message","object","advice"}; the advice is "" where there is none."""
        return {
            "reason": self.reason,
            "message": self.message[:LONGEST_MESSAGE],
            "object": self.object,
            "advice": ADVICE.get(self.reason, ""),
        }


def _member(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping under a name; {} for anything else, as agents may have stored it."""
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def _status(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return _member(item, "status")


def _name(item: Mapping[str, Any]) -> str:
    return str(_member(item, "metadata").get("name", ""))


def _restarts(container: Mapping[str, Any]) -> int:
    count = container.get("restartCount")
    return count if isinstance(count, int) else 0


def _entries(item: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    entries: list[Mapping[str, Any]] = []
    for name in names:
        value = _status(item).get(name)
        if isinstance(value, list):
            entries += [entry for entry in value if isinstance(entry, dict)]
    return entries


def notable_conditions(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions that are not as they should be, with reason and message."""
    names = ("type", "status", "reason", "message", "lastTransitionTime")
    return [
        {name: str(condition.get(name, ""))[:LONGEST_MESSAGE] for name in names}
        for condition in _entries(item, "conditions")
        if is_bad(condition)
    ]


def is_bad(condition: Mapping[str, Any]) -> bool:
    """Whether a condition is not as it should be."""
    name = str(condition.get("type"))
    if name in NEUTRAL:
        return False
    if name in BAD_WHEN_TRUE:
        return condition.get("status") == "True"
    return condition.get("status") != "True"


def status_line(kind: Kind, item: Mapping[str, Any]) -> str:
    """The status in a few words: `1 of 3 ready`, a phase; "" for kinds without either."""
    status = _status(item)
    spec = _member(item, "spec")
    match kind.plural:
        case "deployments" | "statefulsets" | "replicasets":
            return f"{status.get('readyReplicas', 0)} of {spec.get('replicas', 1)} ready"
        case "daemonsets":
            ready = status.get("numberReady", 0)
            return f"{ready} of {status.get('desiredNumberScheduled', 0)} ready"
        case "jobs":
            succeeded = status.get("succeeded", 0)
            failed = status.get("failed", 0)
            return f"{succeeded} of {spec.get('completions', 1)} succeeded, {failed} failed"
        case "nodes":
            conditions = {
                str(entry.get("type")): entry
                for entry in _entries(
                    item,
                    "conditions",
                )
            }
            is_ready = conditions.get("Ready", {}).get("status") == "True"
            cordoned = ", unschedulable" if spec.get("unschedulable") else ""
            return ("ready" if is_ready else "not ready") + cordoned
    return str(status.get("phase", ""))


def of_object(kind: Kind, item: Object) -> Iterable[Cause]:
    """What the conditions of a workload, node, claim or custom object say."""
    # Pods are read container by container, which says more.
    if kind == KINDS["pods"]:
        return
    name = f"{kind.name} {_name(item)}"
    if _status(item).get("phase") in ("Pending", "Lost", "Failed"):
        yield Cause(60, "Phase", f"the phase is {_status(item)['phase']}", name)
    for condition in _entries(item, "conditions"):
        if not is_bad(condition):
            continue
        reason = str(condition.get("reason") or condition.get("type") or "")
        message = str(condition.get("message") or f"{condition.get('type')} is not as it should be")
        # That replicas are missing is what is asked about, not why.
        weight = 20 if reason in ("MinimumReplicasUnavailable", "ReplicaSetUpdated") else 55
        yield Cause(weight, reason, message, name)


def of_pod(pod: Object) -> list[Cause]:
    """What stands in the way of one pod; nothing for a pod that runs or has succeeded."""
    name = f"Pod {_name(pod)}"
    status = _status(pod)
    listed: list[Cause] = []
    if status.get("phase") == "Failed":
        reason = str(status.get("reason") or "Failed")
        message = str(status.get("message") or "the pod failed")
        listed.append(Cause(70, reason, message, name))
    for condition in _entries(pod, "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reason = str(condition.get("reason") or "Unschedulable")
            listed.append(
                Cause(
                    85,
                    reason,
                    str(condition.get("message") or reason),
                    name,
                )
            )
    if "deletionTimestamp" in _member(pod, "metadata"):
        return listed
    for container in _entries(pod, "initContainerStatuses", "containerStatuses"):
        listed += _of_container(
            container,
            name,
            is_running=status.get("phase") == "Running",
        )
    return listed


def _of_container(
    container: Mapping[str, Any],
    pod: str,
    *,
    is_running: bool,
) -> list[Cause]:
    label = f"container {container.get('name', '')}"
    state = _member(container, "state")
    waiting = _member(state, "waiting")
    ended = _member(state, "terminated") or _member(_member(container, "lastState"), "terminated")
    restarts = _restarts(container)
    listed: list[Cause] = []
    reason = str(waiting.get("reason") or "")
    if reason and reason not in STARTING:
        detail = f": {waiting['message']}" if waiting.get("message") else ""
        listed.append(Cause(90, reason, f"{label} waits in {reason}{detail}", pod))
    if ended and ended.get("exitCode") != OK_EXIT:
        why = str(ended.get("reason") or "Error")
        detail = f": {ended['message']}" if ended.get("message") else ""
        message = f"{label} ended with exit code {ended.get('exitCode')} ({why}){detail}"
        if restarts:
            message += f", {restarts} restarts"
        # It says more than that the container waits to be started again.
        listed.append(Cause(95 if why == "OOMKilled" else 88, why, message, pod))
    if not listed and is_running and container.get("ready") is False:
        listed.append(Cause(65, "NotReady", f"{label} runs and is not ready", pod))
    # A past end of a container that has been running well since is no cause.
    return listed if reason or not container.get("ready") else []


def of_event(event: Mapping[str, Any]) -> Cause:
    """A warning as a cause, lighter than what a status says."""
    involved = _member(event, "involvedObject")
    name = f"{involved.get('kind', '')} {involved.get('name', '')}".strip()
    reason = str(event.get("reason") or "Warning")
    # What follows from a restart says less than the restart's own end.
    weight = 15 if reason == "BackOff" else 40
    return Cause(weight, reason, str(event.get("message") or reason), name)


def describe_pod(pod: Object) -> dict[str, Any]:
    """{"name","phase","node","containers":[{"name","ready","restarts","state",…}]}."""
    return {
        "name": _name(pod),
        "phase": _status(pod).get("phase", ""),
        "node": _member(pod, "spec").get("nodeName", ""),
        "containers": [
            _describe_container(entry)
            for entry in _entries(pod, "initContainerStatuses", "containerStatuses")
        ],
    }


def _describe_container(entry: Mapping[str, Any]) -> dict[str, Any]:
    state = _member(entry, "state")
    name = next(iter(state), "")
    detail = _member(state, name)
    last = _member(_member(entry, "lastState"), "terminated")
    return {
        "name": entry.get("name", ""),
        "image": entry.get("image", ""),
        "ready": bool(entry.get("ready")),
        "restarts": _restarts(entry),
        "state": name,
        "reason": detail.get("reason", ""),
        "exit_code": detail.get("exitCode", last.get("exitCode")),
        "last_reason": last.get("reason", ""),
    }


def failing_container(pod: Object) -> tuple[str, str, bool] | None:
    """(pod, container, whether to read its previous run) of which a log may say why; or None."""
    entries: Sequence[Mapping[str, Any]] = _entries(
        pod, "initContainerStatuses", "containerStatuses"
    )
    name = _name(pod)
    for entry in entries:
        state = _member(entry, "state")
        is_waiting = bool(_member(state, "waiting").get("reason"))
        if entry.get("restartCount") and is_waiting:
            return name, str(entry.get("name", "")), True
        has_ended = (
            _member(state, "terminated").get(
                "exitCode",
                OK_EXIT,
            )
            != OK_EXIT
        )
        is_unready = bool(state.get("running")) and entry.get("ready") is False
        if has_ended or is_unready:
            return name, str(entry.get("name", "")), False
    return None
