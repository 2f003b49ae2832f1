"""How an object is doing, in the word that kubectl would use, and in a tone: good, busy, warn, bad, idle."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]
Health = tuple[str, str]
BAD_REASONS = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "OOMKilled",
    "Error",
    "Evicted",
    "Failed",
)
BUSY_REASONS = ("ContainerCreating", "PodInitializing", "Pending", "Terminating")


def get(item: Any, *path: str) -> Any:
    """What stands at a path, or None."""
    try:
        for name in path:
            item = item.get(name)
    except AttributeError:
        return None
    return item


def rows(value: Any) -> list[Mapping[str, Any]]:
    """A list of mappings, whatever was there."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def condition(item: Object, kind: str) -> Mapping[str, Any]:
    """The condition of that type, or {}."""
    return next(
        (one for one in rows(get(item, "status", "conditions")) if one.get("type") == kind), {}
    )


def number(value: Any) -> int:
    """A whole number, 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def restarts(pod: Object) -> int:
    """How often the pod's containers were started again."""
    return sum(
        number(one.get("restartCount")) for one in rows(get(pod, "status", "containerStatuses"))
    )


def ready(pod: Object) -> tuple[int, int]:
    """(ready containers, containers)."""
    states = rows(get(pod, "status", "containerStatuses"))
    return sum(one.get("ready") is True for one in states), len(
        rows(get(pod, "spec", "containers"))
    ) or len(states)


def _waiting(states: Iterable[Mapping[str, Any]]) -> str:
    for one in states:
        reason = get(one, "state", "waiting", "reason") or get(one, "state", "terminated", "reason")
        if reason and reason != "Completed":
            return str(reason)
        if get(one, "state", "terminated") and not reason:
            return f"ExitCode:{get(one, 'state', 'terminated', 'exitCode')}"
    return ""


def _starting(pod: Object) -> str:
    """What the init containers are at, or nothing when they are done."""
    states = rows(get(pod, "status", "initContainerStatuses"))
    for place, one in enumerate(states):
        if get(one, "state", "terminated", "exitCode") == 0 or one.get("started") is True:
            continue
        reason = _waiting([one])
        return (
            f"Init:{reason}"
            if reason and reason != "PodInitializing"
            else f"Init:{place}/{len(states)}"
        )
    return ""


def of_pod(pod: Object) -> Health:
    """The STATUS column of `kubectl get pods`."""
    phase = str(get(pod, "status", "reason") or get(pod, "status", "phase") or "Unknown")
    word = _starting(pod) or _waiting(rows(get(pod, "status", "containerStatuses"))) or phase
    if phase == "Succeeded":
        word = "Completed"
    if get(pod, "metadata", "deletionTimestamp"):
        word = "Unknown" if phase == "NodeLost" else "Terminating"
    return word, _pod_tone(word, pod)


def _pod_tone(word: str, pod: Object) -> str:
    reason = word.removeprefix("Init:")
    if reason in BAD_REASONS or reason.startswith("ExitCode:"):
        return "bad"
    if word == "Running":
        done, wanted = ready(pod)
        return "good" if done >= wanted else "warn"
    if word == "Completed":
        return "idle"
    return "busy" if reason in BUSY_REASONS or word.startswith("Init:") else "warn"


def replicas(item: Object) -> tuple[int, int]:
    """(ready, wanted) of a Deployment, StatefulSet, ReplicaSet or DaemonSet."""
    status = get(item, "status") or {}
    if "desiredNumberScheduled" in status:
        return number(status.get("numberReady")), number(status.get("desiredNumberScheduled"))
    wanted = get(item, "spec", "replicas")
    return number(status.get("readyReplicas")), 1 if wanted is None else number(wanted)


def of_workload(item: Object) -> Health:
    """Ready, updating, short of pods, stopped or paused."""
    done, wanted = replicas(item)
    updated = get(item, "status", "updatedReplicas") or get(
        item, "status", "updatedNumberScheduled"
    )
    if get(item, "spec", "paused"):
        return "Paused", "idle"
    if condition(item, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return "Failed", "bad"
    if wanted == 0:
        return "Scaled to zero", "idle"
    if updated is not None and number(updated) < wanted:
        return "Updating", "busy"
    return (
        ("Ready", "good")
        if done >= wanted
        else ("Degraded", "warn")
        if done
        else ("Unavailable", "bad")
    )


def of_replicaset(item: Object) -> Health:
    """A ReplicaSet's own state; old ones are scaled to zero."""
    done, wanted = replicas(item)
    return (
        ("Scaled to zero", "idle")
        if wanted == 0
        else ("Ready", "good")
        if done >= wanted
        else ("Degraded", "warn")
    )


def of_job(job: Object) -> Health:
    """Complete, failed, suspended or running."""
    if condition(job, "Complete").get("status") == "True":
        return "Complete", "idle"
    if condition(job, "Failed").get("status") == "True":
        return "Failed", "bad"
    return ("Suspended", "idle") if get(job, "spec", "suspend") else ("Running", "busy")


def of_cronjob(item: Object) -> Health:
    """Suspended, running or waiting for its time."""
    if get(item, "spec", "suspend"):
        return "Suspended", "idle"
    return ("Running", "busy") if get(item, "status", "active") else ("Scheduled", "good")


def of_node(node: Object) -> Health:
    """Ready or not, and whether pods may be put on it."""
    answered = condition(node, "Ready").get("status")
    word, tone = (
        ("Ready", "good")
        if answered == "True"
        else ("NotReady", "bad")
        if answered == "False"
        else ("Unknown", "bad")
    )
    if get(node, "spec", "unschedulable"):
        return f"{word}, SchedulingDisabled", "warn" if tone == "good" else tone
    return word, tone


PHASES = {
    "Active": "good",
    "Bound": "good",
    "Available": "good",
    "Running": "good",
    "Succeeded": "idle",
    "Ready": "good",
    "Released": "warn",
    "Pending": "busy",
    "Terminating": "busy",
    "Failed": "bad",
    "Lost": "bad",
}


def of_phase(item: Object) -> Health:
    """`status.phase`, or the Ready condition, as custom kinds have it."""
    if get(item, "metadata", "deletionTimestamp"):
        return "Terminating", "busy"
    if phase := get(item, "status", "phase"):
        return str(phase), PHASES.get(str(phase), "idle")
    for kind in ("Ready", "Available"):
        if found := condition(item, kind).get("status"):
            return (kind, "good") if found == "True" else (f"Not{kind}", "bad")
    return "", "idle"


def why(item: Object) -> str:
    """What the object itself says about its trouble: the message of a container, a condition, or nothing."""
    states = [
        *rows(get(item, "status", "initContainerStatuses")),
        *rows(get(item, "status", "containerStatuses")),
    ]
    ends = [
        (one.get("name"), get(one, state, "terminated"))
        for one in states
        for state in ("state", "lastState")
    ]
    for name, end in ends:
        if get(end, "message"):
            return f"{name}: {get(end, 'message')}"
    for name, end in ends:
        if get(end, "exitCode"):
            return f"{name}: {get(end, 'reason') or 'Error'}, exit code {get(end, 'exitCode')}"
    for one in states:
        if get(one, "state", "waiting", "message"):
            return str(get(one, "state", "waiting", "message"))
    if get(item, "status", "message"):
        return str(get(item, "status", "message"))
    for found in rows(get(item, "status", "conditions")):
        if found.get("message") and (found.get("status") != "True") != (
            found.get("type") in ("Failed", "ReplicaFailure")
        ):
            return str(found["message"])
    return ""


OF: Mapping[str, Callable[[Object], Health]] = {
    "pods": of_pod,
    "deployments": of_workload,
    "statefulsets": of_workload,
    "daemonsets": of_workload,
    "replicasets": of_replicaset,
    "jobs": of_job,
    "cronjobs": of_cronjob,
    "nodes": of_node,
}


def of(plural: str, item: Object) -> Health:
    """(word, tone) of an object of any kind; ("", "idle") when it has no state."""
    return OF.get(plural, of_phase)(item)
